"""Runs an emulator as a child process for the length of a block."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

HOST = "127.0.0.1"
LOG_TAIL_LINES = 20


class EmulatorError(Exception):
    """An emulator is not installed or does not start; the text ends with the tail of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether something speaks HTTP there, whatever it says."""
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    *,
    port: int,
    is_ready: Callable[[int], bool] = answers,
    environment: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Generator[int]:
    """Gives the process id once the emulator is ready; ends it, and its children, with the block.

    Its log and whatever else it leaves lie in `folder`. `environment` is added to a clean one. `timeout` is in
    seconds. Raises EmulatorError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder)}
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(name, process, folder, lambda: is_ready(port), timeout)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(
    name: str, process: "subprocess.Popen[bytes]", folder: Path, is_ready: Callable[[], bool], timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while not is_ready():
        if (status := process.poll()) is not None:
            raise EmulatorError(f"{name} ended with status {status}.\n{_log_tail(folder)}")
        if time.monotonic() > deadline:
            raise EmulatorError(f"{name} is not ready in {timeout:g} s.\n{_log_tail(folder)}")
        time.sleep(0.05)


def _log_tail(folder: Path) -> str:
    lines = (folder / "emulator.log").read_text(errors="replace").splitlines()
    return "\n".join(["The end of its log:", *lines[-LOG_TAIL_LINES:]])
