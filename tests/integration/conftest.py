from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Caller, served, settings


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bot at home with the offline provider and roomy limits."""
    folder = tmp_path_factory.mktemp("home")
    with served(settings(folder, rate_limit_per_minute=10_000, sign_ins_per_minute=10_000)) as address:
        yield address


@pytest.fixture(scope="module")
def caller(url: str) -> Caller:
    return Caller(url)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty data folder."""
    return tmp_path / "home"
