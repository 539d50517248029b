"""An HTTP proxy in front of an emulator: counts what passes, throttles, and loses answers."""

import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Answer:
    """What the proxy says instead of the server."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Exchange:
    """One request with its answer, as bodies: their bytes are what a conversation costs on the wire."""

    headers: dict[str, str]
    request: bytes
    status: int
    response: bytes


class Proxy:
    """`exchanges` are those that reached the server; `throttled` counts those that did not."""

    def __init__(self, target: str) -> None:
        split = urlsplit(target)
        self.address = (split.hostname or "", split.port or 80)
        self.exchanges: list[Exchange] = []
        self.throttled = 0
        self._lock = threading.Lock()
        self._answers: deque[Answer] = deque()
        self._always: Answer | None = None
        self._lost = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def answering(self, answer: Answer, times: int | None) -> Generator[None]:
        """The next `times` requests get this answer, None: all of them, until the block ends."""
        with self._lock:
            self._answers.extend([answer] * (times or 0))
            self._always = answer if times is None else None
        try:
            yield
        finally:
            with self._lock:
                self._answers.clear()
                self._always = None

    def lose_answers(self, times: int) -> None:
        """The next `times` POST requests, as writes are, reach the server, whose answer is thrown away with the
        connection."""
        with self._lock:
            self._lost = times

    def take_answer(self) -> Answer | None:
        with self._lock:
            answer = self._answers.popleft() if self._answers else self._always
            self.throttled += answer is not None
            return answer

    def take_loss(self) -> bool:
        with self._lock:
            self._lost -= 1
            return self._lost >= 0

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    upstream: HTTPConnection | None = None

    def _pass_on(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        request = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = proxy.take_answer()
        if answer is None:
            answer = self._forward(proxy, request)
            proxy.exchanges.append(Exchange(dict(self.headers), request, answer.status, answer.body))
            if self.command == "POST" and proxy.take_loss():
                self.close_connection = True
                return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_MERGE = _pass_on  # noqa: N815 - http.server's names

    def _forward(self, proxy: Proxy, request: bytes) -> Answer:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection = HTTPConnection(*proxy.address, timeout=30)
        try:
            connection.request(self.command, self.path, request, headers)
            response = connection.getresponse()
            passed = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            return Answer(response.status, response.read(), passed)
        finally:
            connection.close()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the exchanges are kept."""
