"""What packaging takes out of botocore's list of endpoints is missed by no client of the package."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from infra import package

CLIENTS = """
import json, sys
import botocore.session
def url(service, region):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return botocore.session.Session().create_client(service, region, **keys).meta.endpoint_url
regions = ["us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"]
print(json.dumps([botocore.session.__file__, [url(service, region) for service in sys.argv[1:] for region in regions]]))
"""


def endpoints(folder: Path) -> tuple[Path, list[str]]:
    """Where a process in that folder has its botocore from, and where its clients would connect."""
    command = [sys.executable, "-c", CLIENTS, *sorted(package.BOTOCORE_MODELS)]
    told = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=True).stdout
    source, found = json.loads(told)
    return Path(source), found


def test_packaged_clients_find_the_endpoints_that_botocore_knows(tmp_path: Path) -> None:
    unpacked, elsewhere = tmp_path / "package", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(package.build("aws", package.machine())) as archive:
        archive.extractall(unpacked)

    source, found = endpoints(unpacked)
    known_to, known = endpoints(elsewhere)

    assert source.is_relative_to(unpacked)
    assert not known_to.is_relative_to(unpacked)
    assert found == known
    assert len(set(found)) == len(found) == 5 * len(package.BOTOCORE_MODELS)
