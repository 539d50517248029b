"""Passages by their meaning: vectors of an embedding model beside the index, and the nearest of them to a question's.

`vectors.db` lies beside the index, or in the data folder. The nearest are found without a compiled library: the signs
of a vector's numbers are one integer, of which the fewer bits differ from the question's the nearer the two are; the
best of those are compared by the cosine, of one byte a number (docs/adr/0009-nearest-by-signs-then-bytes.md).

| table | holds |
|---|---|
| `vector` | a passage's `document#anchor`, the digest of its text, its numbers as `bytes` plus 128, their `scale` |
| `signs` | by the same rowid, one bit a number |
| `meta` | `model`, `dimension`; when no passage is missing `floor`, and `index`, the digest of that index |
"""

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from heapq import nlargest, nsmallest
from pathlib import Path

import msgspec

from wordup.errors import ConfigurationError

FILE = "vectors.db"
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vector (
    rowid INTEGER PRIMARY KEY, id TEXT UNIQUE, digest BLOB, bytes BLOB, scale REAL
);
CREATE TABLE IF NOT EXISTS signs (rowid INTEGER PRIMARY KEY, signs BLOB);
"""
_COMPARED = "SELECT id, bytes, scale FROM vector WHERE rowid IN (SELECT value FROM json_each(?))"
# How many are compared by the cosine: of the ten nearest, 99 in 100 are among them, by MiniLM's 384 signs.
COMPARED = 200
ZERO = 128
# Of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): how much more a first place counts than the next, and
# what a place by meaning counts beside one by words. So many places by meaning. Chosen on the questions to tune by.
RANK, BY_MEANING = 3, 0.5
NEAREST = 20

Ranked = list[tuple[str, float, int]]


class Near(msgspec.Struct, frozen=True):
    """A passage's id, and the cosine of its vector with the question's."""

    passage: str
    cosine: float


class Vectors:
    """The vectors of a model, all of one `dimension`. `floor` is the cosine above which a passage that shares no word
    with a question answers it; `index` is the digest of the index that they were made of."""

    def __init__(self, file: sqlite3.Connection, meta: dict[str, str]) -> None:
        self._file = file
        self.dimension = int(meta["dimension"])
        self.floor = float(meta["floor"])
        self.index = meta["index"]
        rows = file.execute("SELECT rowid, signs FROM signs").fetchall()
        self._rows = [row for row, _ in rows]
        self._signs = [int.from_bytes(signs) for _, signs in rows]

    @classmethod
    def open(cls, file: Path, model: str) -> "Vectors":
        """Raises ConfigurationError where there are none of that model, or not of every passage."""
        opened: sqlite3.Connection | None = None
        try:
            address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
            opened = sqlite3.connect(address, uri=True, check_same_thread=False)
            meta = dict(opened.execute("SELECT key, value FROM meta"))
            if meta.get("model") == model and "floor" in meta:
                return cls(opened, meta)
        except sqlite3.Error as error:
            if opened is not None:
                opened.close()
            raise missing(model) from error
        opened.close()
        raise missing(model)

    def nearest(self, vector: Sequence[float], limit: int) -> list[Near]:
        """The best first. The vector has `dimension` numbers."""
        asked = int.from_bytes(signs_of(vector))
        apart = [(asked ^ signs).bit_count() for signs in self._signs]
        rows = [self._rows[n] for n in nsmallest(COMPARED, range(len(apart)), key=apart.__getitem__)]
        length, shift = math.hypot(*vector), ZERO * math.fsum(vector)
        compared = self._file.execute(_COMPARED, (msgspec.json.encode(rows).decode(),))
        near = ((math.sumprod(values, vector) - shift, scale, passage) for passage, values, scale in compared)
        cosines = ((product * scale / length, passage) for product, scale, passage in near)
        return [Near(passage, cosine) for cosine, passage in nlargest(limit, cosines)]

    def close(self) -> None:
        self._file.close()


class Meaning:
    """What a question is near to."""

    def __init__(self, vectors: Vectors, vector: Sequence[float]) -> None:
        self._vectors = vectors
        self._vector = vector

    def fused(self, ranked: Ranked, cited: Callable[[str, str], int | None]) -> Ranked:
        """What the words found (document, score below zero, row; the best first) with what is near, by reciprocal
        ranks. A document's place by meaning counts for its best passage by words; where no word led to the document,
        for its nearest passage. Where no word led anywhere, only what is above the floor is an answer."""
        near: dict[str, int] = {}
        for each in self._vectors.nearest(self._vector, NEAREST):
            document, _, anchor = each.passage.partition("#")
            if document not in near and (ranked or each.cosine >= self._vectors.floor):
                row = cited(document, anchor)
                if row is not None:  # the index may be newer than its vectors
                    near[document] = row
        places = {document: BY_MEANING / (RANK + place) for place, document in enumerate(near, 1)}
        found = [
            (document, -1 / (RANK + place) - places.pop(document, 0.0), row)
            for place, (document, _, row) in enumerate(ranked, 1)
        ]
        found += ((document, -score, near[document]) for document, score in places.items())
        return sorted(found, key=lambda each: each[1:])


def of(index: Path, model: str) -> Path:
    """The vectors of every passage of an index. Raises ConfigurationError."""
    file = index.with_name(FILE)
    with closing(sqlite3.connect(f"{index.absolute().as_uri()}?immutable=1", uri=True)) as opened:
        (digest,) = opened.execute("SELECT value FROM meta WHERE key = 'digest'").fetchone()
    with closing(Vectors.open(file, model)) as vectors:
        if vectors.index != digest:
            raise missing(model)
    return file


def missing(model: str) -> ConfigurationError:
    return ConfigurationError(
        "WORDUP_EMBEDDINGS",
        f"The passages have no vectors of {model}.",
        mend="Run `wordup knowledge build`; with --shipped for what deployments carry.",
    )


def signs_of(vector: Iterable[float]) -> bytes:
    bits = "".join("1" if number > 0 else "0" for number in vector)
    return int(bits, 2).to_bytes(-(-len(bits) // 8))


def bytes_of(vector: Sequence[float]) -> tuple[bytes, float]:
    """A vector as it is stored, and what its numbers are multiplied by to be one of unit length."""
    largest = max(map(abs, vector))
    numbers = [round(number * 127 / largest) for number in vector]
    return bytes(ZERO + number for number in numbers), 1 / math.hypot(*numbers)
