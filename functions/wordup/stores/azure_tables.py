"""Azure Table Storage: one table, `PartitionKey` and `RowKey` as in the port, one entity-group transaction a write.

Properties: `d` the document as text, or `d00`, `d01`... its bytes where it is longer than one property; `c` the counts
as JSON, so that a decision can be made without reading the document; `v` version, `schema_version`, `expires_at`.
(`Timestamp` is the service's own.)
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TransactionOperation, UpdateMode
from azure.data.tables.aio import TableClient
from azure.identity.aio import DefaultAzureCredential

from wordup.errors import ConfigurationError, RowTooLarge, StoreUnavailable
from wordup.stores.base import SCHEMA_VERSION, Add, Operation, Page, Put, Row, check
from wordup.stores.documents import packed, unpacked
from wordup.stores.optimistic import Change, Held, Lost, lives, write
from wordup.stores.retry import Again, Retry

CONNECT_SECONDS, READ_SECONDS = 2.0, 5.0
# https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model: 64 KiB a property,
# 1 MiB an entity; .../performing-entity-group-transactions: 100 entities and 4 MiB a transaction. Azurite counts the
# bytes of an entity in base 64, too.
PART_BYTES = 64 * 1024
MAX_DATA_BYTES = 11 * PART_BYTES
MAX_COMMIT_BYTES = 3_000_000
MAX_ENTITIES = 100
MAX_PAGE = 1000
# Not a secret: the account that every Azurite has,
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
AZURITE = AzureNamedKeyCredential(
    "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_HELD = ["RowKey", "c", "v", "expires_at"]

Filter = tuple[str, dict[str, Any]]


class AzureTablesStore:
    """`endpoint` is the account's table URL: https with the function's identity, http to an Azurite on this machine.

    `clock` gives seconds since the epoch. Raises ConfigurationError.
    """

    def __init__(
        self, table: str, endpoint: str, *, clock: Callable[[], float] = time.time, retry: Retry | None = None
    ) -> None:
        url = urlsplit(endpoint)
        is_local = url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost", "::1")
        if url.scheme != "https" and not is_local:
            raise ConfigurationError(
                "WORDUP_STORE_ENDPOINT",
                f"{endpoint!r} is no table URL of a storage account.",
                mend="Give https://<account>.table.core.windows.net, or an Azurite's URL on this machine.",
            )
        self._table = table
        self._endpoint = endpoint
        self._is_local = is_local
        self._clock = clock
        self._retry = retry or Retry()
        self._closing = contextlib.AsyncExitStack()
        self._client: Any = None

    async def get(self, pk: str, sk: str) -> Row | None:
        entity = await self._entity(pk, sk)
        row = _row(entity) if entity else None
        return row if row and lives(row.expires_at, self._now()) else None

    async def write(self, pk: str, operations: list[Operation]) -> None:
        check(operations)
        await self._write(pk, operations)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        return dict(await self._write(pk, [operation]))

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        partition: Filter = ("PartitionKey eq @pk", {"pk": pk})
        rows = await self._collected([[partition, *_range("RowKey", prefix, cursor)]], limit + 1)
        return Page(rows[:limit], rows[limit - 1].sk if len(rows) > limit else None)

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        if cursor is None:
            parts = [_range("PartitionKey", prefix, None)]
        else:  # the rest of its partition, then those behind: one filter with `or` would read the whole table
            pk, sk = msgspec.json.decode(cursor, type=tuple[str, str])
            rest: list[Filter] = [("PartitionKey eq @pk", {"pk": pk}), ("RowKey gt @sk", {"sk": sk})]
            parts = [rest, _range("PartitionKey", prefix, pk)]
        rows = await self._collected(parts, limit + 1)
        more = msgspec.json.encode([rows[limit - 1].pk, rows[limit - 1].sk]).decode() if len(rows) > limit else None
        return Page(rows[:limit], more)

    async def purge(self, *, limit: int) -> int:
        """A row that was written again since it was found stays."""
        expired: Filter = ("expires_at le @now", {"now": datetime.fromtimestamp(self._now(), UTC)})
        found = await self._entities([expired], limit, lambda _: True, select=["PartitionKey", "RowKey"])
        purged = 0
        for pk, entities in itertools.groupby(found, lambda entity: entity["PartitionKey"]):
            for group in itertools.batched(entities, MAX_ENTITIES, strict=False):
                deletes = [_delete(pk, entity["RowKey"], entity.metadata["etag"]) for entity in group]
                with contextlib.suppress(Lost):
                    await self._called(lambda deletes=deletes: self._connected().submit_transaction(deletes))
                    purged += len(group)
        return purged

    async def close(self) -> None:
        self._client = None
        await self._closing.aclose()

    def _now(self) -> int:
        return int(self._clock())

    def _connected(self) -> Any:
        if self._client is None:
            credential: Any = AZURITE if self._is_local else DefaultAzureCredential()
            self._client = TableClient(
                self._endpoint,
                self._table,
                credential=credential,
                retry_total=0,  # ours are in one place, with the conditions they need
                connection_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
            )
            if not self._is_local:
                self._closing.push_async_callback(credential.close)
            self._closing.push_async_callback(self._client.close)
        return self._client

    async def _write(self, pk: str, operations: list[Operation]) -> Mapping[str, int]:
        async def read(sks: list[str]) -> dict[str, Held]:
            found = await asyncio.gather(*(self._entity(pk, sk, select=_HELD) for sk in sks))
            return {entity["RowKey"]: _held(entity) for entity in found if entity}

        async def commit(wanted: list[Change], version: str) -> None:
            staged = [_staged(pk, change, version) for change in wanted]
            size = sum(_data_bytes(entity) for _, entity, _ in staged)
            if size > MAX_COMMIT_BYTES:
                raise RowTooLarge("The rows are together larger than the database takes in one write.")
            await self._called(lambda: self._connected().submit_transaction(staged))

        return await write(operations, self._now(), read=read, commit=commit, blind=_is_blind)

    async def _entity(self, pk: str, sk: str, **options: Any) -> Any:
        async def get() -> Any:
            try:
                return await self._connected().get_entity(pk, sk, **options)
            except ResourceNotFoundError as error:
                if _code(error) == "TableNotFound":
                    raise
                return None

        return await self._called(get)

    async def _collected(self, parts: list[list[Filter]], count: int) -> list[Row]:
        """The first `count` living rows of several ranges, one range after the other."""
        now = self._now()
        entities: list[Any] = []
        for filters in parts:
            if len(entities) < count:
                entities += await self._entities(
                    filters, count - len(entities), lambda entity: lives(_seconds(entity.get("expires_at")), now)
                )
        return [_row(entity) for entity in entities]

    async def _entities(
        self, filters: list[Filter], count: int, wanted: Callable[[Any], bool], **options: Any
    ) -> list[Any]:
        condition = " and ".join(text for text, _ in filters)
        parameters = {name: value for _, values in filters for name, value in values.items()}

        async def find() -> list[Any]:
            found: list[Any] = []
            pages = self._connected().query_entities(
                condition, parameters=parameters, results_per_page=min(count, MAX_PAGE), **options
            )
            async for entity in pages:
                if wanted(entity):
                    found.append(entity)
                if len(found) == count:
                    break
            return found

        return await self._called(find)

    async def _called(self, call: Callable[[], Any]) -> Any:
        async def attempt() -> Any:
            with translated():
                return await call()

        return await self._retry.run(attempt)


def _is_blind(operation: Operation) -> bool:
    """Table Storage puts whether or not there is an entity, but a delete of none would refuse the transaction."""
    return isinstance(operation, Put) and not operation.if_absent and operation.if_version is None


def _range(name: str, prefix: str, after: str | None) -> list[Filter]:
    """Keys that begin with `prefix` and come after `after`."""
    low: Filter = (f"{name} ge @low", {"low": prefix}) if after is None else (f"{name} gt @low", {"low": after})
    # The least key above all that begin so: keys are ASCII, and Table Storage takes no character above it.
    return [low, (f"{name} lt @high", {"high": prefix[:-1] + chr(ord(prefix[-1]) + 1)})] if prefix else [low]


def _staged(pk: str, change: Change, version: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    if change.delete:
        return _delete(pk, change.sk, change.held.tag if change.held else "*")
    entity: dict[str, Any] = {"PartitionKey": pk, "RowKey": change.sk, "v": version}
    entity["c"] = msgspec.json.encode(change.counts).decode()
    if change.expires_at is not None:
        entity["expires_at"] = datetime.fromtimestamp(change.expires_at, UTC)
    mode = UpdateMode.MERGE
    if change.data is not None:
        mode = UpdateMode.REPLACE
        entity |= {"schema_version": SCHEMA_VERSION, **_parts(packed(change.data))}
    if change.guarded and change.held:
        return TransactionOperation.UPDATE, entity, {"mode": mode, **_unchanged(change.held.tag)}
    if change.guarded:
        return TransactionOperation.CREATE, entity, {}
    return TransactionOperation.UPSERT, entity, {"mode": mode}


def _delete(pk: str, sk: str, etag: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    return TransactionOperation.DELETE, {"PartitionKey": pk, "RowKey": sk}, _unchanged(etag)


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _parts(document: str | bytes) -> dict[str, str | bytes]:
    if isinstance(document, str):
        return {"d": document}
    if len(document) > MAX_DATA_BYTES:
        raise RowTooLarge
    starts = range(0, len(document), PART_BYTES)
    return {f"d{number:02}": document[start : start + PART_BYTES] for number, start in enumerate(starts)}


def _data_bytes(entity: Mapping[str, Any]) -> int:
    return sum(len(value) for name, value in entity.items() if name.startswith("d"))


def _row(entity: Any) -> Row:
    parts = [entity[name] for name in sorted(entity) if name.startswith("d")]
    return Row(
        pk=entity["PartitionKey"],
        sk=entity["RowKey"],
        data=unpacked(parts[0] if isinstance(parts[0], str) else b"".join(parts)),
        counts=msgspec.json.decode(entity["c"]),
        expires_at=_seconds(entity.get("expires_at")),
        version=entity["v"],
        schema_version=entity["schema_version"],
    )


def _held(entity: Any) -> Held:
    return Held(
        tag=entity.metadata["etag"],
        version=entity["v"],
        counts=msgspec.json.decode(entity["c"]),
        expires_at=_seconds(entity.get("expires_at")),
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Azure's errors -> ours: what Table Storage answered by the table below, a broken connection again."""
    try:
        yield
    except (ServiceRequestError, ServiceResponseError) as error:
        raise Again from error
    except HttpResponseError as error:
        raise _ours(_code(error), error.status_code or 0) from error
    except AzureError as error:
        raise _refused(type(error).__name__) from error


def _code(error: HttpResponseError) -> str:
    code: Any = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _ours(code: str, status: int) -> Exception:
    if code in ERRORS:
        return ERRORS[code]()
    return Again() if status in (408, 429) or status >= 500 else _refused(code or str(status))


def _missing() -> Exception:
    return StoreUnavailable("The table is not there.", mend="The operator deploys it, or mends WORDUP_TABLE.")


def _refused(code: str) -> Exception:
    return StoreUnavailable(
        f"The database refused the request: {code}.",
        mend="The operator checks the function's rights on the table; the log has the database's own words.",
    )


# What Table Storage answers -> ours. Any 5xx that is not here is Again, anything else refused.
ERRORS: dict[str, Callable[[], Exception]] = {
    "ConditionNotMet": Lost,
    "EntityAlreadyExists": Lost,
    "EntityNotFound": Lost,
    "ResourceNotFound": Lost,
    "UpdateConditionNotSatisfied": Lost,
    "EntityTooLarge": RowTooLarge,
    "PropertyValueTooLarge": RowTooLarge,
    "RequestBodyTooLarge": RowTooLarge,
    "InternalError": Again,
    "OperationTimedOut": Again,
    "ServerBusy": Again,
    "TableBeingDeleted": _missing,
    "TableNotFound": _missing,
}
