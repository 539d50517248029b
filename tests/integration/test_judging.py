"""Answers that a model grades, over a real socket: what counts as a grade, what does not, and what is kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.evaluation import Labelled
from cli.judging import GRADE_TOKENS, RUBRIC, SCHEMA, Judging, can_judge, sample
from tests.home import wordup
from tests.provider_server import ProviderServer, Reply
from wordup.config import Settings
from wordup.prompts import messages
from wordup.retrieval import Knowledge

TEXT = {
    "queues": "# Queues\n\nA queue holds messages until a worker takes them.\n",
    "buckets": "# Buckets\n\nA bucket holds objects under their keys.\n",
    "gateways": "# Gateways\n\nA gateway counts requests and refuses too many.\n",
    "clusters": "# Clusters\n\nA cluster runs containers on many nodes.\n",
}
ASKED = {name: f"What is there to say about {name}?" for name in TEXT}
GOOD = {"reason": "none", "grounded": True, "relevant": True, "cited": True}
NO_GRADES = [
    "",
    "All fine!",
    "```json\n" + json.dumps(GOOD) + "\n```",
    json.dumps(GOOD) + json.dumps(GOOD),
    json.dumps([GOOD]),
    json.dumps(GOOD | {"score": 10}),
    json.dumps(GOOD | {"cited": "true"}),
    json.dumps(GOOD | {"grounded": 1}),
    json.dumps({name: mark for name, mark in GOOD.items() if name != "relevant"}),
    '{"reason": "none", "grounded": true, "relevant": true, "cited": tr',
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for name, text in TEXT.items():
        (tmp_path / "texts" / f"{name}.md").write_text(text)
    questions = [f'[[question]]\nid = "{n}"\ntext = "{ASKED[n]}"\nanswers = ["article:{n}"]\n' for n in TEXT]
    (tmp_path / "questions.toml").write_text("".join(questions))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


def subject(body: dict[str, Any]) -> str:
    said = body["messages"][-1]["content"]
    return next(name for name, text in ASKED.items() if text in said)


def is_grading(body: dict[str, Any]) -> bool:
    return body["messages"][0]["content"] == RUBRIC


def grading(grades: dict[str, Any]) -> Any:
    """What the model says: "Said." to a question; as a judge what stands here for it, else that all is good."""

    def reply(body: dict[str, Any]) -> Reply:
        if not is_grading(body):
            return Reply(deltas=("Said", "."))
        grade = grades.get(subject(body), GOOD)
        return grade if isinstance(grade, Reply) else Reply(deltas=(json.dumps(grade),))

    return reply


def keyed(folder: Path, server: ProviderServer, **more: str) -> dict[str, str]:
    given = {"WORDUP_KNOWLEDGE_DIR": str(folder / "texts"), "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}
    return given | more


def test_without_a_key_nothing_is_judged_and_that_is_said(folder: Path) -> None:
    variables = {"WORDUP_KNOWLEDGE_DIR": str(folder / "texts")}
    done = wordup(folder, "knowledge", "eval", "questions.toml", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The answers were not judged" in done.stdout
    told = wordup(folder, "knowledge", "eval", "questions.toml", "--json", **variables)
    assert json.loads(told.stdout)["judgement"] is None
    refused = wordup(folder, "knowledge", "eval", "questions.toml", "--judge=openai:gpt-6-luna", **variables)
    assert refused.returncode == 1
    assert "OPENAI_API_KEY" in refused.stderr


def test_answers_of_the_bot_are_judged_and_the_failing_named(folder: Path, server: ProviderServer) -> None:
    bad = {"reason": "The 5 GB stand\nnowhere.\x1b[2J", "grounded": False, "relevant": True, "cited": False}
    server.answer = grading({"buckets": bad})
    shown = wordup(folder, "knowledge", "eval", "questions.toml", **keyed(folder, server))
    assert shown.returncode == 0
    assert "not grounded, not cited: The 5 GB stand nowhere." in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "4 answers of openai:gpt-6-luna judged by openai:gpt-6-luna: at most about 0.0" in shown.stderr

    more = ("--json", "--judged=4", "--judge=openai:gpt-6.1-terra")
    server.calls.clear()
    told = json.loads(wordup(folder, "knowledge", "eval", "questions.toml", *more, **keyed(folder, server)).stdout)
    judgement = told["judgement"]
    assert told["recall_at_1"] == 1
    assert (judgement["sample"], judgement["judged"], judgement["unjudged"]) == (4, 4, [])
    assert [judgement[name] for name in ("grounded", "relevant", "cited", "good")] == [0.75, 1, 0.75, 0.75]
    assert [(fault["id"], fault["faults"]) for fault in judgement["failed"]] == [
        ("buckets", ["not grounded", "not cited"])
    ]
    assert judgement["usd"] > 0
    models = {is_grading(call.body): call.body["model"] for call in server.calls}
    assert models == {False: "gpt-6-luna", True: "gpt-6.1-terra"}


async def test_judge_sees_what_a_turn_tells_the_model(folder: Path, server: ProviderServer) -> None:
    server.answer = grading({})
    settings = Settings.parse({"openai_api_key": "sk-test", "openai_base_url": server.url})
    knowledge = Knowledge(str(folder / "texts"), str(folder))
    question = Labelled(id="q", text=ASKED["queues"], answers=["article:queues"])
    judgement = await Judging(settings, knowledge, [question], "").run(lambda: None)
    said = messages([], knowledge.search(question.text), question.text)
    knowledge.close()

    assert judgement.good == 1
    answering, judging = (call.body for call in server.calls)
    assert [(each["role"], each["content"]) for each in answering["messages"]] == [(m.role, m.content) for m in said]
    assert (answering["max_tokens"], judging["max_tokens"]) == (settings.answer_tokens, GRADE_TOKENS)
    assert "response_format" not in answering
    assert judging["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
    assert json.loads(judging["messages"][-1]["content"]) == {
        "question": question.text,
        "told": said[-2].content,
        "answer": "Said.",
    }


async def test_what_is_no_grade_counts_as_not_judged(folder: Path, server: ProviderServer) -> None:
    spoilt = iter(NO_GRADES)
    server.answer = lambda body: Reply(deltas=(next(spoilt),) if is_grading(body) else ("Said.",))
    settings = Settings.parse({"openai_api_key": "sk-test", "openai_base_url": server.url})
    knowledge = Knowledge(str(folder / "texts"), str(folder))
    questions = [Labelled(id=str(n), text=ASKED["queues"], answers=[]) for n in range(len(NO_GRADES))]
    judgement = await Judging(settings, knowledge, questions, "").run(lambda: None)
    knowledge.close()
    assert (judgement.judged, len(judgement.unjudged)) == (0, len(NO_GRADES))
    assert (judgement.grounded, judgement.relevant, judgement.cited, judgement.good) == (None,) * 4


def test_failure_in_the_middle_keeps_what_was_judged(folder: Path, server: ProviderServer) -> None:
    faults = {"buckets": Reply(status=400), "gateways": Reply(deltas=("{",) * 9, cut_after=2)}
    server.answer = grading({**faults, "clusters": GOOD | {"relevant": False}})
    done = wordup(folder, "knowledge", "eval", "questions.toml", "--json", **keyed(folder, server))
    judgement = json.loads(done.stdout)["judgement"]
    assert done.returncode == 0
    assert (judgement["sample"], judgement["judged"], judgement["good"]) == (4, 2, 0.5)
    assert [fault["id"] for fault in judgement["unjudged"]] == ["buckets", "gateways"]
    assert all(fault["reason"] for fault in judgement["unjudged"])


async def test_call_that_fails_is_repeated_once(folder: Path, server: ProviderServer) -> None:
    server.script(Reply(cut_after=1), Reply(deltas=("Said.",)), Reply(cut_after=0))
    server.answer = grading({})
    settings = Settings.parse({"openai_api_key": "sk-test", "openai_base_url": server.url})
    knowledge = Knowledge(str(folder / "texts"), str(folder))
    question = Labelled(id="q", text=ASKED["queues"], answers=["article:queues"])
    judgement = await Judging(settings, knowledge, [question], "").run(lambda: None)
    knowledge.close()
    assert (judgement.good, len(server.calls)) == (1, 4)


def test_run_that_judged_nothing_fails(folder: Path, server: ProviderServer) -> None:
    server.answer = Reply(status=401)
    done = wordup(folder, "knowledge", "eval", "questions.toml", **keyed(folder, server))
    assert done.returncode == 1
    assert "recall@3" in done.stdout
    assert "No answer could be judged." in done.stderr


def test_answers_given_offline_are_judged_where_a_key_is(folder: Path, server: ProviderServer) -> None:
    server.answer = grading({})
    variables = keyed(folder, server, WORDUP_PROVIDER="offline")
    done = wordup(folder, "knowledge", "eval", "questions.toml", "--json", "--judged=2", **variables)
    judgement = json.loads(done.stdout)["judgement"]
    assert (judgement["model"], judgement["judge"]) == ("offline:extract", "openai:gpt-6-luna")
    assert (judgement["judged"], judgement["good"]) == (2, 1)
    assert all(is_grading(call.body) for call in server.calls)


def test_sample_is_spread_over_the_set() -> None:
    questions = [Labelled(id=str(n), text="", answers=[]) for n in range(10)]
    assert [question.id for question in sample(questions, 5)] == ["0", "2", "4", "6", "8"]
    assert sample(questions, 99) == questions


@pytest.mark.parametrize(
    ("values", "can"),
    [
        ({}, False),
        ({"openai_api_key": "sk"}, True),
        ({"provider": "offline", "provider_key_ref": "file:key"}, True),
        ({"provider": "openai", "openai_base_url": "http://127.0.0.1:1/v1"}, True),
    ],
)
def test_judging_needs_a_model(values: dict[str, str], can: bool) -> None:
    assert can_judge(Settings.parse(values)) is can
