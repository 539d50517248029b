"""`wordup feedback report`, on what people said to a running home."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.home import serving, wordup
from tests.serving import Caller
from wordup.ids import ulid
from wordup.stores.sqlite import SQLiteStore
from wordup.turns import Feedback, Turn

KEY = "wu_owner"
IN_2020 = "01DXF6DT000000000000000000"
HOSTILE = "[bold]not bold[/]\n\x1b[31m2026-11-21 up, best of all\x9b"


def rate(caller: Caller, rating: str, **more: Any) -> str:
    message_id = caller.ask("What is AWS Lambda?").json()["message_id"]
    rated = caller.http.put(f"/v1/messages/{message_id}/feedback", json={"rating": rating, **more})
    assert rated.status_code == 204
    return message_id


def report(folder: Path, *options: str) -> str:
    done = wordup(folder, "feedback", "report", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_report_counts_thumbs_by_model_reason_and_day_and_has_the_newest_comments(tmp_path: Path) -> None:
    with serving(tmp_path, WORDUP_ACCESS_KEY=KEY) as home:
        caller = Caller(home.url, KEY)
        rate(caller, "up", comment="the oldest")
        first = rate(caller, "down", reasons=["wrong", "too long"], comment=HOSTILE)
        second = rate(caller, "down", reasons=["wrong"], comment="no source")
        rate(caller, "up")
        caller.ask("Unrated?")
        caller.http.close()
        shown, told = report(tmp_path), json.loads(report(tmp_path, "--json", "--comments=2"))

    assert (told["answers"], told["up"], told["down"]) == (5, 2, 2)
    assert told["models"] == [{"of": "offline:extract", "answers": 5, "up": 2, "down": 2}]
    assert sum(day["answers"] for day in told["days"]) == 5
    assert any(told["comments"][0]["created"].startswith(day["of"]) for day in told["days"])
    assert told["reasons"] == [
        {"of": "wrong", "answers": 2, "up": 0, "down": 2},
        {"of": "too long", "answers": 1, "up": 0, "down": 1},
    ]
    assert [(each["message_id"], each["comment"]) for each in told["comments"]] == [
        (second, "no source"),
        (first, HOSTILE),
    ]
    assert "5 answers" in shown
    assert "[bold]not bold[/] [31m2026-11-21 up, best of all" in shown
    assert not set(shown) & {"\x1b", "\x9b"}
    assert "the oldest" in shown


def test_answers_before_the_period_are_left_out(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SQLiteStore(tmp_path / "data" / "wordup.db")
        for moment in (ulid(), IN_2020):
            feedback = Feedback("down", ["wrong"], "no source")
            turn = Turn(id=moment, conversation_id=moment, question="", answer="", model="a:b", feedback=feedback)
            await store.write("u:x", [turn.put(None)])
        await store.close()

    (tmp_path / "data").mkdir()
    asyncio.run(fill())
    recent, all_ = (json.loads(report(tmp_path, f"--days={days}", "--json")) for days in (1, 3650))
    assert [(told["down"], len(told["comments"])) for told in (recent, all_)] == [(1, 1), (2, 2)]
    assert all_["days"][-1]["of"] == "2020-01-01"


def test_report_on_nothing_is_no_failure(tmp_path: Path) -> None:
    assert report(tmp_path).startswith("0 answers since ")
