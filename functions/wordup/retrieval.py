"""Retrieval: which passages of the knowledge index answer a question.

A question's words are looked up by BM25, those of other languages by their English ones. The service table then says
which of them are names, however they are spelled, and what the named things are: passages about the same concept on
the clouds asked for count more, so that "the Azure counterpart of SQS" finds Service Bus.
"""

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from wordup.errors import ConfigurationError
from wordup.languages import ENGLISH, lexicons
from wordup.passages import Index, Term
from wordup.providers.base import Passage
from wordup.questions import Question, asks_title, brings_its_text, in_context, parse, stem, with_names
from wordup.services import CLOUDS, Cloud
from wordup.spelling import distance, typos

if TYPE_CHECKING:
    from wordup.vectors import Meaning

# In the package the index lies beside the application; in a checkout it is built from the folder in the root.
PACKAGED = Path(__file__).parents[1] / "knowledge.db"
CHECKOUT = Path(__file__).parents[2]
# In the data folder: what ships together with the operator's documents, as `wordup knowledge build` writes it.
LIBRARY = "knowledge.db"
# How much of a question a passage must hold, as the share of its words weighted by their rarity; less is enough with
# a word that some passage has in its title, and still less where the question names something of the service table. A
# word that no passage holds counts as the rarest, so that a question about something else finds nothing.
FLOOR = 0.5
SUBJECT_FLOOR = 0.35
SHORT = 3
NAMED_FLOOR, NAMED_ANY_FLOOR = 0.15, 0.25
# Who asks so much about a product wants more than its name to be known, most of all who wants a figure.
LONG = 8
LONG_FLOOR, LONG_FIGURE_FLOOR = 0.42, 0.5
# What a word of another language that nothing knows counts beside one that a passage holds, with the name of something
# and without; and how much of a long question with such words is enough.
UNKNOWN, UNKNOWN_ALONE = 0.4, 0.5
UNKNOWN_FLOOR = 0.3
# A figure of something else is worse than none.
FIGURE_FLOOR = 0.45
# How much of a title a question must hold that is not about what else it tells.
TITLE_FLOOR = 0.9
# For a passage about one cloud, when the question names one.
SAME_CLOUD, OTHER_CLOUD = 1.3, 0.5
# What the name of a thing adds to the passages of its entry, by BM25's measure, and to those of other documents that
# have the name in their title.
NAMED = 6.0
# What the table's entries are worth to a kind of question, beside articles: their few words make every one weigh more.
TABLE_INTENTS = {"equivalence": 1.9, "comparison": 1.3, "limit": 1.0, "price": 0.8}
TABLE = 0.55
# Longer text than this is no question; its most frequent words tell what it is about.
QUERY_TERMS = 24
# What a document's second passage is worth beside its first.
ANOTHER = 0.75
# What each of its next three adds to the first: a document that speaks of it throughout is about it.
OTHERS = 0.05
# What a word counts that was read as a name's.
GUESSED = 0.6
# How much it counts that a passage holds all of the question, not one word of it often: the exponent of the share.
HELD = 0.6
# Sections whose titles ask what the question asks ("How do I let another account read?") count this much more.
ANSWERS = {"howto": ("how-", "what-do-i-do"), "comparison": ("which-",)}
ANSWERING = 1.25
# What it adds that a question holds all of a section's title, for questions that such titles ask.
TITLED = 1.0
ASKED_BY_TITLES = frozenset({"howto", "comparison", "any"})
_LONGEST_NAME = 6
_BY_SCORE = itemgetter(1, 2)
MOST_CANDIDATES = 60
# How many questions stay at hand with what answers them: many people ask the same few.
FOUND = 256
# What was found, and what finding it cost in micro-dollars.
Retrieved = tuple[list[Passage], int]


class Asked(Protocol):
    """A turn of the conversation, as far as retrieval looks at it."""

    @property
    def question(self) -> str: ...


def contextual_query(message: str, past: Sequence[Asked]) -> str:
    """What to search for: a follow-up with the words of the last question of `past` (oldest first)."""
    return in_context(message, past[-1].question if past else "")


class _Name(msgspec.Struct, frozen=True):
    """A name that a question holds, from its word `at`: an entry of the service table, its cloud ("" for the concept)
    and a weight."""

    service: str
    cloud: str
    weight: float
    at: int


class Knowledge:
    """The index of the knowledge that ships, or of a folder of the operator's. Reads nothing before the first search.
    Raises ConfigurationError when there is no such folder."""

    def __init__(self, folder: str = "", data_dir: str = "data") -> None:
        self.locate = _located(folder, data_dir)
        self._lock = threading.Lock()
        self._index: Index | None = None
        self._found = functools.lru_cache(FOUND)(self._find)

    def search(self, query: str, *, limit: int = 3, meaning: "Meaning | None" = None) -> list[Passage]:
        """The passages that answer the query, the best first; none when it is about something else, or when it brings
        the text that it asks about. With the query's `meaning`, they are found by that, too."""
        if brings_its_text(query):
            return []
        with self._lock:
            return list(self._found(query, limit) if meaning is None else self._find(query, limit, meaning))

    def passage(self, passage_id: str) -> Passage | None:
        """The passage that an answer cites; None where the index has it no longer."""
        document, _, anchor = passage_id.partition("#")
        with self._lock:
            index = self._opened()
            row = index.cited(document, anchor)
            return None if row is None else index.passage(row)

    def close(self) -> None:
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None
                self._found.cache_clear()

    def _find(self, query: str, limit: int, meaning: "Meaning | None" = None) -> list[Passage]:
        return _Search(self._opened(), parse(query)).best(limit, meaning)

    def _opened(self) -> Index:
        if self._index is None:
            self._index = Index(self.locate())
        return self._index


def _located(folder: str, data_dir: str) -> Callable[[], Path]:
    if folder:
        if not Path(folder).is_dir():
            raise ConfigurationError(
                "WORDUP_KNOWLEDGE_DIR", f"There is no folder {folder}.", mend="Name a folder of Markdown files."
            )
        return lambda: _current(Path(folder), Path(data_dir))
    if (library := Path(data_dir) / LIBRARY).exists():
        return lambda: library
    if PACKAGED.exists():
        return lambda: PACKAGED
    return lambda: _current(CHECKOUT / "knowledge", CHECKOUT / "build")


def _current(folder: Path, beside: Path) -> Path:
    from wordup import index  # a function, which has its index, never builds one

    return index.current(folder, beside)


class _Search:
    """One question over the index."""

    def __init__(self, index: Index, question: Question) -> None:
        self._index = index
        self._question = question
        self._scores = defaultdict[int, float](float)
        self._shares = defaultdict[int, float](float)
        self._whole = 0.0
        self._unknown = 0.0
        self._subject = False

    def best(self, limit: int, meaning: "Meaning | None") -> list[Passage]:
        question = self._question
        words = list(question.weights.items())[:QUERY_TERMS]
        tokens = list(question.tokens)
        for word, weight in words:
            term = self._index.term(word)
            if not term.rows and (near := self._corrected(word, tokens)):
                tokens.append(near)
                term = self._index.term(near)
                weight *= GUESSED
            known = bool(term.rows) or question.language == ENGLISH
            self._add(term, weight, asked=known)
            self._unknown += 0.0 if known else term.rarity
            self._subject |= bool(term.titled)
        for word, weight in question.synonyms.items():
            self._add(self._index.term(word), weight, asked=False)
        names = list(self._names(tokens))
        products = [(str(name.at), name.cloud) for name in names if name.weight >= 1 and name.cloud in CLOUDS]
        self._question = with_names(question, products)
        clouds = self._clouds(names)
        ranked = self._ranked(names, clouds)
        if meaning is not None:
            ranked = meaning.fused(ranked, self._index.cited)
        return [self._index.passage(row, clouds).scored(-score) for _, score, row in _mixed(ranked, limit)]

    def _add(self, term: Term, weight: float, *, asked: bool) -> None:
        scores, shares = self._scores, self._shares
        if not asked:
            for row, score in term.rows:
                scores[row] += weight * score
            return
        self._whole += term.rarity
        share = term.rarity * min(weight, 1)
        for row, score in term.rows:
            scores[row] += weight * score
            shares[row] += share

    def _corrected(self, word: str, tokens: list[str]) -> str:
        """The product's name, or word of one, that is nearest to this word or to it and its neighbour together."""
        if not word.isascii() or word not in tokens:  # what another language's word means was not mistyped
            return ""
        at = tokens.index(word)
        best = (len(word), "")
        for written in (word, "".join(tokens[at : at + 2]), "".join(tokens[max(at - 1, 0) : at + 1])):
            names = self._index.near(written) if typos(written) else []
            near = ((distance(written, found), found) for found in names)
            best = min((pair for pair in near if pair[0] <= typos(written)), default=best)
            if best[1]:
                break
        return best[1]

    def _names(self, tokens: list[str]) -> Iterator[_Name]:
        """The longest names first: what is part of one is no other."""
        language = self._question.language
        common = lexicons()[language].stop_words if language != ENGLISH else frozenset[str]()
        spans = {
            (at, width): stem("".join(tokens[at : at + width]))
            for width in range(_LONGEST_NAME, 0, -1)
            for at in range(len(tokens) - width + 1)
            if not common or not common.issuperset(tokens[at : at + width])
        }
        found = self._index.named(set(spans.values()))
        taken: set[int] = set()
        for (at, width), key in spans.items():
            places = range(at, at + width)
            if (names := found[key]) and taken.isdisjoint(places):
                taken.update(places)
                yield from (_Name(service, cloud, weight, at) for service, cloud, weight in names)

    def _ranked(self, names: list[_Name], clouds: frozenset[Cloud]) -> list[tuple[str, float, int]]:
        """Documents, their scores below zero, and the rows, the best first."""
        named: dict[str, float] = {}
        for name in names:
            named[name.service] = max(named.get(name.service, 0.0), name.weight)
        self._unknown *= UNKNOWN if named else UNKNOWN_ALONE
        floor = self._floor(named) * (self._whole + self._unknown)
        if not (named or self._whole) or self._is_too_special():
            return []
        scores, shares, whole = self._scores, self._shares, self._whole
        relevant = sorted([(-scores[row], row) for row, share in shares.items() if share >= floor])
        if not relevant:
            relevant = [(-scores[row], row) for row, share in shares.items() if share > 0 and self._is_title_of(row)]
        candidates = dict.fromkeys([row for _, row in relevant[:MOST_CANDIDATES]])
        sure = [service for service, weight in named.items() if weight >= 1]
        for service in sure:
            candidates |= dict.fromkeys(self._index.rows_of(f"service:{service}"))
        table = TABLE if self._compares_entries(names) else TABLE_INTENTS.get(self._question.intent, TABLE)
        answering = ANSWERS.get(self._question.intent, ("?",))
        asking = self._question.intent in ASKED_BY_TITLES
        worth = {cloud: _of_cloud(cloud, clouds) for cloud in ("", *CLOUDS)}
        best: dict[str, list[tuple[float, int]]] = {}
        for row in candidates:
            document, service, cloud, anchor = self._index.about(row)
            # What holds all of a question is worth more than what says one of its words many times.
            held = (shares.get(row, 0.0) / whole) ** HELD if whole else 1.0
            score = scores.get(row, 0.0) * worth[cloud] * held
            if anchor.startswith(answering):
                score *= ANSWERING
            if asking:
                score *= 1 + TITLED * asks_title(self._question, anchor)
            if service:
                weight = named.get(service, 0.0)
                score = score * (table if weight >= 1 or not sure else TABLE) + NAMED * weight
            if document in best:
                best[document].append((-score, row))
            else:
                best[document] = [(-score, row)]
        falling = [(document, *pair) for document, found in best.items() for pair in _falling(document, sorted(found))]
        falling.sort(key=_BY_SCORE)
        return falling

    def _compares_entries(self, names: list[_Name]) -> bool:
        """Whether the things to compare stand in different entries, so that none of them can tell about both."""
        entries: dict[int, set[str]] = {}
        for name in names:
            entries.setdefault(name.at, set()).add(name.service)
        every = list(entries.values())
        return self._question.intent == "comparison" and not any(
            all(service in found for found in every) for service in {name.service for name in names}
        )

    def _floor(self, named: dict[str, float]) -> float:
        """A product's name makes a question ours, surer when it is clear what is wanted of it; a word that is also used
        elsewhere ("quantum") needs company."""
        if max(named.values(), default=0.0) >= 1:
            return NAMED_ANY_FLOOR if self._question.intent == "any" else NAMED_FLOOR
        if not (named or self._subject) or len(self._question.weights) + len(self._question.synonyms) <= SHORT:
            return FLOOR
        return FIGURE_FLOOR if self._question.intent == "limit" else SUBJECT_FLOOR

    def _is_title_of(self, row: int) -> bool:
        *_, anchor = self._index.about(row)
        return asks_title(self._question, anchor) >= TITLE_FLOOR

    def _is_too_special(self) -> bool:
        """Who compares two things that are known may say why at length."""
        if len(self._question.weights) < LONG or self._question.intent == "comparison":
            return False
        most = max(self._shares.values(), default=0.0)
        floor = LONG_FIGURE_FLOOR if self._question.intent == "limit" else LONG_FLOOR
        return most < max(floor * self._whole, UNKNOWN_FLOOR * (self._whole + self._unknown))

    def _clouds(self, names: list[_Name]) -> frozenset[Cloud]:
        """The clouds that the answer is about: not that of the product whose counterpart is asked for."""
        asked = self._question.clouds
        named = {name.cloud for name in names}
        own = frozenset[Cloud](cloud for cloud in CLOUDS if cloud in named)
        if self._question.intent == "equivalence":
            return asked - own if len(asked) > 1 else asked
        return asked or own


def _of_cloud(cloud: str, clouds: frozenset[Cloud]) -> float:
    """What a passage's score is worth for an answer about `clouds`. BM25 cannot tell: most passages hold the clouds'
    names, which makes them worthless to it."""
    if not clouds or not cloud:
        return 1.0
    return SAME_CLOUD if cloud in clouds else OTHER_CLOUD


def _falling(document: str, found: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """A document's later passages count less, so that other documents are heard; an entry's rows are one passage."""
    if len(found) == 1 or document.startswith("service:"):
        return found[:1]
    first, row = found[0]
    best = first + OTHERS * sum([score for score, _ in found[1:4]])
    return [(best, row), *[(score * ANOTHER**n, row) for n, (score, row) in enumerate(found[1:], 1)]]


def _mixed(ranked: list[tuple[str, float, int]], limit: int) -> list[tuple[str, float, int]]:
    """The best, of which the last makes room where all are entries, or all articles: each knows what the other does
    not."""
    best, rest = ranked[:limit], ranked[limit:]
    kinds = {document.partition(":")[0] for document, _, _ in best}
    if limit > 2 and len(kinds) == 1:
        best[-1:] = next(([each] for each in rest if not each[0].startswith((*kinds,))), best[-1:])
    return best
