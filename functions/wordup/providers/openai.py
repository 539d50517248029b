"""OpenAI and every server that speaks its Chat Completions.

aiohttp does the HTTP, not the openai package (docs/adr/0007-the-provider-is-asked-by-aiohttp.md). We repeat only what
surely was not answered and billed already: a connection that never came about, and the statuses that a server gives
instead of working.
"""

import asyncio
import importlib
import logging
import math
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from wordup import logs
from wordup.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderTimeout, ProviderTruncated
from wordup.providers.base import CompletionRequest, Delta, Embedded, Finish, FinishReason, input_token_bound

if TYPE_CHECKING:  # 0.1 s that a bot without this provider never pays
    from aiohttp import ClientResponse, ClientSession

OPENAI_URL = "https://api.openai.com/v1"
KEY = Callable[[], Awaitable[str]] | str
# An event is one line, and a delta a few dozen bytes of it; more than this is no answer.
LINE_BYTES = 1 << 20
REFUSAL_BYTES = 1 << 16
DRAIN_SECONDS = 0.25

BUSY = {409, 429, 503, 529}
# No 504: a gateway that waited in vain may stand before a server that answered.
RETRIED = {429, 500, 502, 503, 529}
# An account without credit is answered with 429 too, and no waiting helps.
NO_CREDIT = "insufficient_quota"
_CODE = re.compile("[A-Za-z0-9_.-]{1,64}")

FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}


class _Text(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Text | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    """What we read of an event, or of a body that comes with a status other than 200."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


class OpenAIProvider:
    """`api_key` is the key or a coroutine function that gives the current one, asked before every request, so that a
    rotated key is taken up. `base_url` is empty for OpenAI's own. `connect_timeout` is in seconds; `max_retries` counts
    the repetitions, all of them before the first delta and within the request's time-out."""

    def __init__(self, api_key: KEY, base_url: str = "", *, connect_timeout: float = 5.0, max_retries: int = 2) -> None:
        self._api_key = api_key
        self._base_url = (base_url or OPENAI_URL).rstrip("/")
        self._connect_timeout = connect_timeout
        self._max_retries = max_retries
        self._session: ClientSession | None = None
        host = urlsplit(self._base_url).hostname or ""
        self._is_openai = host == "api.openai.com" or host.endswith(".api.openai.com")

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta | Finish]:
        deadline = asyncio.get_running_loop().time() + request.timeout
        reason: FinishReason | None = None
        usage: _Usage | None = None
        written = 0
        body = msgspec.json.encode(self._parameters(request))
        response = await self._open("chat/completions", body, deadline, self._max_retries)
        try:
            async with aclosing(_chunks(response)) as chunks:
                async for chunk in chunks:
                    usage = chunk.usage or usage
                    for choice in chunk.choices or ():
                        if choice.delta and (text := choice.delta.content or choice.delta.refusal):
                            written += len(text.encode())
                            yield Delta(text)
                        if choice.finish_reason:
                            reason = FINISH_REASONS.get(choice.finish_reason, "stop")
        except ProviderTruncated:
            if reason is None:  # else the answer is whole, and only what follows it is lost
                raise
        finally:
            response.close()
        if reason is None:
            raise ProviderTruncated
        yield _finish(reason, usage, request, written)

    async def embed(self, model: str, texts: list[str], *, seconds: float, retries: int = 0) -> Embedded:
        """A vector that is no direction, or of which a number is none, is no answer."""
        deadline = asyncio.get_running_loop().time() + seconds
        body = msgspec.json.encode({"model": model, "input": texts, "encoding_format": "float"})
        response = await self._open("embeddings", body, deadline, retries)
        try:
            with vendor_errors(streaming=True):
                found = msgspec.json.decode(await response.read(), type=_Vectors)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError from error
        finally:
            response.release()
        vectors = [each.embedding for each in sorted(found.data, key=lambda each: each.index)]
        lengths = {len(vector) for vector in vectors}
        if len(vectors) != len(texts) or len(lengths) != 1 or not all(0 < math.hypot(*v) < math.inf for v in vectors):
            raise ProviderError
        return Embedded(vectors, found.usage.prompt_tokens if found.usage else sum(len(t.encode()) for t in texts))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _open(self, path: str, body: bytes, deadline: float, retries: int) -> "ClientResponse":
        """The answer, of which the head has come."""
        session = self._session or await self._connected()
        loop = asyncio.get_running_loop()
        for attempt in count():
            try:
                return await self._ask(session, path, body, deadline - loop.time())
            except _Passing as failure:
                wait = failure.wait
                if wait is None:
                    wait = random.uniform(0.25, 0.5) * 2**attempt  # noqa: S311 - jitter, no secret
                if attempt >= retries or loop.time() + wait >= deadline:
                    raise failure.error from failure.__cause__
            await asyncio.sleep(wait)
        raise AssertionError("the loop above returns or raises")

    async def _ask(self, session: "ClientSession", path: str, body: bytes, seconds: float) -> "ClientResponse":
        """Raises _Passing for what surely was not answered."""
        from aiohttp import ClientConnectorError, ClientTimeout, ConnectionTimeoutError

        key = self._api_key if isinstance(self._api_key, str) else await self._api_key()
        response: ClientResponse | None = None
        try:
            with vendor_errors():
                response = await session.post(
                    f"{self._base_url}/{path}",
                    data=body,
                    # A keyless local server still expects some text.
                    headers={"authorization": f"Bearer {key or 'none'}", "content-type": "application/json"},
                    timeout=ClientTimeout(total=max(seconds, 0.001), sock_connect=self._connect_timeout),
                    allow_redirects=False,  # the key is for this server alone
                )
        except ProviderError as error:
            if isinstance(error.__cause__, ClientConnectorError | ConnectionTimeoutError):
                raise _Passing(error) from error.__cause__
            raise
        if response.status != 200:
            async with response:
                raise await _refusal(response)
        return response

    def _parameters(self, request: CompletionRequest) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": request.model,
            "messages": request.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._is_openai:
            # OpenAI's reasoning models refuse max_tokens. Our store keeps the conversation; theirs need not.
            parameters |= {"max_completion_tokens": request.max_tokens, "store": False}
            if request.reasoning_effort:
                parameters["reasoning_effort"] = request.reasoning_effort
        else:
            # The name that every compatible server knows; not all know the newer one.
            parameters["max_tokens"] = request.max_tokens
        if request.temperature is not None:
            parameters["temperature"] = request.temperature
        if request.json_schema is not None:
            form = {"name": "answer", "strict": True, "schema": request.json_schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        return parameters

    async def _connected(self) -> "ClientSession":
        # In a thread, so that other requests go on while the import runs.
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        if self._session is None:
            self._session = self._build()
        return self._session

    def _build(self) -> "ClientSession":
        import ssl
        from urllib.request import getproxies, proxy_bypass

        import truststore
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector

        url = urlsplit(self._base_url)
        return ClientSession(
            # Not every Python finds the system's certificates by itself.
            connector=TCPConnector(limit=0, ssl=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
            cookie_jar=DummyCookieJar(),
            proxy=None if proxy_bypass(url.netloc) else getproxies().get(url.scheme),
            read_bufsize=LINE_BYTES,
        )


class _Passing(Exception):
    """The request surely was not answered and may be repeated, `wait` seconds later where the server says so."""

    def __init__(self, error: ProviderError, wait: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.wait = wait


@contextmanager
def vendor_errors(*, streaming: bool = False) -> Generator[None]:
    """Turns what aiohttp raises into our errors. `streaming`: the answer had begun."""
    from aiohttp import ClientError, http_exceptions

    try:
        yield
    except TimeoutError as error:
        raise ProviderTimeout from error
    except http_exceptions.HttpProcessingError as error:
        raise ProviderError from error
    except ClientError as error:
        raise (ProviderTruncated if streaming else ProviderError) from error


async def _chunks(response: "ClientResponse") -> AsyncGenerator[_Chunk]:
    """The events up to the last. JSON has no line breaks of its own: a line is an event. What comes together is cut at
    once, which takes a third of what reading line by line does."""
    begun = b""
    with vendor_errors(streaming=True):
        while True:
            piece = await response.content.readany()
            *lines, begun = (begun + piece).split(b"\n")
            if len(begun) > LINE_BYTES:
                raise ProviderError
            for line in lines if piece else [begun]:
                field, _, data = line.partition(b":")
                if field != b"data":
                    continue
                if data.strip() == b"[DONE]":
                    await _drain(response)
                    return
                yield _chunk(data, response.status)
            if not piece:
                return


async def _drain(response: "ClientResponse") -> None:
    """The connection can be used again once its answer is over, which is at once or never."""
    if not response.content.at_eof():
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await response.content.read()


def _chunk(data: bytes, status: int) -> _Chunk:
    try:
        chunk = msgspec.json.decode(data, type=_Chunk)
    except msgspec.ValidationError as error:
        raise ProviderError from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProviderTruncated from error
    if chunk.error is not None:
        _log(status, chunk.error)
        raise ProviderError
    return chunk


async def _refusal(response: "ClientResponse") -> ProviderError | _Passing:
    """What an answer other than 200 means."""
    body = bytearray()
    with suppress(ProviderError), vendor_errors():  # the status is known all the same
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > REFUSAL_BYTES:
                break
    try:
        code = _log(response.status, msgspec.json.decode(body, type=_Chunk).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = _log(response.status, None)
    wait = _retry_after(response.headers.get("retry-after", ""))
    if code == NO_CREDIT or not (response.status in BUSY or response.status >= 500):
        return ProviderRefused()
    error = ProviderBusy(retry_after=round(wait or 0) or 5) if response.status in BUSY else ProviderError()
    return _Passing(error, wait) if response.status in RETRIED else error


def _log(status: int, error: Any) -> str:
    """What the server gives as its reason, if it is a code: its sentences may repeat what the user wrote."""
    reason = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code = str(reason.get("code") or reason.get("type") or "")
    code = code if _CODE.fullmatch(code) else ""
    logs.write(logging.WARNING, "provider_refused", status=status, code=code or None)
    return code


def _retry_after(value: str) -> float | None:
    """The seconds that a Retry-After header asks for: a number or an HTTP date (RFC 9110, section 10.2.3)."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _finish(reason: FinishReason, usage: _Usage | None, request: CompletionRequest, written: int) -> Finish:
    if usage is None:
        # The server sent no usage: the most that it can have been. Hidden reasoning is bounded by max_tokens only.
        thinks = request.reasoning_effort not in (None, "none")
        return Finish(
            finish_reason=reason,
            input_tokens=input_token_bound(request.messages),
            output_tokens=request.max_tokens if thinks else min(written, request.max_tokens),
        )
    details = usage.prompt_tokens_details
    return Finish(
        finish_reason=reason,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_input_tokens=(details and details.cached_tokens) or 0,
        cache_write_input_tokens=(details and details.cache_write_tokens) or 0,
    )
