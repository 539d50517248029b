"""Preflight: whether this machine and account can deploy, and what mends what cannot."""

import importlib
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from infra import package
from infra.checks import Check, asked
from infra.local import ministack
from infra.spec import DeploymentSpec
from infra.targets import TARGETS, open_target
from wordup.errors import ConfigurationError

# Each gives the checks of one target, after those of the machine; a target without one is asked whether it can begin.
PREFLIGHTS = {
    "aws": "infra.aws.preflight:checks",
    "azure": "infra.azure.preflight:checks",
    "gcp": "infra.gcp.preflight:checks",
}


def examine(target: str, spec: DeploymentSpec) -> list[Check]:
    """Every check of a target; one that needs a tool or a login that is missing is left out. Raises
    ConfigurationError for an unknown target."""
    if target not in TARGETS:
        raise ConfigurationError("--to", f"{target!r} is no target.", mend=f"Known: {', '.join(TARGETS)}.")
    return [*_machine(target), *_account(target, spec)]


def _machine(target: str) -> Iterator[Check]:
    wanted, found = ".".join(map(str, package.PYTHON)), ".".join(map(str, sys.version_info[:3]))
    right = sys.version_info[:2] == package.PYTHON
    yield Check(name="Python", ok=right, found=found, mend="" if right else f"Packages are for {wanted}: `make setup`.")
    yield asked("uv", lambda: str(package.uv()))
    with closing(sqlite3.connect(":memory:")) as database:
        yield full_text_search(database)
    if target in ("aws", "local"):
        node = shutil.which("node", path=str(Path(sys.executable).parent))
        yield Check(name="Node", ok=bool(node), found=node or "none", mend="" if node else "Run `make setup`.")
    if target == "local":
        there = ministack.PYTHON.exists()
        yield Check(
            name="embedded AWS",
            ok=there,
            found="installed" if there else "none",
            mend="" if there else "Run `make setup`.",
        )


def full_text_search(database: sqlite3.Connection) -> Check:
    """Whether SQLite can open the index of the knowledge: some builds of Python come without FTS5."""
    try:
        database.execute("CREATE VIRTUAL TABLE temp.trial USING fts5(text)")
    except sqlite3.Error as error:
        return Check(name="SQLite", ok=False, found=str(error), mend="Use a Python whose SQLite has FTS5.")
    return Check(name="SQLite", ok=True, found=f"{sqlite3.sqlite_version} with FTS5")


def _account(target: str, spec: DeploymentSpec) -> Iterator[Check]:
    if target in PREFLIGHTS:
        module, _, attribute = PREFLIGHTS[target].partition(":")
        yield from getattr(importlib.import_module(module), attribute)(spec)
    else:
        yield asked("deployment", lambda: open_target(target, spec).check() or "can begin")
