"""Databases under load, and callers who hang up."""

import asyncio
import contextlib

import pytest

from tests.conformance.backends import Database, Open
from tests.conformance.conftest import no_wait
from wordup.errors import StoreUnavailable
from wordup.stores.base import Add, Put, Store
from wordup.stores.retry import Retry


async def test_a_throttled_write_is_retried(store: Store, database: Database) -> None:
    await store.get("p", "a")
    with database.throttled(3):
        await store.write("p", [Put(sk="a", data={"n": 1})])
    with database.throttled(3):
        await store.write("p", [Put(sk="b"), Add(sk="c", counts={"n": 1})])
    with database.throttled(3):
        assert await store.add("p", Add(sk="c", counts={"n": 1})) == {"n": 2}
    found = await store.query("p", "", limit=10)
    assert [(row.sk, row.counts) for row in found.rows] == [("a", {}), ("b", {}), ("c", {"n": 2})]


async def test_a_write_that_is_throttled_for_good_is_unavailable(open_store: Open, database: Database) -> None:
    store = open_store(retry=Retry(sleep=no_wait))
    await store.write("p", [Put(sk="a", data={"n": 1})])
    with database.throttled(None):
        with pytest.raises(StoreUnavailable):
            await store.write("p", [Put(sk="a", data={"n": 2})])
        with pytest.raises(StoreUnavailable):
            await store.write("p", [Put(sk="a", data={"n": 2}), Put(sk="b")])
        with pytest.raises(StoreUnavailable):
            await store.add("p", Add(sk="a", counts={"n": 1}))
    found = await store.query("p", "", limit=10)
    assert [(row.sk, row.data, row.counts) for row in found.rows] == [("a", {"n": 1}, {})]


async def test_a_store_recovers_after_throttling(open_store: Open, database: Database) -> None:
    store = open_store(retry=Retry(sleep=no_wait))
    with database.throttled(None), pytest.raises(StoreUnavailable):
        await store.write("p", [Put(sk="a")])
    await store.write("p", [Put(sk="a")])
    assert await store.get("p", "a") is not None


async def test_a_cancelled_write_happened_whole_or_not_at_all(database: Database) -> None:
    store = database.open()
    for number in range(10):
        writing = asyncio.create_task(store.write("p", [Put(sk=f"a:{number}"), Put(sk=f"b:{number}")]))
        await asyncio.sleep(0.002 * (number % 3))
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    await store.write("p", [Put(sk="after")])
    await store.close()
    other = database.open()
    found = {row.sk for row in (await other.query("p", "", limit=100)).rows}
    await other.close()
    assert "after" in found
    assert {sk[2:] for sk in found if sk.startswith("a:")} == {sk[2:] for sk in found if sk.startswith("b:")}


async def test_a_store_that_was_never_called_closes(database: Database) -> None:
    await database.open().close()
