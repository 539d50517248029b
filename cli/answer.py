"""An answer on the terminal, as it comes."""

import itertools
import re
from types import TracebackType
from typing import Self

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

# What a model writes must not drive the terminal.
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
_parser = MarkdownIt().enable("table")


def printable(text: str) -> str:
    return text.translate(_CONTROL)


class Block:
    """Markdown without the empty lines around it, or as many of its last rows as `most`."""

    def __init__(self, text: str, most: int | None = None) -> None:
        self._most = most
        # Addresses are written out: a model's link must not hide where it leads.
        self._markdown = Markdown(text, hyperlinks=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)
        written = [number for number, line in enumerate(lines) if "".join(part.text for part in line).strip()]
        chosen = lines[written[0] : written[-1] + 1] if written else []
        for line in chosen[-self._most :] if self._most else chosen:
            yield from line
            yield Segment.line()


class Answer:
    """Draws Markdown that grows: a block that is complete is printed for good, the last one is drawn anew each time.
    So an answer longer than the screen stays whole above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._text = ""
        self._printed = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print_up_to(len(self._text))
        self._live.stop()

    def restart(self) -> None:
        """The answer comes again from its beginning."""
        self._text = ""

    def add(self, text: str) -> None:
        self._text += printable(text)
        if self._printed.startswith(self._text):
            return
        if not self._text.startswith(self._printed):
            self._live.console.print("The connection was lost; the answer again:", style="dim")
            self._printed = ""
        last = _blocks(self._text[len(self._printed) :])[-1]
        self._print_up_to(len(self._text) - len(last))
        self._live.update(Block(last, most=self._console.height - 2))

    def _print_up_to(self, end: int) -> None:
        if end <= len(self._printed):
            return
        self._live.update("")
        for block in _blocks(self._text[len(self._printed) : end]):
            self._console.print(Block(block))
            self._console.print()
        self._printed = self._text[:end]


def _blocks(text: str) -> list[str]:
    """The top-level blocks of a Markdown text; joined, they are the text."""
    lines = re.split(r"(?<=\n)", text)
    starts = [token.map[0] for token in _parser.parse(text) if token.level == 0 and token.map]
    bounds = [0, *starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in itertools.pairwise(bounds)]
