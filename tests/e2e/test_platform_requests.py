"""The same request, as each platform hands it on, gets the same answer from every home: errors and streams included.

`tests/events/<cloud>/` has the requests with what the platform's documentation says that it adds to them: API
Gateway's event to Lambda, and the HTTP requests that Cloud Functions and the Azure host send to a function. `<token>`
and `<access key>` stand for what only a running deployment gives.
"""

import base64
import gzip
import json
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.runtime_api import Instance
from infra.spec import Cloud
from tests.functions import PYTHON, Function, azure_function, gcp_function, unpack
from tests.home import serving
from tests.provider_server import ProviderServer, Reply

EVENTS = Path(__file__).parents[1] / "events"
ACCESS_KEY = "of-the-owner"
# In this order, since a later one may see what an earlier one left.
STATUSES = {
    "session": 201,
    "chat": 200,
    "chat-again": 200,
    "chat-stream": 200,
    "malformed-json": 400,
    "unknown-field": 400,
    "unknown-model": 422,
    "form": 415,
    "missing-token": 401,
    "bad-cursor": 400,
    "not-found": 404,
    "method-not-allowed": 405,
    "no-body": 404,
    "page": 200,
}
OF_THE_CONNECTION = {"connection", "content-length", "date", "server", "transfer-encoding"}
CHANGING = {
    r"[0-7][0-9A-HJKMNP-TV-Z]{25}": "<ulid>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z": "<time>",
    r"[0-9a-f]{8}\.eyJ[\w-]+\.[\w-]+": "<token>",
}

Answer = tuple[int, dict[str, str], str]  # status, headers, body


def answers(cloud: str, ask: Callable[[Any], Answer]) -> dict[str, Answer]:
    """What all the cloud's events are answered with, less what differs from one run to the next."""
    secrets = {"<access key>": ACCESS_KEY}
    given: dict[str, Answer] = {}
    for name in STATUSES:
        text = (EVENTS / cloud / f"{name}.json").read_text()
        for placeholder, secret in secrets.items():
            text = text.replace(placeholder, secret)
        status, headers, body = ask(json.loads(text))
        if name == "session":
            secrets["<token>"] = json.loads(body)["token"]
        kept = {key.lower(): comparable(value) for key, value in headers.items()}
        for key in OF_THE_CONNECTION:
            kept.pop(key, None)
        if "allow" in kept:  # Starlette joins a set
            kept["allow"] = ", ".join(sorted(kept["allow"].split(", ")))
        given[name] = status, kept, comparable(body)
    return given


def comparable(text: str) -> str:
    for pattern, placeholder in CHANGING.items():
        text = re.sub(pattern, placeholder, text)
    return text


def variables(folder: Path, provider: ProviderServer) -> dict[str, str]:
    """With SQLite, whose metrics would be for Prometheus, and its client is not in the archives."""
    keys = {"WORDUP_ACCESS_KEY": ACCESS_KEY, "OPENAI_API_KEY": "sk-test", "WORDUP_METRICS": "log"}
    return {**keys, "OPENAI_BASE_URL": provider.url, "WORDUP_DATA_DIR": str(folder / "data")}


def over_http(url: str) -> Callable[[Any], Answer]:
    def ask(event: Any) -> Answer:
        content = event["body"].encode()
        answer = httpx2.request(
            event["method"], url + event["url"], headers=event["headers"], content=content, timeout=30
        )
        return answer.status_code, dict(answer.headers), answer.text

    return ask


def at_home(folder: Path, provider: ProviderServer) -> dict[str, Answer]:
    with serving(folder, **variables(folder, provider)) as home:
        return answers("gcp", over_http(home.url))


def on_lambda(mode: str) -> Callable[[Path, ProviderServer], dict[str, Answer]]:
    def of(folder: Path, provider: ProviderServer) -> dict[str, Answer]:
        unpacked = unpack("aws", folder)
        lambdas = {"AWS_LAMBDA_EXEC_WRAPPER": str(unpacked / "bootstrap"), "WORDUP_RESPONSE_MODE": mode}
        environment = variables(folder, provider) | lambdas
        with Instance(Path(PYTHON), unpacked, "", environment, log=folder / "log") as instance:
            return answers("aws", lambda event: answer(instance.invoke(event)[0]))

    def answer(given: Any) -> Answer:
        headers = {name: value for name, [value] in given["multiValueHeaders"].items()}
        content = base64.b64decode(given["body"]) if given["isBase64Encoded"] else given["body"].encode()
        if headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        return given["statusCode"], headers, content.decode()

    return of


def on(cloud: str, function: Callable[[Path], Function]) -> Callable[[Path, ProviderServer], dict[str, Answer]]:
    def of(folder: Path, provider: ProviderServer) -> dict[str, Answer]:
        with function(folder).running(**variables(folder, provider)) as process:
            return answers(cloud, over_http(process.url))

    return of


FUNCTIONS = {
    "aws": on_lambda("stream"),
    "aws, buffered": on_lambda("buffer"),
    "gcp": on("gcp", gcp_function),
    "azure": on("azure", azure_function),
}
REPLY = Reply(deltas=("Eine Funktion ", "🎈 ist ", '"das"\n'))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    with ProviderServer(REPLY) as provider:
        return at_home(tmp_path_factory.mktemp("home"), provider)


@pytest.fixture(scope="module", params=FUNCTIONS)
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    with ProviderServer(REPLY) as provider:
        return FUNCTIONS[request.param](tmp_path_factory.mktemp(request.param), provider)


def test_every_event_is_answered_at_home_as_it_should_be(reference: dict[str, Answer]) -> None:
    assert {name: answer[0] for name, answer in reference.items()} == STATUSES
    assert reference["chat"][2] == reference["chat-again"][2]
    assert "🎈" in reference["chat"][2]
    assert reference["chat-stream"][1]["content-type"].startswith("text/event-stream")
    assert reference["chat-stream"][2].count("event: delta") == len(REPLY.deltas)


@pytest.mark.parametrize("name", STATUSES)
def test_function_answers_as_the_home_does(given: dict[str, Answer], reference: dict[str, Answer], name: str) -> None:
    assert given[name] == reference[name]


def test_every_recorded_event_is_used() -> None:
    for cloud in typing.get_args(Cloud):
        assert {path.stem for path in (EVENTS / cloud).iterdir()} == set(STATUSES)
