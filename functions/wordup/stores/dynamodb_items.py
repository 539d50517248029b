"""Rows and operations in DynamoDB's terms: items, keys, conditions. Nothing here calls it.

Attribute names are short because DynamoDB bills their bytes: `d` the document, `c_<name>` a count, `e` expires_at,
`v` version, `s` schema_version.
"""

from collections.abc import Mapping
from typing import Any

from wordup.errors import CeilingReached, ConditionFailed, RowTooLarge
from wordup.stores.base import SCHEMA_VERSION, Add, Delete, Operation, Put, Row
from wordup.stores.documents import packed, unpacked

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html: 400 KB an item.
MAX_ITEM_BYTES = 400 * 1024

# What lives and what does not, whether or not DynamoDB has come round to deleting it.
LIVE = "(attribute_not_exists(e) OR e > :now)"
GONE = "(attribute_not_exists(pk) OR e <= :now)"

Attributes = dict[str, Any]  # DynamoDB's typed form: {"n": {"N": "1"}}
Request = tuple[str, Attributes]  # Put, Delete or Update, and its arguments, the same for an item and a transaction


def write_request(pk: str, operation: Operation, version: str, now: int, *, stale: bool) -> Request:
    """One operation. `stale`: an Add that starts from nothing, over a row that expired. Raises RowTooLarge."""
    match operation:
        case Put():
            item = _item(pk, operation, operation.data, version)
            return _conditional("Put", {"Item": item}, *_conditions(operation, now))
        case Delete():
            return _conditional("Delete", {"Key": key(pk, operation.sk)}, *_conditions(operation, now))
        case Add() if stale:
            return _conditional("Put", {"Item": _item(pk, operation, {}, version)}, [GONE], {":now": now})
        case Add():
            return _update(pk, operation, version, now)


def failure(operation: Operation, met: Attributes, now: int) -> Exception | None:
    """Why an operation that met this row ({}: none) was refused; None where it is only to be repeated."""
    if not isinstance(operation, Add):
        return ConditionFailed(operation.sk)
    live = bool(met) and lives(met, now)
    if operation.must_exist and not live:
        return ConditionFailed(operation.sk)
    before = counts(met) if live else {}
    for field, delta in operation.counts.items():
        result = before.get(field, 0) + delta
        if delta > 0 and result > operation.ceilings.get(field, result):
            return CeilingReached(operation.sk, field)
    return None


def key(pk: str, sk: str) -> Attributes:
    return values({"pk": pk, "sk": sk})


def values(plain: Mapping[str, str | int]) -> Attributes:
    return {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in plain.items()}


def row(item: Attributes) -> Row:
    return Row(
        pk=item["pk"]["S"],
        sk=item["sk"]["S"],
        data=_document(item.get("d", {})),
        counts=counts(item),
        expires_at=int(item["e"]["N"]) if "e" in item else None,
        version=item["v"]["S"],
        schema_version=int(item["s"]["N"]),
    )


def counts(item: Attributes) -> dict[str, int]:
    return {name[2:]: int(value["N"]) for name, value in item.items() if name.startswith("c_")}


def lives(item: Attributes, now: int) -> bool:
    return "e" not in item or int(item["e"]["N"]) > now


def _document(value: Attributes) -> dict[str, Any]:
    return unpacked(value["B"] if "B" in value else value["S"]) if value else {}


def _item(pk: str, operation: Put | Add, data: Mapping[str, Any], version: str) -> Attributes:
    item = key(pk, operation.sk) | values({"v": version, "s": SCHEMA_VERSION})
    item |= values({f"c_{field}": count for field, count in operation.counts.items()})
    if operation.expires_at is not None:
        item |= values({"e": operation.expires_at})
    if data:
        document = packed(data)
        if len(document) > MAX_ITEM_BYTES:
            raise RowTooLarge
        item["d"] = {"S" if isinstance(document, str) else "B": document}
    return item


def _conditions(operation: Put | Delete, now: int) -> tuple[list[str], dict[str, str | int]]:
    conditions: list[str] = []
    used: dict[str, str | int] = {}
    if isinstance(operation, Put) and operation.if_absent:
        conditions.append(GONE)
        used[":now"] = now
    if isinstance(operation, Delete) and operation.must_exist:
        conditions += ["attribute_exists(pk)", LIVE]
        used[":now"] = now
    if operation.if_version is not None:
        conditions += ["v = :old", LIVE]
        used |= {":old": operation.if_version, ":now": now}
    return conditions, used


def _update(pk: str, operation: Add, version: str, now: int) -> Request:
    names: dict[str, str] = {}
    used: dict[str, str | int] = {":now": now, ":v": version, ":s": SCHEMA_VERSION}
    # The version tells a repeated call that the first, whose answer was lost, did happen.
    conditions = [LIVE, "(attribute_not_exists(v) OR v <> :v)"]
    if operation.must_exist:
        conditions.append("attribute_exists(pk)")
    settings = ["v = :v", "s = :s"]
    if operation.expires_at is not None:
        settings.append("e = if_not_exists(e, :e)")
        used[":e"] = operation.expires_at
    for index, (field, delta) in enumerate(operation.counts.items()):
        name = f"#c{index}"
        names[name] = f"c_{field}"
        used[f":d{index}"] = delta
        if delta > 0 and field in operation.ceilings:
            used[f":m{index}"] = room = operation.ceilings[field] - delta
            within = f"{name} <= :m{index}"
            conditions.append(f"(attribute_not_exists({name}) OR {within})" if room >= 0 else within)
    arguments: Attributes = {"Key": key(pk, operation.sk), "UpdateExpression": f"SET {', '.join(settings)}"}
    if names:
        arguments["ExpressionAttributeNames"] = names
        arguments["UpdateExpression"] += " ADD " + ", ".join(f"#c{index} :d{index}" for index in range(len(names)))
    return _conditional("Update", arguments, conditions, used)


def _conditional(kind: str, arguments: Attributes, conditions: list[str], used: Mapping[str, str | int]) -> Request:
    if conditions:
        arguments["ConditionExpression"] = " AND ".join(conditions)
        arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        arguments["ExpressionAttributeValues"] = values(used)
    return kind, arguments
