"""OpenAIProvider against a server that misbehaves in every way that real ones do."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from tests.provider_server import ProviderServer, Reply
from wordup import logs
from wordup.errors import (
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderTimeout,
    ProviderTruncated,
    SecretUnavailable,
)
from wordup.providers.base import CompletionRequest, Delta, Finish, Message, input_token_bound
from wordup.providers.openai import LINE_BYTES, OpenAIProvider, vendor_errors

QUESTION = [Message("system", "Be brief."), Message("user", "Grüß dich, 世界")]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture
async def provider(server: ProviderServer) -> AsyncGenerator[OpenAIProvider]:
    opened = OpenAIProvider("sk-test", server.url)
    yield opened
    await opened.close()


def request(**fields: Any) -> CompletionRequest:
    values: dict[str, Any] = {"model": "gpt-6-luna", "messages": QUESTION, "max_tokens": 100, "timeout": 10.0}
    return CompletionRequest(**values | fields)


async def answer(provider: OpenAIProvider, **fields: Any) -> tuple[str, Finish]:
    *deltas, finish = [item async for item in provider.stream(request(**fields))]
    assert isinstance(finish, Finish)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), finish


async def answer_once(provider: OpenAIProvider) -> tuple[str, Finish]:
    try:
        return await answer(provider)
    finally:
        await provider.close()


async def test_answer_is_streamed_with_the_servers_usage(server: ProviderServer, provider: OpenAIProvider) -> None:
    details = {"cached_tokens": 7, "cache_write_tokens": 5}
    usage = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23, "prompt_tokens_details": details}
    server.script(Reply(deltas=("Hé", "llo ", "🌍"), usage=usage))
    assert await answer(provider) == (
        "Héllo 🌍",
        Finish(
            finish_reason="stop",
            input_tokens=20,
            output_tokens=3,
            cached_input_tokens=7,
            cache_write_input_tokens=5,
        ),
    )


async def test_request_names_model_messages_and_bound(server: ProviderServer, provider: OpenAIProvider) -> None:
    await answer(provider, temperature=0.5, reasoning_effort="none")
    (call,) = server.calls
    assert call.body == {
        "model": "gpt-6-luna",
        "messages": [{"role": message.role, "content": message.content} for message in QUESTION],
        "max_tokens": 100,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert call.headers["authorization"] == "Bearer sk-test"


@pytest.mark.parametrize("url", ["", "https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
async def test_openai_itself_is_told_reasoning_effort_and_to_store_nothing(url: str) -> None:
    parameters = OpenAIProvider("sk-test", url)._parameters(request(reasoning_effort="none"))
    assert parameters["max_completion_tokens"] == 100
    assert parameters["reasoning_effort"] == "none"
    assert parameters["store"] is False
    assert "max_tokens" not in parameters


async def test_key_is_asked_for_before_every_request(server: ProviderServer) -> None:
    keys = iter(["sk-old", "sk-new"])

    async def current() -> str:
        return next(keys)

    provider = OpenAIProvider(current, server.url)
    await answer(provider)
    await answer(provider)
    await provider.close()
    assert [call.headers["authorization"] for call in server.calls] == ["Bearer sk-old", "Bearer sk-new"]


async def test_key_that_cannot_be_read_is_told_as_such(server: ProviderServer) -> None:
    async def unreadable() -> str:
        raise SecretUnavailable

    with pytest.raises(SecretUnavailable):
        await answer_once(OpenAIProvider(unreadable, server.url))
    assert not server.calls


async def test_keyless_server_is_asked_without_a_key_of_the_environment(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-else's")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    await answer_once(OpenAIProvider("", server.url))
    assert server.calls[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("length", "length"), ("content_filter", "content_filter"), ("stop", "stop"), ("eos", "stop")],
)
async def test_finish_reason_is_told(server: ProviderServer, provider: OpenAIProvider, theirs: str, ours: str) -> None:
    server.script(Reply(finish_reason=theirs))
    _, finish = await answer(provider)
    assert finish.finish_reason == ours


async def test_missing_usage_is_bounded_from_the_bytes(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(deltas=("añb",), usage=False), Reply(usage=False), Reply(usage=False))
    _, finish = await answer(provider)
    assert (finish.input_tokens, finish.output_tokens) == (input_token_bound(QUESTION), 4)
    _, finish = await answer(provider, max_tokens=4)
    assert finish.output_tokens == 4
    _, finish = await answer(provider, reasoning_effort="low")
    assert finish.output_tokens == 100


@pytest.mark.parametrize("reply", [Reply(stop_after=2), Reply(cut_after=2), Reply(body=b"data: {\n\n")])
async def test_stream_without_its_end_is_truncated(
    server: ProviderServer, provider: OpenAIProvider, reply: Reply
) -> None:
    server.script(reply)
    with pytest.raises(ProviderTruncated):
        await answer(provider)
    assert len(server.calls) == 1  # what may have been billed is not asked again


async def test_connection_cut_after_the_finish_reason_keeps_the_answer(
    server: ProviderServer, provider: OpenAIProvider
) -> None:
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "whole"}, "finish_reason": "stop"}]}\n\n'
    server.script(Reply(body=chunk + b"data: {\n\n"))
    text, finish = await answer(provider)
    assert (text, finish.finish_reason) == ("whole", "stop")


async def test_error_within_the_stream_is_an_error(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(body=b'data: {"error": {"message": "overheated", "code": "server_error"}}\n\n'))
    with pytest.raises(ProviderError):
        await answer(provider)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_passing_failure_is_tried_again(server: ProviderServer, provider: OpenAIProvider, status: int) -> None:
    server.script(Reply(status=status, headers={"retry-after": "0"}), Reply(status=status))
    text, _ = await answer(provider)
    assert text == "A stand-in says hello."
    assert len(server.calls) == 3


async def test_lasting_overload_is_busy_with_the_servers_retry_after(
    server: ProviderServer, provider: OpenAIProvider
) -> None:
    server.answer = Reply(status=429, headers={"retry-after": "42"})
    with pytest.raises(ProviderBusy) as caught:
        await answer(provider)
    assert caught.value.retry_after == 42
    assert len(server.calls) == 1  # 42 seconds are more than the request has


async def test_retry_after_may_be_a_date(server: ProviderServer, provider: OpenAIProvider) -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)
    server.answer = Reply(status=503, headers={"retry-after": format_datetime(later, usegmt=True)})
    with pytest.raises(ProviderBusy) as caught:
        await answer(provider)
    assert 90 <= caught.value.retry_after <= 100


async def test_lasting_failure_is_tried_three_times(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.answer = Reply(status=500, headers={"retry-after": "0"})
    with pytest.raises(ProviderError):
        await answer(provider)
    assert len(server.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_refusal_is_the_operators_to_mend(server: ProviderServer, provider: OpenAIProvider, status: int) -> None:
    server.answer = Reply(status=status)
    with pytest.raises(ProviderRefused):
        await answer(provider)
    assert len(server.calls) == 1


async def test_spent_credit_is_a_refusal(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.answer = Reply(status=429, code="insufficient_quota")
    with pytest.raises(ProviderRefused):
        await answer(provider)
    assert len(server.calls) == 1


@pytest.mark.parametrize("reply", [Reply(delay=5), Reply(status=504, delay=5), Reply(delay=0.05, endless=True)])
async def test_time_out_bounds_the_whole_answer(server: ProviderServer, provider: OpenAIProvider, reply: Reply) -> None:
    await answer(provider)  # the client is imported once, which is not this request's time
    server.script(reply)
    with pytest.raises(ProviderTimeout):
        await answer(provider, timeout=0.4)
    assert len(server.calls) == 2
    await asyncio.to_thread(server.wait_for, lambda server: server.disconnects == 1)


async def test_server_that_is_not_there_is_an_error_after_retries() -> None:
    with ProviderServer() as gone:
        url = gone.url
    with pytest.raises(ProviderError):
        await answer_once(OpenAIProvider("sk-test", url))


async def test_server_that_comes_up_late_is_reached(server: ProviderServer) -> None:
    port = int(server.url.rpartition(":")[2].removesuffix("/v1"))
    server.stop()
    provider = OpenAIProvider("sk-test", server.url, max_retries=9)
    asking = asyncio.create_task(answer_once(provider))
    await asyncio.sleep(0.3)
    with ProviderServer(port=port):
        text, _ = await asking
    assert text == "A stand-in says hello."


async def test_closing_the_iterator_hangs_up(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(endless=True, delay=0.01))
    async with aclosing(provider.stream(request())) as stream:
        assert await anext(stream) == Delta("A stand-in")
    await asyncio.to_thread(server.wait_for, lambda server: server.disconnects == 1)


async def test_cancelling_the_task_hangs_up(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(endless=True, delay=0.01))
    task = asyncio.create_task(answer(provider))
    await asyncio.to_thread(server.wait_for, lambda server: len(server.calls) == 1)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(server.wait_for, lambda server: server.disconnects == 1)


def test_every_error_of_the_client_has_a_counterpart() -> None:
    bases = (aiohttp.ClientError, http_exceptions.HttpProcessingError, TimeoutError)
    found = [*vars(client_exceptions).values(), *vars(http_exceptions).values(), TimeoutError]
    theirs = {cls for cls in found if isinstance(cls, type) and issubclass(cls, bases)}
    assert len(theirs) > 20
    for cls in theirs:
        with pytest.raises(ProviderError), vendor_errors():
            raise cls.__new__(cls)


async def test_connection_is_used_again(server: ProviderServer, provider: OpenAIProvider) -> None:
    for _ in range(3):
        await answer(provider)
    assert len({call.port for call in server.calls}) == 1


async def test_redirect_is_not_followed_with_the_key(server: ProviderServer, provider: OpenAIProvider) -> None:
    with ProviderServer() as elsewhere:
        server.answer = Reply(status=307, headers={"location": f"{elsewhere.url}/chat/completions"})
        with pytest.raises(ProviderRefused):
            await answer(provider)
        assert not elsewhere.calls


async def test_line_without_an_end_is_an_error(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(body=b"data: " + b"x" * 3 * LINE_BYTES))
    with pytest.raises(ProviderError):
        await answer(provider)


async def test_refusal_is_logged_with_its_code_and_without_its_sentence(
    server: ProviderServer, provider: OpenAIProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO")
    server.answer = Reply(status=401, code="invalid_api_key")
    with pytest.raises(ProviderRefused):
        await answer(provider)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["status"], line["code"]) == ("provider_refused", 401, "invalid_api_key")
    assert "scripted" not in line.values()


def vectors(*numbers: list[float], usage: dict[str, int] | None = None) -> bytes:
    """The last first, as their places tell."""
    data = [{"index": place, "embedding": each} for place, each in enumerate(numbers)]
    return json.dumps({"data": data[::-1], "usage": usage}).encode()


async def test_vectors_come_in_the_order_of_their_texts(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(body=vectors([1.0, 0.0], [0.0, 2.0], usage={"prompt_tokens": 7})))
    found = await provider.embed("small", ["gate", "tür"], seconds=10)
    assert (found.vectors, found.input_tokens) == ([[1, 0], [0, 2]], 7)
    (call,) = server.calls
    assert call.body == {"model": "small", "input": ["gate", "tür"], "encoding_format": "float"}
    assert call.headers["authorization"] == "Bearer sk-test"


async def test_vectors_without_a_count_are_paid_by_the_byte(server: ProviderServer, provider: OpenAIProvider) -> None:
    server.script(Reply(body=vectors([1.0])))
    assert (await provider.embed("small", ["tür"], seconds=10)).input_tokens == 4


@pytest.mark.parametrize(
    "body",
    [
        vectors([1.0]),
        vectors([1.0], [1.0, 2.0]),
        vectors([0.0], [1.0]),
        vectors([], []),
        b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}, {"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": ["1"]}]}',
        b'{"error": {"message": "no"}}',
        b"\xff",
        b"",
    ],
)
async def test_vectors_that_are_none_are_an_error(
    server: ProviderServer, provider: OpenAIProvider, body: bytes
) -> None:
    server.script(Reply(body=body))
    with pytest.raises(ProviderError):
        await provider.embed("small", ["a", "b"], seconds=10)


async def test_vectors_are_asked_for_again_only_where_that_is_wanted(
    server: ProviderServer, provider: OpenAIProvider
) -> None:
    busy = Reply(status=429, headers={"retry-after": "0"})
    server.script(busy)
    with pytest.raises(ProviderBusy):
        await provider.embed("small", ["a"], seconds=10)
    server.script(busy, busy, Reply(body=vectors([1.0])))
    assert len((await provider.embed("small", ["a"], seconds=30, retries=2)).vectors) == 1
    assert len(server.calls) == 4
