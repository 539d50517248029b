"""What a row carries: documents, counts, versions, keys, sizes."""

import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wordup.errors import ConditionFailed, RowTooLarge
from wordup.ids import inverted, ulid
from wordup.stores.base import MAX_OPERATIONS, SCHEMA_VERSION, Add, Delete, Operation, Put, Store

KIB_256 = 256 * 1024
# Every printable ASCII character that a key may hold.
KEY_CHARACTERS = "".join(sorted(set(string.ascii_letters + string.digits + string.punctuation + " ") - set("/\\#?%")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


async def test_a_missing_row_is_none(store: Store) -> None:
    assert await store.get("p", "a") is None


async def test_a_row_comes_back_as_it_was_put(store: Store) -> None:
    data = {"text": "hello", "nested": {"list": [1, 2.5, None, True, "x"], "empty": {}}, "": "an empty name"}
    counts = {"requests": 3, "micros": -7, "zero": 0}
    await store.write("p", [Put(sk="turn:a:1", data=data, counts=counts)])
    row = await store.get("p", "turn:a:1")
    assert row is not None
    assert (row.pk, row.sk, row.data, row.counts) == ("p", "turn:a:1", data, counts)
    assert row.expires_at is None
    assert row.schema_version == SCHEMA_VERSION


async def test_an_empty_row_comes_back_empty(store: Store) -> None:
    await store.write("p", [Put(sk="a")])
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.counts) == ({}, {})


async def test_a_put_replaces_the_whole_row(store: Store, clock: Any) -> None:
    await store.write("p", [Put(sk="a", data={"old": 1}, counts={"old": 1}, expires_at=clock.after(100))])
    await store.write("p", [Put(sk="a", data={"new": 2}, counts={"new": 2})])
    row = await store.get("p", "a")
    assert row is not None
    assert (row.data, row.counts, row.expires_at) == ({"new": 2}, {"new": 2}, None)


async def test_rows_of_other_partitions_and_keys_stay_apart(store: Store) -> None:
    await store.write("p", [Put(sk="a", data={"at": "pa"}), Put(sk="b", data={"at": "pb"})])
    await store.write("q", [Put(sk="a", data={"at": "qa"})])
    await store.write("p", [Delete(sk="a")])
    assert await store.get("p", "a") is None
    for pk, sk in [("p", "b"), ("q", "a")]:
        row = await store.get(pk, sk)
        assert row is not None
        assert row.data == {"at": pk + sk}


async def test_another_store_sees_what_was_written(store: Store, open_store: Any) -> None:
    await store.write("p", [Put(sk="a", data={"n": 1})])
    row = await open_store().get("p", "a")
    assert row is not None
    assert row.data == {"n": 1}


async def test_a_version_differs_after_every_write(store: Store) -> None:
    seen: list[str] = []
    for operation in [
        Put(sk="a"),
        Put(sk="a"),
        Add(sk="a", counts={"n": 1}),
        Add(sk="a", counts={"n": 0}),
        Put(sk="a"),
    ]:
        await store.write("p", [operation])
        row = await store.get("p", "a")
        assert row is not None
        seen.append(row.version)
    await store.write("p", [Delete(sk="a")])
    await store.write("p", [Put(sk="a")])
    row = await store.get("p", "a")
    assert row is not None
    assert len({*seen, row.version}) == 6


async def test_a_version_stays_while_nothing_is_written(store: Store) -> None:
    await store.write("p", [Put(sk="a"), Put(sk="b")])
    first = await store.get("p", "a")
    await store.write("p", [Put(sk="b")])
    assert first == await store.get("p", "a")


async def test_a_written_row_carries_the_schema_version(store: Store) -> None:
    await store.write("p", [Put(sk="a"), Add(sk="b", counts={"n": 1})])
    await store.add("p", Add(sk="c", counts={"n": 1}))
    found = await store.query("p", "", limit=10)
    assert [row.schema_version for row in found.rows] == [SCHEMA_VERSION] * 3


@pytest.mark.parametrize("count", [2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)])
async def test_a_count_is_a_64_bit_integer(store: Store, count: int) -> None:
    await store.write("p", [Put(sk="put", counts={"n": count})])
    assert await store.add("p", Add(sk="added", counts={"n": count})) == {"n": count}
    for sk in ["put", "added"]:
        row = await store.get("p", sk)
        assert row is not None
        assert row.counts == {"n": count}


async def test_a_count_adds_beyond_what_a_float_holds(store: Store) -> None:
    await store.add("p", Add(sk="a", counts={"n": 2**53}))
    assert await store.add("p", Add(sk="a", counts={"n": 1})) == {"n": 2**53 + 1}


@pytest.mark.parametrize(
    "character",
    ["a", "é", "漢", "😀", "\u0000", '"', "\\", "\n", "\u202e", "e\u0301", "שלום ", "\u2028"],
    ids=[
        "ascii",
        "latin",
        "cjk",
        "emoji",
        "nul",
        "quote",
        "backslash",
        "newline",
        "rtl",
        "combining",
        "hebrew",
        "line",
    ],
)
async def test_a_row_carries_256_kib_of_any_text(store: Store, character: str) -> None:
    text = character * (KIB_256 // len(character.encode()))
    await store.write("p", [Put(sk="a", data={"text": text})])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data["text"] == text


@given(data=st.dictionaries(st.text(max_size=20), JSON, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_document_comes_back_equal(store: Store, data: dict[str, Any]) -> None:
    await store.write("p", [Put(sk="a", data=data)])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data == data


async def test_a_row_that_is_too_large_is_refused_or_kept_whole(store: Store) -> None:
    """2 MiB are above what the clouds' databases take (400 KB to 1 MiB) and below what SQLite does."""
    text = "x" * 2 * 1024 * 1024
    alone: list[Operation] = [Put(sk="large", data={"text": text})]
    for operations in (alone, [Put(sk="a"), *alone]):
        try:
            await store.write("p", operations)
            expected = [text]
        except RowTooLarge:
            expected = []
        found = await store.query("p", "large", limit=2)
        assert [row.data["text"] for row in found.rows] == expected
        assert (await store.get("p", "a") is None) == (len(operations) == 1 or not expected)


async def test_a_key_takes_every_permitted_character(store: Store) -> None:
    for character in ["'", '"', " ", "~", ":", KEY_CHARACTERS]:
        pk, sk = f"p{character}p", f"s{character}s"
        await store.write(pk, [Put(sk=sk, data={"key": sk})])
        await store.add(pk, Add(sk=sk, counts={"n": 1}))
        found = await store.query(pk, f"s{character}", limit=10)
        assert [(row.pk, row.sk, row.data, row.counts) for row in found.rows] == [(pk, sk, {"key": sk}, {"n": 1})]
        await store.write(pk, [Delete(sk=sk, must_exist=True)])
        assert await store.get(pk, sk) is None


async def test_keys_take_512_characters(store: Store) -> None:
    pk, sk = "p" * 512, "s" * 512
    await store.write(pk, [Put(sk=sk)])
    found = await store.query(pk, sk, limit=1)
    assert [(row.pk, row.sk) for row in found.rows] == [(pk, sk)]


async def test_quotes_and_slashes_inside_values_are_only_text(store: Store) -> None:
    text = """it's "quoted" \\ / -- '; DROP TABLE rows; $where {a: 1} ⌘"""
    await store.write("p", [Put(sk="a", data={text: text})])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data == {text: text}


async def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    await store.write("p", [Delete(sk="a")])
    await store.write("p", [Delete(sk="a"), Put(sk="b")])
    assert await store.get("p", "a") is None
    assert await store.get("p", "b") is not None


async def test_a_delete_that_must_exist_fails_where_nothing_is(store: Store) -> None:
    with pytest.raises(ConditionFailed) as failed:
        await store.write("p", [Delete(sk="a", must_exist=True)])
    assert failed.value.sk == "a"


async def test_a_write_takes_25_operations_and_no_more(store: Store) -> None:
    await store.write("p", [Put(sk=f"{i:02}") for i in range(MAX_OPERATIONS)])
    assert len((await store.query("p", "", limit=100)).rows) == MAX_OPERATIONS
    with pytest.raises(ValueError, match="26 operations"):
        await store.write("p", [Delete(sk=f"{i:02}") for i in range(MAX_OPERATIONS + 1)])
    assert len((await store.query("p", "", limit=100)).rows) == MAX_OPERATIONS


async def test_a_row_appears_only_once_in_a_write(store: Store) -> None:
    with pytest.raises(ValueError, match="only once"):
        await store.write("p", [Put(sk="a"), Put(sk="b"), Delete(sk="a")])
    assert (await store.query("p", "", limit=10)).rows == []


async def test_a_write_of_nothing_changes_nothing(store: Store) -> None:
    await store.write("p", [])
    assert (await store.query("p", "", limit=10)).rows == []


async def test_two_turns_of_one_millisecond_keep_their_order(store: Store) -> None:
    first, second = ulid(1_700_000_000_000), ulid(1_700_000_000_000)
    await store.write("p", [Put(sk=f"turn:c:{inverted(first)}", data={"n": 1})])
    await store.write("p", [Put(sk=f"turn:c:{inverted(second)}", data={"n": 2})])
    found = await store.query("p", "turn:c:", limit=10)
    assert [row.data["n"] for row in found.rows] == [2, 1]
