"""A turn as server-sent events: `start`, `progress` while a long text is read, `delta`s, then one of `done`, `blocked`,
`error`; a comment line where nothing came for a while, which keeps proxies from closing the connection while a model
thinks."""

import contextlib
from collections.abc import AsyncGenerator, Callable

import msgspec

from wordup import schemas
from wordup.chat import Event, Quiet, Started
from wordup.errors import ContentBlocked, WordUpError
from wordup.providers.base import Delta
from wordup.summaries import Progress

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would hold events back
}


async def stream(
    first: Event, rest: AsyncGenerator[Event], problem: Callable[[WordUpError], schemas.Problem]
) -> AsyncGenerator[bytes]:
    """`first` was awaited before the status line went out, so that a refusal still has its own status; what fails
    later becomes an `error` event."""
    async with contextlib.aclosing(rest):
        yield _encode(first)
        try:
            async for event in rest:
                yield _encode(event)
        except WordUpError as failure:
            yield _event("blocked" if isinstance(failure, ContentBlocked) else "error", problem(failure))


def error(problem: schemas.Problem) -> bytes:
    """The event that ends a stream which failed."""
    return _event("error", problem)


def _encode(event: Event) -> bytes:
    match event:
        case Quiet():
            return b": still here\n\n"
        case Started():
            return _event("start", event)
        case Progress():
            return _event("progress", event)
        case Delta():
            return _event("delta", event)
        case _:
            return _event("done", schemas.answer(event))


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
