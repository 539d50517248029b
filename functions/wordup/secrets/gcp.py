"""Google Secret Manager: `projects/<project>/secrets/<name>`, the latest version unless one is named, to its text."""

import contextlib
from collections.abc import Generator
from typing import Any

import grpc
from google.api_core.exceptions import FailedPrecondition, GoogleAPIError, NotFound, PermissionDenied, Unauthenticated
from google.auth.exceptions import GoogleAuthError
from google.cloud.secretmanager_v1.services.secret_manager_service import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
)

from wordup.errors import SecretUnavailable

READ_SECONDS = 10.0  # with the client's own retries

# What Secret Manager answers -> what the operator does about it. Anything else is named by its class.
ERRORS: dict[type[Exception], str] = {
    FailedPrecondition: "Enable the secret's latest version, or add a new one: it is disabled or destroyed.",
    NotFound: "Create the secret, or give it a value: `wordup deploy` does.",
    PermissionDenied: "Allow the function's service account secretmanager.versions.access on that secret.",
    Unauthenticated: "Run the function as its own service account.",
}
_MEND = "Try again; if it stays, look the error up in the documentation of AccessSecretVersion."


class GCPSecrets:
    """`endpoint` is `host:port` of a server without TLS on this machine; empty is Google's."""

    def __init__(self, endpoint: str = "") -> None:
        self._endpoint = endpoint

    async def read(self, name: str) -> str:
        """The connection is closed again, since what is read here is kept for minutes and nobody closes a Secrets."""
        version = name if "/versions/" in name else f"{name}/versions/latest"
        with _translated():
            async with self._client() as client:
                found = await client.access_secret_version(name=version, timeout=READ_SECONDS)
            return found.payload.data.decode()

    def _client(self) -> Any:
        if not self._endpoint:
            return SecretManagerServiceAsyncClient()
        channel = grpc.aio.insecure_channel(self._endpoint)
        return SecretManagerServiceAsyncClient(transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel))


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except GoogleAPIError as error:
        mend = ERRORS.get(type(error), _MEND)
        raise SecretUnavailable(f"Secret Manager refuses the secret: {type(error).__name__}.", mend=mend) from error
    except GoogleAuthError as error:
        raise SecretUnavailable("The function has no identity to read secrets with.") from error
    except UnicodeDecodeError as error:
        raise SecretUnavailable("The secret holds bytes where text is expected.") from error
