"""Any sequence of calls gives what a dictionary with the port's rules gives."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wordup.errors import CeilingReached, ConditionFailed
from wordup.stores.base import Add, Delete, Operation, Put, Store

KEYS = ["a", "a:", "a:1", "aa:1", "b"]
EXPIRES = st.none() | st.integers(1, 4)  # seconds from the beginning; the clock below passes them
CURRENT, OLD = "current", "old"
partitions = itertools.count()


@dataclass(frozen=True)
class ModelRow:
    data: Mapping[str, Any]
    counts: Mapping[str, int]
    expires_at: int | None


class Model:
    """The port's rules over a dictionary. Versions are the store's own business."""

    def __init__(self) -> None:
        self.rows: dict[str, ModelRow] = {}
        self.now = 0

    def get(self, sk: str) -> ModelRow | None:
        row = self.rows.get(sk)
        return row if row and (row.expires_at is None or row.expires_at > self.now) else None

    def living(self, prefix: str) -> list[str]:
        return sorted(sk for sk in self.rows if sk.startswith(prefix) and self.get(sk))

    def write(self, operations: list[Operation]) -> None:
        before = dict(self.rows)
        try:
            for operation in operations:
                self._apply(operation)
        except (ConditionFailed, CeilingReached):
            self.rows = before
            raise

    def _apply(self, operation: Operation) -> None:
        row = self.get(operation.sk)
        if isinstance(operation, Add):
            self._add(operation, row)
            return
        refused = operation.if_absent and row if isinstance(operation, Put) else operation.must_exist and not row
        if refused or (operation.if_version is not None and (row is None or operation.if_version == OLD)):
            raise ConditionFailed(operation.sk)
        self.rows.pop(operation.sk, None)
        if isinstance(operation, Put):
            self.rows[operation.sk] = ModelRow(operation.data, operation.counts, operation.expires_at)

    def _add(self, operation: Add, row: ModelRow | None) -> None:
        if operation.must_exist and row is None:
            raise ConditionFailed(operation.sk)
        row = row or ModelRow({}, {}, None)
        counts = {field: row.counts.get(field, 0) + delta for field, delta in operation.counts.items()}
        for field, delta in operation.counts.items():
            if delta > 0 and field in operation.ceilings and counts[field] > operation.ceilings[field]:
                raise CeilingReached(operation.sk, field)
        expires_at = operation.expires_at if row.expires_at is None else row.expires_at
        self.rows[operation.sk] = replace(row, counts={**row.counts, **counts}, expires_at=expires_at)


VERSIONS = st.none() | st.sampled_from([CURRENT, OLD])
COUNTS = st.dictionaries(st.sampled_from(["n", "m"]), st.integers(-5, 5), max_size=2)
CEILINGS = st.dictionaries(st.sampled_from(["n", "m"]), st.integers(-2, 8), max_size=2)


def operations_on(sk: str) -> st.SearchStrategy[Operation]:
    data = st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2)
    return st.one_of(
        st.builds(
            Put, sk=st.just(sk), data=data, counts=COUNTS, expires_at=EXPIRES, if_absent=st.booleans(),
            if_version=VERSIONS,
        ),
        st.builds(Delete, sk=st.just(sk), must_exist=st.booleans(), if_version=VERSIONS),
        st.builds(
            Add, sk=st.just(sk), counts=COUNTS, ceilings=CEILINGS, expires_at=EXPIRES, must_exist=st.booleans()
        ),
    )  # fmt: skip


WRITES = st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True).flatmap(
    lambda keys: st.tuples(*map(operations_on, keys)).map(list)
)
STEPS = st.lists(st.tuples(WRITES, st.integers(0, 1)), min_size=1, max_size=8)


async def real(store: Store, pk: str, operation: Operation, begin: int, versions: list[str]) -> Operation:
    """The same operation with the store's own version and time in the place of the model's."""
    if not isinstance(operation, Delete) and operation.expires_at is not None:
        operation = msgspec.structs.replace(operation, expires_at=begin + operation.expires_at)
    if not isinstance(operation, Add) and operation.if_version is not None:
        row = await store.get(pk, operation.sk)
        current = row.version if row else "none"
        past = next((version for version in versions if version != current), "never")
        operation = msgspec.structs.replace(operation, if_version=current if operation.if_version == CURRENT else past)
    return operation


async def outcome(write: Callable[[], Any]) -> tuple[Any, ...]:
    try:
        done = write()
        if done is not None:
            await done
    except (ConditionFailed, CeilingReached) as error:
        return (type(error), error.sk, getattr(error, "field", None))
    return ()


@given(steps=STEPS, size=st.integers(1, 3), prefix=st.sampled_from(["", "a", "a:", "aa", "b"]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_store_does_what_the_model_does(
    store: Store, clock: Any, steps: list[tuple[list[Operation], int]], size: int, prefix: str
) -> None:
    model, pk, begin = Model(), f"p{next(partitions)}", int(clock.now)
    versions: dict[str, list[str]] = {sk: [] for sk in KEYS}
    for operations, seconds in steps:
        asked = [await real(store, pk, operation, begin, versions[operation.sk]) for operation in operations]
        expected = await outcome(partial(model.write, operations))
        assert await outcome(partial(store.write, pk, asked)) == expected
        for operation in operations:
            if row := await store.get(pk, operation.sk):
                versions[operation.sk].append(row.version)
        model.now += seconds
        clock.now += seconds
    await check_reads(store, pk, model, size, prefix, begin)


async def check_reads(store: Store, pk: str, model: Model, size: int, prefix: str, begin: int) -> None:
    for sk in KEYS:
        row, expected = await store.get(pk, sk), model.get(sk)
        found = row and ModelRow(row.data, row.counts, row.expires_at and row.expires_at - begin)
        assert found == expected
    keys: list[str] = []
    cursor = None
    for _ in KEYS:
        page = await store.query(pk, prefix, limit=size, cursor=cursor)
        keys += [row.sk for row in page.rows]
        if (cursor := page.cursor) is None:
            break
    assert cursor is None
    assert keys == model.living(prefix)
