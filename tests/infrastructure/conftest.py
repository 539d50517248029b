from pathlib import Path

import pytest

from infra.aws import cdk, templates
from infra.spec import ROOT, parse
from tests.infrastructure.aws_templates import SETTINGS, Assemblies, Templates


@pytest.fixture(scope="session")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Assemblies:
    """The cloud assembly of a deployment of SETTINGS, with the sources in the package's place, looked at by cdk-nag."""
    folders: dict[str, Path] = {}

    def of(settings: str) -> Path:
        if settings not in folders:
            out = tmp_path_factory.mktemp(settings)
            folders[settings] = cdk.synthesize(parse(SETTINGS[settings]), ROOT / "functions", folder=out, nag="true")
        return folders[settings]

    return of


@pytest.fixture(scope="session")
def synthesized(assemblies: Assemblies) -> Templates:
    return lambda settings: templates.read(assemblies(settings))
