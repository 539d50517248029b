"""The bridge to platforms that want a response, with applications of a few lines."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from wordup.bridges import respond

START = {"type": "http.response.start", "status": 201, "headers": [(b"x-twice", b"1"), (b"x-twice", b"2")]}


def request(*messages: Any) -> Request:
    """A POST whose caller says these, and then nothing."""
    waiting = list(messages)

    async def receive() -> Any:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def test_status_headers_and_body_pass_as_they_are() -> None:
    async def echo(_: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await send(START)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    response = await respond(echo, request({"type": "http.request", "body": b"hello"}))
    assert response.status_code == 201
    assert response.raw_headers == START["headers"]
    assert [chunk async for chunk in response.body_iterator] == [b"hello", b"!"]


async def test_chunks_come_one_by_one() -> None:
    more = asyncio.Event()

    async def slow(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"2"})

    chunks = aiter((await respond(slow, request())).body_iterator)
    assert await anext(chunks) == b"1"
    more.set()
    assert [chunk async for chunk in chunks] == [b"2"]


async def test_application_that_fails_before_its_response_raises() -> None:
    async def broken(*_: Any) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await respond(broken, request())


async def test_application_that_says_nothing_is_an_error() -> None:
    async def silent(*_: Any) -> None:
        return

    with pytest.raises(RuntimeError, match="without a response"):
        await respond(silent, request())


async def test_body_that_breaks_off_is_no_whole_body() -> None:
    async def broken(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        raise ValueError("broken")

    chunks = aiter((await respond(broken, request())).body_iterator)
    assert await anext(chunks) == b"1"
    with pytest.raises(ValueError, match="broken"):
        await anext(chunks)


async def test_error_after_a_whole_body_leaves_it_whole() -> None:
    """Starlette answers a bug with status 500 and raises it again for the server's log."""

    async def broken(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"whole"})
        raise ValueError("broken")

    response = await respond(broken, request())
    assert [chunk async for chunk in response.body_iterator] == [b"whole"]


async def test_caller_who_leaves_ends_the_work() -> None:
    ended = asyncio.Event()

    async def endless(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.set()

    chunks: Any = (await respond(endless, request())).body_iterator
    assert await anext(chunks) == b"more"
    await chunks.aclose()
    await asyncio.wait_for(ended.wait(), 5)


async def test_invocation_that_is_cancelled_cancels_the_application() -> None:
    ended = asyncio.Event()

    async def waiting(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    responding = asyncio.create_task(respond(waiting, request()))
    await asyncio.sleep(0.01)
    responding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await responding
    await asyncio.wait_for(ended.wait(), 5)
