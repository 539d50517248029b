"""OpenAI's Chat Completions in front of the same turn: for clients that know that interface and no other.

The client's messages are the history and nothing is kept of them; knowledge, limits and budgets are the bot's. What
only asks for a taste in sampling, or for a service of OpenAI's own, is taken and left at that, since clients send it
unasked; what would change what the answer means is refused where we cannot do it.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from wordup.admission import Given, TurnRequest
from wordup.chat import Event, Quiet, Started
from wordup.errors import InvalidField, WordUpError
from wordup.providers.base import Delta
from wordup.schemas import Body, Problem, usd
from wordup.summaries import Progress
from wordup.turns import Source, Turn, said

PATH = "/v1/chat/completions"
# By the nearest status from above, as OpenAI sorts them.
ERROR_TYPES = {500: "server_error", 429: "rate_limit_error", 403: "permission_error", 401: "authentication_error"}

Count = Annotated[int, Meta(ge=1)]
Ignored = Annotated[Any, Meta(description="Taken, and left at that.")]


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class MessageIn(msgspec.Struct, frozen=True, kw_only=True):
    """`system` and `developer` messages hold beneath the bot's own instructions."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    tool_calls: list[Any] | None = None

    @property
    def text(self) -> str:
        parts = self.content or ""
        return parts if isinstance(parts, str) else "\n".join(part.text for part in parts)


class StreamOptions(Body, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: Ignored = None


class TextFormat(msgspec.Struct, frozen=True):
    type: str


class ChatCompletionIn(Body, frozen=True):
    """The parameters of OpenAI's that are documented, each honoured, ignored or refused by what it asks for."""

    model: str
    messages: Annotated[list[MessageIn], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None

    n: Count | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: TextFormat | None = None
    modalities: list[str] | None = None
    audio: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    web_search_options: Any = None

    frequency_penalty: Ignored = None
    metadata: Ignored = None
    moderation: Ignored = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    presence_penalty: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    seed: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    top_p: Ignored = None
    user: Ignored = None
    verbosity: Ignored = None

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


# What is asked for there, and is not here; a parameter that asks for nothing is fine.
REFUSED: dict[str, Callable[[Any], bool]] = {
    "n": lambda n: n > 1,
    "stop": bool,
    "tools": bool,
    "tool_choice": lambda choice: choice not in ("none", "auto"),
    "functions": bool,
    "function_call": lambda choice: choice not in ("none", "auto"),
    "response_format": lambda wanted: wanted.type != "text",
    "modalities": lambda wanted: wanted != ["text"],
    "audio": lambda _: True,
    "logprobs": bool,
    "top_logprobs": bool,
    "logit_bias": bool,
    "web_search_options": lambda _: True,
}


def asked(body: ChatCompletionIn) -> tuple[TurnRequest, Given]:
    """The last message as a question, those before it as what was said. Raises InvalidField."""
    for name, is_refused in REFUSED.items():
        value = getattr(body, name)
        if value is not None and is_refused(value):
            raise InvalidField(f"/{name}", f"This bot cannot do what {name} asks for.", mend=f"Leave {name} out.")
    instructions: list[str] = []
    pairs: list[tuple[list[str], list[str]]] = []
    for n, message in enumerate(body.messages):
        if message.tool_calls:
            raise InvalidField(f"/messages/{n}/tool_calls", "This bot has no tools.", mend="Leave the message out.")
        if message.role in ("system", "developer"):
            instructions.append(message.text)
        elif message.role == "assistant":
            pairs = pairs or [([], [])]
            pairs[-1][1].append(message.text)
        elif not pairs or pairs[-1][1]:
            pairs.append(([message.text], []))
        else:
            pairs[-1][0].append(message.text)
    questions, answers = pairs.pop() if pairs else ([], [])
    if answers or not questions:
        raise InvalidField("/messages", "The last message is no question.", mend="End with a message of the user's.")
    request = TurnRequest(message="\n\n".join(questions), model=body.model, stream=bool(body.stream))
    bounds = [bound for bound in (body.max_tokens, body.max_completion_tokens) if bound is not None]
    given = Given(
        past=[said("\n\n".join(question), "\n\n".join(answer)) for question, answer in pairs],
        instructions="\n\n".join(instructions),
        max_tokens=min(bounds, default=None),
        temperature=body.temperature,
    )
    return request, given


class CompletionUsage(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: str


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's fields; `sources` and the usage's `cost_usd` are ours."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    sources: list[Source]


class ChunkDelta(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    delta: ChunkDelta
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"] | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | UnsetType = UNSET
    sources: list[Source] | UnsetType = UNSET


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str
    request_id: str


class ErrorOut(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's shape, with our codes."""

    error: ErrorDetail


def error(problem: Problem) -> ErrorOut:
    kind = next((name for status, name in ERROR_TYPES.items() if problem.status >= status), "invalid_request_error")
    return ErrorOut(
        error=ErrorDetail(
            message=f"{problem.detail} {problem.mend}",
            type=kind,
            param=(problem.pointer or "").lstrip("/").replace("/", ".") or None,
            code=problem.code,
            request_id=problem.request_id,
        )
    )


def completion(model: str, turn: Turn) -> ChatCompletion:
    """`model` as it was asked for."""
    return ChatCompletion(
        id=f"chatcmpl-{turn.id}",
        created=int(turn.created),
        model=model,
        choices=[Choice(message=AssistantMessage(content=turn.answer), finish_reason=_reason(turn))],
        usage=_usage(turn),
        sources=turn.sources,
    )


async def stream(
    body: ChatCompletionIn, first: Started, rest: AsyncGenerator[Event], problem: Callable[[WordUpError], Problem]
) -> AsyncGenerator[bytes]:
    """The turn as OpenAI's server-sent events."""
    whole = Chunk(id=f"chatcmpl-{first.turn_id}", created=int(time.time()), model=body.model, choices=[])

    def chunk(delta: ChunkDelta, turn: Turn | None = None) -> bytes:
        reason, sources = (_reason(turn), turn.sources) if turn else (None, UNSET)
        choice = ChunkChoice(delta=delta, finish_reason=reason)
        return _event(msgspec.structs.replace(whole, choices=[choice], sources=sources))

    async with contextlib.aclosing(rest):
        yield chunk(ChunkDelta(role="assistant", content=""))
        try:
            async for event in rest:
                match event:
                    case Quiet() | Progress():
                        yield b": still here\n\n"
                    case Delta():
                        yield chunk(ChunkDelta(content=event.text))
                    case Turn():
                        yield chunk(ChunkDelta(), event)
                        if body.includes_usage:
                            yield _event(msgspec.structs.replace(whole, usage=_usage(event)))
                        yield b"data: [DONE]\n\n"
                    case Started():
                        pass
        except WordUpError as failure:
            yield _event(error(problem(failure)))


def _event(data: object) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _reason(turn: Turn) -> Literal["stop", "length", "content_filter"]:
    return "stop" if turn.finish_reason == "stopped" else turn.finish_reason


def _usage(turn: Turn) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=turn.input_tokens,
        completion_tokens=turn.output_tokens,
        total_tokens=turn.input_tokens + turn.output_tokens,
        cost_usd=usd(turn.micros),
    )
