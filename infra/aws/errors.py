"""AWS's errors -> ours, for the operator's tools: what failed, and what to do about it."""

import contextlib
from collections.abc import Generator
from typing import Any

from botocore import exceptions as theirs

from infra.errors import DeploymentError

_CREDENTIALS = "Give credentials: `aws configure`, `aws sso login`, or AWS_PROFILE."
_MENDS = {
    "AccessDenied": "Ask for the right that is named, or use other credentials.",
    "AccessDeniedException": "Ask for the right that is named, or use other credentials.",
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
}


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Raises DeploymentError for whatever botocore raises within."""
    try:
        yield
    except theirs.ClientError as error:
        raise DeploymentError(f"AWS refused: {error}.", mend=_MENDS.get(code(error), "See AWS's own words.")) from error
    except (theirs.NoCredentialsError, theirs.PartialCredentialsError, theirs.TokenRetrievalError) as error:
        raise DeploymentError(f"There are no credentials for AWS: {error}.", mend=_CREDENTIALS) from error
    except theirs.BotoCoreError as error:
        raise DeploymentError(f"AWS cannot be called: {error}.", mend="Check the connection and the region.") from error


def code(error: theirs.ClientError) -> str:
    response: Any = error.response
    return response["Error"]["Code"]
