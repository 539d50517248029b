"""Passages found by their meaning: vectors of MiniLM over a real socket, fused with what the words find."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from cli import vectors
from infra.toolchain import ROOT, TOOLS
from tests import home as homes
from tests.serving import KEY, Caller, served, settings
from wordup import index
from wordup.bootstrap import open_embeddings
from wordup.config import Settings
from wordup.embeddings import QUESTION_BYTES, REST_SECONDS, Embeddings
from wordup.errors import ConfigurationError, ProviderError
from wordup.models import Catalogue
from wordup.providers.base import Embedded as Vectored
from wordup.providers.openai import OpenAIProvider
from wordup.retrieval import Knowledge
from wordup.vectors import FILE, of

MODEL = "openai:minilm"
USD = 1000  # a million tokens, so that each is a thousandth of a dollar
PRICES = f"{MODEL}={USD}/0,openai:other=1/0"
HANDBOOK = {
    "leave": "Staff may take thirty days of paid leave every year. Ask your lead two weeks before.",
    "badges": "Badges open the gate at the front. A lost badge is blocked at reception.",
    "printers": "The printer on floor three prints in colour. Toner stands in the cupboard beside it.",
    "parking": "Cars are parked in the garage below the building. Bay nine is for guests.",
    "lunch": "The canteen serves soup and salad from noon. Vegetarians find a green label.",
    "laptops": "A broken laptop is repaired at the desk in room twelve. Bring its charger.",
}
# In other words than the handbook's.
PARAPHRASE = "How much vacation do employees have?"
LITERAL = "Where is the printer?"
ELSEWHERE = "Who composed the opera Carmen?"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [TOOLS / "model" / "bin" / "python", "-m", "tests.embedding_server"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url, "the server did not start"
        yield url
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    for name, text in HANDBOOK.items():
        (folder / f"{name}.md").write_text(f"# {name.title()}\n\n{text}\n")
    return folder


def variables(handbook: Path, url: str, **more: str) -> dict[str, str]:
    named = {"KNOWLEDGE_DIR": str(handbook), "EMBEDDINGS": MODEL, "MODEL_PRICES": PRICES, "PROVIDER": "offline"}
    named["EMBEDDING_TIMEOUT_SECONDS"] = "30"  # on a machine that is busy, too
    return {f"WORDUP_{name}": value for name, value in (named | more).items()} | {"OPENAI_BASE_URL": url}


def wordup(handbook: Path, url: str, *arguments: str, **more: str) -> Any:
    done = homes.wordup(handbook.parent, "knowledge", *arguments, "--json", **variables(handbook, url, **more))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(handbook: Path, url: str, question: str, **more: str) -> list[str]:
    return [each["id"] for each in wordup(handbook, url, "search", question, **more)]


def asked_of(server: str) -> list[int]:
    """How many texts each request so far held."""
    return httpx2.get(server.replace("/v1", "/texts")).json()


def configured(handbook: Path, url: str, **fields: Any) -> Settings:
    named: dict[str, Any] = {"knowledge_dir": str(handbook), "embeddings": MODEL, "model_prices": PRICES}
    named |= {"provider": "offline", "openai_base_url": url, "user_daily_usd": 1000, "deployment_daily_usd": 10_000}
    named["embedding_timeout_seconds"] = 30  # on a machine that is busy, too
    return settings(handbook.parent / "data", **named | fields)


def metric(url: str, name: str) -> float:
    lines = httpx2.get(f"{url}/metrics", headers={"authorization": f"Bearer {KEY}"}).text.splitlines()
    return float(dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))[name])


def test_only_what_is_new_is_embedded(server: str, handbook: Path) -> None:
    before = len(asked_of(server))
    first = wordup(handbook, server, "build")["vectors"]
    (handbook / "badges.md").write_text("# Badges\n\nBadges are green.\n")
    (handbook / "parking.md").unlink()
    again = wordup(handbook, server, "build")["vectors"]

    assert (first["embedded"], first["unchanged"], first["removed"]) == (6, 0, 0)
    assert (again["embedded"], again["unchanged"], again["removed"]) == (1, 4, 1)
    assert asked_of(server)[before:] == [6, len(vectors.ELSEWHERE), 1, len(vectors.ELSEWHERE)]


async def test_interrupted_build_goes_on_and_what_was_there_stays_until_it_is_done(
    server: str, handbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BATCH", 2)
    sent: list[int] = []

    def build(file: Path, most: int) -> vectors.Embedded:
        def embed(texts: list[str]) -> Any:
            if len(sent) == most:
                raise KeyboardInterrupt
            sent.append(len(texts))
            asked = {"model": "minilm", "input": texts}
            answer = httpx2.post(f"{server}/embeddings", json=asked).json()
            return Vectored([each["embedding"] for each in answer["data"]], 0)

        return vectors.build(file, MODEL, embed, lambda *_: None)

    file = index.current(handbook, handbook.parent / "data")
    with pytest.raises(KeyboardInterrupt):
        build(file, 2)
    assert not file.with_name(FILE).exists()
    assert build(file, 99).unchanged == 4
    assert sent == [2, 2, 2, len(vectors.ELSEWHERE)]
    whole = file.with_name(FILE).read_bytes()
    (handbook / "lunch.md").write_text("# Lunch\n\nPizza.\n")
    changed = index.current(handbook, handbook.parent / "data")
    with pytest.raises(KeyboardInterrupt):
        build(changed, len(sent) + 1)
    assert file.with_name(FILE).read_bytes() == whole
    with pytest.raises(ConfigurationError, match="no vectors"):
        of(changed, MODEL)
    assert build(changed, 99).embedded == 0
    assert of(changed, MODEL) == changed.with_name(FILE)


def test_paraphrase_is_found_and_what_is_about_something_else_is_not(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    assert found(handbook, server, PARAPHRASE, EMBEDDINGS="") == []
    assert found(handbook, server, PARAPHRASE)[0] == "article:leave#leave"
    assert found(handbook, server, LITERAL)[0] == "article:printers#printers"
    assert found(handbook, server, ELSEWHERE) == []
    (handbook / "questions.toml").write_text(
        f'[[question]]\nid = "a"\ntext = "{PARAPHRASE}"\nanswers = ["article:leave"]\n'
        f'[[question]]\nid = "b"\ntext = "{ELSEWHERE}"\nanswers = []\n'
    )
    report = wordup(handbook, server, "eval", str(handbook / "questions.toml"))
    assert (report["recall_at_1"], report["declined"]) == (1, 1)


def test_turn_cites_what_was_found_by_meaning_and_pays_for_it(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    with served(configured(handbook, server)) as url:
        caller = Caller(url)
        answer = caller.ask(PARAPHRASE).json()
        follow_up = caller.ask("And who has to be asked?", conversation_id=answer["conversation_id"]).json()
        today = caller.http.get("/v1/me/usage").json()["today"]
        assert metric(url, "wordup_embeddings_failed_total") == 0
    assert answer["sources"][0]["title"] == "Leave"
    # Its six words and the sign, between the two that MiniLM frames every text with.
    assert Decimal(answer["usage"]["cost_usd"]) == Decimal(9 * USD) / 1_000_000
    assert Decimal(today["cost_usd"]) == sum(Decimal(each["usage"]["cost_usd"]) for each in (answer, follow_up))


def test_worst_case_of_the_question_is_reserved_before_it_is_asked(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    before = len(asked_of(server))
    worst = QUESTION_BYTES * USD / 1_000_000
    with served(configured(handbook, server, user_daily_usd=worst / 2)) as url:
        refused = Caller(url).ask(PARAPHRASE)
    assert (refused.status_code, refused.json()["code"]) == (429, "budget_exceeded")
    assert len(asked_of(server)) == before


def test_server_that_is_down_costs_the_turn_nothing(
    server: str, handbook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wordup(handbook, server, "build")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with served(configured(handbook, nobody)) as url:
        answer = Caller(url).ask(LITERAL).json()
        assert metric(url, "wordup_embeddings_failed_total") == 1
    assert answer["sources"][0]["title"] == "Printers"
    assert Decimal(answer["usage"]["cost_usd"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "embeddings_failed" in line]
    assert "printer" not in line.lower()


def test_server_that_never_answers_delays_a_turn_by_the_time_out_and_is_paid_for(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with served(configured(handbook, address, embedding_timeout_seconds=0.2)) as url:
            answer = Caller(url).ask(LITERAL).json()
            assert metric(url, "wordup_embeddings_failed_total") == 1
    assert answer["sources"][0]["title"] == "Printers"
    assert Decimal(answer["usage"]["cost_usd"]) == Decimal(QUESTION_BYTES * USD) / 1_000_000


async def test_provider_that_failed_is_left_alone_for_a_while(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    now = [0.0]
    codes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = OpenAIProvider("none", f"http://127.0.0.1:{closed.getsockname()[1]}/v1")
    setting = configured(handbook, server)
    knowledge = Knowledge(setting.knowledge_dir, setting.data_dir)
    catalogue = Catalogue.load(PRICES)
    asked = Embeddings(nobody, knowledge, catalogue, setting, codes.append, clock=lambda: now[0])
    for now[0], failures in ((0.0, 1), (REST_SECONDS - 1, 1), (REST_SECONDS, 2)):
        assert await asked.of(PARAPHRASE) == (None, 0)
        assert codes == ["provider_error"] * failures
    with pytest.raises(ProviderError):
        await asked.ask(PARAPHRASE, 30)
    assert await asked.ask("   ", 30) == (None, 0)
    assert await asked.ask("Summarise this text:\n" + "Gates are high. " * 50, 30) == (None, 0)
    asked.close()
    await nobody.close()


def test_other_model_than_the_passages_is_told_to_the_operator_and_not_used(
    server: str, handbook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wordup(handbook, server, "build")
    before = len(asked_of(server))
    more = variables(handbook, server, EMBEDDINGS="openai:other")
    refused = homes.wordup(handbook.parent, "knowledge", "search", PARAPHRASE, **more)
    assert refused.returncode == 1
    assert "The passages have no vectors of openai:other." in refused.stderr
    assert "wordup knowledge build" in refused.stderr
    with served(configured(handbook, server, embeddings="openai:other")) as url:
        caller = Caller(url)
        titles = [[each["title"] for each in caller.ask(LITERAL).json()["sources"]] for _ in range(2)]
    assert titles[0][0] == "Printers"
    assert titles[0] == titles[1]
    assert len(asked_of(server)) == before
    assert capsys.readouterr().out.count("embeddings_unused") == 1


def test_vectors_of_another_length_are_not_used(server: str, handbook: Path) -> None:
    wordup(handbook, server, "build")
    with sqlite3.connect(handbook.parent / "data" / FILE) as file:
        file.execute("UPDATE meta SET value = '383' WHERE key = 'dimension'")
    file.close()
    with served(configured(handbook, server)) as url:
        assert Caller(url).ask(LITERAL).json()["sources"][0]["title"] == "Printers"
        assert Caller(url).ask(PARAPHRASE).json()["sources"] == []


def test_vectors_are_also_taken_from_the_data_folder(server: str, handbook: Path, tmp_path: Path) -> None:
    wordup(handbook, server, "build")
    elsewhere = tmp_path / "volume"
    elsewhere.mkdir()
    (handbook.parent / "data" / FILE).rename(elsewhere / FILE)
    setting = msgspec.structs.replace(configured(handbook, server), data_dir=str(elsewhere))
    knowledge = Knowledge(setting.knowledge_dir, str(handbook.parent / "data"))
    embeddings = open_embeddings(setting, knowledge, OpenAIProvider("none", server))
    assert embeddings.open().dimension == 384
    embeddings.close()


def test_off_nothing_of_it_is_imported_or_opened(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from wordup.bootstrap import build
from wordup.bootstrap import open_embeddings
from wordup.config import Settings
bot = build(Settings.from_env())
assert bot.knowledge.search("How long can a Lambda function run?")
asyncio.run(bot.close())
print([name for name in sys.modules if name in ("wordup.embeddings", "wordup.vectors", "aiohttp")])
"""
    (tmp_path / FILE).write_bytes(b"would be refused")
    environment = {"PATH": os.environ["PATH"], "WORDUP_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_to_build_is_an_error_that_says_what_to_name(tmp_path: Path) -> None:
    refused = homes.wordup(tmp_path, "knowledge", "build")
    assert refused.returncode == 1
    assert "Name folders, or a model in `embeddings`." in refused.stderr
