"""The provider port: one call that streams an answer.

`stream` yields `Delta`s and ends with exactly one `Finish`. The plain answer is the joined deltas. An adapter raises
only members of ProviderError; it retries by itself what is safe to retry (nothing after the first delta), ends the
upstream call when its iterator is closed, and treats a stream without a finish reason as ProviderTruncated.
"""

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

import msgspec

from wordup.services import Service

FinishReason = Literal["stop", "length", "content_filter", "stopped"]


class Message(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the knowledge base. `id` is `document#section`; `score` is higher for better. `service` is the entry
    of the service table that the text was made of, for a provider that composes answers by itself."""

    id: str
    title: str
    text: str
    url: str = ""
    score: float = 0.0
    service: Service | None = None

    def scored(self, score: float) -> "Passage":
        return msgspec.structs.replace(self, score=round(score, 3))


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is the provider's own name, without our `provider:` prefix. `max_tokens` bounds the answer;
    `timeout` is in seconds for the whole call. `passages` stand also in the system message: only a provider without
    a model of its own (offline) composes from them."""

    model: str
    messages: list[Message]
    max_tokens: int
    timeout: float
    passages: list[Passage] = []
    temperature: float | None = None
    # What the catalogue says for this model: its thinking would use up `max_tokens` before the answer begins.
    reasoning_effort: str | None = None
    # The answer is asked for as JSON of this schema. Not every server keeps to it: whoever reads it checks.
    json_schema: dict[str, Any] | None = None


def input_token_bound(messages: list[Message]) -> int:
    """The most tokens that `messages` can be: no token is shorter than a byte of UTF-8, and a chat format frames each
    message with a few tokens of its own (OpenAI's with 4, and 3 for the answer; 16 leaves room for other formats)."""
    return 16 + sum(16 + len(message.content.encode()) for message in messages)


class Delta(msgspec.Struct, frozen=True):
    text: str


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an answer. Tokens as the provider counted them; `cached_input_tokens`, read from the provider's prompt
    cache, and `cache_write_input_tokens`, stored there, are part of `input_tokens` and have prices of their own."""

    finish_reason: FinishReason
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0


class Embedded(msgspec.Struct, frozen=True):
    """One vector for each text, in their order and all of one length, and what the provider counted."""

    vectors: list[list[float]]
    input_tokens: int


class Embedder(Protocol):
    """A provider that also turns texts into vectors."""

    async def embed(self, model: str, texts: list[str], *, seconds: float, retries: int = 0) -> Embedded:
        """`model` is the provider's own name, `seconds` is for the whole call with its repetitions. Raises as
        `Provider.stream` does."""
        ...

    async def close(self) -> None: ...


class Provider(Protocol):
    def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta | Finish]:
        """Raises ProviderBusy, ProviderTimeout, ProviderTruncated, ProviderRefused, ProviderError."""
        ...

    async def close(self) -> None: ...
