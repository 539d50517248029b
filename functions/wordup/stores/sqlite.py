"""SQLite, for the self-hosted home: one file, one table, one thread.

The thread does what is waiting for it in one transaction, a savepoint for each. A commit survives the end of the
process; a power cut loses at most what was committed in the last LONGEST_UNSYNCED_SECONDS: the disk is waited for when
there is nothing else to do (docs/adr/0008-a-commit-does-not-wait-for-the-disk.md).
"""

import asyncio
import contextlib
import logging
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from wordup import logs
from wordup.errors import CeilingReached, ConditionFailed, RowTooLarge, StoreUnavailable
from wordup.stores.base import SCHEMA_VERSION, Add, Delete, Operation, Page, Put, Row, check

T = TypeVar("T")
BUSY_SECONDS = 5.0
OPEN_POLL_SECONDS = 0.01
IDLE_SECONDS = 0.1
LONGEST_UNSYNCED_SECONDS = 1.0
TRANSACTION_JOBS = 64

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
_PUT = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)"
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


class _Job(NamedTuple):
    """A call, and who awaits what it gives."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    writes: bool
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class SQLiteStore:
    """`path` is the database file; its folder is made at first use. `clock` gives seconds since the epoch;
    `busy_seconds` is how long a write waits for another process's."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._unsynced_since: float | None = None

    async def get(self, pk: str, sk: str) -> Row | None:
        return await self._run(self._get, pk, sk)

    async def write(self, pk: str, operations: list[Operation]) -> None:
        check(operations)
        await self._run(self._write, pk, operations, writes=True)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        return await self._run(self._apply, pk, operation, writes=True)

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        return await self._run(self._query, pk, prefix, limit, cursor)

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        return await self._run(self._scan, prefix, limit, cursor)

    async def purge(self, *, limit: int) -> int:
        return await self._run(self._purge, limit, writes=True)

    async def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _run(self, function: Callable[..., T], *arguments: Any, writes: bool = False) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(loop, future, writes, function, arguments))
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="sqlite", daemon=True)
            self._thread.start()
        return await future

    def _serve(self) -> None:
        """The thread: until `close`."""
        try:
            ending = False
            while not ending:
                taken = self._waiting()
                ending = taken[-1] is None
                jobs = [job for job in taken if job is not None]
                outcomes = self._perform(jobs)
                for loop in {job.loop for job in jobs}:
                    told = [
                        (job.future, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if job.loop is loop
                    ]
                    with contextlib.suppress(RuntimeError):  # closed: nobody awaits any more
                        loop.call_soon_threadsafe(_tell, told)
        finally:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _waiting(self) -> list[_Job | None]:
        """The calls to be done next, in their order; after the last one ever, None."""
        while True:
            since = self._unsynced_since
            if since is not None and time.monotonic() - since > LONGEST_UNSYNCED_SECONDS:
                self._sync()
            try:
                jobs = [self._jobs.get(timeout=None if self._unsynced_since is None else IDLE_SECONDS)]
                break
            except queue.Empty:
                self._sync()
        with contextlib.suppress(queue.Empty):
            while jobs[-1] is not None and len(jobs) < TRANSACTION_JOBS:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _sync(self) -> None:
        """Waits for the disk: a checkpoint does, and keeps the log short."""
        self._unsynced_since = None
        try:
            self._open().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, StoreUnavailable) as error:
            logs.write(logging.WARNING, "checkpoint failed", cause=type(error).__name__)

    def _perform(self, jobs: list[_Job]) -> list[Any]:
        """What each gives, or the exception it raises."""
        try:
            with _translated():
                connection = self._open()
                if not any(job.writes for job in jobs):
                    return [_outcome(job) for job in jobs]
                with _transaction(connection):
                    outcomes = [_saved(connection, job) for job in jobs]
                self._unsynced_since = self._unsynced_since or time.monotonic()
                return outcomes
        except StoreUnavailable as error:
            return [error] * len(jobs)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(0o600)  # its owner's alone, and so are the files that SQLite puts beside it
            except OSError as error:
                raise StoreUnavailable(f"The data folder cannot be written: {error.strerror}.") from error
            connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
            try:
                self._use_log(connection)
                connection.execute("PRAGMA synchronous = NORMAL")  # `_sync` waits for the disk, a commit does not
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """SQLite itself does not wait here for another process that opens the same new file."""
        until = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(OPEN_POLL_SECONDS)
            else:
                return

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
        row = self._get(pk, operation.sk)
        match operation:
            case Put():
                if (operation.if_absent and row) or _differs(row, operation.if_version):
                    raise ConditionFailed(operation.sk)
                self._store(pk, operation.sk, operation.data, operation.counts, operation.expires_at)
            case Delete():
                if (operation.must_exist and not row) or _differs(row, operation.if_version):
                    raise ConditionFailed(operation.sk)
                self._open().execute("DELETE FROM rows WHERE pk = ? AND sk = ?", (pk, operation.sk))
            case Add():
                if operation.must_exist and not row:
                    raise ConditionFailed(operation.sk)
                counts = dict(row.counts) if row else {}
                for field, delta in operation.counts.items():
                    counts[field] = counts.get(field, 0) + delta
                    if delta > 0 and counts[field] > operation.ceilings.get(field, counts[field]):
                        raise CeilingReached(operation.sk, field)
                expires_at = operation.expires_at if row is None or row.expires_at is None else row.expires_at
                self._store(pk, operation.sk, row.data if row else {}, counts, expires_at)
                return counts
        return {}

    def _store(self, pk: str, sk: str, data: Any, counts: Any, expires_at: Any) -> None:
        values = (pk, sk, _text(data), _text(counts), expires_at, secrets.token_hex(6), SCHEMA_VERSION)
        self._open().execute(_PUT, values)

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


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _saved(connection: sqlite3.Connection, job: _Job) -> Any:
    """The outcome of one call of a transaction, of which nothing stays if it is an exception."""
    connection.execute("SAVEPOINT job")
    outcome = _outcome(job)
    if isinstance(outcome, BaseException):
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
    return outcome


def _outcome(job: _Job) -> Any:
    try:
        with _translated():
            return job.function(*job.arguments)
    except Exception as error:  # noqa: BLE001 - raised again where it is awaited
        return error


def _tell(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.cancelled():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _differs(row: Row | None, version: str | None) -> bool:
    return version is not None and (row is None or row.version != version)


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
