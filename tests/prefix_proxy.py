"""A proxy that serves a bot under a path of its own, as nginx would, and loses connections on demand."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, override
from urllib.parse import urlsplit

from tests.proxy import HOP_BY_HOP

PREFIX = "/some/where"


class PrefixProxy:
    """`keys` are the Idempotency-Keys of the questions that came by, repeated ones too."""

    def __init__(self, target: str) -> None:
        split = urlsplit(target)
        self.address = (split.hostname or "", split.port or 80)
        self.keys: list[str] = []
        self._cuts = 0
        self._down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX}/"

    def cut(self, times: int = 1) -> None:
        """The next answers break off after their first bytes; the bot does not notice."""
        self._cuts = times

    @contextmanager
    def down(self) -> Generator[None]:
        """Every connection is closed without an answer."""
        self._down = True
        yield
        self._down = False

    def is_down(self) -> bool:
        return self._down

    def take_cut(self) -> bool:
        self._cuts -= 1
        return self._cuts >= 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _pass_on(self) -> None:
        proxy: PrefixProxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == f"{PREFIX}/chat":
            proxy.keys.append(self.headers["Idempotency-Key"])
        if proxy.is_down():
            self.close_connection = True
        elif self.path.startswith(f"{PREFIX}/"):
            self._forward(proxy, self.path.removeprefix(PREFIX), body)
        else:
            self.send_error(404)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def _forward(self, proxy: PrefixProxy, path: str, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        is_cut = path == "/chat" and proxy.take_cut()
        connection = HTTPConnection(*proxy.address, timeout=30)
        try:
            connection.request(self.command, path, body, headers)
            response = connection.getresponse()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            has_body = response.status not in (204, 304)
            if has_body:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while chunk := response.read1(65_536):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                if is_cut:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    response.read()
                    return
            if has_body:
                self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            connection.close()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Not on the tests' output."""
