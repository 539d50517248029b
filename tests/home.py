"""The self-hosted home as a person runs it: the `wordup` program in a process of its own, in an empty folder."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORDUP = Path(sys.executable).with_name("wordup")
START_SECONDS = 30
STOP_SECONDS = 30


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What the program sees of the environment: nothing of the tester's own but the PATH."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "WORDUP_DATA_DIR": str(folder / "data"), **variables}


def wordup(
    folder: Path, *arguments: str, given: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; `given` is its standard input, which is no terminal."""
    return subprocess.run(
        [WORDUP, *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        input=given or "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Home:
    """A running one. `log` is what it wrote to both of its outputs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        return re.search(r"answers at (\S+)", self.log)[1]  # type: ignore[index]

    @property
    def first_key(self) -> str:
        return re.search(r"wu_\S+", self.log)[0]  # type: ignore[index]

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)


@contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[Home]:
    """`wordup serve` on a free port, ended with the block."""
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [WORDUP, "serve", "--port=0", *arguments],
            cwd=folder,
            env=environment(folder, **variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    home = Home(process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "answers at" not in home.log:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"`wordup serve` did not start:\n{home.log}")
            time.sleep(0.02)
        yield home
    finally:
        process.kill()
        process.wait()
