"""The table of DynamoDB's errors knows every one that DynamoDB has."""

import re
from typing import Any

import botocore.session
import pytest

from wordup.stores.dynamodb import ERRORS

OPERATIONS = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "TransactWriteItems"]
# Errors of every AWS service, which no model lists.
GENERAL = {"ValidationException"}


@pytest.fixture(scope="module")
def model() -> Any:
    return botocore.session.Session().get_service_model("dynamodb")


def shapes(model: Any, operation: str) -> set[str]:
    return {shape.name for shape in model.operation_model(operation).error_shapes}


def cancellation_codes(model: Any) -> set[str]:
    """They stand only in the description of the error."""
    described = re.sub(r"<[^>]+>", " ", model.shape_for("TransactionCanceledException").documentation)
    return set(re.findall(r"Code:\s+(\w+)", described)) - {"None"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_error_of_an_operation_is_in_the_table(model: Any, operation: str) -> None:
    assert len(shapes(model, operation)) >= 5
    assert shapes(model, operation) <= set(ERRORS)


def test_every_reason_of_a_cancelled_transaction_is_in_the_table(model: Any) -> None:
    assert len(cancellation_codes(model)) >= 6
    # ConditionalCheckFailed is looked at one operation after the other.
    assert cancellation_codes(model) - set(ERRORS) == {"ConditionalCheckFailed"}


def test_the_table_has_nothing_that_dynamodb_has_not(model: Any) -> None:
    known = cancellation_codes(model) | GENERAL | set[str]().union(*(shapes(model, name) for name in OPERATIONS))
    assert set(ERRORS) <= known
