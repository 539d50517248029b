"""Runs the store suite on every registered store and every database that it has, and says on how many."""

import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.backends import BACKENDS, Database, Open
from tests.emulators import Emulators
from wordup.bootstrap import STORES, adapter
from wordup.stores.base import Store
from wordup.stores.retry import Retry

CASES = [name for store in STORES for name, backend in BACKENDS.items() if backend.store == store]
MISSING = set(STORES) - {backend.store for backend in BACKENDS.values()}


class Clock:
    """Begins now and goes on only when told, so that no database's own expiry interferes."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: int) -> int:
        """An expiry so many seconds from now."""
        return int(self.now) + seconds


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Generator[Emulators]:
    running = Emulators(tmp_path_factory.mktemp("emulators"))
    # A run that is cancelled from outside ends like one that is interrupted: with its emulators stopped.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield running
    signal.signal(signal.SIGTERM, before)
    running.stop()


@pytest.fixture(params=CASES)
async def database(
    request: pytest.FixtureRequest, emulators: Emulators, tmp_path: Path, record_property: Any
) -> AsyncGenerator[Database]:
    backend = BACKENDS[request.param]
    record_property("backend", request.param)
    async with backend.database(adapter(STORES, backend.store, "WORDUP_STORE"), emulators, tmp_path) as database:
        yield database


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def no_wait(_: float) -> None:
    """For Retry: the waits of a test are not what it is about."""


@pytest.fixture
async def open_store(database: Database, clock: Clock) -> AsyncGenerator[Open]:
    """Opens stores with the test's clock, and closes them."""
    opened: list[Store] = []

    def open_one(*, clock: Any = clock, retry: Retry | None = None) -> Store:
        opened.append(database.open(clock=clock, retry=retry))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


def pytest_collection_modifyitems() -> None:
    if MISSING:
        raise pytest.UsageError(f"no line in tests/conformance/backends.py for the stores {sorted(MISSING)}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = Counter(
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "backend"
    )
    if passed:
        counts = ", ".join(f"{name} {count}" for name, count in passed.items())
        line = f"store conformance: {max(passed.values())} cases x {len(passed)} databases, {passed.total()} passed"
        terminalreporter.write_line(f"{line} ({counts})")
