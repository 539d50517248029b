"""The databases that the store suite runs on: one line each in BACKENDS.

A store that is registered in bootstrap.STORES and has no line here fails the run.
"""

import os
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from infra.local import azurite, firestore
from tests.emulators import (
    AWS_ENVIRONMENT,
    Emulators,
    Starter,
    azurite_server,
    create_azure_table,
    create_dynamodb_table,
    delete_dynamodb_table,
    google_firestore_server,
    ministack_server,
    moto_server,
    node_firestore_server,
)
from tests.grpc_proxy import GrpcProxy
from tests.proxy import Answer, Proxy
from wordup.stores.base import Store
from wordup.stores.retry import Retry

Clock = Callable[[], float]


class Open(Protocol):
    """A store on the test's own database, unconnected. Each call makes another, as another process would."""

    def __call__(self, *, clock: Clock = time.time, retry: Retry | None = None) -> Store: ...


@dataclass(frozen=True)
class Database:
    """An empty database for one test. `throttled(n)` makes it refuse the next n writes, None: all, as it would itself
    under load."""

    open: Open
    throttled: Callable[[int | None], AbstractContextManager[None]]
    # What makes another process's bot use this database.
    environment: dict[str, str]


@dataclass(frozen=True)
class Backend:
    """`store` is its name in bootstrap.STORES; `database` gets the adapter's class from there."""

    store: str
    database: Callable[[type[Any], Emulators, Path], AbstractAsyncContextManager[Database]]


@asynccontextmanager
async def sqlite_file(adapter: type[Any], emulators: Emulators, folder: Path) -> AsyncGenerator[Database]:
    path = folder / "wordup.db"

    @contextmanager
    def throttled(times: int | None) -> Generator[None]:
        """Another process holds the write lock."""
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.0 if times is None else 0.05 * times, other.rollback)
        if times is not None:
            release.start()
        try:
            yield
        finally:
            release.cancel()
            if times is not None:
                release.join()
            other.close()

    def open_file(*, clock: Clock = time.time, retry: Retry | None = None) -> Store:
        """SQLite waits by itself; a test that brings its own Retry does not want to wait long."""
        return adapter(path, clock=clock, busy_seconds=0.2 if retry else 5.0)

    yield Database(open_file, throttled, {"WORDUP_DATA_DIR": str(folder)})


def dynamodb_on(server: Starter) -> Callable[[type[Any], Emulators, Path], AbstractAsyncContextManager[Database]]:
    throttling = Answer(
        400,
        b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"Slow down."}',
        {"Content-Type": "application/x-amz-json-1.0"},
    )

    @asynccontextmanager
    async def database(adapter: type[Any], emulators: Emulators, folder: Path) -> AsyncGenerator[Database]:
        table = f"wordup-{os.getpid()}-{time.monotonic_ns()}"
        with patch.dict(os.environ, AWS_ENVIRONMENT), Proxy(emulators.url(server)) as proxy:
            create_dynamodb_table(proxy.url, table)
            yield Database(
                lambda *, clock=time.time, retry=None: adapter(table, proxy.url, clock=clock, retry=retry),
                lambda times: proxy.answering(throttling, times),
                {
                    **AWS_ENVIRONMENT,
                    "WORDUP_STORE": "dynamodb",
                    "WORDUP_TABLE": table,
                    "WORDUP_STORE_ENDPOINT": proxy.url,
                },
            )
            delete_dynamodb_table(proxy.url, table)

    return database


def firestore_on(server: Starter) -> Callable[[type[Any], Emulators, Path], AbstractAsyncContextManager[Database]]:
    @asynccontextmanager
    async def database(adapter: type[Any], emulators: Emulators, folder: Path) -> AsyncGenerator[Database]:
        name = f"wordup-{os.getpid()}-{time.monotonic_ns()}"
        with GrpcProxy(emulators.url(server)) as proxy, patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=proxy.address):
            yield Database(
                lambda *, clock=time.time, retry=None: adapter(name, "wordup", clock=clock, retry=retry),
                proxy.throttling,
                {
                    "FIRESTORE_EMULATOR_HOST": proxy.address,
                    "WORDUP_STORE": "firestore",
                    "WORDUP_TABLE": name,
                    "WORDUP_STORE_ENDPOINT": "wordup",
                },
            )

    return database


@asynccontextmanager
async def azurite_table(adapter: type[Any], emulators: Emulators, folder: Path) -> AsyncGenerator[Database]:
    body = b'{"odata.error":{"code":"ServerBusy","message":{"lang":"en-US","value":"Slow down."}}}'
    throttling = Answer(503, body, {"Content-Type": "application/json", "x-ms-error-code": "ServerBusy"})
    table = f"wordup{os.getpid()}{time.monotonic_ns()}"
    with Proxy(emulators.url(azurite_server)) as proxy:
        endpoint = f"{proxy.url}/{azurite.ACCOUNT}"
        await create_azure_table(endpoint, table)
        yield Database(
            lambda *, clock=time.time, retry=None: adapter(table, endpoint, clock=clock, retry=retry),
            lambda times: proxy.answering(throttling, times),
            {"WORDUP_STORE": "azure_tables", "WORDUP_TABLE": table, "WORDUP_STORE_ENDPOINT": endpoint},
        )


BACKENDS: dict[str, Backend] = {
    "sqlite": Backend("sqlite", sqlite_file),
    "dynamodb-ministack": Backend("dynamodb", dynamodb_on(ministack_server)),
    "dynamodb-moto": Backend("dynamodb", dynamodb_on(moto_server)),
    "firestore-node": Backend("firestore", firestore_on(node_firestore_server)),
    "azure_tables-azurite": Backend("azure_tables", azurite_table),
}
if firestore.google_jar():  # no registry has it, so only a machine with the gcloud command line's package does
    BACKENDS["firestore-google"] = Backend("firestore", firestore_on(google_firestore_server))
