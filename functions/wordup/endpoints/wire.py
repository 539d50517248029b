"""The inference server's own language, the same behind every platform: JSON, events and problem documents."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterable
from typing import NoReturn

import msgspec

from wordup.endpoints.base import Classification, Media, Step
from wordup.errors import (
    ContentBlocked,
    EndpointBusy,
    EndpointError,
    EndpointRefused,
    EndpointTimeout,
    InvalidField,
    WordUpError,
)

JSON = "application/json"
EVENTS = "text/event-stream"
# An event holds a whole file in base64; more than this is no answer of ours (the server's own limit is 1 GiB).
_EVENT_BYTES = 1 << 30
_SECONDS = re.compile("[0-9]{1,6}")
# An answer may be nested deeper than the stack.
_UNREADABLE = (msgspec.DecodeError, RecursionError)
_BUSY, _TIMEOUT = {429, 502, 503}, {408, 504}


class Problem(msgspec.Struct):
    """What we read of a problem document; a platform's own error page gives an empty one."""

    code: str = ""
    detail: str = ""
    mend: str = ""
    pointer: str | None = None
    status: int = 0


def problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except _UNREADABLE:
        return Problem()


def failure(status: int, body: bytes, retry_after: str = "") -> WordUpError:
    """Our error for an answer that is none. `body` may be the server's problem document or anything else."""
    found = problem(body)
    status = found.status or status
    if found.code == "content_blocked":
        return ContentBlocked("image", found.detail)
    if found.pointer is not None:
        return InvalidField(found.pointer, found.detail, mend=found.mend)
    if status in _BUSY:
        return EndpointBusy(retry_after=int(retry_after) if _SECONDS.fullmatch(retry_after) else 5)
    if status in _TIMEOUT:
        return EndpointTimeout()
    if 400 <= status < 500:
        return EndpointRefused(found.detail or None, mend=found.mend or None)
    return EndpointError()


def classification(body: bytes) -> Classification:
    """Raises EndpointError for what is no classification."""
    try:
        return msgspec.json.decode(body, type=Classification)
    except _UNREADABLE as error:
        raise EndpointError() from error


async def events(chunks: AsyncIterable[bytes], seconds: float) -> AsyncGenerator[Step | Media]:
    """The stream's steps and its one result, all within `seconds` from now. Raises as the port says; a stream
    that breaks off is an EndpointError."""
    buffer = bytearray()
    async for chunk in _within(chunks, seconds):
        buffer += chunk
        if len(buffer) > _EVENT_BYTES:
            raise EndpointError("The media endpoint's answer has no end.")
        while (end := buffer.find(b"\n\n")) >= 0:
            block = bytes(buffer[:end])
            del buffer[: end + 2]
            if block.startswith(b":"):
                continue
            name, _, data = block.removeprefix(b"event: ").partition(b"\ndata: ")
            if name == b"error":
                _raise(data)
            yield _decoded(name, data)
            if name == b"result":
                return
    raise EndpointError("The media endpoint's answer broke off.")


async def _within(chunks: AsyncIterable[bytes], seconds: float) -> AsyncGenerator[bytes]:
    deadline = asyncio.get_running_loop().time() + seconds
    iterator = aiter(chunks)
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise EndpointTimeout() from error
        yield chunk


def _decoded(name: bytes, data: bytes) -> Step | Media:
    try:
        return msgspec.json.decode(data, type=Media if name == b"result" else Step)
    except _UNREADABLE as error:
        raise EndpointError() from error


def _raise(data: bytes) -> NoReturn:
    raise failure(500, data)
