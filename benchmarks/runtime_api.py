"""The Lambda Runtime API on a socket of this machine, for the runtime client that Lambda itself runs: awslambdaric.

One `Instance` is one execution environment: its process, and the server that the process asks for work
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). An event that is invoked while the process still
starts is handed over as soon as it is ready, like the request that made Lambda start it.
"""

import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, override

REGION = "us-east-1"
FUNCTION = "benchmark"
POLL_SECONDS = 0.05
LOG_TAIL_CHARACTERS = 2_000


class FunctionFailed(Exception):
    """The function did not load, raised, ended or did not answer in time; the text ends with the tail of its log."""


class Instance:
    """A started one; `with` ends it. `python` has awslambdaric, `task_root` is what Lambda unpacks a package to."""

    def __init__(
        self, python: Path, task_root: Path, handler: str, environment: Mapping[str, str], *, log: Path
    ) -> None:
        self._log = log
        self._api = _RuntimeAPI()
        threading.Thread(target=self._api.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        with log.open("wb") as output:
            self.spawned = time.perf_counter()
            self._process = subprocess.Popen(
                [python, "-m", "awslambdaric", handler],
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

    def invoke(self, event: object, *, timeout: float = 30.0) -> tuple[Any, float]:
        """The function's answer, and when it came, by time.perf_counter(). `timeout` is in seconds. Raises
        FunctionFailed."""
        self._api.events.put(_Invocation(str(uuid.uuid4()), json.dumps(event).encode(), time.time() + timeout))
        deadline = time.monotonic() + timeout
        while True:
            try:
                outcome = self._api.outcomes.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if (status := self._process.poll()) is not None:
                    raise self._failure(f"The function ended with status {status}.") from None
                if time.monotonic() > deadline:
                    raise self._failure(f"The function did not answer in {timeout:g} s.") from None
                continue
            if outcome.kind == "error":
                raise self._failure(outcome.body.decode(errors="replace"))
            return json.loads(outcome.body), outcome.came

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

    def _failure(self, what: str) -> FunctionFailed:
        return FunctionFailed(f"{what}\n{self._log.read_text(errors='replace')[-LOG_TAIL_CHARACTERS:]}")


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


class _Invocation:
    def __init__(self, request_id: str, event: bytes, deadline: float) -> None:
        self.request_id = request_id
        self.event = event
        self.deadline = deadline


class _Outcome:
    """`kind` is `response` or `error`."""

    def __init__(self, kind: str, body: bytes, came: float) -> None:
        self.kind = kind
        self.body = body
        self.came = came


class _RuntimeAPI(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[_Invocation | None] = queue.Queue()
        self.outcomes: queue.Queue[_Outcome] = queue.Queue()
        self.first_asked = 0.0

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
        """/2018-06-01/runtime/invocation/next"""
        self._api.first_asked = self._api.first_asked or time.perf_counter()
        if (invocation := self._api.events.get()) is None:
            self.close_connection = True
            return
        self._answer(
            200,
            invocation.event,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:000000000000:function:{FUNCTION}",
            },
        )

    def do_POST(self) -> None:
        """/2018-06-01/runtime/invocation/<id>/{response,error} and /2018-06-01/runtime/init/error"""
        came = time.perf_counter()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(202, b"{}", {})
        self._api.outcomes.put(_Outcome(self.path.rpartition("/")[2], body, came))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Not on the benchmark's output."""
