"""What SQLiteStore does beyond the port: calls on the event loop, and the disk that is waited for later."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wordup.errors import StoreUnavailable
from wordup.stores.base import Put, every
from wordup.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wordup.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SQLiteStore]:
    opened = SQLiteStore(path, busy_seconds=0.05)
    yield opened
    await opened.close()


async def test_call_gives_up_where_another_process_writes_on(store: SQLiteStore, path: Path) -> None:
    await store.write("p", [Put(sk="a")])
    with another_writes(path):
        beside = asyncio.create_task(asyncio.sleep(0.01))
        with pytest.raises(StoreUnavailable):
            await store.write("p", [Put(sk="b")])
        assert beside.done()  # the loop went on meanwhile
        assert await store.get("p", "a") is not None
    await store.write("p", [Put(sk="c")])
    assert [row.sk for row in (await store.query("p", "", limit=10)).rows] == ["a", "c"]


async def test_long_reading_lets_others_go_on(store: SQLiteStore) -> None:
    await store.write("p", [Put(sk=str(number)) for number in range(20)])
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert len([row async for row in every(store, "p", "", page=1)]) == 20
    counting.cancel()
    assert others >= 20


async def test_commits_reach_the_file_by_themselves(store: SQLiteStore, path: Path) -> None:
    await store.write("p", [Put(sk="a")])
    await until(lambda: rows_of_the_file_alone(path) == 1)


async def test_commits_reach_the_file_of_a_store_that_never_rests(store: SQLiteStore, path: Path) -> None:
    written = 0

    async def write_on() -> None:
        nonlocal written
        while True:
            await store.write("p", [Put(sk=str(written))])
            written += 1
            await asyncio.sleep(0.01)

    await store.write("p", [])  # makes the file
    writing = asyncio.create_task(write_on())
    await until(lambda: rows_of_the_file_alone(path) > 0)
    writing.cancel()
    assert written < 400  # SQLite by itself would have waited for 1,000 pages


async def test_closed_store_opens_again(store: SQLiteStore) -> None:
    await store.write("p", [Put(sk="a")])
    await store.close()
    assert await store.get("p", "a") is not None


@contextmanager
def another_writes(path: Path) -> Generator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def rows_of_the_file_alone(path: Path) -> int:
    """How many a power cut would leave: those that the log alone has are not counted."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    connection = sqlite3.connect(f"file:{copy}?immutable=1", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    except sqlite3.DatabaseError:  # copied in the middle of a checkpoint, or before the first
        return 0
    finally:
        connection.close()
    return count


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
