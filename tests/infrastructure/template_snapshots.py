"""The templates of both profiles as files, for a person to review: what a change of the program does to CloudFormation
is in the same commit. `make docs` writes them; a test compares them.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.aws import cdk, templates
from infra.spec import ROOT, parse
from tests.infrastructure.aws_templates import SETTINGS, normalised

FOLDER = Path(__file__).with_name("snapshots")
PROFILES = ("dev", "production")


def files(profile: str, found: Mapping[str, templates.Template]) -> dict[str, str]:
    """Path below FOLDER and content, without what a change of the package alone would change."""
    return {
        f"{profile}/{stack}.json": json.dumps(normalised(template), indent=1, sort_keys=True) + "\n"
        for stack, template in found.items()
    }


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as out:
        for profile in PROFILES:
            assembly = cdk.synthesize(parse(SETTINGS[profile]), ROOT / "functions", folder=Path(out))
            for name, content in files(profile, templates.read(assembly)).items():
                (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
                (FOLDER / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()
