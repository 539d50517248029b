"""An answer on the terminal, as it comes."""

from types import TracebackType
from typing import Self

from markdown_it import MarkdownIt
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

# What a model writes must not drive the terminal.
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
_parser = MarkdownIt().enable("table")


def printable(text: str) -> str:
    return text.translate(_CONTROL)


class Answer:
    """Draws Markdown that grows: a block that is complete is printed for good, the last one is drawn anew each time.
    So an answer longer than the screen stays whole above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True, vertical_overflow="crop")
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
        self._print_up_to(len(self._printed) + _last_block(self._text[len(self._printed) :]))
        self._live.update(Markdown(self._text[len(self._printed) :]))

    def _print_up_to(self, end: int) -> None:
        if blocks := self._text[len(self._printed) : end].strip("\n"):
            self._live.update("")
            self._console.print(Markdown(blocks))
            self._console.print()
        self._printed = self._text[: max(end, len(self._printed))]


def _last_block(text: str) -> int:
    """Where the last top-level block of a Markdown text begins."""
    starts = [token.map[0] for token in _parser.parse(text) if token.level == 0 and token.map]
    return sum(len(line) + 1 for line in text.split("\n")[: starts[-1]]) if starts else 0
