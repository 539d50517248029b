"""The table of Table Storage's errors knows every one that the service has for what the adapter does."""

from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TableErrorCode

from wordup.errors import RowTooLarge, StoreUnavailable
from wordup.stores.azure_tables import ERRORS, translated
from wordup.stores.optimistic import Lost
from wordup.stores.retry import Again

# A bug of ours, or the operator's to mend: refused at once, with the code in the sentence.
REFUSED = set(
    "AccountAlreadyExists AccountBeingCreated AccountIsDisabled AuthenticationFailed AuthorizationFailure"
    " ConditionHeadersNotSupported DuplicatePropertiesSpecified EmptyMetadataKey HostInformationNotPresent"
    " InsufficientAccountPermissions InvalidAuthenticationInfo InvalidDuplicateRow InvalidHeaderValue InvalidHttpVerb"
    " InvalidInput InvalidMd5 InvalidMetadata InvalidQueryParameterValue InvalidRange InvalidResourceName InvalidUri"
    " InvalidValueType InvalidXmlDocument InvalidXmlNodeValue JsonFormatNotSupported Md5Mismatch MetadataTooLarge"
    " MethodNotAllowed MissingContentLengthHeader MissingRequiredHeader MissingRequiredQueryParameter"
    " MissingRequiredXmlNode MultipleConditionHeadersNotSupported NoAuthenticationInformation NotImplemented"
    " OutOfRangeInput OutOfRangeQueryParameterValue PropertiesNeedValue PropertyNameInvalid PropertyNameTooLong"
    " RequestUrlFailedToParse ResourceAlreadyExists ResourceTypeMismatch TableAlreadyExists TooManyProperties"
    " UnsupportedHeader UnsupportedHttpVerb UnsupportedQueryParameter UnsupportedXmlNode XMethodIncorrectCount"
    " XMethodIncorrectValue XMethodNotUsingPost".split()
)


def answer(status: int, code: str = "") -> HttpResponseError:
    error = HttpResponseError(message="no")
    error.status_code = status
    error.error_code = TableErrorCode(code) if code else None  # type: ignore[attr-defined] - as the client sets it
    return error


def ours(error: Exception) -> Any:
    with pytest.raises(Exception) as raised, translated():  # noqa: PT011 - which one is what is asked
        raise error
    assert raised.value.__cause__ is error
    return raised.value


def test_every_code_is_in_the_table_or_refused() -> None:
    assert {code.value for code in TableErrorCode} == set(ERRORS) | REFUSED
    assert not set(ERRORS) & REFUSED


@pytest.mark.parametrize("code", sorted(REFUSED))
def test_what_is_refused_is_named(code: str) -> None:
    unavailable = ours(answer(400, code))
    assert isinstance(unavailable, StoreUnavailable)
    assert code in unavailable.sentence


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (412, "UpdateConditionNotSatisfied", Lost),
        (409, "EntityAlreadyExists", Lost),
        (404, "ResourceNotFound", Lost),
        (404, "TableNotFound", StoreUnavailable),
        (413, "RequestBodyTooLarge", RowTooLarge),
        (400, "EntityTooLarge", RowTooLarge),
        (503, "ServerBusy", Again),
        (500, "OperationTimedOut", Again),
        (502, "", Again),
        (429, "", Again),
        (403, "", StoreUnavailable),
    ],
)
def test_answer_is_ours(status: int, code: str, expected: type[Exception]) -> None:
    assert type(ours(answer(status, code))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceRequestError("no route"), Again),
        (ServiceResponseError("cut"), Again),
        (ClientAuthenticationError("who?"), StoreUnavailable),
    ],
)
def test_error_without_an_answer_is_ours(error: Exception, expected: type[Exception]) -> None:
    assert type(ours(error)) is expected
