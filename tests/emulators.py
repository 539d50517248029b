"""Databases for tests: real servers over real sockets on 127.0.0.1, each on a free port, always stopped.

An emulator that does not start is an error, never a skip.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import botocore.session
from moto.server import ThreadedMotoServer

from infra.local import ministack

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
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


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
