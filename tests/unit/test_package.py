"""The package as a function receives it, built for this machine's own processor."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import package
from infra.spec import Cloud
from wordup.errors import ConfigurationError

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.build("aws", package.machine(), tmp_path_factory.mktemp("build"))


def test_two_builds_are_equal_to_the_byte(built: Path, tmp_path: Path):
    again = package.build("aws", package.machine(), tmp_path)
    assert again.name == built.name
    assert again.read_bytes() == built.read_bytes()


def test_unchanged_package_is_not_built_again(built: Path):
    before = built.stat().st_mtime_ns
    assert package.build("aws", package.machine(), built.parent) == built
    assert built.stat().st_mtime_ns == before


def test_package_that_needs_vectors_says_how_they_are_made(tmp_path: Path):
    with pytest.raises(ConfigurationError) as caught:
        package.build("aws", package.machine(), tmp_path, embeddings="openai:nobody-has-these")
    assert "wordup knowledge build" in caught.value.mend
    assert "--shipped" in caught.value.mend


def test_package_stays_under_its_size(built: Path):
    assert built.stat().st_size < 25 * MEBIBYTE


def test_package_holds_one_entry_point_the_bot_and_its_knowledge(built: Path):
    names = zipfile.ZipFile(built).namelist()
    assert {"lambda_function.py", "wordup/app.py", "wordup/models.toml"} <= set(names)
    assert "knowledge.db" in names
    assert not [name for name in names if name.startswith("knowledge/")]
    assert any(name.startswith("web/") for name in names)
    assert not {"server.py", "main.py", "function_app.py"} & set(names)


def test_package_holds_no_other_cloud_and_only_the_models_it_uses(built: Path):
    names = zipfile.ZipFile(built).namelist()
    assert not [name for name in names if name.startswith(("google/", "azure/", "boto3/", "uvicorn/", "aws_cdk/"))]
    models = {name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 2}
    assert models == package.BOTOCORE_MODELS


def test_every_module_is_compiled_for_good(built: Path):
    archive = zipfile.ZipFile(built)
    names = set(archive.namelist())
    sources = [name for name in names if name.endswith(".py")]
    compiled = [f"{(path := Path(name)).parent}/__pycache__/{path.stem}.cpython-313.pyc" for name in sources]
    assert {name.removeprefix("./") for name in compiled} <= names
    # Bytes 4 to 8 of a .pyc: 1 is "by hash, and do not check it".
    assert archive.read("wordup/__pycache__/app.cpython-313.pyc")[4:8] == b"\x01\0\0\0"


def test_unpacked_package_runs_by_itself(built: Path, tmp_path: Path):
    zipfile.ZipFile(built).extractall(tmp_path)
    script = (
        "import lambda_function, botocore.session as s; lambda_function.handler();"
        "print(s.Session().create_client('dynamodb').meta.endpoint_url)"
    )
    environment = {
        "PYTHONPATH": str(tmp_path),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "WORDUP_STORE": "dynamodb",
        "WORDUP_SIGNING_KEY_REF": "aws:wordup#signing",
    }
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "https://dynamodb.eu-central-1.amazonaws.com\n", done.stderr


def test_starting_connects_to_nothing_so_that_a_snapshot_holds_no_secret(built: Path, tmp_path: Path):
    zipfile.ZipFile(built).extractall(tmp_path)
    script = (
        "import sys; reached = set(); sys.addaudithook(lambda event, _: reached.add(event));"
        "import lambda_function; lambda_function.handler();"
        "print(sorted(reached & {'socket.connect', 'socket.getaddrinfo', 'socket.sendto'}))"
    )
    environment = {
        "PYTHONPATH": str(tmp_path),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "WORDUP_PROVIDER": "openai",
        "WORDUP_STORE": "dynamodb",
        "WORDUP_SIGNING_KEY_REF": "aws:wordup#signing",
        "WORDUP_PROVIDER_KEY_REF": "aws:wordup#provider_key",
    }
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_no_name_stands_twice_in_a_package(cloud: Cloud):
    names = zipfile.ZipFile(package.build(cloud, package.machine())).namelist()
    assert len(names) == len(set(names))
