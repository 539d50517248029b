"""Our runtime in a process of its own, started as Lambda starts it, against a Runtime API that checks what it says."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cold_start import rest_api_event
from benchmarks.runtime_api import FunctionFailed, Instance
from tests.functions import PYTHON
from tests.serving import parse_events

ROOT = Path(__file__).parents[2]
FUNCTION = """
import asyncio, json, os, sys
sys.path[1:1] = os.environ["PACKAGES"].split(os.pathsep)
from wordup.api_gateway import Bridge
from wordup.config import LambdaEnvironment
from wordup.lambda_runtime import run

EVENTS = [(b"content-type", b"text/event-stream")]

async def app(scope, receive, send):
    async def start(status=200, headers=((b"content-type", b"text/plain"),)):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    async def more(body):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    async def last(body=b""):
        await send({"type": "http.response.body", "body": body})
    match scope["path"].removeprefix(scope["root_path"]):
        case "/request" | "/request/ü%25":
            body = (await receive())["body"]
            told = {name: scope[name] for name in ("method", "path", "root_path", "scheme", "client", "server")}
            told |= {"query": scope["query_string"].decode(), "body": body.hex()}
            told["headers"] = [[name.decode(), value.decode()] for name, value in scope["headers"]]
            await start()
            await last(json.dumps(told).encode())
        case "/pieces":
            await start(headers=EVENTS)
            for n in range(3):
                await more(b"%d" % n)
                while not os.path.exists("came-%d" % n):
                    await asyncio.sleep(0.01)
            await last()
        case "/head":
            await start(201, [(b"vary", b"a"), (b"vary", b"b"), (b"set-cookie", b"c=1"), (b"set-cookie", b"d=2")])
            await last()
        case "/bytes":
            await start()
            await last(bytes(range(256)) * 300)
        case "/bug":
            raise ValueError("quotes a message")
        case "/bug-in-events" | "/bug-in-text" as path:
            await start(headers=EVENTS if "events" in path else [])
            await more(b"event: delta\\ndata: {}\\n\\n")
            raise ValueError("quotes a message")
        case "/endless" | "/endless-events" as path:
            if "events" in path:
                await start(headers=EVENTS)
                await more(b"event: delta\\ndata: {}\\n\\n")
            await asyncio.sleep(60)
        case "/left":
            await receive()
            left = asyncio.create_task(receive())
            await asyncio.sleep(0.1)
            await start()
            await last(b"waits" if not left.done() else b"left")

def handler():
    if os.environ.get("BROKEN"):
        raise LookupError("no such setting")
    return Bridge(app, streams=os.environ["MODE"] == "stream")

run(handler, LambdaEnvironment.from_env())
"""

Start = Callable[..., Instance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "lambda_function.py").write_text(FUNCTION)
    wrapper = Path(shutil.copy(ROOT / "functions" / "bootstrap", tmp_path))
    packages = f"{ROOT / 'functions'}:{Path(pytest.__file__).parents[1]}"
    with ExitStack() as stack:

        def started(mode: str = "stream", **variables: str) -> Instance:
            environment = {"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper), "PACKAGES": packages, "MODE": mode, **variables}
            return stack.enter_context(Instance(Path(PYTHON), tmp_path, "", environment, log=tmp_path / "log"))

        yield started


def event(path: str, **more: Any) -> dict[str, Any]:
    return {**rest_api_event("POST", path, {"ü": 1}, {"x-kind": "test"}), **more}


@pytest.mark.parametrize("mode", ["stream", "buffer"])
def test_event_reaches_the_application_as_the_request_it_was(start: Start, mode: str) -> None:
    asked = event(
        "/request",
        multiValueHeaders={"Host": ["api.example:8443"], "X-Twice": ["a", "b"], "X-Amzn-Trace-Id": ["Root=1-0-0"]},
        multiValueQueryStringParameters={"q": ["a b", "ü"], "z": ["&"]},
    )
    asked["requestContext"]["path"] = "/v1/request"
    told = json.loads(start(mode).invoke(asked)[0]["body"])

    assert (told["method"], told["path"], told["root_path"], told["scheme"]) == ("POST", "/v1/request", "/v1", "https")
    assert (told["server"], told["client"]) == (["api.example", 8443], ["127.0.0.1", 0])
    assert told["query"] == "q=a+b&q=%C3%BC&z=%26"
    assert json.loads(bytes.fromhex(told["body"])) == {"ü": 1}
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    headers = [["host", "api.example:8443"], ["x-twice", "a"], ["x-twice", "b"], ["x-amzn-trace-id", trace]]
    assert told["headers"] == headers


@pytest.mark.parametrize(("path", "root"), [("/v1/request", "/v1"), ("/bot/v2/request", "/bot/v2"), ("/request", "")])
def test_what_stands_before_the_path_is_the_root(start: Start, path: str, root: str) -> None:
    asked = event("/request")
    asked["path"] = asked["requestContext"]["path"] = path  # a custom domain's mapping stands in both
    told = json.loads(start().invoke(asked)[0]["body"])

    assert (told["path"], told["root_path"]) == (path, root)


def test_path_is_decoded_once(start: Start) -> None:
    asked = event("/request%2F%C3%BC%2525")
    asked["requestContext"]["path"] = "/v%201/request%2F%C3%BC%2525"
    told = json.loads(start().invoke(asked)[0]["body"])

    assert (told["path"], told["root_path"]) == ("/v 1/request/ü%25", "/v 1")


def test_resource_without_a_parameter_is_the_path(start: Start) -> None:
    asked = event("/request", resource="/request", pathParameters=None)
    asked["requestContext"]["path"] = "/v1/request"
    told = json.loads(start().invoke(asked)[0]["body"])

    assert (told["path"], told["root_path"]) == ("/v1/request", "/v1")


def test_body_in_base64_is_decoded_and_a_large_event_arrives_whole(start: Start) -> None:
    body = bytes(range(256)) * 4_000
    encoded = base64.b64encode(body).decode()
    told = json.loads(start().invoke(event("/request", body=encoded, isBase64Encoded=True))[0]["body"])

    assert bytes.fromhex(told["body"]) == body


def test_pieces_come_as_they_are_written(start: Start, tmp_path: Path) -> None:
    """Each is written only when the one before has come."""
    streamed = start().stream(event("/pieces"))
    came: list[bytes] = []
    for piece, _ in streamed.pieces:
        (tmp_path / f"came-{len(came)}").touch()
        came.append(piece)

    assert (streamed.status, streamed.headers) == (200, [("content-type", "text/event-stream")])
    assert came[:3] == [b"0", b"1", b"2"]


def test_whole_answer_is_one(start: Start, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"came-{number}").touch()
    answer, _ = start("buffer").invoke(event("/pieces"))

    assert answer["body"] == "012"
    assert answer["multiValueHeaders"] == {"content-type": ["text/event-stream"]}


@pytest.mark.parametrize("mode", ["stream", "buffer"])
def test_repeated_headers_cookies_and_an_empty_body_are_kept(start: Start, mode: str) -> None:
    answer, _ = start(mode).invoke(event("/head"))

    assert answer["statusCode"] == 201
    assert answer["multiValueHeaders"] == {"vary": ["a", "b"], "set-cookie": ["c=1", "d=2"]}
    assert answer["body"] == ""


def test_bytes_that_are_no_text_pass(start: Start) -> None:
    content = bytes(range(256)) * 300
    answer, _ = start("buffer").invoke(event("/bytes"))

    assert answer["isBase64Encoded"]
    assert base64.b64decode(answer["body"]) == content
    assert b"".join(piece for piece, _ in start().stream(event("/bytes")).pieces) == content


@pytest.mark.parametrize("mode", ["stream", "buffer"])
def test_bug_before_the_first_byte_is_a_problem_and_the_next_event_is_answered(start: Start, mode: str) -> None:
    instance = start(mode)
    if mode == "stream":
        streamed = instance.stream(event("/bug"))
        status, body = streamed.status, next(streamed.pieces)[0]
        with pytest.raises(FunctionFailed, match="ValueError"):
            list(streamed.pieces)
    else:
        answer, _ = instance.invoke(event("/bug"))
        status, body = answer["statusCode"], answer["body"]

    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert "quotes" not in str(body)
    assert instance.invoke(event("/head"))[0]["statusCode"] == 201


def test_bug_after_the_first_byte_is_an_error_event_and_an_error_of_the_function(start: Start) -> None:
    instance = start()
    pieces = instance.stream(event("/bug-in-events")).pieces
    told = [next(pieces)[0], next(pieces)[0]]
    with pytest.raises(FunctionFailed, match='"errorType":"ValueError"'):
        next(pieces)

    [_, (name, problem)] = parse_events(piece.decode() for piece in told)
    assert (name, problem["code"]) == ("error", "internal_error")
    assert "quotes" not in str(problem)
    assert instance.invoke(event("/head"))[0]["statusCode"] == 201


def test_bug_in_another_body_breaks_it_off(start: Start) -> None:
    pieces = start().stream(event("/bug-in-text")).pieces
    next(pieces)
    with pytest.raises(FunctionFailed, match="ValueError"):
        next(pieces)


def test_time_that_is_over_is_told_the_caller_before_lambda_ends_the_process(start: Start) -> None:
    instance = start()
    instance.invoke(event("/head"))  # what starting takes is none of an event's time
    streamed = instance.stream(event("/endless-events"), timeout=4)
    pieces = streamed.pieces
    told = [next(pieces)[0], next(pieces)[0]]
    with pytest.raises(FunctionFailed, match="OutOfTime"):
        next(pieces)
    late = instance.stream(event("/endless"), timeout=4)

    [_, (name, problem)] = parse_events(piece.decode() for piece in told)
    assert (name, problem["code"], problem["status"]) == ("error", "out_of_time", 504)
    assert late.status == 504


def test_caller_who_stays_is_not_reported_as_gone(start: Start) -> None:
    assert start().invoke(event("/left"))[0]["body"] == "waits"


def test_event_that_is_no_request_is_refused_and_the_next_one_answered(start: Start) -> None:
    instance = start()
    with pytest.raises(FunctionFailed, match="UnknownEvent"):
        instance.invoke({"Records": [{"body": "private"}]})

    assert instance.invoke(event("/head"))[0]["statusCode"] == 201
    assert "private" not in instance.log


def test_start_that_fails_is_reported(start: Start) -> None:
    with pytest.raises(FunctionFailed, match=r'"errorType":"LookupError".*no such setting'):
        start(BROKEN="1").wait()


def test_snapshot_is_taken_before_the_first_event(start: Start) -> None:
    instance = start(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    instance.wait()

    assert instance.invoke(event("/head"))[0]["statusCode"] == 201
