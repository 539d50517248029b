"""Text out of an operator's files: Markdown as it is, HTML and PDF as Markdown. Whatever is in a file is only text.

A file is bounded in size, pages and time, since one that was made to harm would otherwise keep the whole build.
"""

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from queue import Empty

LARGEST_BYTES = 20 * 2**20
MOST_PAGES = 2_000
MOST_CHARACTERS = 4_000_000
SECONDS = 30.0
_MARKS = {f"h{level}": "#" * level for level in range(1, 7)} | {"li": "-"}


class Unreadable(Exception):
    """Why a file is left out, for the operator."""


def extracted(path: Path) -> str:
    """The file's text as Markdown. Raises Unreadable."""
    if path.stat().st_size > LARGEST_BYTES:
        raise Unreadable(f"it is larger than {LARGEST_BYTES // 2**20} MiB")
    kind = path.suffix.lower()
    if kind in _PARSED:
        return _in_time(_PARSED[kind], path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not text in UTF-8") from None


def _in_time(parse: Callable[[bytes], str], path: Path) -> str:
    """In a process of its own, which can be ended whatever it is doing, and whose memory dies with it."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_parse, args=(parse, path, answers), daemon=True)
    child.start()
    try:
        text, why = answers.get(timeout=SECONDS)
    except Empty:
        raise Unreadable(f"reading it took more than {SECONDS:.0f} seconds, or ended its reader") from None
    finally:
        child.kill()
        child.join()
    if why:
        raise Unreadable(why)
    return text


def _parse(parse: Callable[[bytes], str], path: Path, answers: "multiprocessing.Queue[tuple[str, str]]") -> None:
    try:
        answers.put((parse(path.read_bytes())[:MOST_CHARACTERS], ""))
    except Unreadable as error:
        answers.put(("", str(error)))


def _html(content: bytes) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(content)
    for noise in tree.css("script, style, noscript, template, nav, header, footer, aside, form, svg"):
        noise.decompose()
    root = tree.css_first("main, article") or tree.body
    if root is None:
        return ""
    lines: list[str] = []
    title = tree.css_first("title")
    if title is not None and not root.css("h1"):
        lines.append(f"# {' '.join(title.text().split())}")
    for node in root.css("h1, h2, h3, h4, h5, h6, p, li, pre, td, th, dt, dd, blockquote"):
        text = node.text(strip=False)
        if node.tag == "pre":
            lines.append(f"```\n{text.strip()}\n```")
        elif words := " ".join(text.split()):
            lines.append(f"{_MARKS.get(node.tag or '', '')} {words}".strip())
    return "\n\n".join(lines)


def _pdf(content: bytes) -> str:
    import io
    import logging

    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every oddity that it lives with
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted:
            raise Unreadable("it is encrypted")
        if len(reader.pages) > MOST_PAGES:
            raise Unreadable(f"it has more than {MOST_PAGES} pages")
        pages = [
            f"## Page {number}\n\n{_paragraphs(page.extract_text())}" for number, page in enumerate(reader.pages, 1)
        ]
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError) as error:
        # What a broken PDF makes of its reader: pypdf lists no end to these.
        raise Unreadable(f"it is no PDF that can be read ({type(error).__name__})") from None
    return "\n\n".join(pages)


def _paragraphs(text: str) -> str:
    return re.sub(r"[ \t]*\n[ \t]*\n\s*", "\n\n", text)


_PARSED = {".html": _html, ".htm": _html, ".pdf": _pdf}
KINDS = frozenset({".md", ".markdown", ".txt", ".text", ".rst", *_PARSED})
