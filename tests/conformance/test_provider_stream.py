"""What every registered provider does alike. A new one adds a line to `SETUPS`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import Any

import pytest

from tests.provider_server import ProviderServer, Reply
from wordup.bootstrap import PROVIDERS, adapter
from wordup.providers.base import CompletionRequest, Delta, Finish, Message, Passage, Provider

PASSAGE = Passage(
    id="greetings#world",
    title="Greetings: World",
    text="A greeting goes around the world: Grüße gehen um die 世界 🌍. It needs no network to be written down.",
    url="https://docs.example/greetings",
    score=1.0,
)
QUESTION = "Which greeting goes around the world, Grüße or 世界?"
ANSWER = Reply(deltas=("Grüße ", "gehen ", "um ", "die ", "世界 ", "🌍."))


@contextmanager
def offline(adapter: Callable[[], Provider]) -> Iterator[Provider]:
    yield adapter()


@contextmanager
def openai(adapter: Callable[[str, str], Provider]) -> Iterator[Provider]:
    with ProviderServer(ANSWER) as server:
        yield adapter("sk-test", server.url)


SETUPS: dict[str, Callable[[Any], AbstractContextManager[Provider]]] = {"offline": offline, "openai": openai}


@pytest.fixture(params=PROVIDERS)
async def provider(request: pytest.FixtureRequest) -> AsyncGenerator[Provider]:
    with SETUPS[request.param](adapter(PROVIDERS, request.param, "WORDUP_PROVIDER")) as opened:
        yield opened
        await opened.close()


def request(**fields: Any) -> CompletionRequest:
    messages = [Message("system", "Be brief."), Message("user", QUESTION)]
    values: dict[str, Any] = {"model": "any", "messages": messages, "max_tokens": 200, "timeout": 20.0}
    return CompletionRequest(**{**values, "passages": [PASSAGE], **fields})


async def collect(provider: Provider, **fields: Any) -> tuple[str, list[Delta | Finish]]:
    items = [item async for item in provider.stream(request(**fields))]
    return "".join(item.text for item in items if isinstance(item, Delta)), items


async def test_stream_is_deltas_and_then_exactly_one_finish(provider: Provider) -> None:
    _, items = await collect(provider)
    assert [type(item) for item in items] == [Delta] * (len(items) - 1) + [Finish]
    assert len(items) > 2


async def test_answer_keeps_every_character(provider: Provider) -> None:
    text, items = await collect(provider)
    assert "Grüße gehen um die 世界 🌍." in text
    assert all(item.text for item in items if isinstance(item, Delta))


async def test_finish_tells_reason_and_tokens(provider: Provider) -> None:
    _, items = await collect(provider)
    assert isinstance(items[-1], Finish)
    assert items[-1].finish_reason == "stop"
    assert items[-1].input_tokens > 0
    assert items[-1].output_tokens > 0
    assert 0 <= items[-1].cached_input_tokens + items[-1].cache_write_input_tokens <= items[-1].input_tokens


async def test_answer_is_bounded_by_max_tokens(provider: Provider) -> None:
    whole, _ = await collect(provider)
    text, items = await collect(provider, max_tokens=3)
    assert whole.startswith(text)
    assert text != whole
    assert isinstance(items[-1], Finish)
    assert items[-1].finish_reason == "length"
    assert items[-1].output_tokens <= 3


async def test_history_and_empty_passages_are_taken(provider: Provider) -> None:
    said = [Message("user", "Hello"), Message("assistant", "Hi."), Message("user", QUESTION)]
    text, _ = await collect(provider, messages=said, passages=[])
    assert text


async def test_two_answers_at_once_do_not_mix(provider: Provider) -> None:
    (first, _), (second, _) = await asyncio.gather(collect(provider), collect(provider))
    assert first == second != ""


async def test_iterator_closed_early_leaves_the_provider_usable(provider: Provider) -> None:
    async with aclosing(provider.stream(request())) as stream:
        assert isinstance(await anext(stream), Delta)
    text, _ = await collect(provider)
    assert text
