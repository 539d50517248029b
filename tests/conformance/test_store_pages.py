"""Ranges, cursors, scans, purges and deletes that need several writes."""

from typing import Any

import pytest

from tests.conformance.test_store_rows import KEY_CHARACTERS
from wordup.stores.base import Delete, Page, Put, Row, Store, delete_all, every


async def fill(store: Store, keys: list[str], *, pk: str = "p", expires_at: int | None = None) -> None:
    for start in range(0, len(keys), 25):
        batch = keys[start : start + 25]
        await store.write(pk, [Put(sk=key, data={"key": key}, expires_at=expires_at) for key in batch])


async def pages(read: Any, **limit: int) -> list[Page]:
    """Follows the cursors; a store that never ends them fails by the length."""
    found = [await read(**limit)]
    while found[-1].cursor is not None and len(found) < 100:
        found.append(await read(**limit, cursor=found[-1].cursor))
    return found


def keys_of(found: list[Page]) -> list[str]:
    return [row.sk for page in found for row in page.rows]


async def test_a_query_of_nothing_is_empty(store: Store) -> None:
    assert await store.query("p", "turn:", limit=5) == Page([], None)


async def test_a_query_goes_up_in_the_order_of_ascii(store: Store) -> None:
    keys = [f"k{character}" for character in KEY_CHARACTERS] + ["k", "ka", "ka:", "kaa", "kA", "k00", "k0"]
    await fill(store, sorted(set(keys), key=lambda key: key[::-1]))
    found = await store.query("p", "k", limit=1000)
    assert [row.sk for row in found.rows] == sorted(set(keys))
    assert [row.data["key"] for row in found.rows] == sorted(set(keys))


async def test_a_prefix_leaves_its_neighbours_out(store: Store) -> None:
    keys = [
        "turn:a",
        "turn:a:",
        "turn:a:1",
        "turn:a:~",
        "turn:a;",
        "turn:aa:1",
        "turn:b:1",
        "turn:A:1",
        "turn9",
        "turn",
    ]
    await fill(store, keys)
    for prefix in ["turn:a:", "turn:a", "turn:", "turn", "turn:aa:", "turn:a:1", "none"]:
        found = await store.query("p", prefix, limit=100)
        assert [row.sk for row in found.rows] == sorted(key for key in keys if key.startswith(prefix)), prefix


async def test_an_empty_prefix_is_the_whole_partition(store: Store) -> None:
    await fill(store, ["b", "a", "~", "!"])
    await fill(store, ["z"], pk="p2")
    assert [row.sk for row in (await store.query("p", "", limit=10)).rows] == ["!", "a", "b", "~"]


@pytest.mark.parametrize("size", [1, 7, 30, 59, 60, 61])
async def test_pages_give_each_row_once_in_order(store: Store, size: int) -> None:
    keys = [f"turn:a:{number:03}" for number in range(60)]
    await fill(store, keys)
    await fill(store, ["turn:aa:000", "turn:", "turn:b:0"])
    found = await pages(lambda **bounds: store.query("p", "turn:a:", **bounds), limit=size)
    assert keys_of(found) == keys
    assert all(len(page.rows) <= size for page in found)


async def test_the_last_page_has_no_cursor(store: Store) -> None:
    await fill(store, ["a:1", "a:2", "b:1"])
    assert (await store.query("p", "a:", limit=2)).cursor is None
    assert (await store.query("p", "a:", limit=1)).cursor is not None


@pytest.mark.parametrize("size", [5, 6, 7])
async def test_a_page_is_filled_though_expired_rows_lie_between(store: Store, clock: Any, size: int) -> None:
    living = [f"a:{number:03}" for number in range(0, 60, 3)]
    await fill(store, living)
    await fill(store, [f"a:{number:03}" for number in range(60) if number % 3], expires_at=clock.after(60))
    clock.now += 60
    found = await pages(lambda **bounds: store.query("p", "a:", **bounds), limit=size)
    assert keys_of(found) == living
    assert all(len(page.rows) == size for page in found[:-1])


async def test_nothing_follows_where_only_expired_rows_do(store: Store, clock: Any) -> None:
    await fill(store, ["a:1", "a:2"])
    await fill(store, [f"a:3{number:03}" for number in range(40)], expires_at=clock.after(60))
    clock.now += 60
    found = await store.query("p", "a:", limit=2)
    assert [row.sk for row in found.rows] == ["a:1", "a:2"]
    assert found.cursor is None


async def test_a_cursor_continues_where_its_row_is_gone(store: Store) -> None:
    await fill(store, [f"a:{number}" for number in range(6)])
    first = await store.query("p", "a:", limit=3)
    await store.write("p", [Delete(sk=row.sk) for row in first.rows])
    await fill(store, ["a:00", "a:20"])
    rest = await store.query("p", "a:", limit=10, cursor=first.cursor)
    assert [row.sk for row in rest.rows] == ["a:20", "a:3", "a:4", "a:5"]


async def test_every_row_is_given_page_by_page(store: Store) -> None:
    keys = [f"a:{number:02}" for number in range(25)]
    await fill(store, keys)
    assert [row.sk async for row in every(store, "p", "a:", page=4)] == keys


async def test_delete_all_takes_more_than_one_write(store: Store) -> None:
    await fill(store, [f"a:{number:02}" for number in range(60)])
    await fill(store, ["aa:1", "b:1"])
    await fill(store, ["a:1"], pk="q")
    assert await delete_all(store, "p", "a:") == 60
    assert [row.sk for row in (await store.query("p", "", limit=100)).rows] == ["aa:1", "b:1"]
    assert [row.sk for row in (await store.query("q", "", limit=100)).rows] == ["a:1"]


async def test_a_scan_crosses_partitions_by_their_prefix(store: Store) -> None:
    expected: set[tuple[str, str]] = set()
    for pk in ["u:a", "u:b", "u:aa", "key:a", "u", "v:a"]:
        await fill(store, [f"s{number}" for number in range(7)], pk=pk)
        expected |= {(pk, f"s{number}") for number in range(7)}

    for prefix in ["u:", "u:a", "key:", "", "none"]:
        found = await pages(lambda prefix=prefix, **bounds: store.scan(prefix, **bounds), limit=5)
        rows: list[Row] = [row for page in found for row in page.rows]
        assert all(len(page.rows) <= 5 for page in found)
        assert sorted((row.pk, row.sk) for row in rows) == sorted(key for key in expected if key[0].startswith(prefix))
        assert all(row.data == {"key": row.sk} for row in rows)


async def test_a_scan_continues_where_its_rows_are_gone(store: Store) -> None:
    for pk in ["u:a", "u:b", "u:c"]:
        await fill(store, [f"s{number}" for number in range(5)], pk=pk)
    cursor, seen = None, 0
    for _ in range(100):
        found = await store.scan("u:", limit=4, cursor=cursor)
        seen += len(found.rows)
        for row in found.rows:
            await store.write(row.pk, [Delete(sk=row.sk, must_exist=True)])
        if (cursor := found.cursor) is None:
            break
    assert seen == 15
    assert (await store.scan("", limit=10)).rows == []


async def test_a_purge_takes_only_what_expired_and_ends(store: Store, clock: Any) -> None:
    await fill(store, ["keep:1", "keep:2"])
    await fill(store, ["later"], expires_at=clock.after(600))
    await fill(store, [f"old:{number}" for number in range(9)], expires_at=clock.after(60))
    await fill(store, [f"old:{number}" for number in range(9)], pk="q", expires_at=clock.after(60))
    clock.now += 60
    purged = [await store.purge(limit=4) for _ in range(6)]
    assert all(0 <= count <= 4 for count in purged)
    assert purged[-1] == 0
    assert sum(purged) in (0, 18)
    assert [row.sk for row in (await store.query("p", "", limit=100)).rows] == ["keep:1", "keep:2", "later"]
