"""The Lambda Runtime API on a socket of this machine: for Lambda's own runtime client, awslambdaric, and for ours.

One `Instance` is one execution environment: its process, started as Lambda starts it (AWS_LAMBDA_EXEC_WRAPPER before
the runtime's own command), and the server that the process asks for work
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). An event that is invoked while the process still
starts is handed over as soon as it is ready, like the request that made Lambda start it. What the process says is held
to the protocol: a request out of turn, an unknown path or a malformed stream fails the invocation.
"""

import base64
import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, override

from benchmarks import response_stream
from benchmarks.response_stream import ProtocolViolation

VERSION = "/2018-06-01/runtime"
REGION = "us-east-1"
FUNCTION = "benchmark"
POLL_SECONDS = 0.05
LOG_TAIL_CHARACTERS = 2_000
# Lambda's server leaves longer bodies to its HTTP library, which sends them in chunks.
CHUNKED_ABOVE_BYTES = 2_048


class FunctionFailed(Exception):
    """The function did not load, raised, ended, broke the protocol or did not answer in time; the text ends with the
    tail of its log."""


@dataclass(frozen=True)
class Streamed:
    """An answer whose body still comes. Times are by time.perf_counter()."""

    status: int
    headers: list[tuple[str, str]]
    pieces: Iterator[tuple[bytes, float]]


class Instance:
    """A started one; `with` ends it. `python` has awslambdaric, `task_root` is what Lambda unpacks a package to."""

    def __init__(
        self, python: Path, task_root: Path, handler: str, environment: Mapping[str, str], *, log: Path
    ) -> None:
        self._log = log
        self._api = _RuntimeAPI(snapshot=environment.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start")
        threading.Thread(target=self._api.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        wrapper = [environment["AWS_LAMBDA_EXEC_WRAPPER"]] if "AWS_LAMBDA_EXEC_WRAPPER" in environment else []
        with log.open("wb") as output:
            self.spawned = time.perf_counter()
            self._process = subprocess.Popen(
                [*wrapper, python, "-m", "awslambdaric", handler],
                cwd=task_root,
                env=_environment(task_root, handler, self._api.server_address[1]) | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def ready(self) -> float:
        """When it first asked for work, by time.perf_counter()."""
        return self._api.first_asked

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def cpu(self) -> float:
        """Seconds of the processor so far, of all its threads: https://docs.kernel.org/scheduler/sched-stats.html."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def wait(self, *, timeout: float = 30.0) -> None:
        """Until it asks for work, or for its snapshot. Raises FunctionFailed."""
        while not self._api.settled.wait(POLL_SECONDS):
            timeout -= POLL_SECONDS
            if timeout < 0 or self._process.poll() is not None:
                break
        if not self._api.parts.empty():
            self._raise(self._api.parts.get())
        if not self._api.settled.is_set():
            raise self._failure("The function did not start.")

    def invoke(self, event: object, *, timeout: float = 30.0) -> tuple[Any, float]:
        """The function's answer, and when all of it was there, by time.perf_counter(). A streamed one is given in the
        form of a whole one. `timeout` is in seconds. Raises FunctionFailed."""
        deadline = self._hand_over(event, timeout)
        first = self._part(deadline)
        if first.kind == "whole":
            return json.loads(first.data), first.came
        streamed = self._streamed(first, deadline)
        pieces = list(streamed.pieces)
        values: dict[str, list[str]] = {}
        for name, value in streamed.headers:
            values.setdefault(name, []).append(value)
        content = b"".join(piece for piece, _ in pieces)
        try:
            body = {"body": content.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            body = {"body": base64.b64encode(content).decode(), "isBase64Encoded": True}
        return {"statusCode": streamed.status, "multiValueHeaders": values, **body}, pieces[-1][1]

    def stream(self, event: object, *, timeout: float = 30.0) -> Streamed:
        """The function's answer as soon as it has a status. Raises FunctionFailed, also while the pieces come."""
        deadline = self._hand_over(event, timeout)
        return self._streamed(self._part(deadline), deadline)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._api.events.put(None)  # the request for work that it died with ends too
        self._api.shutdown()
        self._api.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hand_over(self, event: object, timeout: float) -> float:
        self._api.events.put(_Invocation(str(uuid.uuid4()), json.dumps(event).encode(), time.time() + timeout))
        return time.monotonic() + timeout

    def _streamed(self, first: "_Part", deadline: float) -> Streamed:
        if first.kind != "prelude":
            raise self._failure("The function answers whole.")
        status, headers = response_stream.head(first.data)
        return Streamed(status, headers, self._pieces(deadline))

    def _pieces(self, deadline: float) -> Iterator[tuple[bytes, float]]:
        while (part := self._part(deadline)).kind != "end":
            yield part.data, part.came
        yield b"", part.came

    def _part(self, deadline: float) -> "_Part":
        while True:
            try:
                part = self._api.parts.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if (status := self._process.poll()) is not None:
                    raise self._failure(f"The function ended with status {status}.") from None
                if time.monotonic() > deadline:
                    raise self._failure("The function did not answer in time.") from None
                continue
            self._raise(part)
            return part

    def _raise(self, part: "_Part") -> None:
        if part.kind in ("error", "violation", "fault"):
            raise self._failure(part.data.decode(errors="replace"))

    def _failure(self, what: str) -> FunctionFailed:
        return FunctionFailed(f"{what}\n{self.log[-LOG_TAIL_CHARACTERS:]}")


def _environment(task_root: Path, handler: str, port: int) -> dict[str, str]:
    """What Lambda defines: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": handler,
        "LAMBDA_TASK_ROOT": str(task_root),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": FUNCTION,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{FUNCTION}",
        "AWS_LAMBDA_LOG_STREAM_NAME": FUNCTION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@dataclass(frozen=True)
class _Invocation:
    request_id: str
    event: bytes
    deadline: float


@dataclass(frozen=True)
class _Part:
    """`kind` is whole, prelude, piece, end; or, of what failed, error, violation, fault (after the first byte)."""

    kind: str
    data: bytes
    came: float


class _RuntimeAPI(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *, snapshot: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[_Invocation | None] = queue.Queue()
        self.parts: queue.Queue[_Part] = queue.Queue()
        self.first_asked = 0.0
        self.settled = threading.Event()
        self.snapshot = snapshot
        self.current: str | None = None

    def part(self, kind: str, data: bytes = b"") -> None:
        self.parts.put(_Part(kind, data, time.perf_counter()))

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """A process that is killed resets its connections."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    @property
    def _api(self) -> _RuntimeAPI:
        assert isinstance(self.server, _RuntimeAPI)
        return self.server

    def do_GET(self) -> None:
        with self._held_to_the_protocol():
            match self.path.removeprefix(VERSION):
                case "/restore/next" if self._api.snapshot:
                    self._api.snapshot = False
                    self._api.settled.set()
                    self._answer(200, b"", {})
                case "/invocation/next" if self._api.current is None and not self._api.snapshot:
                    self._next()
                case path:
                    raise ProtocolViolation(f"GET {path} out of turn")

    def _next(self) -> None:
        self._api.first_asked = self._api.first_asked or time.perf_counter()
        self._api.settled.set()
        if (invocation := self._api.events.get()) is None:
            self.close_connection = True
            return
        self._api.current = invocation.request_id
        self._answer(
            200,
            invocation.event,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:000000000000:function:{FUNCTION}",
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
            },
        )

    def do_POST(self) -> None:
        with self._held_to_the_protocol():
            path = self.path.removeprefix(VERSION)
            if path == "/init/error" and not self._api.first_asked:
                self._api.part("error", response_stream.fault(self._body()))
                self._api.settled.set()
            elif self._api.current and path == f"/invocation/{self._api.current}/error":
                fault = response_stream.fault(self._body())
                self._api.current = None
                self._api.part("error", fault)
            elif self._api.current and path == f"/invocation/{self._api.current}/response":
                self._respond()
            else:
                raise ProtocolViolation(f"POST {path} out of turn")
            self._answer(202, b'{"status":"OK"}', {})

    def _respond(self) -> None:
        if self.headers.get(response_stream.MODE_HEADER) != "streaming":
            body = self._body()
            json.loads(body)
            self._api.current = None
            return self._api.part("whole", body)
        stream = response_stream.Reader(dict(self.headers), self.rfile)
        self._api.part("prelude", stream.prelude())
        for piece in stream.pieces():
            self._api.part("piece", piece)
        self._api.current = None
        if (fault := stream.fault()) is None:
            return self._api.part("end")
        return self._api.part("fault", fault)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    @contextmanager
    def _held_to_the_protocol(self) -> Iterator[None]:
        try:
            yield
        except ProtocolViolation as violation:
            self.close_connection = True
            self._api.part("violation", f"The runtime broke the protocol: {violation}".encode())
            self._answer(400, json.dumps({"errorMessage": str(violation), "errorType": "InvalidRequest"}).encode(), {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        chunked = len(body) > CHUNKED_ABOVE_BYTES
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", **framing}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Not on the benchmark's output."""
