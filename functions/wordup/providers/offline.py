"""The provider without a model, a key or a network: it quotes the built-in knowledge and says so.

Its answers are composed, not generated: the sentences of the passages that share most words with the question. The
same request gives the same answer. Tokens are counted as a quarter of the bytes, rounded up.
"""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise

from wordup.providers.base import CompletionRequest, Delta, Finish, FinishReason, Passage
from wordup.questions import in_context, words

BYTES_PER_TOKEN = 4
# About a line's worth: small enough that a reader sees the answer grow.
DELTA_CHARACTERS = 48
PIECES = 4  # of one passage
# A piece is quoted when it holds this share of what the best piece holds of the question.
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
_ITEM = re.compile(r"\s*([-*]|\d+\.)\s")
_APART = re.compile(rf"{_FENCE}|{_ITEM.pattern}")
# Code answers only who asks for it.
_CODE = re.compile(r"\b(code|script|snippet|command|cli|example|write|python|how (do|can|would|to))\b", re.IGNORECASE)


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
        return _quoted(question, in_context(question, earlier[-1] if earlier else ""), request.passages)
    return _NOTHING if words(question) else _GREETING


def _recalled(question: str, earlier: list[str]) -> str:
    if not earlier:
        return f"{_BADGE} This is your first question in this conversation, as far as I still see it."
    if re.search(r"\b(first|begin|began|start|started)\b", question, re.IGNORECASE):
        return f"{_BADGE} Your first question, as far back as I still see, was: “{earlier[0]}”"
    if re.search(r"\b(questions|everything|all|list)\b", question, re.IGNORECASE):
        return f"{_BADGE} You asked:\n\n" + "\n".join(f"{number}. {said}" for number, said in enumerate(earlier, 1))
    return f"{_BADGE} Before this you asked: “{earlier[-1]}”"


def _quoted(question: str, query: str, passages: list[Passage]) -> str:
    """The pieces of the passages that hold most of the query, those of the passage with the best one first."""
    pieces = [list(_pieces(passage.text)) for passage in passages]
    if not _CODE.search(question):
        pieces = [[piece for piece in whole if not piece.startswith(_FENCE)] or whole for whole in pieces]
    # The titles are scored as one more row of pieces, so that among passages with like pieces the subject decides.
    *scores, of_titles = _scores(query, [*pieces, [passage.title for passage in passages]])
    floor = max((score for of_passage in scores for score in of_passage), default=0) * QUOTED_SHARE
    parts: list[str] = []
    for n in sorted(range(len(passages)), key=lambda n: -max(scores[n], default=0) - of_titles[n]):
        ranked = sorted(range(len(pieces[n])), key=lambda m: -scores[n][m])
        chosen = {m for m in ranked[:PIECES] if scores[n][m] >= floor}
        if chosen and not parts:  # what a sentence begins often goes on in the next
            following = range(ranked[0], min(ranked[0] + PIECES - len(chosen), len(ranked)))
            chosen |= {m for m in following if not _APART.match(pieces[n][m])}
        quote = [pieces[n][m] for m in sorted(chosen)]
        if quote:
            url = f"\n\n<{passages[n].url}>" if passages[n].url else ""
            parts.append(f"**{passages[n].title}** [{n + 1}]\n\n{_joined(quote)}{url}")
    return "\n\n".join([f"{_BADGE} This is quoted from my built-in knowledge:", *parts])


def _scores(query: str, pieces: list[list[str]]) -> list[list[float]]:
    """How much of the query each piece holds: its words, the rarer among the pieces the weightier."""
    wanted = {_stem(word) for word in words(query)}
    held = [[wanted & {_stem(word) for word in words(piece)} for piece in of_passage] for of_passage in pieces]
    count = Counter(word for of_passage in held for words in of_passage for word in words)
    total = sum(map(len, pieces))
    return [[sum(math.log(1 + total / count[word]) for word in words) for words in of_passage] for of_passage in held]


def _joined(pieces: list[str]) -> str:
    """Sentences run on; list items and code blocks stand apart."""
    text = pieces[0]
    for before, piece in pairwise(pieces):
        if piece.startswith(_FENCE) or before.startswith(_FENCE):
            text += "\n\n" + piece
        else:
            text += ("\n" if _ITEM.match(piece) or _ITEM.match(before) else " ") + piece
    return text


def _pieces(text: str) -> Iterator[str]:
    """Sentences, list items, table rows and whole code blocks."""
    for block in _blocks(text):
        if block.startswith(_FENCE):
            yield block
        elif block.startswith("|"):
            yield from _rows(block)
        elif _ITEM.match(block):
            yield from re.split(r"\n(?=\s*(?:[-*]|\d+\.)\s)", block)
        else:
            yield from re.split(r"(?<=[.!?])\s+(?=[A-Z0-9`*\"])", " ".join(block.split()))


def _rows(table: str) -> Iterator[str]:
    """The rows of a Markdown table as list items that name their columns."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
    header = rows[0]
    for first, *others in rows[2:]:
        yield f"- {first}: " + "; ".join(f"{name}: {cell}" for name, cell in zip(header[1:], others, strict=False))


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
