"""SQLite, for the self-hosted home: one file, one table, on the event loop.

A call takes less time than handing it to a thread would, because none waits for the disk: a commit survives the end of
the process, and a thread brings it to the disk within the next second (docs/adr/0008-sqlite-on-the-event-loop.md).
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wordup import logs
from wordup.errors import CeilingReached, ConditionFailed, RowTooLarge, StoreUnavailable
from wordup.stores.base import SCHEMA_VERSION, Add, Delete, Operation, Page, Put, Row, check

T = TypeVar("T")
BUSY_SECONDS = 5.0
BUSY_POLL_SECONDS = 0.005
SYNC_SECONDS = 0.5
# Half a second of writes is less; SQLite's own checkpoints, in a commit, would hold up every turn.
LOG_PAGES = 16_384

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    pk TEXT NOT NULL, sk TEXT NOT NULL, data TEXT NOT NULL, counts TEXT NOT NULL,
    expires_at INTEGER, version TEXT NOT NULL, schema_version INTEGER NOT NULL,
    PRIMARY KEY (pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_expiry ON rows (expires_at) WHERE expires_at IS NOT NULL;
"""
_SELECT = "SELECT pk, sk, data, counts, expires_at, version, schema_version FROM rows"
_LIVING = "(expires_at IS NULL OR expires_at > ?)"
_GET = f"{_SELECT} WHERE pk = ? AND sk = ?"
_QUERY = f"{_SELECT} WHERE pk = ? AND sk >= ? AND sk < ? AND sk > ? AND {_LIVING} ORDER BY sk LIMIT ?"
_SCAN = f"{_SELECT} WHERE pk >= ? AND pk < ? AND (pk, sk) > (?, ?) AND {_LIVING} ORDER BY pk, sk LIMIT ?"
_COUNTS = f"{_SELECT} WHERE pk = ? AND sk = ? AND {_LIVING}"
_COUNT = "UPDATE rows SET counts = ?, version = ? WHERE pk = ? AND sk = ?"
_EXPIRE = "UPDATE rows SET expires_at = ? WHERE pk = ? AND sk = ?"
_DELETE = "DELETE FROM rows WHERE pk = ? AND sk = ?"
_PUT = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_ABSENT = """INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET data = excluded.data, counts = excluded.counts, expires_at = excluded.expires_at, version = excluded.version,
        schema_version = excluded.schema_version
    WHERE rows.expires_at <= ?"""
_PUT_VERSION = """UPDATE rows SET data = ?, counts = ?, expires_at = ?, version = ?, schema_version = ?
    WHERE pk = ? AND sk = ? AND (expires_at IS NULL OR expires_at > ?) AND version = ?"""
_DELETE_LIVING = f"{_DELETE} AND {_LIVING} AND version = coalesce(?, version)"
_PURGE = "DELETE FROM rows WHERE (pk, sk) IN (SELECT pk, sk FROM rows WHERE expires_at <= ? LIMIT ?)"
_ABOVE = "\U0010ffff"


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """SQLite's errors -> ours: a value over its limit is the row's fault, all the rest is the database's."""
    try:
        yield
    except sqlite3.DataError as error:
        raise RowTooLarge from error
    except sqlite3.Error as error:
        raise StoreUnavailable from error


class SQLiteStore:
    """`path` is the database file; its folder is made at first use. `clock` gives seconds since the epoch;
    `busy_seconds` is how long a write waits for another process's."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._unsynced = False
        self._syncing: asyncio.Task[None] | None = None
        # No two writes have the same, in whichever process.
        self._writer = secrets.token_hex(8)
        self._writes = itertools.count()

    async def get(self, pk: str, sk: str) -> Row | None:
        return await self._run(self._get, pk, sk)

    async def write(self, pk: str, operations: list[Operation]) -> None:
        check(operations)
        await self._commit(self._write, pk, operations)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        return await self._commit(self._apply, pk, operation)

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        await asyncio.sleep(0)  # who goes on page after page keeps nobody waiting
        return await self._run(self._query, pk, prefix, limit, cursor)

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        await asyncio.sleep(0)
        return await self._run(self._scan, prefix, limit, cursor)

    async def purge(self, *, limit: int) -> int:
        await asyncio.sleep(0)
        return await self._commit(self._purge, limit)

    async def close(self) -> None:
        """Everything is on the disk then."""
        if self._syncing is not None:
            self._syncing.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        until = time.monotonic() + self._busy_seconds
        while True:
            with _translated():
                try:
                    return function(*arguments)
                except sqlite3.OperationalError as error:  # another process writes
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
            await asyncio.sleep(BUSY_POLL_SECONDS)

    async def _commit(self, function: Callable[..., T], *arguments: Any) -> T:
        done = await self._run(self._transaction, function, *arguments)
        self._unsynced = True
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())
        return done

    async def _sync(self) -> None:
        while self._unsynced:
            await asyncio.sleep(SYNC_SECONDS)
            self._unsynced = False
            try:
                await asyncio.to_thread(_checkpoint, self._path)
            except sqlite3.Error as error:
                logs.write(logging.WARNING, "checkpoint_failed", cause=type(error).__name__)

    def _transaction(self, function: Callable[..., T], *arguments: Any) -> T:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = function(*arguments)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return done

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(0o600)  # its owner's alone, and so are the files that SQLite puts beside it
            except OSError as error:
                raise StoreUnavailable(f"The data folder cannot be written: {error.strerror}.") from error
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _get(self, pk: str, sk: str) -> Row | None:
        found = self._open().execute(_GET, (pk, sk)).fetchone()
        row = _row(found) if found else None
        return row if row and self._lives(row) else None

    def _lives(self, row: Row) -> bool:
        return row.expires_at is None or row.expires_at > self._clock()

    def _write(self, pk: str, operations: list[Operation]) -> None:
        for operation in operations:
            self._apply(pk, operation)

    def _apply(self, pk: str, operation: Operation) -> dict[str, int]:
        match operation:
            case Put():
                self._put(pk, operation)
            case Delete():
                self._delete(pk, operation)
            case Add():
                return self._add(pk, operation)
        return {}

    def _put(self, pk: str, operation: Put) -> None:
        key = (pk, operation.sk)
        values = (_text(operation.data), _text(operation.counts), operation.expires_at, self._version(), SCHEMA_VERSION)
        if operation.if_absent and operation.if_version is not None:
            raise ConditionFailed(operation.sk)  # no row is absent and has a version
        if operation.if_absent:
            done = self._open().execute(_PUT_ABSENT, (*key, *values, self._clock()))
        elif operation.if_version is not None:
            done = self._open().execute(_PUT_VERSION, (*values, *key, self._clock(), operation.if_version))
        else:
            done = self._open().execute(_PUT, (*key, *values))
        if done.rowcount == 0:
            raise ConditionFailed(operation.sk)

    def _delete(self, pk: str, operation: Delete) -> None:
        key = (pk, operation.sk)
        if not operation.must_exist and operation.if_version is None:
            self._open().execute(_DELETE, key)
        elif self._open().execute(_DELETE_LIVING, (*key, self._clock(), operation.if_version)).rowcount == 0:
            raise ConditionFailed(operation.sk)

    def _add(self, pk: str, operation: Add) -> dict[str, int]:
        found = self._open().execute(_COUNTS, (pk, operation.sk, self._clock())).fetchone()
        if operation.must_exist and not found:
            raise ConditionFailed(operation.sk)
        counts: dict[str, int] = msgspec.json.decode(found[3]) if found else {}
        for field, delta in operation.counts.items():
            counts[field] = counts.get(field, 0) + delta
            if delta > 0 and counts[field] > operation.ceilings.get(field, counts[field]):
                raise CeilingReached(operation.sk, field)
        if found is None:
            self._put(pk, Put(sk=operation.sk, counts=counts, expires_at=operation.expires_at))
        else:
            self._open().execute(_COUNT, (_text(counts), self._version(), pk, operation.sk))
            if found[4] is None and operation.expires_at is not None:
                self._open().execute(_EXPIRE, (operation.expires_at, pk, operation.sk))
        return counts

    def _version(self) -> str:
        return f"{self._writer}.{next(self._writes)}"

    def _query(self, pk: str, prefix: str, limit: int, cursor: str | None) -> Page:
        bounds = (pk, prefix, prefix + _ABOVE, cursor or "", self._clock(), limit + 1)
        found = self._open().execute(_QUERY, bounds)
        rows = [_row(values) for values in found]
        return Page(rows[:limit], rows[limit - 1].sk if len(rows) > limit else None)

    def _scan(self, prefix: str, limit: int, cursor: str | None) -> Page:
        after = msgspec.json.decode(cursor, type=tuple[str, str]) if cursor else ("", "")
        bounds = (prefix, prefix + _ABOVE, *after, self._clock(), limit + 1)
        found = self._open().execute(_SCAN, bounds)
        rows = [_row(values) for values in found]
        more = _text((rows[limit - 1].pk, rows[limit - 1].sk)) if len(rows) > limit else None
        return Page(rows[:limit], more)

    def _purge(self, limit: int) -> int:
        return self._open().execute(_PURGE, (self._clock(), limit)).rowcount


def _checkpoint(path: Path) -> None:
    """Waits until everything that was committed is on the disk, on a connection of its own."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _row(values: tuple[Any, ...]) -> Row:
    pk, sk, data, counts, expires_at, version, schema_version = values
    return Row(
        pk=pk,
        sk=sk,
        data=msgspec.json.decode(data),
        counts=msgspec.json.decode(counts),
        expires_at=expires_at,
        version=version,
        schema_version=schema_version,
    )
