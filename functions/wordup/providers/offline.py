"""The provider without a model, a key or a network: it quotes the built-in knowledge and says so.

Its answers are composed, not generated: the sentences of the passages that share most words with the question. The
same request gives the same answer. Tokens are counted as a quarter of the bytes, rounded up.
"""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise

from wordup.composing import beside, composed, named, tells_limit
from wordup.languages import labels
from wordup.providers.base import CompletionRequest, Delta, Finish, FinishReason, Passage
from wordup.questions import (
    Intent,
    Question,
    asked_of_text,
    asks_title,
    brings_its_text,
    in_context,
    parse,
    stem,
    with_names,
    words,
)

BYTES_PER_TOKEN = 4
# About a line's worth: small enough that a reader sees the answer grow.
DELTA_CHARACTERS = 48
PIECES = 4  # of one passage
SENTENCES = 6  # of a text to summarise
# A piece is quoted when it holds this share of what the best piece holds of the question.
QUOTED_SHARE = 0.5
# How near to the best passage's score another must be to be told in its place. Figures, and what a thing is, stand in
# entries; steps stand in articles.
NEAR = 0.9
NEAR_ENTRY = 0.4
NEAR_STEPS = 0.75
NEAR_ENTRY_AGAIN = 0.7
# So near must a section be whose title asks at least so much of what is asked, where an entry leads, or who
# compares looks on; where another section tells the steps, as near as anything.
NEAR_TITLE, TITLE = 0.6, 0.5

_NEAR: dict[Intent, float] = {"limit": NEAR_ENTRY, "price": NEAR_ENTRY, "concept": NEAR_ENTRY, "howto": NEAR_STEPS}

_BADGE = "*I am running offline, without a language model.*"
_FIELDS = (
    "compute, serverless functions, containers, object storage, NoSQL and relational databases, queues and messaging,"
    " identity, secrets, networking, observability, cost control and infrastructure as code on AWS, Google Cloud and"
    " Azure"
)
_GREETING = f"{_BADGE} Hello! Ask me about {_FIELDS}; I answer by quoting my built-in knowledge."
_ABLE = (
    f"I can answer questions about {_FIELDS}: for example,"
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

_ASKED_CODE = frozenset(
    {"code", "script", "snippet", "example", "sample", "write", "python", "beispiel", "exemple", "ejemplo"}
)


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
    said, earlier = (asked[-1], asked[:-1]) if asked else ("", [])
    if brings_its_text(said):
        return _summarised(said)
    if _MEMORY.search(said):
        return _recalled(said, earlier)
    if request.passages:
        return _told(said, in_context(said, earlier[-1] if earlier else ""), request.passages)
    return _nothing(said) if words(said) else _GREETING


def _summarised(said: str) -> str:
    """The sentences of a text that hold most of the words that it repeats, in their order."""
    asked, text = asked_of_text(said)
    pieces = [piece for piece in _pieces(text) if not piece.startswith((_FENCE, "#"))]
    held = [set(words(piece)) for piece in pieces]
    times = Counter(word for found in held for word in found)
    weights = [sum(times[word] - 1 for word in found) / math.sqrt(len(found) or 1) for found in held]
    chosen = sorted(sorted(range(len(pieces)), key=lambda n: -weights[n])[:SENTENCES])
    label = labels(parse(asked).language)
    return f"*{label['offline']}* {label['summary']}\n\n" + "\n".join(
        f"- {pieces[n].removeprefix('- ')}" for n in chosen
    )


def _nothing(said: str) -> str:
    label = labels(parse(said).language)
    return f"*{label['offline']}* {label['nothing']} {_ABLE}"


def _told(said: str, query: str, passages: list[Passage]) -> str:
    """What the best passage says to the question; the others are named."""
    question = _understood(query, passages)
    label = labels(question.language)
    first = _first(question, passages)
    best = passages[first]
    if best.service is None:
        body = _quoted(said, question, best, first + 1)
    else:
        body = composed(best.service, question, f"[{first + 1}]")
    parts = [f"*{label['offline']}* {label['quoted']}", body, *_beside(question, passages, first)]
    also = [f"[{n}] {_linked(passage)}" for n, passage in enumerate(passages, 1) if n != first + 1]
    return "\n\n".join([*parts, f"{label['also']}: {', '.join(also)}"] if also else parts)


def _understood(query: str, passages: list[Passage]) -> Question:
    question = parse(query)
    entries = [passage.service for passage in passages if passage.service is not None]
    return with_names(question, [(offer.name, cloud) for each in entries for cloud, offer in named(each, question)])


def _beside(question: Question, passages: list[Passage], first: int) -> Iterator[str]:
    """Entries that a comparison or translation names besides: SNS has another entry than SQS, and what one cloud sells
    under one name has several counterparts."""
    if question.intent not in ("comparison", "equivalence"):
        return
    best = passages[first].service
    told = {offer.name for _, offer in named(best, question)} if best else set[str]()
    for n, passage in enumerate(passages):
        if n != first and passage.service is not None:
            others = {offer.name for _, offer in named(passage.service, question)}
            again = question.intent == "equivalence" and passage.score >= NEAR_ENTRY_AGAIN * passages[first].score
            if others - told or (others and again):
                yield beside(passage.service, question, f"[{n + 1}]")
                told |= others


def _first(question: Question, passages: list[Passage]) -> int:
    """Who asks how or which wants steps, code and reasons, which articles have; names and figures stand in entries."""
    least = _NEAR.get(question.intent, NEAR) * passages[0].score
    near = [n for n, passage in enumerate(passages) if passage.score >= least]
    if question.intent in ("howto", "comparison") or (question.choice and question.open):
        articles = [n for n in near if passages[n].service is None]
        code = [n for n in articles if passages[n].score >= NEAR * passages[0].score and _FENCE in passages[n].text]
        told = question.intent == "howto" and passages[0].service is None
        least = (NEAR if told else NEAR_TITLE) * passages[0].score
        titles = [n for n, each in enumerate(passages) if each.score >= least and _is_asked(each, question)]
        wanted = code if code and not _ASKED_CODE.isdisjoint(question.tokens) else titles or articles
    else:
        entries = [(n, each) for n in near if (each := passages[n].service) and question.intent != "any"]
        limit = question.intent == "limit"
        wanted = [n for n, each in entries if not limit or tells_limit(each, question)]
    return wanted[0] if wanted else 0


def _is_asked(passage: Passage, question: Question) -> bool:
    return passage.service is None and asks_title(question, passage.id.partition("#")[2]) >= TITLE


def _linked(passage: Passage) -> str:
    return f"[{passage.title}]({passage.url})" if passage.url else passage.title


def _recalled(question: str, earlier: list[str]) -> str:
    if not earlier:
        return f"{_BADGE} This is your first question in this conversation, as far as I still see it."
    if re.search(r"\b(first|begin|began|start|started)\b", question, re.IGNORECASE):
        return f"{_BADGE} Your first question, as far back as I still see, was: “{earlier[0]}”"
    if re.search(r"\b(questions|everything|all|list)\b", question, re.IGNORECASE):
        return f"{_BADGE} You asked:\n\n" + "\n".join(f"{number}. {said}" for number, said in enumerate(earlier, 1))
    return f"{_BADGE} Before this you asked: “{earlier[-1]}”"


def _quoted(said: str, question: Question, passage: Passage, number: int) -> str:
    """A section of an article: of one that is asked for a fact the pieces that hold most of the question."""
    pieces = list(_pieces(passage.text))
    if not _CODE.search(said) and question.intent != "howto":
        pieces = [piece for piece in pieces if not piece.startswith(_FENCE)] or pieces
    if question.intent not in ("limit", "price", "concept"):
        return _section(passage, pieces, number)
    scores = _scores(question, pieces)
    floor = max(scores, default=0) * QUOTED_SHARE
    ranked = sorted(range(len(pieces)), key=lambda n: -scores[n])
    chosen = {n for n in ranked[:PIECES] if scores[n] >= floor}
    # What a sentence begins often goes on in the next.
    following = range(ranked[0], min(ranked[0] + PIECES - len(chosen), len(ranked)))
    chosen |= {n for n in following if not _APART.match(pieces[n])}
    return _section(passage, [pieces[n] for n in sorted(chosen)], number)


def _section(passage: Passage, pieces: list[str], number: int) -> str:
    url = f"\n\n<{passage.url}>" if passage.url else ""
    return f"**{passage.title}** [{number}]\n\n{_joined(pieces)}{url}"


def _scores(question: Question, pieces: list[str]) -> list[float]:
    """How much of the question each piece holds: its words, the rarer among the pieces the weightier."""
    wanted = {stem(word) for word in (*question.weights, *question.synonyms)}
    held = [wanted & {stem(word) for word in words(piece)} for piece in pieces]
    count = Counter(word for found in held for word in found)
    return [sum(math.log(1 + len(pieces) / count[word]) for word in found) for found in held]


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


def _within(text: str, max_tokens: int) -> tuple[str, FinishReason]:
    room = max_tokens * BYTES_PER_TOKEN
    if len(text.encode()) <= room:
        return text, "stop"
    return text.encode()[:room].decode(errors="ignore"), "length"


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
