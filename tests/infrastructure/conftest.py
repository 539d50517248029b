from pathlib import Path

import pytest

from infra.aws import cdk, templates
from infra.spec import ROOT, parse
from tests.infrastructure.aws_templates import SETTINGS, Templates


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates of a deployment of SETTINGS, with the sources in the package's place."""
    folders: dict[str, Path] = {}

    def of(settings: str) -> dict[str, templates.Template]:
        if settings not in folders:
            out = tmp_path_factory.mktemp(settings)
            folders[settings] = cdk.synthesize(parse(SETTINGS[settings]), ROOT / "functions", folder=out, nag="true")
        return templates.read(folders[settings])

    return of
