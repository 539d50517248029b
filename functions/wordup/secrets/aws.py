"""AWS Secrets Manager: a secret's name, or its ARN, to its current text."""

import asyncio
import contextlib
import threading
from collections.abc import Generator
from typing import Any

from wordup.errors import SecretUnavailable

CONNECT_SECONDS, READ_SECONDS = 1.0, 3.0
ATTEMPTS = 3

# What Secrets Manager refuses with -> what the operator does about it.
ERRORS = {
    "AccessDeniedException": "Allow the function's role secretsmanager:GetSecretValue on that secret.",
    "DecryptionFailure": "Allow the function's role kms:Decrypt on the secret's key.",
    "InternalServiceError": "Wait: Secrets Manager itself has trouble.",
    "InvalidParameterException": "Give the secret's name, or its ARN, in the reference.",
    "InvalidRequestException": "Restore the secret, which is scheduled for deletion.",
    "ResourceNotFoundException": "Create the secret, or give it its first value: `wordup deploy` does both.",
}


class AWSSecrets:
    """`endpoint` is a URL; empty is the region's own."""

    def __init__(self, endpoint: str = "") -> None:
        self._endpoint = endpoint
        self._connecting = threading.Lock()
        self._client: Any = None

    async def read(self, name: str) -> str:
        return await asyncio.to_thread(self._read, name)

    def _read(self, name: str) -> str:
        with _translated():
            return self._connected().get_secret_value(SecretId=name)["SecretString"]

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                import botocore.config

                from wordup.aws_session import new_session

                self._client = new_session().create_client(
                    "secretsmanager",
                    endpoint_url=self._endpoint or None,
                    config=botocore.config.Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    ),
                )
            return self._client


@contextlib.contextmanager
def _translated() -> Generator[None]:
    from botocore import exceptions as theirs

    try:
        yield
    except theirs.ClientError as error:
        response: Any = error.response
        code = response["Error"]["Code"]
        raise SecretUnavailable(f"Secrets Manager refuses the secret: {code}.", mend=ERRORS.get(code)) from error
    except theirs.BotoCoreError as error:
        raise SecretUnavailable("Secrets Manager cannot be called.") from error
    except KeyError as error:
        raise SecretUnavailable("The secret holds bytes where text is expected.") from error
