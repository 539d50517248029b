"""The embedded AWS: one ministack process with its state in one folder, on 127.0.0.1 only.

The process holds a lock on `<folder>/lock` for as long as it lives, so that "does it run" survives a killed parent,
a reboot and a process id that was given to somebody else. The folder also holds its log, its state and the
temporary folder that its Lambda workers leave things in.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from infra.local.emulator import HOST, EmulatorError, end, free_port, kill, launch, log_tail, wait_until

NAME = "The embedded AWS"
# Its own environment, because it pins botocore; Lambdas run on this interpreter and import what it has.
PYTHON = Path(__file__).parents[2] / ".tools" / "ministack" / "bin" / "python"
REGION = "us-east-1"


@dataclass(frozen=True)
class MiniStack:
    """A running one. Any key pair gives access; `test` is the root of account 000000000000."""

    folder: Path
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point an AWS client, or the CDK, at it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


def is_running(folder: Path) -> bool:
    """Whether a ministack lives whose state is in `folder`."""
    return running(folder) is not None


def running(folder: Path) -> MiniStack | None:
    """The ministack whose state is in `folder`, where one lives."""
    with contextlib.suppress(FileNotFoundError), (folder / "lock").open() as lock:
        if _is_free(lock.fileno()):
            return None
        return MiniStack(folder=folder, **json.loads((folder / "ministack.json").read_text()))
    return None


def start(
    folder: Path, *, port: int = 0, enforce_iam: bool = False, persist: bool = False, timeout: float = 30.0
) -> MiniStack:
    """Starts one and waits until it is ready. It outlives this process: `stop` ends it.

    `port` 0 takes a free one. `enforce_iam` makes it deny what policies do not allow. `persist` keeps what was
    deployed, in `folder`, when it is stopped. `timeout` is in seconds. Raises EmulatorError.
    """
    if not PYTHON.exists():
        raise EmulatorError(f"{NAME} is not installed: there is no .tools/ministack. Run: make setup")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(port)
    environment = _environment(folder, port, enforce_iam=enforce_iam, persist=persist)
    with (folder / "lock").open("w") as lock:
        if not _is_free(lock.fileno()):
            raise EmulatorError(f"{NAME} runs in {folder} already: stop it, or use it.")
        (folder / "ministack.json").unlink(missing_ok=True)  # whoever looks now must not take the last one's process
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        (folder / "tmp").mkdir()
        process = launch([PYTHON, "-m", "ministack"], folder, environment=environment, pass_fds=[lock.fileno()])
    try:
        (folder / "ministack.json").write_text(json.dumps({"port": port, "pid": process.pid}))
        wait_until(lambda: _is_ready(port), NAME, process, folder, timeout=timeout)
    except BaseException:
        end(process)
        raise
    process.returncode = 0  # It is meant to outlive this object: without this Popen warns when it is collected.
    return MiniStack(folder=folder, port=port, pid=process.pid)


def stop(folder: Path, *, timeout: float = 30.0) -> bool:
    """Stops the one in `folder` and its Lambda workers; False where none runs. Its state stays if it persists.

    `timeout` is in seconds; raises EmulatorError after it, when the process was killed without saving its state.
    """
    if (ministack := running(folder)) is None:
        return False
    os.kill(ministack.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    late = running(folder) is not None
    kill(ministack.pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(ministack.pid, 0)
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    if late:
        raise EmulatorError(f"{NAME} did not stop in {timeout:g} s and was killed.\n{log_tail(folder)}")
    return True


@contextlib.contextmanager
def started(folder: Path, **options: Any) -> Generator[MiniStack]:
    """`start`, and `stop` at the end of the block."""
    ministack = start(folder, **options)
    try:
        yield ministack
    finally:
        stop(folder)


def _environment(folder: Path, port: int, *, enforce_iam: bool, persist: bool) -> dict[str, str]:
    """Lambdas inherit it. A custom runtime learns from it where this AWS is, which ministack tells its own runtimes
    only, and finds on the PATH the interpreter that packages are built for."""
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(folder / "tmp"),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "AUTH": str(enforce_iam).lower(),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "MINISTACK_REGION": REGION,
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": str(int(persist)),
        "S3_PERSIST": str(int(persist)),
    }


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
