"""How well retrieval finds what a labelled set of questions asks for.

The set is TOML, `[[question]]` with `id`, `topic`, `split`, `kind`, `language`, `text` and `answers`: the documents of
which any one is right. Questions without answers are about something else: right is to find nothing.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from wordup.errors import ConfigurationError
from wordup.providers.base import Passage

DEPTH = 10


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    text: str
    answers: list[str]
    topic: str = ""
    split: str = ""
    kind: str = ""
    language: str = "en"


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """`rank` is that of the first right document, 0 where it was not found at all."""

    id: str
    text: str
    answers: list[str]
    found: list[str]
    rank: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the questions that have answers; `declined` of those without; `misses` were not right at once."""

    questions: int
    recall_at_1: float
    recall_at_3: float
    recall_at_10: float
    mrr: float
    off_topic: int
    declined: float
    misses: list[Miss]


class Retriever(Protocol):
    def search(self, query: str, *, limit: int = 3) -> list[Passage]: ...


class _Set(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: list[Labelled]


def load(file: Path, split: str = "") -> list[Labelled]:
    """The questions of one split, or all. Raises ConfigurationError."""
    try:
        found = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _Set).question
    except FileNotFoundError:
        raise ConfigurationError(str(file), f"There is no file {file}.", mend="Name a file of questions.") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(str(file), f"{file}: {error}.") from None
    chosen = [question for question in found if split in ("", question.split)]
    if not chosen:
        raise ConfigurationError(str(file), f"{file} has no question of the split {split!r}.")
    return chosen


def evaluate(knowledge: Retriever, questions: Iterable[Labelled]) -> Report:
    """A document's rank is that of its first passage among the documents found."""
    ranks: list[int] = []
    declined: list[bool] = []
    misses: list[Miss] = []
    for question in questions:
        found = documents(knowledge.search(question.text, limit=DEPTH))
        rank = next((n for n, document in enumerate(found, 1) if document in question.answers), 0)
        right = rank == 1 if question.answers else not found
        if question.answers:
            ranks.append(rank)
        else:
            declined.append(right)
        if not right:
            text, answers = question.text, question.answers
            misses.append(Miss(id=question.id, text=text, answers=answers, found=found[:3], rank=rank))
    return Report(
        questions=len(ranks),
        recall_at_1=_share([rank == 1 for rank in ranks]),
        recall_at_3=_share([0 < rank <= 3 for rank in ranks]),
        recall_at_10=_share([rank > 0 for rank in ranks]),
        mrr=_share([1 / rank if rank else 0 for rank in ranks]),
        off_topic=len(declined),
        declined=_share(declined),
        misses=misses,
    )


def documents(passages: Iterable[Passage]) -> list[str]:
    return list(dict.fromkeys(passage.id.partition("#")[0] for passage in passages))


def _share(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 1.0
