"""Databases for tests: real servers over real sockets on 127.0.0.1, each on a free port, always stopped.

An emulator that does not start is an error, never a skip.
"""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import httpx2
from azure.data.tables.aio import TableClient
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from infra.local import azurite, firestore, ministack
from infra.local.emulator import HOST, free_port, running
from wordup.stores.azure_tables import AZURITE

# What every AWS client in a test signs with; the emulators take any key.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": ministack.REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}

Starter = Callable[[Path], AbstractContextManager[str]]  # a folder of its own -> the URL of the running server


class Emulators:
    """Starts each emulator at its first use and stops them all together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._urls: dict[Starter, str] = {}

    def url(self, starter: Starter) -> str:
        if starter not in self._urls:
            folder = self._folder / starter.__name__
            folder.mkdir()
            self._urls[starter] = self._stack.enter_context(starter(folder))
        return self._urls[starter]

    def stop(self) -> None:
        self._stack.close()


@contextmanager
def ministack_server(folder: Path) -> Generator[str]:
    with ministack.started(folder) as running:
        yield running.url


@contextmanager
def moto_server(_: Path) -> Generator[str]:
    """One request at a time: moto looks at a condition and writes without a lock in between."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        # Its tables are the process's, and would be the next server's.
        httpx2.post(f"http://127.0.0.1:{server.server_port}/moto-api/reset").raise_for_status()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def google_firestore_server(folder: Path) -> Generator[str]:
    with firestore.google_started(folder) as address:
        yield address


@contextmanager
def node_firestore_server(folder: Path) -> Generator[str]:
    with firestore.node_started(folder) as address:
        yield address


@contextmanager
def azurite_server(folder: Path) -> Generator[str]:
    with azurite.started(folder) as url:
        yield url


@contextmanager
def azurite_blobs(folder: Path) -> Generator[str]:
    """The account's blob URL."""
    port = free_port()
    options = ["--blobHost", HOST, "--blobPort", str(port), "--inMemoryPersistence"]
    options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    main = azurite.MAIN.parents[1] / "blob" / "main.js"
    with running("Azurite", [azurite.NODE, main, *options], folder, port=port):
        yield f"http://{HOST}:{port}/{azurite.ACCOUNT}"


async def create_azure_table(url: str, name: str) -> None:
    async with TableClient(url, name, credential=AZURITE) as client:
        await client.create_table()


def create_dynamodb_table(url: str, name: str) -> None:
    """The table as the AWS program deploys it, without the TTL: what expired stays, so that hiding it is seen."""
    client: Any = botocore.session.Session().create_client("dynamodb", endpoint_url=url)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()


def delete_dynamodb_table(url: str, name: str) -> None:
    """Moto copies all its tables at every transaction, so those of other tests cost time."""
    client: Any = botocore.session.Session().create_client("dynamodb", endpoint_url=url)
    client.delete_table(TableName=name)
    client.close()
