"""OpenAI and every server that speaks its Chat Completions.

The official package does the HTTP and the event stream; its retries are off, because it also repeats requests that
may have been answered and billed already. We repeat only what surely was not: a connection that never came about, and
the statuses that a server gives instead of working.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wordup.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderTimeout, ProviderTruncated
from wordup.providers.base import CompletionRequest, Delta, Finish, FinishReason, input_token_bound

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

OPENAI_URL = "https://api.openai.com/v1"
KEY = Callable[[], Awaitable[str]] | str

# Names, because importing the classes would import the package (0.5 s) with this module. The nearest ancestor counts.
ERRORS: dict[str, type[ProviderError]] = {
    "OpenAIError": ProviderError,
    "APIError": ProviderError,
    "APIResponseValidationError": ProviderError,
    "APIStatusError": ProviderRefused,
    "APIConnectionError": ProviderError,
    "APITimeoutError": ProviderTimeout,
    "BadRequestError": ProviderRefused,
    "AuthenticationError": ProviderRefused,
    "OAuthError": ProviderRefused,
    "SubjectTokenProviderError": ProviderRefused,
    "PermissionDeniedError": ProviderRefused,
    "NotFoundError": ProviderRefused,
    "UnprocessableEntityError": ProviderRefused,
    "ConflictError": ProviderBusy,
    "RateLimitError": ProviderBusy,
    "InternalServerError": ProviderError,
    "LengthFinishReasonError": ProviderError,
    "ContentFilterFinishReasonError": ProviderError,
    "WebSocketConnectionClosedError": ProviderError,
    "WebSocketQueueFullError": ProviderError,
}
OVERLOADED = {429, 503, 529}
# No 504: a gateway that waited in vain may stand before a server that answered.
RETRIED = {429, 500, 502, 503, 529}
# An account without credit is answered with 429 too, and no waiting helps.
NO_CREDIT = "insufficient_quota"

FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}


class OpenAIProvider:
    """`api_key` is the key or a coroutine function that gives the current one, asked before every request, so that a
    rotated key is taken up. `base_url` is empty for OpenAI's own. `connect_timeout` is in seconds; `max_retries` counts
    the repetitions, all of them before the first delta and within the request's time-out."""

    def __init__(self, api_key: KEY, base_url: str = "", *, connect_timeout: float = 5.0, max_retries: int = 2) -> None:
        self._api_key = api_key
        self._base_url = base_url or OPENAI_URL
        self._connect_timeout = connect_timeout
        self._max_retries = max_retries
        self._client: AsyncOpenAI | None = None
        host = urlsplit(self._base_url).hostname or ""
        self._is_openai = host == "api.openai.com" or host.endswith(".api.openai.com")

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta | Finish]:
        deadline = asyncio.get_running_loop().time() + request.timeout
        reason: FinishReason | None = None
        usage: CompletionUsage | None = None
        written = 0
        client = self._client or await self._connected()
        with vendor_errors():
            upstream = await self._open(client, request, deadline)
        async with aclosing(upstream):
            while True:
                try:
                    with vendor_errors(streaming=True):
                        async with asyncio.timeout_at(deadline):
                            chunk = await anext(upstream)
                except StopAsyncIteration:
                    break
                except ProviderTruncated:
                    if reason:  # the answer is whole, only what follows it is lost
                        break
                    raise
                usage = chunk.usage or usage
                for choice in chunk.choices or ():
                    if text := choice.delta.content or choice.delta.refusal:
                        written += len(text.encode())
                        yield Delta(text)
                    if choice.finish_reason:
                        reason = FINISH_REASONS.get(choice.finish_reason, "stop")
        if reason is None:
            raise ProviderTruncated
        yield _finish(reason, usage, request, written)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _open(
        self, client: "AsyncOpenAI", request: CompletionRequest, deadline: float
    ) -> "AsyncStream[ChatCompletionChunk]":
        from openai import OpenAIError, Timeout

        loop = asyncio.get_running_loop()
        for attempt in count():
            try:
                async with asyncio.timeout_at(deadline):
                    return await client.chat.completions.create(
                        stream=True,
                        timeout=Timeout(request.timeout, connect=self._connect_timeout),
                        **self._parameters(request),
                    )
            except OpenAIError as error:
                wait = _retry_delay(error, attempt)
                if attempt >= self._max_retries or wait is None or loop.time() + wait >= deadline:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("the loop above returns or raises")

    def _parameters(self, request: CompletionRequest) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
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
        return parameters

    async def _connected(self) -> "AsyncOpenAI":
        # In a thread, so that other requests go on while half a second of imports runs.
        built = await asyncio.to_thread(self._build)
        self._client = self._client or built
        return self._client

    def _build(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        # A keyless local server still needs some text here, or the package looks for a key in the environment.
        client = AsyncOpenAI(api_key=self._api_key or "none", base_url=self._base_url, max_retries=0)
        client.chat.completions  # noqa: B018 - the package imports this part only when it is first touched
        return client


@contextmanager
def vendor_errors(*, streaming: bool = False) -> Generator[None]:
    """Turns what the openai package raises into our errors. `streaming`: the answer had begun."""
    from openai import APIConnectionError, OpenAIError

    try:
        yield
    except TimeoutError as error:
        raise ProviderTimeout from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProviderTruncated from error
    except OpenAIError as error:
        ours = next(ERRORS[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in ERRORS)
        if getattr(error, "code", None) == NO_CREDIT:
            ours = ProviderRefused
        elif getattr(error, "status_code", None) in OVERLOADED:
            ours = ProviderBusy
        elif streaming and ours is ProviderError and isinstance(error, APIConnectionError):
            ours = ProviderTruncated
        if ours is ProviderBusy:
            raise ProviderBusy(retry_after=round(_retry_after(error) or 5)) from error
        raise ours from error


def _retry_delay(error: Exception, attempt: int) -> float | None:
    """Seconds until the request may be repeated; None when it may have been answered or will fail again."""
    import httpx2

    if getattr(error, "code", None) == NO_CREDIT:
        return None
    unsent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
    if not unsent and getattr(error, "status_code", None) not in RETRIED:
        return None
    asked = _retry_after(error)
    return asked if asked is not None else random.uniform(0.25, 0.5) * 2**attempt  # noqa: S311 - jitter, no secret


def _retry_after(error: Exception) -> float | None:
    """The seconds that a Retry-After header asks for: a number or an HTTP date (RFC 9110, section 10.2.3)."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after", "") if response is not None else ""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _finish(reason: FinishReason, usage: "CompletionUsage | None", request: CompletionRequest, written: int) -> Finish:
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
