"""Azure Key Vault's adapter, against an HTTPS server that answers as it does."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from tests import key_vault
from tests.key_vault import TOKEN, KeyVault
from wordup.errors import SecretUnavailable
from wordup.secrets.azure import AzureSecrets


class Identity:
    """The function's own, as far as Key Vault asks for it."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(TOKEN, 2**33)

    async def __aenter__(self) -> "Identity":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key_vault.certificate(tmp_path_factory.mktemp("vault"))


@pytest.fixture
def vault(certificate: Path) -> Generator[KeyVault]:
    with key_vault.started(certificate) as vault:
        yield vault


@pytest.fixture
def secrets(certificate: Path) -> AzureSecrets:
    # A vault's challenge must name Azure's domain; this one is on this machine.
    return AzureSecrets(Identity(), connection_verify=str(certificate), verify_challenge_resource=False)


async def test_current_version_is_read_unless_one_is_named(vault: KeyVault, secrets: AzureSecrets) -> None:
    vault.held = {"/secrets/wordup": "schlüssel", "/secrets/wordup/1": "old"}
    assert await secrets.read(f"{vault.url}/secrets/wordup") == "schlüssel"
    assert await secrets.read(f"{vault.url}/secrets/wordup/1") == "old"


@pytest.mark.parametrize(
    ("status", "mend"), [(404, "Create the secret"), (403, "Key Vault Secrets User"), (400, "documentation")]
)
async def test_refusal_says_what_mends_it(vault: KeyVault, secrets: AzureSecrets, status: int, mend: str) -> None:
    vault.held["/secrets/wordup"] = status
    with pytest.raises(SecretUnavailable) as unavailable:
        await secrets.read(f"{vault.url}/secrets/wordup")
    assert mend in unavailable.value.mend


async def test_vault_that_is_not_there_cannot_be_called(vault: KeyVault, secrets: AzureSecrets) -> None:
    vault.server_close()
    with pytest.raises(SecretUnavailable, match="cannot be called"):
        await secrets.read(f"{vault.url}/secrets/wordup")


@pytest.mark.parametrize(
    "name", ["wordup", "http://v.vault.azure.net/secrets/a", "https://v.vault.azure.net/keys/a", "https://v/secrets/"]
)
async def test_what_is_no_secret_of_a_vault_is_refused(secrets: AzureSecrets, name: str) -> None:
    with pytest.raises(SecretUnavailable, match="no secret of a key vault"):
        await secrets.read(name)
