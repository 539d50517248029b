"""Azure Key Vault: `https://<vault>.vault.azure.net/secrets/<name>`, with a version or the current one, to its text."""

import contextlib
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.identity.aio import DefaultAzureCredential
from azure.keyvault.secrets.aio import SecretClient

from wordup.errors import SecretUnavailable

CONNECT_SECONDS, READ_SECONDS = 2.0, 5.0
RETRIES = 2

# What Key Vault answers -> what the operator does about it. Anything else is named by its status.
ERRORS = {
    401: "Give the function an identity of the vault's tenant.",
    403: "Give the function's identity the role Key Vault Secrets User on that secret, or open the vault's network.",
    404: "Create the secret, or give it a value: `wordup deploy` does.",
}
_MEND = "Try again; if it stays, look the status up in the documentation of Get Secret."


class AzureSecrets:
    """`credential` is the function's own identity unless given; `options` go to Azure's SecretClient."""

    def __init__(self, credential: Any = None, **options: Any) -> None:
        self._credential = credential
        self._options = options

    async def read(self, name: str) -> str:
        """The connection is closed again, since what is read here is kept for minutes and nobody closes a Secrets."""
        url = urlsplit(name)
        kind, _, secret = url.path.strip("/").partition("/")
        if url.scheme != "https" or kind != "secrets" or not secret:
            raise SecretUnavailable(
                "The reference is no secret of a key vault.",
                mend="Give azure:https://<vault>.vault.azure.net/secrets/<name>.",
            )
        secret, _, version = secret.partition("/")
        with _translated():
            async with self._credential or DefaultAzureCredential() as credential:
                vault = SecretClient(
                    f"https://{url.netloc}",
                    credential,
                    connection_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retry_total=RETRIES,
                    **self._options,
                )
                async with vault:
                    return (await vault.get_secret(secret, version or None)).value or ""


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except ClientAuthenticationError as error:
        raise SecretUnavailable("Key Vault does not know the function's identity.", mend=ERRORS[401]) from error
    except HttpResponseError as error:
        mend = ERRORS.get(error.status_code or 0, _MEND)
        raise SecretUnavailable(f"Key Vault refuses the secret: status {error.status_code}.", mend=mend) from error
    except AzureError as error:
        raise SecretUnavailable("Key Vault cannot be called.") from error
