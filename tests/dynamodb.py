"""What tests and benchmarks ask of DynamoDB itself, past the store."""

import base64
import json
import re
from typing import Any

from tests.proxy import Answer, Exchange, Proxy

NAMESPACE = "com.amazonaws.dynamodb.v20120810#"


def refusal(code: str, *, status: int = 400, **fields: Any) -> Answer:
    """An error as DynamoDB answers it."""
    body = {"__type": f"{NAMESPACE}{code}", "message": "as the test has it", **fields}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.0"})


def cancellation(*codes: str) -> Answer:
    """A cancelled transaction, with a reason for each operation."""
    return refusal(
        "TransactionCanceledException", CancellationReasons=[{"Code": code, "Message": ""} for code in codes]
    )


def operation(exchange: Exchange) -> str:
    """`PutItem`, `Query`, ..."""
    return exchange.headers["X-Amz-Target"].partition(".")[2]


def operations(proxy: Proxy) -> list[str]:
    return [operation(exchange) for exchange in proxy.exchanges]


def item_bytes(item: dict[str, Any]) -> int:
    """What DynamoDB bills an item as: the UTF-8 of its names and its values; a number is half its significant digits
    and one more, and one for a minus.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(base64.b64decode(content)) if isinstance(content, str) else len(content)
        case "N":
            digits = re.sub(r"^0+|0+$", "", content.lstrip("-").replace(".", "")) or "0"
            return (len(digits) + 1) // 2 + 1 + content.startswith("-")
        case "L" | "M":
            inner = content.items() if kind == "M" else (("", element) for element in content)
            return 3 + sum(1 + len(name.encode()) + _value_bytes(element) for name, element in inner)
        case _:
            return 1
