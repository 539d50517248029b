"""The Lambda entry behind an HTTP server that does what API Gateway's REST API does with a request and an answer."""

import base64
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import parse_qsl, urlsplit

from benchmarks.runtime_api import Instance

OF_THE_CONNECTION = {"connection", "content-length", "transfer-encoding"}


class _Gateway(ThreadingHTTPServer):
    daemon_threads = True
    instance: Instance
    turn = threading.Lock()  # one request at a time, as an execution environment takes them


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _pass_on(self) -> None:
        server: Any = self.server
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.turn:
            answer, _ = server.instance.invoke(self._event(content))
        body = answer["body"]
        sent = base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()
        self.send_response(answer["statusCode"])
        for name, values in _headers(answer):
            if name.lower() not in OF_THE_CONNECTION:
                for value in values:
                    self.send_header(name, value)
        if answer["statusCode"] != 204:
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_TRACE = do_QUERY = _pass_on  # noqa: N815

    def _event(self, content: bytes) -> dict[str, Any]:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""
        url = urlsplit(self.path)
        headers = {name: self.headers.get_all(name) or [] for name in self.headers}
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(url.query, keep_blank_values=True):
            query.setdefault(name, []).append(value)
        return {
            "resource": "/{proxy+}",
            "path": url.path,
            "httpMethod": self.command,
            "headers": {name: values[-1] for name, values in headers.items()},
            "multiValueHeaders": headers,
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": {"proxy": url.path.lstrip("/")},
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "httpMethod": self.command,
                "path": f"/live{url.path}",
                "stage": "live",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": base64.b64encode(content).decode() if content else None,
            "isBase64Encoded": bool(content),
        }

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _headers(answer: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    yield from (answer.get("multiValueHeaders") or {}).items()
    for name, value in (answer.get("headers") or {}).items():
        yield name, [value]


@contextmanager
def gateway(instance: Instance) -> Iterator[str]:
    """The URL under which the function answers."""
    with _Gateway(("127.0.0.1", 0), _Handler) as server:
        server.instance = instance
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
