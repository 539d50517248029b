"""What the chat turn promises, on every database: money holds, history is whole, a turn costs the same for ever."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.backends import Open
from tests.metering import MeteredStore
from tests.provider_server import ProviderServer, Reply
from wordup import keys
from wordup.admission import TurnRequest
from wordup.auth import User, named
from wordup.bootstrap import Bot, build
from wordup.config import Settings
from wordup.conversations import Conversations
from wordup.errors import BudgetExceeded, WordUpError
from wordup.ids import ulid
from wordup.limits import UserLimits
from wordup.prompts import prompt_bound
from wordup.stores.base import Put, Store
from wordup.turns import Conversation, Turn
from wordup.usage import UsageBook

ASKED, ADMITTED = 50, 10
QUESTION = "q" * 100
ANSWER_TOKENS = 100


@pytest.fixture(scope="module")
def provider() -> Generator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
async def bots(open_store: Open, provider: ProviderServer, tmp_path: Path) -> AsyncGenerator[Any]:
    """Builds bots, each as an instance of its own, over the test's database."""
    built: list[Bot] = []

    def make(*, store: Store | None = None, **fields: Any) -> Bot:
        known = {
            "provider": "openai",
            "model": "openai:stand-in",
            "model_prices": "openai:stand-in=1/2",
            "openai_base_url": provider.url,
            "data_dir": str(tmp_path),
            "answer_tokens": ANSWER_TOKENS,
            "rate_limit_per_minute": 100_000,
            "user_daily_usd": 1000,
            "deployment_daily_usd": 1000,
        }
        built.append(build(Settings.parse({**known, **fields}), store=store or open_store()))
        return built[-1]

    yield make
    for bot in built:
        await bot.chat.close()


async def take(bot: Bot, user: User, message: str, conversation: str | None = None, key: str | None = None) -> Turn:
    last: Any = None
    async for event in bot.chat.turn(user, TurnRequest(message=message, conversation_id=conversation), key=key):
        last = event
    assert isinstance(last, Turn)
    return last


def worst_case(bot: Bot) -> int:
    """A reply that costs as much as its turn reserved."""
    bound = prompt_bound(QUESTION, bot.settings.history_tokens)
    return bot.catalogue.worst_case(bot.catalogue.resolve(bot.settings.model, "openai"), bound, ANSWER_TOKENS)


def dearest(history_tokens: int) -> Reply:
    tokens = {"prompt_tokens": prompt_bound(QUESTION, history_tokens), "completion_tokens": ANSWER_TOKENS}
    return Reply(usage={**tokens, "total_tokens": sum(tokens.values())}, delay=0.002)


@pytest.mark.parametrize("limited", ["user_daily_usd", "deployment_daily_usd"])
async def test_race_for_a_budget_admits_exactly_what_it_pays_for(
    bots: Any, provider: ProviderServer, limited: str
) -> None:
    worst = worst_case(bots(history_tokens=0))
    first, second = (bots(**{limited: worst * ADMITTED / 1e6, "history_tokens": 0}) for _ in range(2))
    provider.answer = dearest(0)
    user = named("ada")
    # One user's race is within an instance here and there; the deployment's is between two.
    asked = [take((first, second)[n % 2], user, QUESTION) for n in range(ASKED)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    paid = [answer for answer in answers if isinstance(answer, Turn)]
    refused = [answer for answer in answers if not isinstance(answer, Turn)]
    assert all(isinstance(error, WordUpError) for error in refused), refused
    assert 0 < len(paid) <= ADMITTED
    spent = sum(turn.micros for turn in paid)
    pk = user.pk if limited == "user_daily_usd" else keys.budget(0)
    counter = await first.store.get(pk, keys.day_counter(keys.day(first.clock())))
    assert counter is not None
    assert counter.counts["micros"] == spent <= worst * ADMITTED
    # What a race left unused is there for the next, one after the other.
    while len(paid) < ADMITTED:
        paid.append(await take(first, user, QUESTION))
    with pytest.raises(BudgetExceeded):
        await take(first, user, QUESTION)


async def test_thousand_turns_lose_nothing_and_keep_their_order(bots: Any, provider: ProviderServer) -> None:
    provider.answer = Reply()
    bot = bots()
    user, conversation = named("o'brien"), ulid()
    known = Conversation(id=conversation, title="long", turns=995, moment=conversation[:10])
    await bot.store.write(user.pk, known.put())
    for start in range(0, 995, 20):
        turns = [
            Turn(id=ulid(), conversation_id=conversation, question=f"question {n}", answer=f"answer {n}", model="m")
            for n in range(start, min(start + 20, 995))
        ]
        await bot.store.write(user.pk, [turn.put(None) for turn in turns])
    for n in range(995, 1000):
        await take(bot, user, f"question {n}", conversation)
    sent = [m["content"] for m in provider.calls[-1].body["messages"] if m["role"] == "user"]
    assert sent == [f"question {n}" for n in range(1000 - len(sent), 1000)]
    assert len(sent) > 20
    found, turns = await Conversations(bot.store).export(user, conversation)
    assert [turn.question for turn in turns] == [f"question {n}" for n in range(1000)]
    assert found.turns == 1000
    await Conversations(bot.store).delete(user, conversation)
    assert not (await bot.store.query(user.pk, keys.turns(conversation), limit=1)).rows


async def test_turn_moves_as_many_bytes_at_the_thousandth_turn_as_at_the_twentieth(
    bots: Any, provider: ProviderServer, open_store: Open
) -> None:
    provider.answer = Reply(deltas=("a" * 400, "b" * 400))
    meter = MeteredStore(open_store())
    bot = bots(store=meter)
    user, moved = named("ada"), dict[int, tuple[int, int]]()
    for number in (20, 100, 1000):
        conversation = ulid()
        await preload(bot, user, conversation, number - 1)
        meter.read = meter.written = 0
        await take(bot, user, "q" * 800, conversation, key=f"key {number}")
        moved[number] = (meter.read, meter.written)
    for read, written in moved.values():
        assert written <= 4096, moved
        assert abs(read + written - sum(moved[20])) <= 0.05 * sum(moved[20]), moved


async def preload(bot: Bot, user: User, conversation: str, turns: int) -> None:
    """A conversation of turns as long as those that follow, written as the bot writes them."""
    known = Conversation(id=conversation, title="long", turns=turns, moment=conversation[:10])
    await bot.store.write(user.pk, known.put())
    for start in range(0, turns, 20):
        rows = [
            Turn(id=ulid(), conversation_id=conversation, question="q" * 800, answer="a" * 800, model="m").put(None)
            for _ in range(start, min(start + 20, turns))
        ]
        await bot.store.write(user.pk, [*rows])


async def test_hold_of_a_dead_turn_is_given_back_after_its_lease(bots: Any, open_store: Open, clock: Any) -> None:
    bot = bots()
    store, user = open_store(), named("ada")
    limits = UserLimits(store, bot.settings, clock=clock)
    await store.write(user.pk, limits.admission(ulid(), 1234, clock()))
    assert not await limits.sweep(user.pk)
    clock.now += bot.settings.lease_seconds + 1
    report = await UsageBook(store, bot.settings, clock=clock).report(user)
    assert (report.reserved, report.today.micros) == (0, 0)


async def test_longest_message_and_answer_in_any_script_survive(bots: Any, provider: ProviderServer) -> None:
    long = "🎈é漢\u202e\u0000" * 3_000
    provider.answer = Reply(deltas=tuple(long[n : n + 500] for n in range(0, len(long), 500)))
    bot = bots()
    turn = await take(bot, named("ada"), long[:15_000])
    [stored] = (await Conversations(bot.store).export(named("ada"), turn.conversation_id))[1]
    assert stored.answer == long
    assert stored.question == long[:15_000]


async def test_rows_of_an_older_store_are_listed_beside_new_ones(bots: Any) -> None:
    """A row that another version of the bot wrote with more fields than we know is still read."""
    bot = bots()
    user, conversation, turn = named("ada"), ulid(), ulid()
    row = Put(sk=keys.turn(conversation, turn), data={"q": "hi", "a": "there", "model": "m", "later": 1})
    await bot.store.write(user.pk, [row])
    [read] = [Turn.of(found) for found in (await bot.store.query(user.pk, keys.turns(conversation), limit=5)).rows]
    assert (read.question, read.answer, read.id) == ("hi", "there", turn)
