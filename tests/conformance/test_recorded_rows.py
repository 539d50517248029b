"""An upgrade finds the rows of the versions before it. See tests/recorded.py."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests import recorded
from tests.archives import rows
from tests.conformance.backends import BACKENDS, Database
from tests.recorded import ANNA, NOW
from tests.serving import settings
from wordup import keys
from wordup.admission import TurnRequest
from wordup.auth import list_keys, named, revoke_keys
from wordup.bootstrap import STORES, Bot, build
from wordup.conversations import Conversations
from wordup.erasure import Erasure
from wordup.feedback import FeedbackBook
from wordup.stores.base import SCHEMA_VERSION
from wordup.turns import Feedback
from wordup.usage import UsageBook

VERSIONS = range(1, SCHEMA_VERSION + 1)


@pytest.fixture(params=VERSIONS)
async def bot(
    request: pytest.FixtureRequest, database: Database, store_name: str, tmp_path: Path
) -> AsyncGenerator[Bot]:
    """Today's, on a database that was written by the code of a schema version."""
    async with recorded.raw(store_name, database) as there:
        await recorded.done(there.insert(recorded.lines(request.param, f"{store_name}.jsonl")))
    store = database.open(clock=lambda: NOW)
    bot = build(settings(tmp_path / "home"), store=store, clock=lambda: NOW)
    yield bot
    await bot.close()


@pytest.fixture
def store_name(request: pytest.FixtureRequest) -> str:
    return BACKENDS[request.node.callspec.params["database"]].store


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_the_rows_was_recorded_on_every_store(version: int) -> None:
    names = {path.name for path in recorded.folder(version).iterdir()}
    assert names == {"rows.jsonl", *(f"{store}.jsonl" for store in STORES)}


async def test_rows_of_every_version_are_read_as_they_were_written(bot: Bot, request: pytest.FixtureRequest) -> None:
    version = request.node.callspec.params["bot"]
    told: list[dict[str, Any]] = recorded.lines(version, "rows.jsonl")
    found = [
        {"pk": row.pk, "sk": row.sk, "schema_version": row.schema_version}
        | ({"data": row.data} if row.data else {})
        | ({"counts": row.counts} if row.counts else {})
        | ({"expires_at": row.expires_at} if row.expires_at is not None else {})
        for row in await rows(bot.store)
    ]
    assert found == told


async def test_life_goes_on_with_rows_of_every_version(bot: Bot) -> None:
    conversations = Conversations(bot.store)
    newest, oldest = (await conversations.newest(ANNA)).conversations
    assert [(newest.title, newest.turns), (oldest.title, oldest.turns)] == [
        ("Which queue?", 1),
        ("What is AWS Lambda?", 2),
    ]
    first, second = (await conversations.read(ANNA, oldest.id)).turns
    assert (first.answer, first.feedback) == (
        f"A long answer.{recorded.LONG}",
        Feedback("up", ["clear"], "thanks"),
    )
    assert (second.question, second.answer) == ("And what does it cost?", "An answer.")
    report = await UsageBook(bot.store, bot.settings, clock=lambda: NOW).report(ANNA)
    kept = [turn async for _, turns in conversations.export_all(ANNA) for turn in turns]
    assert (report.today.requests, report.today.micros) == (4, sum(turn.micros for turn in kept))
    assert sorted((key.name, key.revoked) for key in await list_keys(bot.store)) == [("laptop", False), ("phone", True)]

    await FeedbackBook(bot.store).put(ANNA, second.message_id, Feedback("down"))
    asked = TurnRequest(message="What is Amazon SQS?", conversation_id=oldest.id)
    assert [event async for event in bot.chat.turn(ANNA, asked, key=None)]
    assert [each.title for each in (await conversations.newest(ANNA)).conversations] == [oldest.title, newest.title]
    assert [turn.feedback for turn in (await conversations.read(ANNA, oldest.id)).turns][1:] == [Feedback("down"), None]
    assert (await conversations.rename(ANNA, newest.id, "Queues")).title == "Queues"
    await conversations.delete(ANNA, newest.id)
    assert await revoke_keys(bot.store, ANNA.id) == 1
    await Erasure(bot.store, bot.settings, clock=lambda: NOW).erase(ANNA)
    left = {(row.pk, row.sk.partition(":")[0]) for row in await rows(bot.store)}
    assert left == {
        (ANNA.pk, keys.ERASED),
        (named("bert").pk, keys.ERASED),
        (keys.budget(0), "count"),
        (keys.budget(0), "hold"),
    }
