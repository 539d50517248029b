"""The embedded AWS as a process: one a folder, on one port, with what it kept."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.local import ministack
from infra.local.emulator import EmulatorError
from tests.emulators import AWS_ENVIRONMENT, create_dynamodb_table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield tmp_path / "ministack"
    ministack.stop(tmp_path / "ministack")


def tables(running: ministack.MiniStack) -> list[str]:
    client: Any = botocore.session.Session().create_client("dynamodb", endpoint_url=running.url)
    return client.list_tables()["TableNames"]


def test_start_gives_what_runs_until_it_is_stopped(folder: Path) -> None:
    assert not ministack.is_running(folder)
    started = ministack.start(folder)
    assert ministack.running(folder) == started
    assert tables(started) == []
    assert ministack.stop(folder)
    assert not ministack.is_running(folder)
    assert not ministack.stop(folder)


def test_restart_finds_what_persisted(folder: Path) -> None:
    first = ministack.start(folder, persist=True)
    create_dynamodb_table(first.url, "wordup")
    ministack.stop(folder)
    second = ministack.start(folder, port=first.port, persist=True)
    assert second.port == first.port
    assert tables(second) == ["wordup"]


def test_restart_without_persistence_begins_empty(folder: Path) -> None:
    create_dynamodb_table(ministack.start(folder).url, "wordup")
    ministack.stop(folder)
    assert tables(ministack.start(folder)) == []


def test_second_start_in_the_same_folder_is_refused_and_harms_nothing(folder: Path) -> None:
    started = ministack.start(folder)
    with pytest.raises(EmulatorError, match="already"):
        ministack.start(folder)
    assert ministack.running(folder) == started
    assert tables(started) == []


def test_port_of_another_server_is_refused(folder: Path, tmp_path: Path) -> None:
    started = ministack.start(folder)
    with pytest.raises(EmulatorError, match="taken"):
        ministack.start(tmp_path / "other", port=started.port)
    assert not ministack.is_running(tmp_path / "other")


def test_killed_one_runs_no_more(folder: Path) -> None:
    os.kill(ministack.start(folder).pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while ministack.is_running(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not ministack.is_running(folder)
    assert tables(ministack.start(folder)) == []


def test_one_that_ends_at_once_shows_its_log(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho what went wrong\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(ministack, "PYTHON", broken)
    with pytest.raises(EmulatorError, match=r"status 3(?s:.*)what went wrong"):
        ministack.start(folder)
    assert not ministack.is_running(folder)


def test_its_environment_is_clean_and_it_listens_on_loopback_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
    started = ministack.start(folder)
    environment = Path(f"/proc/{started.pid}/environ").read_text()
    assert "elsewhere" not in environment
    assert f"BIND_HOST={ministack.HOST}" in environment
    assert f"TMPDIR={folder / 'tmp'}" in environment
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.split()
    assert f"127.0.0.1:{started.port}" in listening
    assert f"0.0.0.0:{started.port}" not in listening
