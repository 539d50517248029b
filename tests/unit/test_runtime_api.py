"""The stand-in for Lambda's Runtime API, with the runtime client that Lambda runs."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runtime_api import FunctionFailed, Instance

FUNCTION = """
import os
count = 0
def handler(event, context):
    global count
    count += 1
    if event == "raise":
        raise ValueError("no such thing")
    if event == "exit":
        os._exit(3)
    return {"event": event, "count": count, "arn": context.invoked_function_arn, "mark": os.environ["MARK"]}
"""
Starter = Callable[[str], Instance]


@pytest.fixture
def start(tmp_path: Path) -> Starter:
    (tmp_path / "function.py").write_text(FUNCTION)
    python = Path(sys.executable)
    return lambda handler: Instance(python, tmp_path, handler, {"MARK": "set"}, log=tmp_path / "log")


def test_instance_answers_one_event_after_the_other(start: Starter) -> None:
    before = time.perf_counter()
    with start("function.handler") as instance:
        first, came = instance.invoke({"ünï": "code"})
        second, came_second = instance.invoke(None)

    assert first["event"] == {"ünï": "code"}
    assert first["arn"].startswith("arn:aws:lambda:")
    assert first["mark"] == "set"
    assert [first["count"], second["count"]] == [1, 2]
    assert before < instance.spawned < instance.ready < came < came_second


def test_error_of_the_function_is_raised_and_the_next_event_answered(start: Starter) -> None:
    with start("function.handler") as instance:
        with pytest.raises(FunctionFailed, match="no such thing"):
            instance.invoke("raise")

        assert instance.invoke("again")[0]["count"] == 2


def test_module_that_is_missing_is_raised(start: Starter) -> None:
    with start("missing.handler") as instance, pytest.raises(FunctionFailed, match=r"Runtime\.ImportModuleError"):
        instance.invoke({})


def test_process_that_ends_is_raised(start: Starter) -> None:
    with start("function.handler") as instance, pytest.raises(FunctionFailed, match="status 3"):
        instance.invoke("exit")


HEAD = "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
TYPE = "Content-Type: application/vnd.awslambda.http-integration-response\r\n"
TRAILER = "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
PRELUDE = b'{"statusCode":200}' + bytes(8)
POSTING = """
import os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def say(data):
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
said = say(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
current = said.split(b"Lambda-Runtime-Aws-Request-Id: ")[1].split(b"\\r\\n")[0]
say(HEAD.replace(b"ID", current))
import time; time.sleep(30)
"""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("headers", "body", "complaint"),
    [
        (HEAD, chunk(PRELUDE) + b"0\r\n\r\n", "a stream of type None"),
        (HEAD.partition("Transfer")[0] + TYPE, b"", "not chunked"),
        (HEAD + TYPE, chunk(b'{"statusCode":200}' + bytes(7)) + b"0\r\n\r\n", "without its delimiter"),
        (HEAD + TYPE, chunk(b" " * 20_000), "without its delimiter"),
        (HEAD + TYPE, chunk(b"{statusCode}" + bytes(8)), "cannot be read"),
        (HEAD + TYPE, chunk(b'{"statusCode":"200"}' + bytes(8)), "no status"),
        (HEAD + TYPE, chunk(b'{"statusCode":200,"body":""}' + bytes(8)), "strange keys"),
        (HEAD + TYPE, chunk(b'{"statusCode":200,"headers":{"a":1}}' + bytes(8)), "no text"),
        (HEAD + TYPE, chunk(PRELUDE) + b"5\r\nabc", "breaks off"),
        (HEAD + TYPE, chunk(PRELUDE) + b"0\r\nLambda-Runtime-Function-Error-Type: X\r\n\r\n", "not announced"),
        (HEAD + TYPE + TRAILER, chunk(PRELUDE) + b"0\r\nLambda-Runtime-Function-Error-Type: X\r\n\r\n", "base64"),
    ],
)
def test_malformed_stream_is_refused(tmp_path: Path, headers: str, body: bytes, complaint: str) -> None:
    request = f"POST /2018-06-01/runtime/invocation/ID/response HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body
    (tmp_path / "function.py").write_text(POSTING.replace("HEAD", repr(request), 1))
    start = Instance(Path(sys.executable), tmp_path, "function.handler", {}, log=tmp_path / "log")
    with start as instance, pytest.raises(FunctionFailed, match=complaint):
        instance.invoke({})


@pytest.mark.parametrize("path", ["/2018-06-01/runtime/restore/next", "/2015-03-31/runtime/invocation/next"])
def test_request_out_of_turn_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "function.py").write_text(
        "import http.client, os\n"
        "connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        f"connection.request('GET', {path!r})\n"
        "connection.getresponse()\n"
    )
    start = Instance(Path(sys.executable), tmp_path, "function.handler", {}, log=tmp_path / "log")
    with start as instance, pytest.raises(FunctionFailed, match="out of turn"):
        instance.invoke({})
