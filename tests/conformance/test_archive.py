"""A store's rows come out of any database and into any other as they were."""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from cli import archive
from cli.restore import Imported, Restore
from tests.archives import NOW, fill, nothing, puts, rows
from tests.conformance.backends import BACKENDS, Database
from tests.conformance.test_kills import ONE_A_STORE
from tests.emulators import Emulators
from tests.home import WORDUP, environment, wordup
from wordup.bootstrap import STORES, adapter
from wordup.stores.base import Put, Row, Store
from wordup.stores.sqlite import SQLiteStore

ROWS = 5_000


@asynccontextmanager
async def opened(name: str, emulators: Emulators, folder: Path) -> AsyncGenerator[Store]:
    """A store on an empty database, at the time of the rows of `puts`."""
    backend = BACKENDS[name]
    kind = adapter(STORES, backend.store, "WORDUP_STORE")
    async with backend.database(kind, emulators, folder) as found:
        store = found.open(clock=lambda: NOW)
        try:
            yield store
        finally:
            await store.close()


async def moved(source: Store, target: Store, file: Path) -> tuple[archive.Header, Imported]:
    header = await archive.write(source, file, now=NOW, told=nothing)
    assert archive.verified(file) == header
    return header, await Restore(target, now=NOW).run(file, nothing)


@pytest.mark.parametrize("name", ONE_A_STORE)
async def test_archive_of_a_store_fills_every_other(name: str, emulators: Emulators, tmp_path: Path) -> None:
    async with opened(name, emulators, tmp_path / "source") as source:
        await fill(source, puts(120))
        before = await rows(source)
        header = await archive.write(source, tmp_path / "archive", now=NOW, told=nothing)
    assert (header.rows, header.kinds) == (120, {"u:turn": 120})
    for number, other in enumerate(ONE_A_STORE):
        async with opened(other, emulators, tmp_path / f"target-{number}") as target:
            done = await Restore(target, now=NOW).run(tmp_path / "archive", nothing)
            assert (done.rows, done.written) == (120, 120), other
            assert await rows(target) == before, other


async def test_5000_rows_through_all_databases_are_the_same_in_the_end(emulators: Emulators, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = first = await stack.enter_async_context(opened("sqlite", emulators, tmp_path / "first"))
        await fill(first, puts(ROWS))
        before = await rows(first)
        for number, name in enumerate([*ONE_A_STORE[1:], "sqlite"]):
            target = await stack.enter_async_context(opened(name, emulators, tmp_path / f"{number}"))
            header, done = await moved(store, target, tmp_path / f"{number}.jsonl.gz")
            assert header.rows == done.written == ROWS, name
            store = target
        assert await rows(store) == before


@pytest.mark.parametrize("name", ONE_A_STORE)
async def test_row_of_400_kb_arrives_or_is_named(name: str, emulators: Emulators, tmp_path: Path) -> None:
    large, small = Put(sk="turn:a", data={"a": "x" * 450_000}), Put(sk="turn:b", data={"a": "y"})
    async with (
        opened("sqlite", emulators, tmp_path / "source") as source,
        opened(name, emulators, tmp_path / "target") as target,
    ):
        await fill(source, {"u:1": [large, small]})
        _, done = await moved(source, target, tmp_path / "archive")
        arrived = [row.sk for row in await rows(target)]
        before = await rows(source)
        assert all(row in before for row in await rows(target))
    takes_it = BACKENDS[name].store != "dynamodb"  # 400 KB an item are DynamoDB's limit
    assert arrived == (["turn:a", "turn:b"] if takes_it else ["turn:b"])
    assert done.too_large == ([] if takes_it else ["u:1 turn:a"])
    assert (done.rows, done.written) == (2, len(arrived))


async def test_import_again_writes_nothing_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    store = database.open(clock=lambda: NOW)
    partitions = puts(60)
    await fill(store, partitions)
    header, again = await moved(store, store, tmp_path / "archive")
    assert (again.there, again.written, again.kept) == (header.rows, 0, 0)
    pk, [first, *_] = next(iter(partitions.items()))
    await store.write(pk, [Put(sk=first.sk, data={"newer": True})])
    done = await Restore(store, now=NOW).run(tmp_path / "archive", nothing)
    assert (done.there, done.kept) == (header.rows - 1, 1)
    assert (await found(store, pk, first.sk)).data == {"newer": True}
    replaced = await Restore(store, now=NOW, replace=True).run(tmp_path / "archive", nothing)
    assert replaced.written == header.rows
    assert (await found(store, pk, first.sk)).data == first.data
    await store.close()


async def found(store: Store, pk: str, sk: str) -> Row:
    row = await store.get(pk, sk)
    assert row is not None
    return row


@pytest.mark.parametrize("database", ["sqlite", "dynamodb-ministack"], indirect=True)
async def test_killed_import_is_finished_by_the_next_one(database: Database, tmp_path: Path) -> None:
    source = SQLiteStore(tmp_path / "source" / "wordup.db")
    await fill(source, puts(ROWS))
    before = await rows(source)
    await source.close()
    assert wordup(tmp_path, "data", "export", "archive", WORDUP_DATA_DIR="source").returncode == 0
    target = database.open()
    process = await asyncio.create_subprocess_exec(
        *(WORDUP, "data", "import", "archive"), cwd=tmp_path, env=environment(tmp_path, **database.environment)
    )
    while len((await target.scan("", limit=100)).rows) < 100:
        assert process.returncode is None
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert 100 <= len(await rows(target)) < ROWS

    done = wordup(tmp_path, "data", "import", "archive", "--json", **database.environment)
    counts = json.loads(done.stdout)
    assert (counts["rows"], counts["written"] + counts["there"]) == (ROWS, ROWS)
    assert counts["there"] >= 100
    assert await rows(target) == before
    await target.close()
