"""Google Secret Manager's adapter, against a gRPC server that answers as it does."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest, AccessSecretVersionResponse

from wordup.errors import SecretUnavailable
from wordup.secrets.gcp import GCPSecrets

NAME = "projects/p/secrets/wordup"


class SecretManager(grpc.GenericRpcHandler):
    """Has the versions in `held`; a status in place of one is its refusal."""

    def __init__(self) -> None:
        self.held: dict[str, bytes | grpc.StatusCode] = {}
        self._server = grpc.server(ThreadPoolExecutor(2), [self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def service(self, handler_call_details: Any) -> Any:
        assert handler_call_details.method == "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"
        return grpc.unary_unary_rpc_method_handler(
            self._access, AccessSecretVersionRequest.deserialize, AccessSecretVersionResponse.serialize
        )

    def _access(self, request: AccessSecretVersionRequest, context: grpc.ServicerContext) -> Any:
        found = self.held.get(request.name, grpc.StatusCode.NOT_FOUND)
        if isinstance(found, grpc.StatusCode):
            context.abort(found, "no")
        return AccessSecretVersionResponse(name=request.name, payload={"data": found})

    def __enter__(self) -> "SecretManager":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def manager() -> Generator[SecretManager]:
    with SecretManager() as manager:
        yield manager


async def test_latest_version_is_read_unless_one_is_named(manager: SecretManager) -> None:
    manager.held = {f"{NAME}/versions/latest": "schlüssel".encode(), f"{NAME}/versions/1": b"old"}
    secrets = GCPSecrets(manager.address)
    assert await secrets.read(NAME) == "schlüssel"
    assert await secrets.read(f"{NAME}/versions/1") == "old"


@pytest.mark.parametrize(
    ("status", "mend"),
    [
        (grpc.StatusCode.NOT_FOUND, "Create the secret"),
        (grpc.StatusCode.PERMISSION_DENIED, "secretmanager.versions.access"),
        (grpc.StatusCode.FAILED_PRECONDITION, "latest version"),
        (grpc.StatusCode.UNAUTHENTICATED, "service account"),
        (grpc.StatusCode.INVALID_ARGUMENT, "documentation"),
    ],
)
async def test_refusal_says_what_mends_it(manager: SecretManager, status: grpc.StatusCode, mend: str) -> None:
    manager.held[f"{NAME}/versions/latest"] = status
    with pytest.raises(SecretUnavailable) as unavailable:
        await GCPSecrets(manager.address).read(NAME)
    assert mend in unavailable.value.mend


async def test_secret_of_bytes_is_refused(manager: SecretManager) -> None:
    manager.held[f"{NAME}/versions/latest"] = b"\xff\xfe"
    with pytest.raises(SecretUnavailable):
        await GCPSecrets(manager.address).read(NAME)
