"""Where a command's words go: what was asked for to standard output, progress and failures to standard error."""

import sys
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from wordup.errors import InvalidField, WordUpError

screen = Console(highlight=False)
progress = Console(stderr=True, highlight=False)


def document(value: Any) -> None:
    """The one JSON document of a `--json` command."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def ask_leave(question: str) -> None:
    """Ends the program where the answer is no. Asks nothing where nobody could answer."""
    if sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)


def explain(error: WordUpError) -> None:
    """What failed and why, then what mends it. As plain text: an error may quote brackets, which Rich would read."""
    sentence, mend = error.sentence, error.mend
    if isinstance(error, InvalidField):
        field = error.pointer.lstrip("/")
        sentence, mend = f"{field}: {sentence}", mend.replace("the field that `pointer` names", field)
    progress.print(Text("error: ", style="bold red").append(sentence, style="not bold"), soft_wrap=True)
    progress.print(Text(f"mend:  {mend}"), soft_wrap=True)
