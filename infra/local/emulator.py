"""Runs emulators as child processes, with all that they leave in one folder."""

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


def free_port(wanted: int = 0) -> int:
    """`wanted`, or any where that is 0. Asked beforehand, since another server on it would look like ours, ready.

    Raises EmulatorError.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise EmulatorError(f"Port {wanted} of {HOST} is taken ({error.strerror}): choose another.") from None
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
    name: str, command: Sequence[str | Path], folder: Path, *, port: int, is_ready: Callable[[int], bool] = answers
) -> Generator[int]:
    """Gives the process id once the emulator is ready; ends it, and its children, with the block.

    Raises EmulatorError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = launch(command, folder)
    try:
        wait_until(lambda: is_ready(port), name, process, folder)
        yield process.pid
    finally:
        end(process)


def launch(
    command: Sequence[str | Path],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Starts it with a clean environment and `environment`. Its log and whatever else it leaves lie in `folder`."""
    clean = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder)}
    with (folder / "emulator.log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=clean | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def wait_until(
    is_ready: Callable[[], bool],
    name: str,
    process: "subprocess.Popen[bytes]",
    folder: Path,
    *,
    timeout: float = 30.0,
) -> None:
    """`timeout` is in seconds. Raises EmulatorError."""
    deadline = time.monotonic() + timeout
    while not is_ready():
        if (status := process.poll()) is not None:
            raise EmulatorError(f"{name} ended with status {status}.\n{log_tail(folder)}")
        if time.monotonic() > deadline:
            raise EmulatorError(f"{name} is not ready in {timeout:g} s.\n{log_tail(folder)}")
        time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]") -> None:
    kill(process.pid)
    process.wait()


def kill(pid: int) -> None:
    """The process that was launched, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def log_tail(folder: Path) -> str:
    lines = (folder / "emulator.log").read_text(errors="replace").splitlines()
    return "\n".join(["The end of its log:", *lines[-LOG_TAIL_LINES:]])
