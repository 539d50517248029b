"""The vectors of an index's passages: asked for batch by batch, kept by the digest of each text.

They are gathered in a draft, so that an interrupted build goes on where it was and a bot that runs sees none of it.
Beside the passages some sentences about nothing that this bot is asked are looked up: how near their nearest passages
are tells for any model what is not near enough to answer.
"""

import hashlib
import shutil
import sqlite3
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import batched
from pathlib import Path

import msgspec

from wordup.providers import base
from wordup.services import Service
from wordup.vectors import FILE, SCHEMA, Vectors, bytes_of, signs_of

BATCH = 64
# The floor is so far on the way from the median of these to a text that says the same. The median does not move where
# some passages are about cooking, too.
ON_THE_WAY = 0.3
ELSEWHERE = (
    "How do I bake sourdough bread without a mixer?",
    "Who won the tennis final last year?",
    "Write a love letter for my grandmother.",
    "Which mountain in Europe is the highest?",
    "How do I teach my parrot to speak?",
    "Why does the moon change its shape?",
    "What medicine helps against a cough?",
    "How do I remove a wine stain from a carpet?",
    "Tell me a joke about a penguin.",
    "When should tomatoes be planted?",
    "How long do eggs boil?",
    "What happened in the French Revolution?",
    "Which guitar is good for a beginner?",
    "How do I change a bicycle tyre?",
    "What should I wear to a wedding?",
    "How many players has a volleyball team?",
    "Quel temps fera-t-il demain à Lyon ?",
    "Wie viel kostet eine Fahrkarte nach Wien?",
    "¿Cuál es la capital de Perú?",
    "Как приготовить борщ?",
    "How do I get rid of a sore throat?",
    "Who painted the ceiling of the Sistine Chapel?",
    "Is it safe to eat mushrooms from the forest?",
    "What is the plot of Hamlet?",
)


Embed = Callable[[list[str]], base.Embedded]


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Passages; the `tokens` that the model read; and the cosine above which a passage answers by its meaning alone."""

    embedded: int
    unchanged: int
    removed: int
    tokens: int
    floor: float


def build(index: Path, model: str, embed: Embed, progress: Callable[[int, int], object]) -> Embedded:
    """Brings the vectors beside an index to what its passages say. `model` is its id; `progress` is told how many
    passages of how many have theirs."""
    target = index.with_name(FILE)
    draft = index.with_name(f"{FILE}.draft")
    if target.exists() and not draft.exists():
        shutil.copyfile(target, draft)
    with closing(sqlite3.connect(f"{index.absolute().as_uri()}?immutable=1", uri=True)) as opened:
        (made_of,) = opened.execute("SELECT value FROM meta WHERE key = 'digest'").fetchone()
        texts = dict(_texts(opened))
    digests = {passage: hashlib.sha256(text.encode()).digest() for passage, text in texts.items()}
    tokens = 0
    with closing(sqlite3.connect(draft)) as store:
        known = _known(store, model)
        removed = known.keys() - digests.keys()
        new = [passage for passage, digest in digests.items() if known.get(passage) != digest]
        _forget(store, {*removed, *new} & known.keys())
        store.commit()
        kept = len(texts) - len(new)
        progress(kept, len(texts))
        for number, batch in enumerate(batched(new, BATCH, strict=False), 1):
            found = embed([texts[passage] for passage in batch])
            for passage, vector in zip(batch, found.vectors, strict=True):
                _add(store, passage, digests[passage], vector)
            store.execute("INSERT OR REPLACE INTO meta VALUES ('dimension', ?)", (len(found.vectors[0]),))
            store.commit()
            tokens += found.input_tokens
            progress(kept + min(number * BATCH, len(new)), len(texts))
        elsewhere = embed(list(ELSEWHERE))
        # Complete, so that it can be opened; nothing is near enough yet.
        store.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [("index", made_of), ("floor", "1")])
        store.commit()
        floor = _floor(Vectors.open(draft, model), elsewhere.vectors)
        store.execute("UPDATE meta SET value = ? WHERE key = 'floor'", (f"{floor:.4f}",))
        store.commit()
        store.execute("VACUUM")
    draft.replace(target)
    return Embedded(
        embedded=len(new), unchanged=kept, removed=len(removed), tokens=tokens + elsewhere.input_tokens, floor=floor
    )


def _texts(index: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Each passage's id, and what its vector is made of."""
    entries = {
        f"service:{name}": msgspec.json.decode(entry, type=Service)
        for name, entry in index.execute("SELECT id, entry FROM service")
    }
    for document, anchor, title, text in index.execute("SELECT document, anchor, title, text FROM passage"):
        passage = f"{document}#{anchor}" if anchor else document
        yield passage, _told(entries[document], title) if document in entries else f"{title}\n{text}"


def _told(service: Service, title: str) -> str:
    """An entry's row: a cloud's offer, or the concept."""
    for _, offer in service.offers():
        if title == f"{service.concept}: {offer.name}":
            return f"{title}\n{', '.join((*offer.aliases, *offer.was))}\n{offer.line} {service.summary}"
    return f"{service.concept}\n{', '.join(service.aliases)}\n{service.summary} {service.compare}"


def _known(store: sqlite3.Connection, model: str) -> dict[str, bytes]:
    """The digests that the draft has vectors of; those of another model are thrown away."""
    store.executescript(SCHEMA)
    if store.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() != (model,):
        for table in ("meta", "vector", "signs"):
            store.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        store.execute("INSERT INTO meta VALUES ('model', ?)", (model,))
    return dict(store.execute("SELECT id, digest FROM vector"))


def _forget(store: sqlite3.Connection, passages: Iterable[str]) -> None:
    for passage in passages:
        store.execute("DELETE FROM signs WHERE rowid = (SELECT rowid FROM vector WHERE id = ?)", (passage,))
        store.execute("DELETE FROM vector WHERE id = ?", (passage,))


def _add(store: sqlite3.Connection, passage: str, digest: bytes, vector: Sequence[float]) -> None:
    numbers, scale = bytes_of(vector)
    put = "INSERT INTO vector (id, digest, bytes, scale) VALUES (?, ?, ?, ?)"
    row = store.execute(put, (passage, digest, numbers, scale)).lastrowid
    store.execute("INSERT INTO signs VALUES (?, ?)", (row, signs_of(vector)))


def _floor(vectors: Vectors, elsewhere: Iterable[Sequence[float]]) -> float:
    with closing(vectors):
        apart = statistics.median(vectors.nearest(vector, 1)[0].cosine for vector in elsewhere)
    return apart + ON_THE_WAY * (1 - apart)
