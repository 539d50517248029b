"""A program on a pseudo-terminal: what a person types, and what they then see."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

SEE_SECONDS = 30
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>])")


def _as_from_a_shell() -> None:
    """The terminal is the program's, and so is Ctrl-C, although whoever runs the tests in the background ignores it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`rows` and `columns` are the window's; `seen` is all that was shown so far, without colours and movements."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        variables: Mapping[str, str],
        *,
        rows: int = 24,
        columns: int = 100,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**variables, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_as_from_a_shell,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def see(self, expected: str) -> str:
        """Waits until the text is shown, and takes it and what was before it off `seen`. Raises TimeoutError."""
        deadline = time.monotonic() + SEE_SECONDS
        while expected not in self.seen:
            if time.monotonic() > deadline or not self._read():
                raise TimeoutError(f"{expected!r} was not shown, but:\n{self.seen}")
        before, _, self.seen = self.seen.partition(expected)
        return before

    def interrupt(self, expected: str) -> None:
        """Types Ctrl-C until the text is shown: a signal that comes while readline still handles the last key waits for
        the next one (CPython looks for signals only when its own wait for keys is what was interrupted)."""
        deadline = time.monotonic() + SEE_SECONDS
        while expected not in self.seen:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Ctrl-C did not show {expected!r}, but:\n{self.seen}")
            self.type("\x03")
            self._read()
        self.see(expected)

    def ended(self) -> int:
        """The exit status, once the program has ended."""
        while self._read():
            pass
        return self._process.wait(SEE_SECONDS)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._ours], [], [], 1)
        if not readable:
            return self._process.poll() is None
        try:
            shown = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self.seen += _SEQUENCE.sub("", shown.decode(errors="replace")).replace("\r\n", "\n")
        return bool(shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
