"""Secrets Manager over a real socket: a secret's text, and what its refusals become."""

import json
import os
from collections.abc import Generator
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest
from botocore.loaders import JSONFileLoader

from tests.emulators import AWS_ENVIRONMENT, moto_server
from tests.proxy import Answer, Proxy
from wordup.aws_session import new_session
from wordup.errors import SecretUnavailable
from wordup.keyring import SecretReader
from wordup.secrets.aws import ATTEMPTS, ERRORS, AWSSecrets

SECRET = json.dumps({"signing": {"active": "a", "keys": {"a": "x"}}, "provider_key": "sk-test"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with moto_server(tmp_path_factory.mktemp("moto")) as url, patch.dict(os.environ, AWS_ENVIRONMENT):
        client: Any = botocore.session.Session().create_client("secretsmanager", endpoint_url=url)
        client.create_secret(Name="wordup", SecretString=SECRET)
        client.create_secret(Name="bytes", SecretBinary=b"\xff")
        client.create_secret(Name="empty")
        client.create_secret(Name="leaving", SecretString="x")
        client.delete_secret(SecretId="leaving")
        yield url


async def test_secret_is_read_by_name_and_by_field(server: str):
    reader = SecretReader({"aws": AWSSecrets(server)})
    assert await reader.read("aws:wordup") == SECRET
    assert await reader.read("aws:wordup#provider_key") == "sk-test"
    assert json.loads(await reader.read("aws:wordup#signing")) == {"active": "a", "keys": {"a": "x"}}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nobody", "ResourceNotFoundException"),
        ("empty", "ResourceNotFoundException"),
        ("leaving", "InvalidRequestException"),
    ],
)
async def test_refusal_is_named_with_its_mend(server: str, name: str, code: str):
    with pytest.raises(SecretUnavailable, match=code) as caught:
        await AWSSecrets(server).read(name)
    assert caught.value.mend == ERRORS[code]


async def test_bytes_are_no_text(server: str):
    with pytest.raises(SecretUnavailable, match="bytes"):
        await AWSSecrets(server).read("bytes")


async def test_denied_function_tells_the_operator_which_right_it_lacks(server: str):
    denied = Answer(400, b'{"__type": "AccessDeniedException", "message": "as the test has it"}')
    with Proxy(server) as proxy, proxy.answering(denied, 1), pytest.raises(SecretUnavailable) as caught:
        await AWSSecrets(proxy.url).read("wordup")
    assert "secretsmanager:GetSecretValue" in caught.value.mend


async def test_trouble_that_passes_is_waited_for(server: str):
    trouble = Answer(500, b'{"__type": "InternalServiceError", "message": "as the test has it"}')
    with Proxy(server) as proxy, proxy.answering(trouble, ATTEMPTS - 1):
        assert await AWSSecrets(proxy.url).read("wordup") == SECRET


async def test_unreachable_is_a_secret_unavailable():
    with pytest.raises(SecretUnavailable, match="cannot be called"):
        await AWSSecrets("http://127.0.0.1:1").read("wordup")


def test_every_error_of_the_service_is_in_the_table():
    model: Any = botocore.session.Session().get_service_model("secretsmanager")
    refusals = {shape.name for shape in model.operation_model("GetSecretValue").error_shapes}
    assert len(refusals) >= 5
    # AccessDeniedException is every service's, and in no model.
    assert set(ERRORS) == refusals | {"AccessDeniedException"}


async def test_second_client_of_a_process_reads_only_its_own_services_data(
    server: str, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    load = JSONFileLoader.load_file
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda self, path: read.append(path) or load(self, path))
    await AWSSecrets(server).read("wordup")
    del read[:]
    new_session().create_client("dynamodb", endpoint_url=server).close()
    await AWSSecrets(server).read("wordup")
    assert [path for path in read if "dynamodb" not in path] == []
