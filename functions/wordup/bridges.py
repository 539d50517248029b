"""Hands a request to the application where a platform wants a function that returns a response."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message


async def respond(app: ASGIApp, request: Request) -> StreamingResponse:
    """The application's response, with its status and headers known and its body still coming.

    A platform that counts an invocation as over when its function returns would else count one that has not begun.
    """
    loop = asyncio.get_running_loop()
    start: asyncio.Future[Message] = loop.create_future()
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.set_result(message)
        elif message["type"] == "http.response.body":
            chunks.put_nowait(message.get("body", b""))

    running = asyncio.ensure_future(app({**request.scope}, request.receive, send))
    running.add_done_callback(lambda _: chunks.put_nowait(None))
    try:
        await asyncio.wait({running, start}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            await running
            raise RuntimeError("the application ended without a response")
    except BaseException:
        running.cancel()
        raise
    response = StreamingResponse(_body(chunks, running), start.result()["status"])
    response.raw_headers = list(start.result()["headers"])
    return response


async def _body(chunks: "asyncio.Queue[bytes | None]", running: "asyncio.Future[None]") -> AsyncGenerator[bytes]:
    """Ends the application's work where the caller left."""
    try:
        while (chunk := await chunks.get()) is not None:
            if chunk:
                yield chunk
        await running
    finally:
        running.cancel()
