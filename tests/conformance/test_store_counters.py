"""`Add`: what it leaves alone, ceilings, and many at once."""

import asyncio
from typing import Any

import pytest

from wordup.errors import CeilingReached
from wordup.stores.base import Add, Put, Store


async def test_an_add_creates_the_row(store: Store, clock: Any) -> None:
    added = Add(sk="a", counts={"n": 2, "m": -1}, expires_at=clock.after(60))
    assert await store.add("p", added) == {"n": 2, "m": -1}
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.counts, row.expires_at) == ({}, {"n": 2, "m": -1}, clock.after(60))


async def test_an_add_gives_all_counts_of_the_row(store: Store) -> None:
    await store.write("p", [Put(sk="a", counts={"n": 1, "other": 5})])
    assert await store.add("p", Add(sk="a", counts={"n": 2, "new": 3})) == {"n": 3, "other": 5, "new": 3}


async def test_an_add_leaves_data_and_expiry_alone(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", data={"title": "x"}, expires_at=clock.after(60))])
    await store.add("p", Add(sk="a", counts={"n": 1}, expires_at=clock.after(90)))
    await store.write("p", [Add(sk="a", counts={"n": 1}), Put(sk="b")])
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.counts, row.expires_at) == ({"title": "x"}, {"n": 2}, clock.after(60))


async def test_an_add_gives_an_expiry_to_a_row_that_has_none(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", data={"title": "x"})])
    await store.add("p", Add(sk="a", counts={"n": 1}, expires_at=clock.after(60)))
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.expires_at) == ({"title": "x"}, clock.after(60))


async def test_adds_and_puts_of_one_write_happen_together(store: Store) -> None:
    await store.write("p", [Add(sk="a", counts={"n": 1}), Put(sk="b", counts={"n": 5}), Add(sk="c", counts={"n": 2})])
    await store.write("p", [Add(sk="a", counts={"n": 1}), Add(sk="b", counts={"n": 1}), Add(sk="c", counts={"n": -3})])
    found = await store.query("p", "", limit=10)
    assert [row.counts["n"] for row in found.rows] == [2, 6, -1]


async def test_a_ceiling_may_be_reached_but_not_passed(store: Store) -> None:
    up = Add(sk="a", counts={"n": 2}, ceilings={"n": 4})
    assert await store.add("p", up) == {"n": 2}
    assert await store.add("p", up) == {"n": 4}
    with pytest.raises(CeilingReached) as reached:
        await store.add("p", up)
    assert (reached.value.sk, reached.value.field) == ("a", "n")
    with pytest.raises(CeilingReached):
        await store.write("p", [up])
    row = await store.get("p", "a")
    assert row is not None
    assert row.counts == {"n": 4}


async def test_a_ceiling_below_the_delta_creates_no_row(store: Store) -> None:
    with pytest.raises(CeilingReached):
        await store.add("p", Add(sk="a", counts={"n": 5}, ceilings={"n": 4}))
    assert await store.get("p", "a") is None


async def test_the_ceiling_that_is_passed_is_named(store: Store) -> None:
    await store.write("p", [Put(sk="a", counts={"requests": 1, "micros": 9})])
    both = Add(sk="a", counts={"requests": 1, "micros": 5}, ceilings={"requests": 10, "micros": 10})
    with pytest.raises(CeilingReached) as reached:
        await store.add("p", both)
    assert (reached.value.sk, reached.value.field) == ("a", "micros")
    row = await store.get("p", "a")
    assert row is not None
    assert row.counts == {"requests": 1, "micros": 9}


@pytest.mark.parametrize("delta", [0, -1])
async def test_what_does_not_add_is_never_refused(store: Store, delta: int) -> None:
    await store.write("p", [Put(sk="a", counts={"n": 100})])
    assert await store.add("p", Add(sk="a", counts={"n": delta}, ceilings={"n": 10})) == {"n": 100 + delta}
    await store.write("p", [Add(sk="a", counts={"n": delta}, ceilings={"n": 10}), Put(sk="b")])
    row = await store.get("p", "a")
    assert row is not None
    assert row.counts == {"n": 100 + 2 * delta}


async def test_a_negative_count_leaves_room_below_the_ceiling(store: Store) -> None:
    await store.add("p", Add(sk="a", counts={"n": -3}))
    assert await store.add("p", Add(sk="a", counts={"n": 5}, ceilings={"n": 2})) == {"n": 2}


async def test_concurrent_adds_let_in_exactly_as_many_as_fit(store: Store, open_store: Any) -> None:
    stores = [store, open_store()]

    async def reserve(number: int) -> int:
        try:
            return (await stores[number % 2].add("p", Add(sk="a", counts={"n": 3}, ceilings={"n": 16})))["n"]
        except CeilingReached:
            return 0

    totals = await asyncio.gather(*(reserve(number) for number in range(8)))
    assert sorted(totals) == [0, 0, 0, 3, 6, 9, 12, 15]
    row = await store.get("p", "a")
    assert row is not None
    assert row.counts == {"n": 15}


async def test_concurrent_adds_within_writes_lose_none(store: Store, open_store: Any) -> None:
    stores = [store, open_store()]
    writes = [[Add(sk="a", counts={"n": 1}), Put(sk=f"hold:{number}")] for number in range(8)]
    await asyncio.gather(*(stores[number % 2].write("p", list(write)) for number, write in enumerate(writes)))
    row = await store.get("p", "a")
    assert row is not None
    assert row.counts == {"n": 8}
    assert len((await store.query("p", "hold:", limit=10)).rows) == 8
