"""Hands a request to the application where a platform wants a function that returns a response."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message

# A piece of the body; None ends it, an error breaks it off.
_Chunks = asyncio.Queue[bytes | BaseException | None]


async def respond(app: ASGIApp, request: Request) -> StreamingResponse:
    """The application's response, with its status and headers known and its body still coming.

    A platform that counts an invocation as over when its function returns would else count one that has not begun.
    Raises what the application raises before its response begins.
    """
    start: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    chunks = _Chunks()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.set_result(message)
        elif message["type"] == "http.response.body":
            chunks.put_nowait(message.get("body", b""))
            if not message.get("more_body"):
                chunks.put_nowait(None)

    async def run() -> None:
        await app({**request.scope}, request.receive, send)

    running = asyncio.create_task(run())
    running.add_done_callback(lambda done: chunks.put_nowait(None if done.cancelled() else done.exception()))
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


async def _body(chunks: _Chunks, running: asyncio.Task[None]) -> AsyncGenerator[bytes]:
    try:
        while (chunk := await chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    except BaseException:  # the caller left: nobody needs the application's work
        running.cancel()
        raise
    await asyncio.wait({running})
