"""A stand-in for OpenAI and its likes: a real HTTP server that speaks Chat Completions and says what it is told.

In a test: `with ProviderServer(Reply(deltas=("Hi",))) as server:` and point OPENAI_BASE_URL at `server.url`.
By hand: `python -m tests.provider_server --port 8000`.
"""

import argparse
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any, Self, override

MODEL = "stand-in"
POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Reply:
    """What one call is answered with. `delay` is in seconds, before the headers and before each delta."""

    deltas: tuple[str, ...] = ("A stand-in", " says", " hello", ".")
    delay: float = 0.0
    # Given up without its end after so many deltas: the connection cut, or the stream just over.
    cut_after: int | None = None
    stop_after: int | None = None
    endless: bool = False
    finish_reason: str = "stop"
    # None: counted from the bytes and the deltas. False: left out, as some servers do.
    usage: dict[str, Any] | bool | None = None
    # Another status than 200 is answered with an error in OpenAI's shape.
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    code: str = ""
    # The body of the event stream, or of vectors, byte for byte, in place of all the above.
    body: bytes | None = None


class ClientLeft(Exception):
    """The client closed its connection before the answer was over."""


class _Cut(Exception):
    """The reply says to cut the connection here."""


@dataclass(frozen=True)
class Call:
    body: dict[str, Any]
    headers: dict[str, str]
    port: int  # the client's: calls with the same one came over one connection


class ProviderServer:
    """`answer` is given to every call that `script` has nothing for; a function of the request's body may decide.
    `calls` are the chat completions and vectors asked for, `disconnects` counts those that their clients left."""

    def __init__(self, answer: Reply | Callable[[dict[str, Any]], Reply] | None = None, *, port: int = 0) -> None:
        self.answer = answer or Reply()
        self.calls: list[Call] = []
        self.disconnects = 0
        self._script: deque[Reply] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._http = _HTTPServer(self, port)

    @property
    def url(self) -> str:
        """The base URL, as OPENAI_BASE_URL takes it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def script(self, *replies: Reply) -> None:
        """The next calls are answered with these, in order."""
        self._script.extend(replies)

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def wait_for(self, condition: Callable[[Self], bool], *, seconds: float = 10) -> None:
        """Until the condition holds; it is looked at after each call and each disconnect. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                raise TimeoutError(f"after {len(self.calls)} calls and {self.disconnects} disconnects")

    def take(self, call: Call) -> Reply:
        """Records a call; what to answer it with."""
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            if self._script:
                return self._script.popleft()
        return self.answer if isinstance(self.answer, Reply) else self.answer(call.body)

    def left(self) -> None:
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()

    def wait(self, connection: socket.socket, seconds: float) -> None:
        """Sleeps, but notices when the client leaves. Raises ClientLeft, also when the server stops."""
        end = time.monotonic() + seconds
        while True:
            readable, _, _ = select.select([connection], [], [], POLL_SECONDS if seconds else 0)
            if (readable and not connection.recv(1, socket.MSG_PEEK)) or self._stopping.is_set():
                raise ClientLeft
            if time.monotonic() >= end:
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, provider: "ProviderServer", port: int) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def provider(self) -> ProviderServer:
        assert isinstance(self.server, _HTTPServer)
        return self.server.provider

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "tests"}]})
        else:
            self._json(404, _error("no such path", ""))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path not in ("/v1/chat/completions", "/v1/embeddings"):
            self._json(404, _error("no such path", ""))
            return
        reply = self.provider.take(
            Call(body, {name.lower(): value for name, value in self.headers.items()}, self.client_address[1])
        )
        with self._until_client_leaves():
            self.provider.wait(self.connection, reply.delay)
            if reply.status != 200:
                self._json(reply.status, _error("scripted", reply.code), reply.headers)
            elif self.path == "/v1/embeddings":
                self._send(200, reply.body or b"", reply.headers)
            elif body.get("stream"):
                self._stream(reply, body)
            else:
                self._json(200, _whole(reply, body), reply.headers)

    def _stream(self, reply: Reply, body: dict[str, Any]) -> None:
        self.send_response(200)
        for name, value in {"content-type": "text/event-stream", "transfer-encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.body is not None:
            self._chunk(reply.body)
        elif self._deltas(reply, body):
            self._end(reply, body)
        self._chunk(b"")

    def _deltas(self, reply: Reply, body: dict[str, Any]) -> bool:
        """Whether the answer goes on to its end."""
        deltas, _ = _bounded(reply, body)
        self._event(_chunk({"role": "assistant", "content": ""}))
        for count, delta in enumerate(cycle(deltas) if reply.endless else deltas):
            if count == reply.cut_after:
                raise _Cut
            if count == reply.stop_after:
                return False
            self.provider.wait(self.connection, reply.delay)
            self._event(_chunk({"content": delta}))
        return True

    def _end(self, reply: Reply, body: dict[str, Any]) -> None:
        deltas, finish_reason = _bounded(reply, body)
        self._event(_chunk({}, finish_reason))
        if reply.usage is not False:
            self._event(_chunk(None, usage=_usage(reply, body, deltas)))
        self._chunk(b"data: [DONE]\n\n")

    def _event(self, data: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None) -> None:
        self.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @contextmanager
    def _until_client_leaves(self) -> Generator[None]:
        try:
            yield
        except (ClientLeft, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.provider.left()
        except _Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


def _bounded(reply: Reply, body: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """As if each delta were a token."""
    bound = body.get("max_completion_tokens") or body.get("max_tokens") or len(reply.deltas)
    return reply.deltas[:bound], reply.finish_reason if bound >= len(reply.deltas) else "length"


def _usage(reply: Reply, body: dict[str, Any], deltas: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(reply.usage, dict):
        return reply.usage
    said = sum(len(message["content"].encode()) for message in body["messages"])
    tokens = {"prompt_tokens": -(-said // 4), "completion_tokens": len(deltas)}
    return tokens | {"total_tokens": sum(tokens.values())}


def _chunk(
    delta: dict[str, str] | None, finish_reason: str | None = None, *, usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    chunk = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": choices}
    return chunk | ({"usage": usage} if usage else {})


def _whole(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    deltas, finish_reason = _bounded(reply, body)
    message = {"role": "assistant", "content": "".join(deltas)}
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
    whole = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": MODEL, "choices": choices}
    return whole | ({} if reply.usage is False else {"usage": _usage(reply, body, deltas)})


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "scripted", "param": None, "code": code or None}}


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for OpenAI, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each delta")
    arguments = parser.parse_args()
    with ProviderServer(Reply(delay=arguments.delay), port=arguments.port) as server:
        print(server.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(server.calls)} calls, {server.disconnects} left")


if __name__ == "__main__":
    main()
