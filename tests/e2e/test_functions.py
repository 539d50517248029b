"""The bot on each cloud's functions: the packaged archive, the cloud's own way to run it, its database."""

import asyncio
import os
import re
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import httpx2
import pytest

from benchmarks.rest_api import RestAPI
from infra import package
from infra.local import firestore
from tests.emulators import (
    AWS_ENVIRONMENT,
    azurite_server,
    create_azure_table,
    create_dynamodb_table,
    google_firestore_server,
    moto_server,
    node_firestore_server,
)
from tests.functions import Function, LambdaFunction, Process, aws_function, azure_function, deployed, gcp_function
from tests.provider_server import ProviderServer, Reply
from tests.serving import Caller, parse_events
from wordup.auth import issue_key
from wordup.bootstrap import open_store
from wordup.config import Settings
from wordup.stores.base import Put, Store

QUESTION = "What is a function?"
ENDLESS = Reply(deltas=("and so on ",), delay=0.01, endless=True)


@dataclass(frozen=True)
class Home:
    """A function with its database; both stay when a process of it ends."""

    function: Function | LambdaFunction
    environment: dict[str, str]
    key: str

    @contextmanager
    def running(self, provider: ProviderServer) -> Iterator[Process | RestAPI]:
        variables = {"WORDUP_PROVIDER": "openai", "OPENAI_BASE_URL": provider.url}
        with self.function.running(**self.environment, **variables) as process:
            yield process

    @contextmanager
    def called(self, process: Process | RestAPI) -> Iterator[Caller]:
        caller = Caller(process.url, self.key)
        with closing(caller.http):
            yield caller

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        with patch.dict(os.environ, self.environment):
            store = open_store(Settings.from_env(self.environment))
            yield store
            await store.close()


@contextmanager
def aws(folder: Path) -> Iterator[Home]:
    with moto_server(folder) as url, patch.dict(os.environ, AWS_ENVIRONMENT):
        variables = deployed("aws", folder) | AWS_ENVIRONMENT | {"AWS_ENDPOINT_URL": url}
        create_dynamodb_table(url, variables["WORDUP_TABLE"])
        yield asyncio.run(with_key(Home(aws_function(folder), variables, "")))


@contextmanager
def gcp(folder: Path) -> Iterator[Home]:
    server = google_firestore_server if firestore.google_jar() else node_firestore_server
    with server(folder / "firestore") as address:
        variables = deployed("gcp", folder) | {"FIRESTORE_EMULATOR_HOST": address, "WORDUP_STORE_ENDPOINT": "wordup"}
        yield asyncio.run(with_key(Home(gcp_function(folder), variables, "")))


@contextmanager
def azure(folder: Path) -> Iterator[Home]:
    with azurite_server(folder / "azurite") as url:
        variables = deployed("azure", folder) | {"WORDUP_STORE_ENDPOINT": url}
        asyncio.run(create_azure_table(url, variables["WORDUP_TABLE"]))
        yield asyncio.run(with_key(Home(azure_function(folder), variables, "")))


async def with_key(home: Home) -> Home:
    async with home.store() as store:
        return Home(home.function, home.environment, await issue_key(store, "owner", "test"))


@pytest.fixture(scope="module")
def aws_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with aws(tmp_path_factory.mktemp("aws")) as home:
        yield home


@pytest.fixture(scope="module")
def gcp_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with gcp(tmp_path_factory.mktemp("gcp")) as home:
        yield home


@pytest.fixture(scope="module")
def azure_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with azure(tmp_path_factory.mktemp("azure")) as home:
        yield home


@pytest.fixture(scope="module", params=["aws_home", "gcp_home", "azure_home"])
def home(request: pytest.FixtureRequest) -> Home:
    return request.getfixturevalue(request.param)


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


def test_conversation_outlives_the_kill_of_its_process(home: Home, provider: ProviderServer) -> None:
    with home.running(provider) as process, home.called(process) as caller:
        asked = caller.ask(QUESTION).json()
        process.kill()
    with home.running(provider) as process, home.called(process) as caller:
        again = caller.ask("And then?", conversation_id=asked["conversation_id"])
        kept = caller.http.get(f"/v1/conversations/{asked['conversation_id']}").json()["messages"]

    assert again.status_code == 200
    assert [message["content"] for message in kept[:3]] == [QUESTION, asked["message"], "And then?"]
    told = [message["content"] for message in provider.calls[-1].body["messages"] if message["role"] != "system"]
    assert told == [QUESTION, asked["message"], "And then?"]
    assert provider.calls[-1].headers["authorization"] == "Bearer sk-of-the-tests"


def test_deltas_arrive_while_the_answer_goes_on_and_stop_ends_it(home: Home, provider: ProviderServer) -> None:
    provider.answer = ENDLESS
    with home.running(provider) as process, home.called(process) as caller:
        with caller.http.stream("POST", "/chat", json={"message": QUESTION, "stream": True}) as response:
            events = parse_events(response.iter_text())
            name, started = next(events)
            deltas = [next(events) for _ in range(3)]
            with home.called(process) as other:
                stopped = other.http.post(f"/v1/turns/{started['turn_id']}/stop")
            *_, (last, done) = events
        provider.wait_for(lambda server: server.disconnects == 1)
        kept = caller.http.get(f"/v1/conversations/{started['conversation_id']}").json()["messages"]

    assert name == "start"
    assert [delta["text"] for _, delta in deltas] == ["and so on "] * 3
    assert stopped.status_code == 204
    assert (last, done["finish_reason"]) == ("done", "stopped")
    assert kept[-1]["content"] == done["message"]


def test_caller_who_leaves_cloud_functions_stops_the_provider(gcp_home: Home, provider: ProviderServer) -> None:
    provider.answer = ENDLESS
    with gcp_home.running(provider) as process, gcp_home.called(process) as caller:
        with caller.http.stream("POST", "/chat", json={"message": QUESTION, "stream": True}) as response:
            events = parse_events(response.iter_text())
            _, started = next(events)
            next(events)
        provider.wait_for(lambda server: server.disconnects == 1)
        conversation = f"/v1/conversations/{started['conversation_id']}"
        wait_until(lambda: caller.http.get(conversation).status_code == 200)
        kept = caller.http.get(conversation).json()["messages"]

    assert kept[-1]["finish_reason"] == "stopped"


def test_caller_who_leaves_lambda_is_not_reported_but_may_stop_the_answer(
    aws_home: Home, provider: ProviderServer
) -> None:
    provider.answer = ENDLESS
    with aws_home.running(provider) as process, aws_home.called(process) as caller:
        with caller.http.stream("POST", "/chat", json={"message": QUESTION, "stream": True}) as response:
            events = parse_events(response.iter_text())
            _, started = next(events)
            next(events)
        stopped = caller.http.post(f"/v1/turns/{started['turn_id']}/stop")
        provider.wait_for(lambda server: server.disconnects == 1)
        conversation = f"/v1/conversations/{started['conversation_id']}"
        wait_until(lambda: caller.http.get(conversation).status_code == 200)
        kept = caller.http.get(conversation).json()["messages"]

    assert stopped.status_code == 204
    assert kept[-1]["finish_reason"] == "stopped"


def test_provider_that_breaks_off_is_an_error_event(home: Home, provider: ProviderServer) -> None:
    provider.answer = Reply(deltas=("One", " two", " three"), cut_after=2)
    with home.running(provider) as process, home.called(process) as caller:
        *_, (name, problem) = caller.events(QUESTION)
        again = caller.http.get("/healthz")

    assert (name, problem["code"], problem["status"]) == ("error", "provider_error", 502)
    assert again.status_code == 200


def test_log_holds_no_key_no_id_and_no_message(home: Home, provider: ProviderServer) -> None:
    with home.running(provider) as process, home.called(process) as caller:
        asked = caller.ask(QUESTION).json()
        caller.http.get(f"/v1/conversations/{asked['conversation_id']}")
        token = caller.http.headers["authorization"].split()[1]
        wait_until(lambda: '"route":"/v1/conversations/{id}"' in process.log)
        log = process.log

    for secret in (home.key, token, QUESTION, asked["message"], asked["conversation_id"], "sk-of-the-tests"):
        assert secret not in log


def test_page_comes_with_its_files(home: Home, provider: ProviderServer) -> None:
    with home.running(provider) as process, home.called(process) as caller:
        page = caller.http.get("/")
        files = [caller.http.get(name) for name in re.findall(r'(?:src|href)="([^"#:]+)"', page.text)]

    assert page.headers["content-type"].startswith("text/html")
    assert files
    assert {file.status_code for file in files} == {200}


def test_timer_purges_what_expired(azure_home: Home, provider: ProviderServer) -> None:
    async def rows(*, fill: bool) -> list[str]:
        async with azure_home.store() as store:
            if fill:
                await store.write("u:x", [Put(sk=f"old:{n}", expires_at=1) for n in range(5)])
                await store.write("u:x", [Put(sk="kept")])
        with patch.dict(os.environ, azure_home.environment):
            past = open_store(Settings.from_env(azure_home.environment), clock=lambda: 0)
            found = await past.query("u:x", "", limit=10)
            await past.close()
        return [row.sk for row in found.rows]

    assert len(asyncio.run(rows(fill=True))) == 6
    with azure_home.running(provider) as process:
        fired = httpx2.post(f"{process.url}/admin/functions/purge", json={"input": ""})
    assert fired.status_code == 202
    assert asyncio.run(rows(fill=False)) == ["kept"]


@pytest.mark.parametrize("method", ["TRACE", "QUERY"])
def test_method_the_worker_refuses_is_no_invocation(azure_home: Home, provider: ProviderServer, method: str) -> None:
    with azure_home.running(provider) as process:
        answer = httpx2.request(method, f"{process.url}/chat")
    assert (answer.status_code, answer.content) == (404, b"")  # the host's own


def test_description_is_the_bots_own(home: Home, provider: ProviderServer) -> None:
    with home.running(provider) as process:
        described = httpx2.get(f"{process.url}/openapi.json").json()["paths"]
        documents = httpx2.get(f"{process.url}/docs")
    assert "/v1/chat/completions" in described
    assert documents.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("cloud", "own", "others"),
    [
        ("aws", {"lambda_function.py", "bootstrap"}, {"function_app.py", "host.json", "main.py", "server.py"}),
        ("gcp", {"main.py", "requirements.txt"}, {"function_app.py", "host.json", "lambda_function.py", "bootstrap"}),
        ("azure", {"function_app.py", "host.json"}, {"main.py", "lambda_function.py", "bootstrap"}),
    ],
)
def test_archive_holds_its_cloud_alone(cloud: package.Cloud, own: set[str], others: set[str]) -> None:
    with zipfile.ZipFile(package.build(cloud, package.machine())) as archive:
        names = set(archive.namelist())
    assert own <= names
    assert not others & names
    packages = {name.split("/")[3] for name in names if name.startswith(".python_packages/")}
    assert not {"botocore", "google"} & packages


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
