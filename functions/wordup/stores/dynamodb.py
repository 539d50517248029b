"""DynamoDB: one on-demand table with the keys `pk` and `sk` and the TTL attribute `e`.

One operation alone goes through the single-item API, at half the price of a transaction.
"""

import asyncio
import contextlib
import functools
import secrets
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.config
import botocore.exceptions
import msgspec

from wordup.aws_session import new_session
from wordup.errors import RowTooLarge, StoreUnavailable
from wordup.stores.base import Add, Delete, Operation, Page, Row, check
from wordup.stores.dynamodb_items import LIVE, Attributes, counts, failure, key, lives, row, values, write_request
from wordup.stores.retry import Again, Retry

THREADS = 16
CONNECT_SECONDS, READ_SECONDS = 1.0, 3.0
_FIRST, _LAST = " ", "\x7f"  # around every printable character of a key
_METHODS = {"Put": "put_item", "Delete": "delete_item", "Update": "update_item"}


class _Refused(Exception):
    """A condition did not hold. For each operation the row that it met, {} for none; None where it was content."""

    def __init__(self, met: list[Attributes | None]) -> None:
        super().__init__()
        self.met = met


class DynamoDBStore:
    """`endpoint` is a URL; empty is the region's own. `clock` gives seconds since the epoch."""

    def __init__(
        self, table: str, endpoint: str = "", *, clock: Callable[[], float] = time.time, retry: Retry | None = None
    ) -> None:
        self._table = table
        self._endpoint = endpoint
        self._clock = clock
        self._retry = retry or Retry()
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="dynamodb")
        self._connecting = threading.Lock()
        self._client: Any = None

    async def get(self, pk: str, sk: str) -> Row | None:
        found = await self._read("get_item", Key=key(pk, sk), ConsistentRead=True)
        return row(found["Item"]) if "Item" in found and lives(found["Item"], self._now()) else None

    async def write(self, pk: str, operations: list[Operation]) -> None:
        check(operations)
        if operations:
            await self._write(pk, operations)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        return counts(await self._write(pk, [operation]))

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        low, high = max(prefix, f"{cursor}{_FIRST}" if cursor else _FIRST), f"{prefix}{_LAST}"
        rows: list[Row] = []
        size = limit + 1  # one more tells whether anything follows
        while low <= high and len(rows) <= limit:
            found = await self._read(
                "query",
                KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
                FilterExpression=LIVE,
                ExpressionAttributeValues=values({":pk": pk, ":low": low, ":high": high, ":now": self._now()}),
                Limit=size,
                ConsistentRead=True,
            )
            rows += map(row, found["Items"])
            if "LastEvaluatedKey" not in found:
                break
            low = found["LastEvaluatedKey"]["sk"]["S"] + _FIRST
            size *= 2  # thousands of expired rows may follow
        return Page(rows[:limit], rows[limit - 1].sk if len(rows) > limit else None)

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        start = {"ExclusiveStartKey": key(*msgspec.json.decode(cursor))} if cursor else {}
        wanted = f"{LIVE} AND begins_with(pk, :prefix)" if prefix else LIVE
        rows: list[Row] = []
        size = limit + 1
        while len(rows) <= limit:
            found = await self._read(
                "scan",
                FilterExpression=wanted,
                ExpressionAttributeValues=values({":now": self._now()} | ({":prefix": prefix} if prefix else {})),
                Limit=size,
                ConsistentRead=True,
                **start,
            )
            rows += map(row, found["Items"])
            if "LastEvaluatedKey" not in found:
                break
            start = {"ExclusiveStartKey": found["LastEvaluatedKey"]}
            size *= 2
        more = len(rows) > limit
        return Page(
            rows[:limit], msgspec.json.encode([rows[limit - 1].pk, rows[limit - 1].sk]).decode() if more else None
        )

    async def purge(self, *, limit: int) -> int:  # noqa: ARG002 - DynamoDB removes them by itself
        return 0

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        if self._client is not None:
            self._client.close()

    def _now(self) -> int:
        return int(self._clock())

    async def _read(self, method: str, **arguments: Any) -> Attributes:
        return await self._retry.run(lambda: self._call(method, **arguments, TableName=self._table))

    async def _write(self, pk: str, operations: list[Operation]) -> Attributes:
        """Gives the row that a single operation left.

        A repeated call must not apply twice when the answer to the first was lost. A transaction has a token for
        that; a row written alone shows its version. A conditional delete leaves nothing to show, hence a transaction.
        """
        single = len(operations) == 1 and not _is_conditional_delete(operations[0])
        version, token, now = secrets.token_urlsafe(6), secrets.token_urlsafe(16), self._now()
        stale: set[str] = set()

        async def attempt() -> Attributes:
            nonlocal token
            requests = [
                write_request(pk, operation, version, now, stale=operation.sk in stale) for operation in operations
            ]
            try:
                if single:
                    return await self._write_one(*requests[0])
                items = [{kind: {**arguments, "TableName": self._table}} for kind, arguments in requests]
                return await self._call("transact_write_items", TransactItems=items, ClientRequestToken=token)
            except _Refused as refused:
                for operation, met in zip(operations, refused.met, strict=True):
                    if met is None:
                        continue
                    if single and met.get("v") == {"S": version}:
                        return met
                    if failed := failure(operation, met, now):
                        raise failed from refused
                    # An Add whose row expired, or came to life since: again, from nothing where it expired.
                    (stale.add if met and not lives(met, now) else stale.discard)(operation.sk)
                token = secrets.token_urlsafe(16)
                raise Again from refused

        return await self._retry.run(attempt)

    async def _write_one(self, kind: str, arguments: Attributes) -> Attributes:
        wanted = {"ReturnValues": "ALL_NEW"} if kind == "Update" else {}
        done = await self._call(_METHODS[kind], **arguments, **wanted, TableName=self._table)
        return done.get("Attributes") or arguments.get("Item", {})

    async def _call(self, method: str, **arguments: Any) -> Attributes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(self._send, method, arguments))

    def _send(self, method: str, arguments: Attributes) -> Attributes:
        with _translated():
            return getattr(self._connected(), method)(**arguments)

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                self._client = new_session().create_client(
                    "dynamodb",
                    endpoint_url=self._endpoint or None,
                    config=botocore.config.Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                        max_pool_connections=THREADS,
                        retries={"total_max_attempts": 1},  # ours are in one place, with the conditions they need
                    ),
                )
            return self._client


def _is_conditional_delete(operation: Operation) -> bool:
    return isinstance(operation, Delete) and (operation.must_exist or operation.if_version is not None)


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """botocore's errors -> ours: what DynamoDB answered by the table below, a broken connection again."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        answer: Any = error.response
        if answer["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise Again from error
        raise ERRORS.get(answer["Error"]["Code"], _unexpected)(answer) from error
    except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError) as error:
        raise Again from error
    except botocore.exceptions.BotoCoreError as error:
        raise StoreUnavailable(f"The database cannot be called: {error}") from error


def _again(_: Attributes) -> Exception:
    return Again()


def _refused(answer: Attributes) -> Exception:
    return _Refused([answer.get("Item", {})])


def _cancelled(answer: Attributes) -> Exception:
    reasons = answer["CancellationReasons"]
    for reason in reasons:
        if reason["Code"] not in ("None", "ConditionalCheckFailed"):
            # The condition of that row was not looked at, so it is too early to name the first that fails.
            return ERRORS.get(reason["Code"], _unexpected)({"Error": reason})
    return _Refused([None if reason["Code"] == "None" else reason.get("Item", {}) for reason in reasons])


def _invalid(answer: Attributes) -> Exception:
    message = answer["Error"]["Message"]
    return RowTooLarge() if "size" in message and "exceed" in message else _unexpected(answer)


def _missing(_: Attributes) -> Exception:
    return StoreUnavailable("The table is not there.", mend="The operator deploys it, or mends WORDUP_TABLE.")


def _unexpected(answer: Attributes) -> Exception:
    return StoreUnavailable(
        f"The database refused the request: {answer['Error']['Code']}.",
        mend="The operator checks the function's rights on the table; the log has the database's own words.",
    )


# What DynamoDB answers, or cancels a transaction for -> ours. Any 5xx is Again.
ERRORS: dict[str, Callable[[Attributes], Exception]] = {
    "ConditionalCheckFailedException": _refused,
    "TransactionCanceledException": _cancelled,
    "ValidationException": _invalid,
    "ValidationError": _invalid,
    "ResourceNotFoundException": _missing,
    "ProvisionedThroughputExceededException": _again,
    "ProvisionedThroughputExceeded": _again,
    "RequestLimitExceeded": _again,
    "ThrottlingException": _again,
    "ThrottlingError": _again,
    "TransactionConflictException": _again,
    "TransactionConflict": _again,
    "TransactionInProgressException": _again,
    "ReplicatedWriteConflictException": _again,
    "InternalServerError": _again,
    "IdempotentParameterMismatchException": _unexpected,
    "ItemCollectionSizeLimitExceededException": _unexpected,  # only with a local secondary index
    "ItemCollectionSizeLimitExceeded": _unexpected,
}
