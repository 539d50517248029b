"""The deployment's secret in Key Vault, read and written as the operator."""

from collections.abc import Mapping
from typing import Any

import msgspec
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient


def connect(vault_url: str) -> SecretClient:
    """By the login of `az`, or the variables of a service principal."""
    return SecretClient(vault_url, DefaultAzureCredential())


def read(client: SecretClient, name: str) -> dict[str, Any]:
    """The current version, empty before the first. Raises Azure's own errors."""
    try:
        text = client.get_secret(name).value
    except ResourceNotFoundError:
        return {}
    return msgspec.json.decode(text or "{}", type=dict[str, Any])


def write(client: SecretClient, name: str, value: Mapping[str, Any]) -> None:
    """A new version; those before it, which nobody reads any more, are disabled. Raises Azure's own errors."""
    text = msgspec.json.encode(value).decode()
    now = client.set_secret(name, text, content_type="application/json").properties.created_on
    assert now is not None  # the service always tells
    for version in client.list_properties_of_secret_versions(name):
        # One of the same second, or a later one, may be somebody else's, and what is read now.
        if version.enabled and (version.created_on or now) < now:
            client.update_secret_properties(name, version.version, enabled=False)
