"""API Gateway's REST API with one `{proxy+}` integration in STREAM mode, on a socket of this machine.

Each request becomes the event that Lambda gets (`event`), is handed to an instance that is free, or to a new one, as
Lambda does it, and answered piece by piece as the instance answers.
"""

import base64
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, override
from urllib.parse import parse_qs, urlsplit

from benchmarks.runtime_api import FunctionFailed, Instance

STAGE = "live"


class RestAPI:
    """`start` gives a new instance of the function; its number counts from 0. `with` ends all of them."""

    def __init__(self, start: Callable[[int], Instance]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._free: list[Instance] = []
        self._all: list[Instance] = []
        self._http = _HTTPServer(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{STAGE}"

    @property
    def log(self) -> str:
        """What all instances wrote."""
        return "".join(instance.log for instance in self._all)

    def kill(self) -> None:
        """All instances, as if Lambda took them down; the next request starts a new one."""
        with self._lock:
            for instance in self._all:
                instance.close()
            self._free.clear()

    def take(self) -> Instance:
        with self._lock:
            if self._free:
                return self._free.pop()
            instance = self._start(len(self._all))
            self._all.append(instance)
            return instance

    def give_back(self, instance: Instance) -> None:
        with self._lock:
            self._free.append(instance)

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.kill()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: RestAPI) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        assert isinstance(self.server, _HTTPServer)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: self.headers.get_all(name, []) for name in self.headers}
        instance = self.server.api.take()
        try:
            self._respond(instance, event(self.command, self.path.removeprefix(f"/{STAGE}"), headers, body))
        except FunctionFailed as failed:  # in the middle of an answer the connection just ends
            self.close_connection = True
            self.log_error("%s", failed)
        finally:
            self.server.api.give_back(instance)

    def _respond(self, instance: Instance, asked: dict[str, Any]) -> None:
        answer = instance.stream(asked)
        self.send_response_only(answer.status)
        # What follows a 204 would be taken for the beginning of the next answer.
        bodiless = self.command == "HEAD" or answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        for name, value in [*answer.headers, *([] if bodiless else [("transfer-encoding", "chunked")])]:
            if name != "content-length":
                self.send_header(name, value)
        self.end_headers()
        left = bodiless
        for piece, _ in answer.pieces:
            try:
                if not left:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            except ConnectionError:  # Lambda is not told that the caller left
                left = self.close_connection = True

    # Those that an integration with ANY hands on, by BaseHTTPRequestHandler's names.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Not between the figures."""


def event(method: str, url: str, headers: dict[str, list[str]], body: bytes = b"") -> dict[str, Any]:
    """What API Gateway tells a function of a request; `url` is relative to the stage. A body that is no UTF-8 comes in
    base64, as where every media type counts as binary."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    resource = "/{proxy+}" if parts.path.strip("/") else "/"
    return {
        "resource": resource,
        "path": parts.path or "/",
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": parts.path.lstrip("/")} if resource == "/{proxy+}" else None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/{STAGE}{parts.path}",
            "stage": STAGE,
            "protocol": "HTTP/1.1",
            "requestTimeEpoch": int(time.time() * 1000),
            "identity": {"sourceIp": "127.0.0.1", "userAgent": headers.get("user-agent", [""])[-1]},
        },
        "body": text or None,
        "isBase64Encoded": encoded,
    }
