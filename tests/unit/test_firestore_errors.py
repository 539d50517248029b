"""The table of Firestore's errors knows every status that gRPC has, and what the client raises by itself."""

import grpc
import pytest
from google.api_core import exceptions as theirs
from google.auth.exceptions import DefaultCredentialsError

from wordup.errors import StoreUnavailable
from wordup.stores.firestore import COMMIT_ERRORS, READ_ERRORS, translated
from wordup.stores.optimistic import Lost
from wordup.stores.retry import Again

PASSING = {"ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"}
LOST = {"ABORTED", "ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND"}
REFUSED = {"DATA_LOSS", "INVALID_ARGUMENT", "OUT_OF_RANGE", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_every_status_is_one_of_our_errors(status: grpc.StatusCode) -> None:
    error = theirs.from_grpc_status(status, "no")
    assert status.name in PASSING | LOST | REFUSED
    with pytest.raises(Again if status.name in PASSING else StoreUnavailable), translated(READ_ERRORS):
        raise error
    expected = Lost if status.name in LOST else Again if status.name in PASSING else StoreUnavailable
    with pytest.raises(expected), translated(COMMIT_ERRORS):
        raise error


@pytest.mark.parametrize(
    "error", [DefaultCredentialsError("none"), OSError("Project was not passed"), theirs.RetryError("late", None)]
)
def test_what_the_client_raises_by_itself_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as unavailable, translated(READ_ERRORS):
        raise error
    assert type(error).__name__ in unavailable.value.sentence
    assert unavailable.value.__cause__ is error
