"""Conditional writes, whole writes under races, and expiry that the database has not noticed."""

import asyncio
from typing import Any

import pytest

from wordup.errors import CeilingReached, ConditionFailed, StoreError
from wordup.stores.base import Add, Delete, Operation, Put, Store


async def version_of(store: Store, sk: str) -> str:
    row = await store.get("p", sk)
    assert row is not None
    return row.version


async def fails_on(store: Store, *operations: Operation) -> str:
    """The row that the write's ConditionFailed names."""
    with pytest.raises(ConditionFailed) as failed:
        await store.write("p", list(operations))
    return failed.value.sk


async def content(store: Store) -> dict[str, tuple[dict[str, Any], dict[str, int]]]:
    return {row.sk: (row.data, row.counts) for row in (await store.query("p", "", limit=100)).rows}


async def test_if_absent_puts_only_where_nothing_is(store: Store) -> None:
    await store.write("p", [Put(sk="a", data={"n": 1}, if_absent=True)])
    assert await fails_on(store, Put(sk="a", data={"n": 2}, if_absent=True)) == "a"
    assert await content(store) == {"a": ({"n": 1}, {})}


async def test_if_version_puts_only_over_that_version(store: Store) -> None:
    await store.write("p", [Put(sk="a", data={"n": 1})])
    old = await version_of(store, "a")
    await store.write("p", [Put(sk="a", data={"n": 2}, if_version=old)])
    assert await fails_on(store, Put(sk="a", data={"n": 3}, if_version=old)) == "a"
    assert await content(store) == {"a": ({"n": 2}, {})}


async def test_if_version_fails_where_the_row_is_gone(store: Store) -> None:
    await store.write("p", [Put(sk="a")])
    version = await version_of(store, "a")
    await store.write("p", [Delete(sk="a")])
    assert await fails_on(store, Put(sk="a", if_version=version)) == "a"
    assert await fails_on(store, Delete(sk="a", if_version=version)) == "a"


async def test_if_version_deletes_only_that_version(store: Store) -> None:
    await store.write("p", [Put(sk="a")])
    old = await version_of(store, "a")
    await store.add("p", Add(sk="a", counts={"n": 1}))
    assert await fails_on(store, Delete(sk="a", if_version=old)) == "a"
    await store.write("p", [Delete(sk="a", if_version=await version_of(store, "a"))])
    assert await content(store) == {}


async def test_must_exist_deletes_and_adds_only_where_a_row_is(store: Store) -> None:
    assert await fails_on(store, Add(sk="a", counts={"n": 1}, must_exist=True)) == "a"
    with pytest.raises(ConditionFailed):
        await store.add("p", Add(sk="a", counts={"n": 1}, must_exist=True))
    await store.write("p", [Put(sk="a")])
    assert await store.add("p", Add(sk="a", counts={"n": 1}, must_exist=True)) == {"n": 1}
    await store.write("p", [Delete(sk="a", must_exist=True)])
    assert await content(store) == {}


@pytest.mark.parametrize(
    "failing",
    [
        Put(sk="there", if_absent=True),
        Put(sk="there", if_version="another"),
        Put(sk="gone", if_version="another"),
        Delete(sk="gone", must_exist=True),
        Delete(sk="there", if_version="another"),
        Add(sk="gone", counts={"n": 1}, must_exist=True),
        Add(sk="there", counts={"n": 1}, ceilings={"n": 7}),
    ],
    ids=lambda operation: f"{type(operation).__name__}-{operation.sk}",
)
@pytest.mark.parametrize("first", [True, False])
async def test_a_write_that_fails_changes_nothing(store: Store, failing: Operation, first: bool) -> None:
    await store.write("p", [Put(sk="there", data={"n": 1}, counts={"n": 7}), Put(sk="old"), Put(sk="count")])
    before = await content(store)
    good: list[Operation] = [Put(sk="new"), Delete(sk="old"), Add(sk="count", counts={"n": 1}, ceilings={"n": 9})]
    with pytest.raises(StoreError) as failed:
        await store.write("p", [failing, *good] if first else [*good, failing])
    assert isinstance(failed.value, ConditionFailed | CeilingReached)
    assert failed.value.sk == failing.sk
    assert await content(store) == before


async def test_the_error_names_the_first_that_fails_in_list_order(store: Store) -> None:
    await store.write("p", [Put(sk="z"), Put(sk="full", counts={"n": 5})])
    exists, missing = Put(sk="z", if_absent=True), Delete(sk="a", must_exist=True)
    full, fine = Add(sk="full", counts={"n": 1}, ceilings={"n": 5}), Put(sk="m")
    assert await fails_on(store, fine, exists, missing, full) == "z"
    assert await fails_on(store, missing, fine, full, exists) == "a"
    with pytest.raises(CeilingReached) as reached:
        await store.write("p", [fine, full, exists, missing])
    assert (reached.value.sk, reached.value.field) == ("full", "n")


async def test_an_expired_row_does_not_exist(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", data={"n": 1}, expires_at=clock.after(60)), Put(sk="b")])
    clock.now += 59.5
    assert await store.get("p", "a") is not None
    clock.now += 0.5
    assert await store.get("p", "a") is None
    assert [row.sk for row in (await store.query("p", "", limit=10)).rows] == ["b"]
    assert [row.sk for row in (await store.scan("", limit=10)).rows] == ["b"]


async def test_expires_at_comes_back(store: Store, clock: Any) -> None:
    await store.write(
        "p", [Put(sk="a", expires_at=clock.after(60)), Add(sk="b", counts={}, expires_at=clock.after(70))]
    )
    found = await store.query("p", "", limit=10)
    assert [row.expires_at for row in found.rows] == [clock.after(60), clock.after(70)]


async def test_if_absent_puts_over_an_expired_row(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", data={"old": 1}, counts={"old": 1}, expires_at=clock.after(60))])
    clock.now += 60
    await store.write("p", [Put(sk="a", data={"new": 1}, if_absent=True)])
    assert await content(store) == {"a": ({"new": 1}, {})}


async def test_conditions_take_an_expired_row_for_absent(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", expires_at=clock.after(60))])
    version = await version_of(store, "a")
    clock.now += 60
    assert await fails_on(store, Delete(sk="a", must_exist=True)) == "a"
    assert await fails_on(store, Put(sk="b"), Delete(sk="a", must_exist=True)) == "a"
    assert await fails_on(store, Put(sk="a", if_version=version)) == "a"
    assert await fails_on(store, Delete(sk="a", if_version=version)) == "a"
    assert await fails_on(store, Add(sk="a", counts={"n": 1}, must_exist=True)) == "a"
    await store.write("p", [Delete(sk="a")])
    assert await content(store) == {}


@pytest.mark.parametrize("alone", [True, False])
async def test_an_add_to_an_expired_row_starts_from_nothing(store: Store, clock: Any, alone: bool) -> None:
    await store.write("p", [Put(sk="a", data={"old": 1}, counts={"n": 9, "old": 1}, expires_at=clock.after(60))])
    clock.now += 60
    fresh = Add(sk="a", counts={"n": 2}, ceilings={"n": 2}, expires_at=clock.after(30))
    await store.write("p", [fresh] if alone else [fresh, Put(sk="b")])
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.counts, row.expires_at) == ({}, {"n": 2}, clock.after(30))


async def test_an_add_to_an_expired_row_gives_its_new_counts(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", counts={"n": 9, "old": 1}, expires_at=clock.after(60))])
    clock.now += 60
    assert await store.add("p", Add(sk="a", counts={"n": 2})) == {"n": 2}
    assert await store.add("p", Add(sk="a", counts={"n": 2})) == {"n": 4}


async def test_a_ceiling_counts_from_nothing_over_an_expired_row(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", counts={"n": -9}, expires_at=clock.after(60))])
    clock.now += 60
    with pytest.raises(CeilingReached):
        await store.add("p", Add(sk="a", counts={"n": 3}, ceilings={"n": 2}))
    assert await content(store) == {}


async def test_an_expired_row_is_no_failure_before_the_one_that_fails(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", counts={"n": 9}, expires_at=clock.after(60)), Put(sk="b")])
    clock.now += 60
    stale = Add(sk="a", counts={"n": 1}, ceilings={"n": 5})
    assert await fails_on(store, stale, Put(sk="b", if_absent=True)) == "b"
    assert await content(store) == {"b": ({}, {})}


async def test_of_racing_writers_one_wins_each_round(store: Store, open_store: Any) -> None:
    """A turn's write: a new row, the conversation if unchanged, a counter. The losers leave nothing behind."""
    stores = [store, open_store()]
    lost: set[str] = set()
    await store.write("p", [Put(sk="conv", data={"round": 0})])
    for rounds in range(1, 4):
        version = await version_of(store, "conv")

        async def race(writer: int, version: str = version, rounds: int = rounds) -> bool:
            operations = [
                Put(sk=f"turn:{rounds}:{writer}", if_absent=True),
                Put(sk="conv", data={"round": rounds, "winner": writer}, if_version=version),
                Add(sk="count", counts={"turns": 1}),
            ]
            try:
                await stores[writer % 2].write("p", operations)
            except ConditionFailed as failed:
                lost.add(failed.sk)
                return False
            return True

        won = await asyncio.gather(*(race(writer) for writer in range(20)))
        assert won.count(True) == 1
        rows = await content(store)
        assert rows["conv"] == ({"round": rounds, "winner": won.index(True)}, {})
        assert rows["count"] == ({}, {"turns": rounds})
        assert sum(sk.startswith("turn:") for sk in rows) == rounds
        assert f"turn:{rounds}:{won.index(True)}" in rows
        assert lost == {"conv"}


async def test_of_racing_claims_one_wins(store: Store, open_store: Any) -> None:
    stores = [store, open_store()]

    async def claim(writer: int) -> bool:
        try:
            await stores[writer % 2].write("p", [Put(sk="idem", data={"winner": writer}, if_absent=True)])
        except ConditionFailed:
            return False
        return True

    won = await asyncio.gather(*(claim(writer) for writer in range(20)))
    assert won.count(True) == 1
    assert await content(store) == {"idem": ({"winner": won.index(True)}, {})}
