"""How far a long command is, on standard error: live on a terminal, a line a step elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text


class Steps:
    """An `infra.targets.Report`. A step that an exception ends is left without its mark."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False, style="dim"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._begun: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._progress.stop()

    def step(self, text: str) -> None:
        self._finish()
        self._begun = (text, time.monotonic())
        self._task = self._progress.add_task(text, total=1, detail="")

    def detail(self, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, detail=text)

    def note(self, text: str) -> None:
        self._console.print(Text(f"  {text}"), soft_wrap=True)

    def _finish(self) -> None:
        if self._task is None or self._begun is None:
            return
        self._progress.update(self._task, completed=1, detail="")
        self._task = None
        if not self._console.is_terminal:
            text, begun = self._begun
            self._console.print(Text(f"{text}: {time.monotonic() - begun:.1f} s"))
