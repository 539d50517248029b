"""The deployment's secret in Secret Manager, read and written as the operator."""

import contextlib
from collections.abc import Generator, Mapping
from typing import Any

import msgspec
from google.api_core import exceptions as theirs
from google.auth.exceptions import GoogleAuthError
from google.cloud.secretmanager import SecretManagerServiceClient, SecretPayload

from infra.errors import DeploymentError

# Google's SecretManagerServiceClient, whose methods' types are half unknown.
Client = Any


def connect() -> Client:
    """By the application default credentials. Raises DeploymentError."""
    with _translated():
        return SecretManagerServiceClient()


def read(client: Client, name: str) -> dict[str, Any]:
    """The latest version, empty before the first. Raises DeploymentError."""
    with _translated():
        try:
            version = client.access_secret_version(name=f"{name}/versions/latest")
        except theirs.NotFound:
            return {}
    return msgspec.json.decode(version.payload.data, type=dict[str, Any])


def write(client: Client, name: str, value: Mapping[str, Any]) -> None:
    """A new version; those before it, which nobody reads any more, are disabled. Raises DeploymentError."""
    with _translated():
        added = client.add_secret_version(parent=name, payload=SecretPayload(data=msgspec.json.encode(value)))
        for version in client.list_secret_versions(request={"parent": name, "filter": "state:ENABLED"}):
            if _number(version.name) < _number(added.name):  # a later one is somebody else's, and what is read now
                client.disable_secret_version(name=version.name)


def _number(version: str) -> int:
    return int(version.rpartition("/")[2])


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except GoogleAuthError as error:
        raise DeploymentError(
            f"There are no credentials for Google Cloud: {error}.", mend="gcloud auth application-default login"
        ) from error
    except theirs.GoogleAPICallError as error:
        raise DeploymentError(f"Google Cloud refused: {error}.", mend="See Google's own words.") from error
