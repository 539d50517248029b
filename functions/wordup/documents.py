"""Documents cut into sections, as the index takes them.

Markdown is cut at its headings. Its front matter, TOML between `+++` lines or `key: value` and `- item` between `---`,
may give `title`, `sources` (the documentation that its facts come from), `unread` (sources that nobody could open when
the others were read) and `keywords` (other names of its subject).
A line `Source: URL` in a section names that section's own source, and `Keywords: ...` what else it is asked for by.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from wordup.errors import ConfigurationError

# What a model gets of one passage is bounded in `prompts`; cut here at a paragraph instead of there in a word.
SECTION_CHARACTERS = 1_800
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^(```|~~~)")
_SOURCE = re.compile(r"^Sources?:\s*<?(https?://[^\s>]+)>?\s*$")
_KEYWORDS = re.compile(r"^Keywords:\s*(.+)$")
_YAML = re.compile(r"\ufeff?---\r?\n(.*?)\r?\n---\r?\n(.*)", re.DOTALL)
_TOML = re.compile(r"\ufeff?\+\+\+\r?\n(.*?)\r?\n\+\+\+\r?\n(.*)", re.DOTALL)


class Section(msgspec.Struct, frozen=True):
    """A piece of a document: `document` and `anchor` name it, `url` is where its facts are from."""

    document: str
    anchor: str
    title: str
    text: str
    url: str = ""
    keywords: str = ""


class _Front(msgspec.Struct, frozen=True):
    title: str = ""
    sources: list[str] = []
    unread: list[str] = []
    keywords: list[str] = []


def read(folder: Path) -> Iterator[Section]:
    """Every section of a folder's Markdown, in a stable order; a document is called by its path."""
    for path in sorted(folder.rglob("*.md")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        yield from sections(name, path.read_text(encoding="utf-8", errors="replace"))


def sources(folder: Path) -> tuple[set[str], set[str]]:
    """What the front matter of a folder's Markdown names: the sources that were read, and the unread ones."""
    fronts = [_front_matter(path.stem, path.read_text(encoding="utf-8"))[0] for path in sorted(folder.rglob("*.md"))]
    return {url for front in fronts for url in front.sources}, {url for front in fronts for url in front.unread}


def sections(document: str, markdown: str) -> Iterator[Section]:
    """Raises ConfigurationError for front matter that cannot be read."""
    front, body = _front_matter(document, markdown)
    first = [*front.sources, *front.unread, ""][0]
    title = front.title
    keywords = " ".join(front.keywords)
    taken: Counter[str] = Counter()
    for heading, level, text in _cut_at_headings(body):
        if level == 1 and not title:
            title = heading
        source, text = _without(_SOURCE, text)
        own, text = _without(_KEYWORDS, text)
        slug = re.sub(r"\W+", "-", heading.lower()).strip("-") or "introduction"
        name = title or document
        full_title = f"{name}: {heading}" if heading and heading != title else name
        for part in _bounded(text):
            taken[slug] += 1
            anchor = f"{slug}-{taken[slug]}" if taken[slug] > 1 else slug
            yield Section(document, anchor, full_title, part, source or first, f"{keywords} {own}".strip())
            keywords = ""  # they are the document's: on every section they would tell none from another


def _front_matter(document: str, markdown: str) -> tuple[_Front, str]:
    if found := _TOML.match(markdown):
        try:
            return msgspec.convert(tomllib.loads(found[1]), _Front), found[2]
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
            raise ConfigurationError("the front matter", f"{document}: {error}.") from None
    if not (found := _YAML.match(markdown)):
        return _Front(), markdown
    said: dict[str, list[str]] = {}
    key = ""
    for line in found[1].splitlines():
        if item := re.match(r"\s*-\s+(.+)", line):
            said.setdefault(key, []).append(item[1].strip())
        elif pair := re.match(r"(\w+):\s*(.*)", line):
            key = pair[1]
            said[key] = [pair[2].strip()] if pair[2].strip() else []
    title = " ".join(said.get("title", []))
    return _Front(title, said.get("sources", []), said.get("unread", []), said.get("keywords", [])), found[2]


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


def _without(line: re.Pattern[str], text: str) -> tuple[str, str]:
    """What the first line of that kind says, and the text without such lines."""
    kept: list[str] = []
    said = ""
    for each in text.splitlines():
        found = line.match(each)
        said = said or (found[1] if found else "")
        if not found:
            kept.append(each)
    return said, "\n".join(kept).strip()


def _bounded(text: str) -> Iterator[str]:
    """The text in parts of at most SECTION_CHARACTERS, cut between paragraphs where they allow it."""
    part = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for piece in (paragraph[i : i + SECTION_CHARACTERS] for i in range(0, len(paragraph), SECTION_CHARACTERS)):
            if part and len(part) + len(piece) + 2 > SECTION_CHARACTERS:
                yield part
                part = ""
            part = f"{part}\n\n{piece}" if part else piece
    if part:
        yield part
