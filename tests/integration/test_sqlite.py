"""What SQLiteStore does beyond the port: calls that share a transaction, and the disk that is waited for later."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from wordup.errors import CeilingReached, ConditionFailed, StoreUnavailable
from wordup.stores.base import Add, Put
from wordup.stores.sqlite import IDLE_SECONDS, SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wordup.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SQLiteStore]:
    opened = SQLiteStore(path, busy_seconds=0.05)
    yield opened
    await opened.close()


async def test_refused_call_leaves_those_beside_it_alone(store: SQLiteStore) -> None:
    add = Add(sk="counter", counts={"n": 1}, ceilings={"n": 5})
    outcomes = await asyncio.gather(
        *(store.add("p", add) for _ in range(8)),
        store.write("p", [Put(sk="a"), Put(sk="counter", if_absent=True)]),
        store.write("p", [Put(sk="b")]),
        store.get("p", "b"),
        return_exceptions=True,
    )
    assert [outcome["n"] for outcome in outcomes[:8] if isinstance(outcome, dict)] == [1, 2, 3, 4, 5]
    assert sum(isinstance(outcome, CeilingReached) for outcome in outcomes) == 3
    assert isinstance(outcomes[8], ConditionFailed)
    assert [row.sk for row in (await store.query("p", "", limit=10)).rows] == ["b", "counter"]
    assert outcomes[10] is not None  # reads see what was written before them


async def test_transaction_that_cannot_begin_fails_all_that_share_it(store: SQLiteStore, path: Path) -> None:
    await store.write("p", [Put(sk="a")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    calls = [store.write("p", [Put(sk=name)]) for name in "bcd"]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    other.execute("ROLLBACK")
    other.close()
    await store.write("p", [Put(sk="e")])
    assert [row.sk for row in (await store.query("p", "", limit=10)).rows] == ["a", "e"]


async def test_commits_reach_the_file_when_nothing_else_is_to_be_done(store: SQLiteStore, path: Path) -> None:
    await store.write("p", [Put(sk="a")])
    await until(lambda: rows_of_the_file_alone(path) == 1)


async def test_commits_reach_the_file_also_of_a_store_that_never_rests(store: SQLiteStore, path: Path) -> None:
    written = 0

    async def write_on() -> None:
        nonlocal written
        while True:
            await store.write("p", [Put(sk=str(written))])
            written += 1
            await asyncio.sleep(IDLE_SECONDS / 5)

    await store.write("p", [])
    writing = asyncio.create_task(write_on())
    await until(lambda: rows_of_the_file_alone(path) > 0)
    writing.cancel()
    assert written < 400  # SQLite by itself would have waited for 1,000 pages


async def test_closed_store_opens_again(store: SQLiteStore) -> None:
    await store.write("p", [Put(sk="a")])
    await store.close()
    assert await store.get("p", "a") is not None


async def test_call_whose_caller_left_is_done_all_the_same(store: SQLiteStore) -> None:
    call = asyncio.create_task(store.write("p", [Put(sk="a")]))
    await asyncio.sleep(0)
    call.cancel()
    assert await store.get("p", "a") is not None


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
