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
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

# Its own environment, because it pins botocore; Lambdas run on this interpreter and import what it has.
PYTHON = Path(__file__).parents[2] / ".tools" / "ministack" / "bin" / "python"
HOST = "127.0.0.1"
REGION = "us-east-1"
LOG_TAIL_LINES = 20


class MiniStackError(Exception):
    """The embedded AWS is not installed, does not start or does not stop; the text ends with the tail of its log."""


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
    folder: Path,
    *,
    port: int = 0,
    enforce_iam: bool = False,
    persist: bool = False,
    node_path: Path | None = None,
    variables: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> MiniStack:
    """Starts one and waits until it is ready. It outlives this process: `stop` ends it.

    `port` 0 takes a free one. `enforce_iam` makes it deny what policies do not allow. `persist` keeps what was
    deployed, in `folder`, when it is stopped. `node_path` holds packages that its Node Lambdas may require.
    `variables` are further ones of ministack's own. `timeout` is in seconds. Raises MiniStackError.
    """
    if not PYTHON.exists():
        raise MiniStackError("The embedded AWS is not installed: there is no .tools/ministack. Run: make setup")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port(port)
    environment = _environment(folder, port, enforce_iam=enforce_iam, persist=persist, node_path=node_path)
    with (folder / "lock").open("w") as lock:
        if not _is_free(lock.fileno()):
            raise MiniStackError(f"An embedded AWS runs in {folder} already: stop it, or use it.")
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        (folder / "tmp").mkdir()
        with (folder / "ministack.log").open("wb") as log:
            process = subprocess.Popen(
                [PYTHON, "-m", "ministack"],
                cwd=folder,
                env=environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
    ministack = MiniStack(folder=folder, port=port, pid=process.pid)
    try:
        (folder / "ministack.json").write_text(json.dumps({"port": port, "pid": process.pid}))
        _wait_until_ready(ministack, process, timeout)
    except BaseException:
        _kill(process.pid)
        process.wait()
        raise
    process.returncode = 0  # It is meant to outlive this object: without this Popen warns when it is collected.
    return ministack


def stop(folder: Path, *, timeout: float = 30.0) -> bool:
    """Stops the one in `folder` and its Lambda workers; False where none runs. Its state stays if it persists.

    `timeout` is in seconds; raises MiniStackError after it, when the process was killed without saving its state.
    """
    if (ministack := running(folder)) is None:
        return False
    os.kill(ministack.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    late = running(folder) is not None
    _kill(ministack.pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(ministack.pid, 0)
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    if late:
        raise MiniStackError(f"The embedded AWS did not stop in {timeout:g} s and was killed.\n{_log_tail(folder)}")
    return True


@contextlib.contextmanager
def started(folder: Path, **options: Any) -> Generator[MiniStack]:
    """`start`, and `stop` at the end of the block."""
    ministack = start(folder, **options)
    try:
        yield ministack
    finally:
        stop(folder)


def _environment(
    folder: Path, port: int, *, enforce_iam: bool, persist: bool, node_path: Path | None
) -> dict[str, str]:
    """A clean one: Lambdas inherit it, and there an AWS_ENDPOINT_URL of ours would win over ministack's own."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
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
    return environment | ({"NODE_PATH": str(node_path)} if node_path else {})


def _free_port(wanted: int) -> int:
    """`wanted`, or any where that is 0. Asked beforehand, since another server on it would look like ours, ready."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise MiniStackError(f"Port {wanted} of {HOST} is taken ({error.strerror}): choose another.") from None
        return probe.getsockname()[1]


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until_ready(ministack: MiniStack, process: "subprocess.Popen[bytes]", timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _answers(ministack):
        if (status := process.poll()) is not None:
            raise MiniStackError(f"The embedded AWS ended with status {status}.\n{_log_tail(ministack.folder)}")
        if time.monotonic() > deadline:
            raise MiniStackError(f"The embedded AWS is not ready in {timeout:g} s.\n{_log_tail(ministack.folder)}")
        time.sleep(0.05)


def _answers(ministack: MiniStack) -> bool:
    connection = HTTPConnection(HOST, ministack.port, timeout=1)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _kill(pid: int) -> None:
    """The whole process group, its Lambda workers too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _log_tail(folder: Path) -> str:
    lines = (folder / "ministack.log").read_text(errors="replace").splitlines()
    return "\n".join(["The end of its log:", *lines[-LOG_TAIL_LINES:]])
