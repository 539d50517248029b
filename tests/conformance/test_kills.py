"""Processes killed at random points of a turn: no half turn, nothing reserved for ever, no answer paid for twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.backends import BACKENDS, Database
from tests.provider_server import ProviderServer, Reply
from wordup import keys
from wordup.auth import named
from wordup.config import Settings
from wordup.conversations import Conversations
from wordup.limits import sweep
from wordup.stores.base import every
from wordup.usage import UsageBook

TURNS = 200
LEASE_SECONDS = 30
# Longer than a turn takes on any of the databases, so that the kills fall on all of it, and some turns end.
LONGEST_SECONDS = 0.08
# One database of each store: what is shown is the adapter's and the use case's, and 400 processes take a while.
ONE_A_STORE = list({backend.store: name for name, backend in reversed(BACKENDS.items())}.values())
ROOT = Path(__file__).parents[2]


class TurnProcess:
    """tests/turn_process.py under these settings."""

    def __init__(self, environment: dict[str, str]) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "functions")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.turn_process"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._line() == "ready"

    def take(self, turn: dict[str, Any], *, kill_after: float | None = None) -> int:
        """The exit status of the turn's process: -9 where the kill came in time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(turn) + "\n")
        self._process.stdin.flush()
        child = int(self._line())
        if kill_after is None:
            return int(self._line())
        killer = threading.Timer(kill_after, _kill, [child])
        killer.start()
        status = int(self._line())
        killer.cancel()
        killer.join()
        return status

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=10)


def _kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:  # it was faster
        return


@contextmanager
def turn_process(environment: dict[str, str]) -> Generator[TurnProcess]:
    process = TurnProcess(environment)
    try:
        yield process
    finally:
        process.close()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("database", ONE_A_STORE, indirect=True)
async def test_killed_turns_are_whole_or_not_there(database: Database, tmp_path: Path) -> None:
    fields = {
        "provider": "openai",
        "model": "openai:stand-in",
        "model_prices": "openai:stand-in=1000/2000",
        "signing_key_ref": f"file:{tmp_path / 'signing.json'}",
        "provider_timeout_seconds": "10",
        "stream_timeout_seconds": "10",
        "lease_seconds": str(LEASE_SECONDS),
        "rate_limit_per_minute": "100000",
        "user_daily_usd": "100000",
        "deployment_daily_usd": "100000",
    }
    chance = random.Random(7)  # noqa: S311 - reproducible, no secret
    user = named("owner")
    store = database.open()
    with ProviderServer(Reply(deltas=("whole ", "answer"), delay=0.005)) as provider:
        environment = {f"WORDUP_{name.upper()}": value for name, value in fields.items()}
        environment |= {"OPENAI_BASE_URL": provider.url, **database.environment}
        turns = [{"message": f"question {n}", "key": f"key {n}"} for n in range(TURNS)]
        with turn_process(environment) as process:
            assert process.take({"message": "first", "key": "first"}) == 0
            [conversation] = [row.sk.rpartition(":")[2] async for row in every(store, user.pk, keys.RECENT)]
            turns = [{**turn, "conversation_id": conversation} for turn in turns]
            statuses = Counter(process.take(turn, kill_after=chance.uniform(0, LONGEST_SECONDS)) for turn in turns)
            assert statuses[-9] > TURNS / 10, statuses
            assert set(statuses) <= {0, -9}, statuses

            kept = await Conversations(store).export(user, conversation)
            whole = {turn.question for turn in kept[1]}
            assert all(turn.answer == "whole answer" for turn in kept[1])
            assert kept[0].turns == len(kept[1])
            before = Counter(call.body["messages"][-1]["content"] for call in provider.calls)

            for turn in turns:
                assert process.take({**turn, "later": LEASE_SECONDS + 1}) == 0, turn
        after = Counter(call.body["messages"][-1]["content"] for call in provider.calls)

    assert [question for question in whole if after[question] != before[question]] == []
    found, stored = await Conversations(store).export(user, conversation)
    assert sorted(turn.question for turn in stored) == sorted(["first", *(turn["message"] for turn in turns)])
    assert found.turns == TURNS + 1
    assert len([row async for row in every(store, user.pk, keys.RECENT)]) == 1

    later = LEASE_SECONDS * 4
    report = await UsageBook(store, Settings.parse(fields), clock=lambda: time.time() + later).report(user)
    assert report.reserved == 0
    assert report.month.micros == sum(turn.micros for turn in stored)
    await sweep(store, keys.budget(0), time.time() + later)
    assert [row async for row in every(store, keys.budget(0), keys.HOLDS)] == []
    days = [row async for row in every(store, keys.budget(0), keys.DAYS)]
    # What a killed turn had already told the deployment's budget was really spent, though its turn was never kept.
    each = max(turn.micros for turn in stored)  # a question costs by its passages
    assert report.month.micros <= sum(day.counts["micros"] for day in days) <= each * sum(after.values())
    await store.close()
