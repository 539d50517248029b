"""Retrieval over a folder of Markdown: SQLite's FTS5 and BM25, built in memory at the first question.

A document is cut at its headings into passages. Its front matter (TOML between `+++` lines, or `key: value` and
`- item` between `---` lines) may give `title`, `sources` (the documentation that its facts come from) and `keywords`
(other names of its subject). A line `Source: URL` in a section names that section's own source.
"""

import math
import re
import sqlite3
import threading
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from wordup.errors import ConfigurationError
from wordup.providers.base import Passage
from wordup.terms import CLOUDS, in_context, terms

# In the package the folder lies beside the application, in the repository beside functions/.
_ROOTS = (Path(__file__).parents[1], Path(__file__).parents[2])
# What a model gets of one passage is bounded in `prompts`; cut here at a paragraph instead of there in a word.
PASSAGE_CHARACTERS = 1_800
_HOLDING = "SELECT rowid FROM passages WHERE passages MATCH ?"
# The weights of keywords, title and text: a word in a heading says more than one in the text.
_RANKED = """
SELECT rowid, id, title, body, url, bm25(passages, 0.5, 3.0, 1.0) AS score
FROM passages WHERE passages MATCH ? ORDER BY rowid
"""
# How much of a question a passage must hold, as the share of its words weighted by their rarity; less is enough with
# a word that is some document's subject, that is in a title or a keyword. A word that no passage holds counts as the
# rarest, so that a question about something else finds nothing.
FLOOR = 0.5
SUBJECT_FLOOR = 0.2
# For a passage whose title names a cloud, when the question names one.
SAME_CLOUD, OTHER_CLOUD = 1.5, 0.5
# Longer text than this is no question; its most frequent words tell what it is about.
QUERY_TERMS = 40
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^(```|~~~)")
_SOURCE = re.compile(r"^Sources?:\s*<?(https?://[^\s>]+)>?\s*$")


class Asked(Protocol):
    """A turn of the conversation, as far as retrieval looks at it."""

    @property
    def question(self) -> str: ...


def contextual_query(message: str, past: Sequence[Asked]) -> str:
    """What to search for: a follow-up with the words of the last question of `past` (oldest first)."""
    return in_context(message, past[-1].question if past else "")


class Section(msgspec.Struct, frozen=True):
    """A passage before it is indexed."""

    id: str
    title: str
    text: str
    url: str
    keywords: str


class _FrontMatter(msgspec.Struct):
    title: str = ""
    sources: list[str] = []
    keywords: list[str] = []


class Knowledge:
    """The passages of a folder; empty: the one that ships. Reads no file before the first search. Raises
    ConfigurationError when there is no such folder."""

    def __init__(self, folder: str = "") -> None:
        self._folder = _existing([Path(folder)] if folder else [root / "knowledge" for root in _ROOTS])
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        """The passages that answer the query, the best first; none when it is about something else."""
        words = Counter(dict(Counter(terms(query)).most_common(QUERY_TERMS)))
        if not words:
            return []
        with self._lock:
            index = self._index = self._index or _build(self._folder)
            return _ranked(index, words, limit)


def _existing(candidates: list[Path]) -> Path:
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigurationError(
        "WORDUP_KNOWLEDGE_DIR", f"There is no folder {candidates[0]}.", mend="Name a folder of Markdown files."
    )


def sections(folder: Path) -> Iterator[Section]:
    """Every passage of a folder, in a stable order."""
    for path in sorted(folder.rglob("*.md")):
        document = path.relative_to(folder).with_suffix("").as_posix()
        yield from _sections(document, path.read_text(encoding="utf-8"))


def _sections(document: str, markdown: str) -> Iterator[Section]:
    front, body = _front_matter(markdown)
    sources = front.get("sources") or [""]
    title = front.get("title", [""])[0]
    keywords = " ".join(front.get("keywords", []))
    taken: Counter[str] = Counter()
    for heading, level, text in _cut_at_headings(body):
        if level == 1 and not title:
            title = heading
        source, text = _own_source(text)
        slug = re.sub(r"\W+", "-", heading.lower()).strip("-") or "introduction"
        name = title or document
        full_title = f"{name}: {heading}" if heading and heading != title else name
        for part in _bounded(text):
            taken[slug] += 1
            number = f"-{taken[slug]}" if taken[slug] > 1 else ""
            yield Section(f"{document}#{slug}{number}", full_title, part, source or sources[0], keywords)
            keywords = ""  # they are the document's: on every section they would tell none from another


def _front_matter(markdown: str) -> tuple[dict[str, list[str]], str]:
    """TOML between `+++`, or `key: value` and `- item` lines between `---`; what else YAML knows is left alone."""
    if toml := re.match(r"\+\+\+\n(.*?)\n\+\+\+\n(.*)", markdown, re.DOTALL):
        front = msgspec.convert(tomllib.loads(toml[1]), _FrontMatter)
        return {"title": [front.title], "sources": front.sources, "keywords": front.keywords}, toml[2]
    found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n(.*)", markdown, re.DOTALL)
    if not found:
        return {}, markdown
    lines: dict[str, list[str]] = {}
    key = ""
    for line in found[1].splitlines():
        if item := re.match(r"\s*-\s+(.+)", line):
            lines.setdefault(key, []).append(item[1].strip())
        elif pair := re.match(r"(\w+):\s*(.*)", line):
            key = pair[1]
            lines[key] = [pair[2].strip()] if pair[2].strip() else []
    return lines, found[2]


def _cut_at_headings(body: str) -> Iterator[tuple[str, int, str]]:
    heading, level, lines, fenced = "", 0, list[str](), False
    for line in body.splitlines():
        fenced ^= bool(_FENCE.match(line))
        found = None if fenced else _HEADING.match(line)
        if found:
            yield heading, level, "\n".join(lines).strip()
            heading, level, lines = found[2], len(found[1]), []
        else:
            lines.append(line)
    yield heading, level, "\n".join(lines).strip()


def _own_source(text: str) -> tuple[str, str]:
    kept: list[str] = []
    source = ""
    for line in text.splitlines():
        found = _SOURCE.match(line)
        source = source or (found[1] if found else "")
        if not found:
            kept.append(line)
    return source, "\n".join(kept).strip()


def _bounded(text: str) -> Iterator[str]:
    """The text in parts of at most PASSAGE_CHARACTERS, cut between paragraphs where they allow it."""
    part = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for piece in (paragraph[i : i + PASSAGE_CHARACTERS] for i in range(0, len(paragraph), PASSAGE_CHARACTERS)):
            if part and len(part) + len(piece) + 2 > PASSAGE_CHARACTERS:
                yield part
                part = ""
            part = f"{part}\n\n{piece}" if part else piece
    if part:
        yield part


def _build(folder: Path) -> sqlite3.Connection:
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute(
        "CREATE VIRTUAL TABLE passages USING fts5(keywords, title, body, id UNINDEXED, url UNINDEXED,"
        " tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    index.executemany(
        "INSERT INTO passages (keywords, title, body, id, url) VALUES (?, ?, ?, ?, ?)",
        ((section.keywords, section.title, section.text, section.id, section.url) for section in sections(folder)),
    )
    return index


def _ranked(index: sqlite3.Connection, words: Counter[str], limit: int) -> list[Passage]:
    (size,) = index.execute("SELECT count(*) FROM passages").fetchone()
    if not size:
        return []
    share: dict[int, float] = {}
    whole, floor = 0.0, FLOOR
    for word in words:
        rows = index.execute(_HOLDING, (_quoted(word),)).fetchall()
        rarity = math.log(1 + (size - len(rows) + 0.5) / (len(rows) + 0.5))
        whole += rarity
        for (row,) in rows:
            share[row] = share.get(row, 0.0) + rarity
        if index.execute(_HOLDING, (f"{{keywords title}} : {_quoted(word)}",)).fetchone():
            floor = SUBJECT_FLOOR
    relevant = {row for row, held in share.items() if held >= floor * whole}
    # A word that the query repeats stands twice in it, and so weighs twice.
    query = " OR ".join(_quoted(word) for word, times in words.items() for _ in range(min(times, 2)))
    clouds = {CLOUDS[word] for word in words if word in CLOUDS}
    hits = [
        Passage(id=passage_id, title=title, text=body, url=url, score=-score * _of_cloud(title, clouds))
        for row, passage_id, title, body, url, score in index.execute(_RANKED, (query,))
        if row in relevant
    ]
    return sorted(hits, key=lambda hit: -hit.score)[:limit]


def _of_cloud(title: str, clouds: set[str]) -> float:
    """What a passage's score is worth for a question that names `clouds`. BM25 cannot tell: most passages hold the
    clouds' names, which makes them worthless to it."""
    named = {CLOUDS[word] for word in terms(title) if word in CLOUDS}
    if not clouds or not named:
        return 1.0
    if named <= clouds:
        return SAME_CLOUD
    return 1.0 if named & clouds else OTHER_CLOUD


def _quoted(word: str) -> str:
    """A word as an FTS5 string, in which no character is an operator."""
    return '"' + word.replace('"', '""') + '"'
