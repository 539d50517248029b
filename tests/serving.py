"""The application on a real socket, for tests: uvicorn in a thread of this process."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from wordup.app import create_app
from wordup.bootstrap import build
from wordup.config import Settings

KEY = "the owner's key"
START_SECONDS = 20


def settings(folder: Path, **fields: Any) -> Settings:
    return Settings.parse({"data_dir": str(folder), "access_key": KEY, **fields})


@contextlib.contextmanager
def served(configured: Settings, *, clock: Callable[[], float] = time.time) -> Iterator[str]:
    """The base URL of a bot with these settings; stopped, its running turns recorded, at the end."""
    config = uvicorn.Config(
        create_app(build(configured, clock=clock)), port=0, log_level="warning", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the application did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


class Caller:
    """One signed-in user of a served bot."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.http = httpx2.Client(base_url=url, timeout=30)
        opened = self.http.post("/v1/sessions", json={}, headers={"x-api-key": key})
        opened.raise_for_status()
        self.http.headers["authorization"] = f"Bearer {opened.json()['token']}"

    def ask(self, message: str | None, *, key: str | None = None, **fields: Any) -> httpx2.Response:
        headers = {} if key is None else {"idempotency-key": key}
        body = {**fields} if message is None else {"message": message, **fields}
        return self.http.post("/chat", json=body, headers=headers)

    def events(self, message: str, **fields: Any) -> list[tuple[str, Any]]:
        """The events of a streamed answer, the comments left out."""
        body = {"message": message, "stream": True, **fields}
        with self.http.stream("POST", "/chat", json=body) as response:
            response.raise_for_status()
            return list(parse_events(response.iter_text()))


def parse_events(chunks: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """(event name, decoded data) of a server-sent event stream."""
    rest = ""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split("\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields:
                yield fields["event"], json.loads(fields["data"])
