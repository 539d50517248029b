"""The provider without a model, a key or a network: it quotes the built-in knowledge and says so.

Its answers are composed, not generated: the sentences of the passages that share most words with the question. The
same request gives the same answer. Tokens are counted as a quarter of the bytes, rounded up.
"""

import re
from collections.abc import AsyncGenerator, Iterator

from wordup.providers.base import CompletionRequest, Delta, Finish, FinishReason, Passage
from wordup.terms import in_context, terms

BYTES_PER_TOKEN = 4
# About a line's worth: small enough that a reader sees the answer grow.
DELTA_CHARACTERS = 48
SENTENCES = (6, 3)  # from the best passage, and from each of the others
# A passage that is this much weaker than the best one is not quoted.
QUOTED_SHARE = 0.5

_BADGE = "*I am running offline, without a language model.*"
_FIELDS = (
    "compute, serverless functions, containers, object storage, NoSQL and relational databases, queues and messaging,"
    " identity, secrets, networking, observability, cost control and infrastructure as code on AWS, Google Cloud and"
    " Azure"
)
_GREETING = f"{_BADGE} Hello! Ask me about {_FIELDS}; I answer by quoting my built-in knowledge."
_NOTHING = (
    f"{_BADGE} My built-in knowledge has nothing about this. I can answer questions about {_FIELDS}: for example,"
    ' "How long can a Lambda function run?" or "What is the Azure counterpart of SQS?" With a provider\'s key I answer'
    " with a language model instead."
)
_MEMORY = re.compile(
    r"\b(did i (just )?(ask|say)|i (just )?(asked|said)|have i asked"
    r"|my (very )?(first|last|previous|earlier) (question|message)s?)\b",
    re.IGNORECASE,
)
_FENCE = "```"


class OfflineProvider:
    """Needs nothing."""

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Delta | Finish]:
        text, reason = _within(_answer(request), request.max_tokens)
        for start in range(0, len(text), DELTA_CHARACTERS):
            yield Delta(text[start : start + DELTA_CHARACTERS])
        said = "".join(message.content for message in request.messages)
        yield Finish(finish_reason=reason, input_tokens=_tokens(said), output_tokens=_tokens(text))

    async def close(self) -> None:
        pass


def _answer(request: CompletionRequest) -> str:
    asked = [message.content for message in request.messages if message.role == "user"]
    question, earlier = (asked[-1], asked[:-1]) if asked else ("", [])
    if _MEMORY.search(question):
        return _recalled(question, earlier)
    if request.passages:
        return _quoted(in_context(question, earlier[-1] if earlier else ""), request.passages)
    return _NOTHING if terms(question) else _GREETING


def _recalled(question: str, earlier: list[str]) -> str:
    if not earlier:
        return f"{_BADGE} This is your first question in this conversation, as far as I still see it."
    if re.search(r"\b(first|begin|began|start|started)\b", question, re.IGNORECASE):
        return f"{_BADGE} Your first question, as far back as I still see, was: “{earlier[0]}”"
    if re.search(r"\b(questions|everything|all|list)\b", question, re.IGNORECASE):
        return f"{_BADGE} You asked:\n\n" + "\n".join(f"{number}. {said}" for number, said in enumerate(earlier, 1))
    return f"{_BADGE} Before this you asked: “{earlier[-1]}”"


def _quoted(query: str, passages: list[Passage]) -> str:
    parts = [f"{_BADGE} This is quoted from my built-in knowledge:"]
    for number, passage in enumerate(passages, 1):
        if number > 1 and passage.score < QUOTED_SHARE * passages[0].score:
            continue
        quote = "\n".join(_best_lines(passage.text, terms(query), SENTENCES[min(number, len(SENTENCES)) - 1]))
        source = f"\n\n<{passage.url}>" if passage.url else ""
        parts.append(f"**{passage.title}** [{number}]\n\n{quote}{source}")
    return "\n\n".join(parts)


def _best_lines(text: str, words: list[str], count: int) -> list[str]:
    """The pieces of a passage that share most words with the question, in the passage's order."""
    wanted = {_stem(word) for word in words}
    pieces = list(_pieces(text))
    scores = [len(wanted & {_stem(word) for word in terms(piece)}) for piece in pieces]
    # Stable: of equals, the earlier piece; the first one says what the passage is about.
    best = sorted(range(len(pieces)), key=lambda n: -scores[n])[:count]
    return [pieces[n] for n in sorted(best)]


def _pieces(text: str) -> Iterator[str]:
    """Sentences, list items, whole tables and whole code blocks."""
    for block in _blocks(text):
        if block.startswith((_FENCE, "|")):
            yield f"\n{block}\n"
        elif re.match(r"\s*([-*]|\d+\.)\s", block):
            yield from re.split(r"\n(?=\s*(?:[-*]|\d+\.)\s)", block)
        else:
            yield from re.split(r"(?<=[.!?])\s+(?=[A-Z0-9`*\"])", " ".join(block.split()))


def _blocks(text: str) -> Iterator[str]:
    """The text cut at empty lines, but not inside a code block."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith(_FENCE)
        if line.strip() or fenced:
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _stem(word: str) -> str:
    """Enough to bring singular and plural together."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _within(text: str, max_tokens: int) -> tuple[str, FinishReason]:
    room = max_tokens * BYTES_PER_TOKEN
    if len(text.encode()) <= room:
        return text, "stop"
    return text.encode()[:room].decode(errors="ignore"), "length"


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
