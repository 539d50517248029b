"""The store port: what SQLite, DynamoDB, Firestore and Table Storage all do natively, and nothing else.

A row lives under a partition key `pk` and a sort key `sk`, both printable ASCII without `/ \\ # ? %` and at most 512
characters. It holds a JSON document (`data`) and named 64-bit integers (`counts`), may expire, and carries the
`schema_version` it was written with. Sort order is that of the ASCII text of `sk`; what wants the newest first puts
that into the key.

Edge cases, the same in every adapter:

* A row whose `expires_at` has passed does not exist: reads hide it, `if_absent` and `must_exist` take it for absent,
  and an `Add` to it starts from nothing, although the database may delete it much later.
* `version` is opaque and differs after every write of the row, an `Add` included.
* `write` applies all its operations or none. Where several conditions fail, the error names the first in list order.
  A row may appear once in a write; at most 25 operations; else ValueError, before anything is sent.
* Deleting what is not there is no error, unless `must_exist` or `if_version` asks for it.
* An `Add` whose result would pass a ceiling fails with CeilingReached and changes nothing; a negative or zero delta
  is never refused. A count that is not there is 0. `Add` leaves `data` alone, and `expires_at` too where the row has
  one.
* `Put` replaces the whole row, its counts included.
* Text is any Unicode that UTF-8 can encode, U+0000 included. A row carries at least 256 KiB of it; what the database
  cannot take raises RowTooLarge.
* Throttling and lost optimistic races inside an adapter are retried with backoff and jitter, then StoreUnavailable.
* A call that is cancelled may still have happened.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

SCHEMA_VERSION = 1
MAX_OPERATIONS = 25


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a read returns. `expires_at` is in whole seconds since the epoch; None is kept for ever."""

    pk: str
    sk: str
    data: dict[str, Any] = {}
    counts: dict[str, int] = {}
    expires_at: int | None = None
    version: str
    schema_version: int = SCHEMA_VERSION


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Writes a whole row. `if_absent`: only where there is none; `if_version`: only over that very version."""

    sk: str
    data: Mapping[str, Any] = {}
    counts: Mapping[str, int] = {}
    expires_at: int | None = None
    if_absent: bool = False
    if_version: str | None = None


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    sk: str
    must_exist: bool = False
    if_version: str | None = None


class Add(msgspec.Struct, frozen=True, kw_only=True):
    """Adds to counts, creating the row (with `expires_at`) where there is none, unless `must_exist`."""

    sk: str
    counts: Mapping[str, int]
    ceilings: Mapping[str, int] = {}
    expires_at: int | None = None
    must_exist: bool = False


Operation = Put | Delete | Add


def check(operations: list[Operation]) -> None:
    """Raises ValueError for a write that no database takes: a use case's bug, not the caller's."""
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(f"{len(operations)} operations in one write; at most {MAX_OPERATIONS} fit")
    if len({operation.sk for operation in operations}) < len(operations):
        raise ValueError("a row may appear only once in a write")


class Page(msgspec.Struct, frozen=True):
    """`cursor` continues after the last row; None when nothing follows. A page may be short and still have one."""

    rows: list[Row]
    cursor: str | None


class Store(Protocol):
    """Every method may raise StoreUnavailable. Nothing connects before the first call."""

    async def get(self, pk: str, sk: str) -> Row | None:
        """A strongly consistent point read."""
        ...

    async def write(self, pk: str, operations: list[Operation]) -> None:
        """All or nothing within one partition. Raises ConditionFailed, CeilingReached, RowTooLarge."""
        ...

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        """One `Add`, giving the row's counts after it. Raises ConditionFailed, CeilingReached."""
        ...

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        """Rows of one partition whose `sk` begins with `prefix`, ascending, strongly consistent, at most `limit`."""
        ...

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        """Rows of every partition whose `pk` begins with `prefix`, in any order. The operator's, not a turn's."""
        ...

    async def purge(self, *, limit: int) -> int:
        """Removes at most `limit` expired rows and tells how many; 0 where the database removes them by itself."""
        ...

    async def close(self) -> None: ...


async def every(store: Store, pk: str, prefix: str, *, page: int = 100) -> AsyncIterator[Row]:
    """All rows of a partition under a prefix, fetched page by page."""
    cursor = None
    while True:
        found = await store.query(pk, prefix, limit=page, cursor=cursor)
        for row in found.rows:
            yield row
        if (cursor := found.cursor) is None:
            return


async def delete_all(store: Store, pk: str, prefix: str, *, keep: str | None = None) -> int:
    """Deletes every row of a partition under a prefix but `keep`, in writes of at most MAX_OPERATIONS; tells how
    many. What is written behind the cursor meanwhile stays."""
    total = 0
    batch: list[Operation] = []
    async for row in every(store, pk, prefix):
        if row.sk == keep:
            continue
        batch.append(Delete(sk=row.sk))
        if len(batch) == MAX_OPERATIONS:
            await store.write(pk, batch)
            total, batch = total + len(batch), []
    if batch:
        await store.write(pk, batch)
    return total + len(batch)
