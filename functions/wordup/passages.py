"""The knowledge index as it is read: words, names, passages. See `index` for what is in it, `retrieval` for what is
found by it."""

import functools
import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from wordup.errors import ConfigurationError
from wordup.providers.base import Passage
from wordup.services import Cloud, Service, described
from wordup.spelling import cuts

# The weights of names, title, keywords and text: a word in a heading says more than one in the text.
_RANKED = "SELECT rowid, -bm25(passages, 2.25, 2.5, 1.6, 1.0) FROM passages WHERE passages MATCH ?"
_NEAR = "SELECT DISTINCT word FROM typo WHERE cut IN (SELECT value FROM json_each(?))"
_NAMES = "SELECT key, service, cloud, weight FROM name WHERE key IN (SELECT value FROM json_each(?))"
_ABOUT = "SELECT document, cloud, anchor FROM passage WHERE rowid = ?"
_ROWS_OF = "SELECT rowid FROM passage WHERE document = ?"
_CITED = "SELECT rowid FROM passage WHERE document = ? AND anchor = ?"
_SUBJECT = "SELECT rowid FROM passages WHERE passages MATCH '{names title keywords} : ' || ?"
# What a model gets of one passage is bounded in `prompts`.
PASSAGE_CHARACTERS = 1_800
# How much of an index stays at hand: words with the passages that hold them, passages' places and texts, names.
TERMS, PLACES, QUOTED, NAMES = 2_048, 16_384, 1_024, 8_192


class Term(msgspec.Struct, frozen=True):
    """A word of the index: the passages that hold it with their BM25 scores, how rare it is, and those passages that
    have it in a title, a name or a keyword."""

    rows: list[tuple[int, float]]
    rarity: float
    titled: frozenset[int]


class Index:
    """An index file, opened without a lock or a journal, so also where nothing can be written. It never changes, so
    what was once read of it is kept at hand. Raises ConfigurationError for a file that is none."""

    def __init__(self, file: Path) -> None:
        try:
            connection = sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False)
            connection.execute("SELECT rowid FROM passages WHERE passages MATCH 'a'").fetchone()
        except sqlite3.Error as error:
            raise ConfigurationError(
                "the knowledge index",
                f"{file} cannot be read: {error}.",
                mend="Build it anew with `wordup knowledge build`; its reader needs an SQLite with FTS5.",
            ) from error
        self._connection = connection
        (size,) = connection.execute("SELECT value FROM meta WHERE key = 'passages'").fetchone()
        self._size = int(size)
        self.term = functools.lru_cache(TERMS)(self._term)
        self.about = functools.lru_cache(PLACES)(self._about)
        self.passage = functools.lru_cache(QUOTED)(self._passage)
        self.near = functools.lru_cache(TERMS)(self._near)
        self.rows_of = functools.lru_cache(TERMS)(self._rows_of)
        self._service = functools.lru_cache(QUOTED)(self._entry)
        self._named: dict[str, list[tuple[str, str, float]]] = {}

    def _term(self, word: str) -> Term:
        rows = self._connection.execute(_RANKED, (_quoted(word),)).fetchall()
        rarity = math.log(1 + (self._size - len(rows) + 0.5) / (len(rows) + 0.5))
        titled = self._connection.execute(_SUBJECT, (_quoted(word),)).fetchall() if rows else []
        return Term(rows, rarity, frozenset(row for (row,) in titled))

    def close(self) -> None:
        self._connection.close()

    def _near(self, written: str) -> list[str]:
        """The names, and words of names, that may have been meant (see `spelling`)."""
        return [word for (word,) in self._connection.execute(_NEAR, (_json(sorted(cuts(written))),))]

    def cited(self, document: str, anchor: str) -> int | None:
        row = self._connection.execute(_CITED, (document, anchor)).fetchone()
        return row[0] if row else None

    def named(self, keys: set[str]) -> Mapping[str, list[tuple[str, str, float]]]:
        """Which entries and clouds the keys are names of, by what weight; an empty list for what is no name."""
        if len(self._named) > NAMES:
            self._named.clear()
        if unknown := sorted(key for key in keys if key not in self._named):
            self._named |= {key: [] for key in unknown}
            for key, *name in self._connection.execute(_NAMES, (_json(unknown),)):
                self._named[key].append(tuple(name))
        return self._named

    def _rows_of(self, document: str) -> list[int]:
        return [row for (row,) in self._connection.execute(_ROWS_OF, (document,))]

    def _about(self, row: int) -> tuple[str, str, str, str]:
        """A passage's document, the entry that it is, its cloud and its anchor."""
        document, cloud, anchor = self._connection.execute(_ABOUT, (row,)).fetchone()
        kind, _, name = document.partition(":")
        return document, name if kind == "service" else "", cloud, anchor

    def _passage(self, row: int, clouds: frozenset[Cloud] = frozenset()) -> Passage:
        """As an answer about `clouds` quotes it."""
        query = "SELECT document, anchor, title, text, url FROM passage WHERE rowid = ?"
        document, anchor, title, text, url = self._connection.execute(query, (row,)).fetchone()
        service = None
        if document.startswith("service:"):
            service = self._service(document.partition(":")[2])
            text = described(service, clouds, PASSAGE_CHARACTERS)
            title = service.concept
        passage_id = f"{document}#{anchor}" if anchor else document
        return Passage(id=passage_id, title=title, text=text, url=url, service=service)

    def _entry(self, service_id: str) -> Service:
        (entry,) = self._connection.execute("SELECT entry FROM service WHERE id = ?", (service_id,)).fetchone()
        return msgspec.json.decode(entry, type=Service)


def _quoted(word: str) -> str:
    """A word as an FTS5 string, in which no character is an operator."""
    return '"' + word.replace('"', '""') + '"'


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
