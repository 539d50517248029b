"""Rows as each version of the code wrote them, in each database's own terms: what an upgrade finds.

    python -m tests.recorded

writes tests/rows/schema-<SCHEMA_VERSION>/: `rows.jsonl` as the port sees them, and a file for each store as its
database holds them. What was released is never recorded again.
"""

import asyncio
import base64
import json
import os
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import botocore.session
import msgspec
from azure.data.tables.aio import TableClient
from google.cloud.firestore import AsyncClient

from cli.archive import Line
from tests.archives import rows
from tests.conformance.backends import BACKENDS, Database
from tests.emulators import Emulators
from tests.provider_server import ProviderServer, Reply
from tests.serving import settings
from wordup import keys
from wordup.admission import TurnRequest
from wordup.auth import issue_key, named, revoke_keys
from wordup.bootstrap import STORES, adapter, build
from wordup.feedback import FeedbackBook
from wordup.stores.azure_tables import AZURITE
from wordup.stores.base import SCHEMA_VERSION, Add, Put, Store
from wordup.turns import Feedback, Turn

FOLDER = Path(__file__).with_name("rows")
# When the rows were written; whoever reads them does so in the same second, when nothing has expired.
NOW = 1_795_000_000
ANNA = named("anna")
LONG = "\0" * 11_000  # as JSON six times as long: beyond what the databases keep as readable text

Record = dict[str, Any]


def folder(version: int) -> Path:
    return FOLDER / f"schema-{version}"


def lines(version: int, name: str) -> list[Record]:
    return [json.loads(line, object_hook=_decoded) for line in (folder(version) / name).read_text().splitlines()]


class Raw:
    """A database past its adapter."""

    def __init__(self, read: Callable[[], Any], insert: Callable[[list[Record]], Any]) -> None:
        self.read = read
        self.insert = insert


@asynccontextmanager
async def raw(store: str, database: Database) -> AsyncGenerator[Raw]:
    there = database.environment
    match store:
        case "sqlite":
            with closing(sqlite3.connect(Path(there["WORDUP_DATA_DIR"], "wordup.db"))) as connection:
                yield Raw(lambda: _read_sqlite(connection), lambda records: _insert_sqlite(connection, records))
        case "dynamodb":
            client: Any = botocore.session.Session().create_client(
                "dynamodb", endpoint_url=there["WORDUP_STORE_ENDPOINT"]
            )
            table = {"TableName": there["WORDUP_TABLE"]}
            yield Raw(
                lambda: client.scan(**table)["Items"],
                lambda records: [client.put_item(**table, Item=record) for record in records],
            )
            client.close()
        case "firestore":
            firestore = AsyncClient(project=there["WORDUP_STORE_ENDPOINT"], database=there["WORDUP_TABLE"])
            collection: Any = firestore.collection("rows")
            yield Raw(
                lambda: _read_firestore(collection),
                lambda records: asyncio.gather(*(collection.document(r["key"] + "#").set(r) for r in records)),
            )
            await firestore._firestore_api.transport.close()
        case _:
            async with TableClient(there["WORDUP_STORE_ENDPOINT"], there["WORDUP_TABLE"], credential=AZURITE) as tables:
                yield Raw(
                    lambda: _read_tables(tables),
                    lambda records: asyncio.gather(*(tables.upsert_entity(record) for record in records)),
                )


def _read_sqlite(connection: sqlite3.Connection) -> list[Record]:
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    found = connection.execute("SELECT * FROM rows")
    names = [column[0] for column in found.description]
    return [{"sql": sql} for (sql,) in schema] + [dict(zip(names, row, strict=True)) for row in found]


def _insert_sqlite(connection: sqlite3.Connection, records: list[Record]) -> None:
    with connection:
        for record in records:
            if "sql" in record:
                connection.execute(record["sql"])
            else:
                names = ", ".join(record)
                marks = ", ".join("?" * len(record))
                connection.execute(f"INSERT INTO rows ({names}) VALUES ({marks})", [*record.values()])  # noqa: S608


async def _read_firestore(collection: Any) -> list[Record]:
    return [document.to_dict() async for document in collection.stream()]


async def _read_tables(tables: TableClient) -> list[Record]:
    return [dict(entity) async for entity in tables.list_entities()]


async def done(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) or asyncio.isfuture(value) else value


async def lived(home: Path) -> list[Line]:
    """The rows after a life that has one of every kind: conversations, ratings, keys, an erasure, a killed turn."""
    with ProviderServer(Reply(deltas=("An ", "answer."))) as provider:
        provider.script(Reply(deltas=("A long ", "answer.", LONG)))
        configured = settings(home, openai_api_key="sk-test", openai_base_url=provider.url)
        bot = build(configured, clock=lambda: NOW)
        for name in ("laptop", "phone"):
            await issue_key(bot.store, ANNA.id, name, now=NOW)
        await revoke_keys(bot.store, ANNA.id, "phone")
        first = await _answer(bot.chat.turn(ANNA, TurnRequest(message="What is AWS Lambda?"), key="once"))
        await FeedbackBook(bot.store).put(ANNA, first.message_id, Feedback("up", ["clear"], "thanks"))
        second = TurnRequest(message="And what does it cost?", conversation_id=first.conversation_id)
        await _answer(bot.chat.turn(ANNA, second, key=None))
        await _answer(bot.chat.turn(ANNA, TurnRequest(message="Which queue?"), key=None))
        await bot.store.write(named("bert").pk, [Put(sk=keys.ERASED, expires_at=NOW + keys.DAY_SECONDS)])
        killed = bot.chat.turn(ANNA, TurnRequest(message="Killed"), key="killed")
        await anext(killed)
        found = await rows(bot.store)  # as a process that ends here leaves it
        await killed.aclose()
        await bot.close()
    return [
        Line(
            pk=row.pk,
            sk=row.sk,
            data=row.data,
            counts=row.counts,
            expires_at=row.expires_at,
            schema_version=row.schema_version,
        )
        for row in found
    ]


async def _answer(events: Any) -> Turn:
    return [event async for event in events][-1]


async def _write(store: Store, found: list[Line]) -> None:
    """A row of counts alone comes from `add`, as in a turn."""
    for line in found:
        if line.counts and not line.data:
            await store.add(line.pk, Add(sk=line.sk, counts=line.counts, expires_at=line.expires_at))
        else:
            put = Put(sk=line.sk, data=line.data, counts=line.counts, expires_at=line.expires_at)
            await store.write(line.pk, [put])


async def record(temporary: Path) -> None:
    target = folder(SCHEMA_VERSION)
    target.mkdir(parents=True, exist_ok=True)
    found = await lived(temporary / "home")
    _save(target / "rows.jsonl", [msgspec.to_builtins(line) for line in found])
    emulators = Emulators(temporary)
    try:
        for store, backend in {backend.store: backend for backend in reversed(BACKENDS.values())}.items():
            async with AsyncExitStack() as stack:
                kind = adapter(STORES, store, "WORDUP_STORE")
                database = await stack.enter_async_context(backend.database(kind, emulators, temporary / store))
                opened = database.open(clock=lambda: NOW)
                stack.push_async_callback(opened.close)
                await _write(opened, found)
                there = await stack.enter_async_context(raw(store, database))
                _save(target / f"{store}.jsonl", await done(there.read()))
    finally:
        emulators.stop()


def _save(path: Path, records: list[Record]) -> None:
    texts = [json.dumps(record, default=_encoded, ensure_ascii=False) for record in records]
    path.write_text("\n".join(texts) + "\n", "utf-8")


def _encoded(value: Any) -> Record:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    assert isinstance(value, datetime), value
    return {"$time": value.isoformat()}


def _decoded(record: Record) -> Any:
    match record:
        case {"$bytes": str(text)}:
            return base64.b64decode(text)
        case {"$time": str(text)}:
            return datetime.fromisoformat(text)
        case _:
            return record


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary, patch.dict(os.environ):
        asyncio.run(record(Path(temporary)))
