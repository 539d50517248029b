"""What it takes to add a store: one file, one line in the registry, one line in the suite. Done here, in a copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "parchment"
ADAPTER = Path(f"functions/wordup/stores/{NAME}.py")
REGISTRY = Path("functions/wordup/bootstrap.py")
FIXTURES = Path("tests/conformance/backends.py")
REGISTRY_LINE = f'    "{NAME}": "wordup.stores.{NAME}:ParchmentStore",\n'
FIXTURE_LINE = f'    "{NAME}": Backend("{NAME}", sqlite_file),\n'
# How it keeps its rows is borrowed: what is counted is what stands around the file.
STORE = """
from pathlib import Path
from wordup.stores.sqlite import BUSY_SECONDS, SQLiteStore

class ParchmentStore(SQLiteStore):
    def __init__(self, table, endpoint="", *, clock, busy_seconds=BUSY_SECONDS):
        super().__init__(Path(table), clock=clock, busy_seconds=busy_seconds)
"""
SIGN_IN = """
import asyncio
from wordup.auth import Credentials, issue_key
from wordup.bootstrap import build
from wordup.config import Settings

async def sign_in():
    bot = build(Settings.from_env())
    key = await issue_key(bot.store, "ann", "laptop")
    session = await bot.auth.open_session(Credentials(access_key=key))
    print(type(bot.store).__name__, session.user_id)
    await bot.close()

asyncio.run(sign_in())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree with the new store's file, and nothing that knows of it."""
    folders = ("functions", "infra", "knowledge", "tests", "pyproject.toml")
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ADAPTER).write_text(STORE)
    return tmp_path


def insert(file: Path, after: str, line: str) -> None:
    text = file.read_text()
    assert text.count(after) == line.count("\n") == 1
    file.write_text(text.replace(after, after + line))


def run(copy: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{copy}/functions{os.pathsep}{copy}", **variables}
    return subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)


def suite(copy: Path) -> "subprocess.CompletedProcess[str]":
    cases = [f"tests/conformance/test_store_{part}.py" for part in ("rows", "conditions", "counters", "pages", "model")]
    return run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", NAME, *cases)


def test_store_takes_one_file_one_registry_line_and_one_fixture_line(copy: Path) -> None:
    insert(copy / REGISTRY, "STORES = {\n", REGISTRY_LINE)

    unheard = suite(copy)
    assert unheard.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"no line in {FIXTURES} for the stores ['{NAME}']" in unheard.stderr

    insert(copy / FIXTURES, "BACKENDS: dict[str, Backend] = {\n", FIXTURE_LINE)
    heard = suite(copy)
    assert heard.returncode == 0, heard.stdout
    assert "cases x 1 databases" in heard.stdout
    assert f"({NAME} " in heard.stdout

    signing = copy / "signing.json"
    settings = {"WORDUP_STORE": NAME, "WORDUP_TABLE": str(copy / "rows"), "WORDUP_SIGNING_KEY_REF": f"file:{signing}"}
    made = run(copy, "-c", f"from wordup.keyring import *; from pathlib import *; ring_file(Path({str(signing)!r}))")
    assert made.returncode == 0, made.stderr
    signed_in = run(copy, "-c", SIGN_IN, **settings)
    assert signed_in.stdout == "ParchmentStore ann\n", signed_in.stderr
