import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from infra import toolchain
from infra.doctor import full_text_search


def test_piece_is_made_only_from_what_it_was_made_of(tmp_path: Path) -> None:
    source, folder = tmp_path / "lock.txt", tmp_path / "piece"
    source.write_text("a==1")
    folder.mkdir()
    before = toolchain.digest(source)

    assert not toolchain.is_made(folder, before)
    with toolchain.step("a piece", folder, before):
        pass
    assert toolchain.is_made(folder, before)
    source.write_text("a==2")
    assert not toolchain.is_made(folder, toolchain.digest(source))


def test_step_that_fails_leaves_no_stamp(tmp_path: Path) -> None:
    with toolchain.step("a piece", tmp_path, "old"):
        pass

    with pytest.raises(toolchain.SetUpError), toolchain.step("a piece", tmp_path, "new"):
        toolchain.run([sys.executable, "-c", "raise SystemExit(3)"])

    assert not toolchain.is_made(tmp_path, "old", "new")


def test_environment_without_its_interpreter_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    (tmp_path / ".stamp").write_text("stamp")

    assert not toolchain.is_made(tmp_path, "stamp")


def test_command_that_fails_shows_its_output_and_what_mends_it() -> None:
    with pytest.raises(toolchain.SetUpError, match=r"status 3: .*\nwhy\nmend"):
        toolchain.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], mend="mend")


def test_command_that_is_missing_says_so() -> None:
    with pytest.raises(toolchain.SetUpError, match="no-such-command does not run"):
        toolchain.run(["no-such-command"])


def test_python_is_the_named_one_if_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", sys.executable)

    assert toolchain.find_python() == sys.executable


def test_python_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHON", str(tmp_path / "python"))

    with pytest.raises(toolchain.SetUpError, match=r"is no working Python 3\.13"):
        toolchain.find_python()


def test_shim_without_an_interpreter_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    pyenv = tmp_path / "versions" / "3.13.0" / "bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python").symlink_to(sys.executable)
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    assert toolchain.find_python() == str(pyenv / "python")


def test_python_that_is_nowhere_is_left_to_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    assert toolchain.find_python() == "3.13"


def test_purpose_that_is_unknown_is_refused() -> None:
    answer = subprocess.run([sys.executable, toolchain.__file__, "fly"], capture_output=True, text=True)

    assert answer.returncode == 2
    assert "local, aws, gcp" in answer.stderr


def test_doctor_sees_whether_sqlite_has_full_text_search() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        assert full_text_search(database).ok
        database.execute("DROP TABLE temp.trial")
        database.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_CREATE_VTABLE else 0)
        refused = full_text_search(database)
    assert (refused.ok, refused.mend) == (False, "Use a Python whose SQLite has FTS5.")
