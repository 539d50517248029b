"""The knowledge index: one SQLite file that is built once and then only read.

It is opened immutable, so it has no write-ahead log and nothing beside it; the same sources give the same bytes, with
one version of SQLite. `python -m wordup.index FOLDER FILE` builds it.

| table | holds |
|---|---|
| `passages` | FTS5 without a copy of the text: `names` of the entry, `title`, `keywords`, `body`, all folded |
| `passage` | by the same rowid: document, anchor, title, text, url, and the cloud that it is about |
| `service` | the service table's entries, as JSON |
| `name` | a product's name without spaces -> entry, cloud, weight |
| `typo` | a name's word less one letter or two -> the word |
| `meta` | `digest` of the sources, the number of `passages` |
"""

import hashlib
import itertools
import os
import re
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from wordup import documents, languages, services, spelling
from wordup.documents import Section
from wordup.errors import ConfigurationError
from wordup.questions import CLOUD_WORDS, stem, tokens
from wordup.services import CLOUD_NAMES, Cloud, Offer, Service
from wordup.spelling import MOST_LETTERS, ONE_TYPO, cuts

_SCHEMA = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE service (id TEXT PRIMARY KEY, entry BLOB) WITHOUT ROWID;
CREATE TABLE name (key TEXT, service TEXT, cloud TEXT, weight REAL, PRIMARY KEY (key, service, cloud)) WITHOUT ROWID;
CREATE TABLE typo (cut TEXT, word TEXT, PRIMARY KEY (cut, word)) WITHOUT ROWID;
CREATE TABLE passage (
    rowid INTEGER PRIMARY KEY, document TEXT, anchor TEXT, title TEXT, text TEXT, url TEXT, cloud TEXT
);
CREATE INDEX passage_of ON passage (document, anchor);
CREATE VIRTUAL TABLE passages USING fts5(
    names, title, keywords, body, content = '', tokenize = 'porter unicode61 remove_diacritics 2'
);
"""
# A name of one word that prose uses in small letters ("functions", "batch") says little by itself.
COMMON_WORD, COMMON_TIMES = 0.4, 2
_VENDORS = re.compile(r"^(amazon|aws|azure|microsoft|google cloud|google|gcp)\s+", re.IGNORECASE)
# Code and addresses are no prose.
_NO_PROSE = re.compile(r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)|https?://\S+", re.DOTALL | re.MULTILINE)


def digest(*folders: Path, extra: str = "") -> str:
    """Of everything that an index of the folders is made from: also of SQLite, whose version stands in the file."""
    found = hashlib.sha256(f"{sqlite3.sqlite_version} {extra}".encode())
    for module in (__file__, documents.__file__, services.__file__, languages.__file__, spelling.__file__):
        found.update(Path(str(module)).read_bytes())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".md", ".toml") and path.is_file():
                content = path.read_bytes()
                found.update(f"\n{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:32]


def current(folder: Path, beside: Path) -> Path:
    """The index of a folder as it is now, in `beside`; built unless it is there. Raises ConfigurationError."""
    made_of = digest(folder)
    file = beside / f"knowledge-{made_of[:12]}.db"
    if not file.exists():
        build(folder, file)
        for older in beside.glob("knowledge-*.db"):
            if older != file:
                older.unlink(missing_ok=True)
    return file


def build(folder: Path, file: Path, *, more: Iterable[Section] = (), extra: str = "") -> None:
    """Writes the index of a folder: its Markdown, its `services/*.toml`, and `more` sections, whose digest is `extra`.
    The file appears whole or not at all. Raises ConfigurationError."""
    table = services.load(folder / "services")
    sections = [*documents.read(folder), *more]
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    os.close(handle)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as index:
            _fill(index, table, sections, digest(folder, extra=extra))
        Path(draft).chmod(0o644)
        Path(draft).replace(file)
    finally:
        Path(draft).unlink(missing_ok=True)


def _fill(index: sqlite3.Connection, table: Sequence[Service], sections: Sequence[Section], made_of: str) -> None:
    try:
        index.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        raise ConfigurationError(
            "SQLite", f"This Python's SQLite cannot index: {error}.", mend="Use a Python whose SQLite has FTS5."
        ) from error
    index.execute("BEGIN")
    count = itertools.count(1)
    common = _common_words(table, sections)
    names = sorted(_names(table, common))
    index.executemany("INSERT INTO service VALUES (?, ?)", ((s.id, msgspec.json.encode(s)) for s in table))
    index.executemany("INSERT OR REPLACE INTO name VALUES (?, ?, ?, ?)", names)
    index.executemany("INSERT OR IGNORE INTO typo VALUES (?, ?)", _typos(table, names, common))
    for service in table:
        for names_of, body, *row in _facets(service):
            _insert(index, next(count), (names_of, row[2], service.keywords, body), row)
    for section in sections:
        cloud = cloud_of(section.title)
        row = [f"article:{section.document}", section.anchor, section.title, section.text, section.url, cloud]
        _insert(index, next(count), ("", section.title, section.keywords, section.text), row)
    meta = [("digest", made_of), ("passages", str(next(count) - 1))]
    index.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    index.execute("INSERT INTO passages (passages) VALUES ('optimize')")
    index.execute("COMMIT")
    index.execute("VACUUM")


def _insert(index: sqlite3.Connection, rowid: int, searched: tuple[str, str, str, str], passage: list[str]) -> None:
    folded = (" ".join(tokens(text)) for text in searched)
    index.execute("INSERT INTO passages (rowid, names, title, keywords, body) VALUES (?, ?, ?, ?, ?)", (rowid, *folded))
    index.execute("INSERT INTO passage VALUES (?, ?, ?, ?, ?, ?, ?)", (rowid, *passage))


def _facets(service: Service) -> Iterator[tuple[str, str, str, str, str, str, str, str]]:
    """An entry as rows of the index: the concept, and each cloud's offer. What they say is put together at reading."""
    document = f"service:{service.id}"
    aliases = " ".join([service.concept, *service.aliases])
    called = " ".join(offer.name for _, offer in service.offers())
    body = f"{service.summary} {service.compare} {called}"
    url = next((offer.url for _, offer in service.offers()), "")
    yield aliases, body, document, "", service.concept, "", url, ""
    for cloud, offer in service.offers():
        names = " ".join([offer.name, *offer.aliases, *offer.was])
        limits = " ".join(f"{limit.what} {limit.value}" for limit in offer.limits)
        body = f"{offer.line} {offer.price} price {limits} {aliases}"
        title = f"{service.concept}: {offer.name}"
        yield names, body, document, slug(offer.name), title, "", offer.url, cloud


def slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def cloud_of(title: str) -> str:
    """The cloud that a title names, if it is one."""
    named = {CLOUD_WORDS[word] for word in tokens(title) if word in CLOUD_WORDS}
    return named.pop() if len(named) == 1 else ""


def key(name: str) -> str:
    """A name without what people write differently: spaces, hyphens, capitals, the plural's letter."""
    return stem("".join(tokens(name)))


def _names(table: Iterable[Service], common: frozenset[str]) -> Iterator[tuple[str, str, str, float]]:
    for service in table:
        for concept in (service.concept, *service.aliases):
            yield key(concept), service.id, "", 0.7
        for cloud, offer in service.offers():
            for name in _spellings(cloud, offer):
                weight = COMMON_WORD if name.lower() in common else 1.0
                yield key(name), service.id, cloud, weight


def _spellings(cloud: Cloud, offer: Offer) -> Iterator[str]:
    for name in (offer.name, *offer.aliases, *offer.was):
        yield name
        without = re.sub(r"\s*\(.*?\)", "", name)
        bare = _VENDORS.sub("", without)
        yield from {without, bare} - {name, ""}
        if bare.endswith("DB") and " " not in bare:
            yield bare.removesuffix("DB")
        if bare == name:
            yield f"{CLOUD_NAMES[cloud].split()[0]} {name}"


def _common_words(table: Iterable[Service], sections: Iterable[Section]) -> frozenset[str]:
    counted: Counter[str] = Counter()
    for service in table:
        counted.update(
            re.findall(r"\b[a-z]+\b", " ".join([service.concept, *service.aliases, service.summary, service.compare]))
        )
    for section in sections:
        counted.update(re.findall(r"\b[a-z]+\b", _NO_PROSE.sub("", section.text)))
    return frozenset(word for word, times in counted.items() if times >= COMMON_TIMES)


def _typos(
    table: Iterable[Service], names: Iterable[tuple[str, str, str, float]], common: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Of products' names and their words, but for those that are also plain ones: every word is near some of these."""
    vocabulary = {name for name, _, cloud, _ in names if cloud}
    for service in table:
        for _, offer in service.offers():
            for text in (offer.name, *offer.aliases, *offer.was):
                vocabulary.update(tokens(text))
    for word in sorted(vocabulary - common):
        if ONE_TYPO <= len(word) <= MOST_LETTERS and word.isascii():
            yield from ((cut, word) for cut in sorted(cuts(word)))


def main() -> None:
    """`FOLDER FILE.db` writes that file; `FOLDER BESIDE` the current one in that folder."""
    folder, target = map(Path, sys.argv[1:3])
    (build if target.suffix == ".db" else current)(folder, target)


if __name__ == "__main__":
    main()
