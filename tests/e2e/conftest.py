from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

from tests.browsing import Visit, chromium
from tests.deploying import EmbeddedCloud, embedded_cloud
from tests.serving import Caller


class DeployedBot(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is the owner's access key; `cloud` is where it runs."""

    url: str
    key: str
    answer: str
    cloud: EmbeddedCloud

    def sign_in(self) -> Caller:
        return self.cloud.caller(self.url, self.key)


@pytest.fixture(scope="session")
def deployed_bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedBot]:
    """The bot on API Gateway, Lambda and DynamoDB, deployed once for all tests by the command that people type."""
    with embedded_cloud(tmp_path_factory.mktemp("embedded") / "aws") as cloud:
        done = cloud.wordup("deploy")
        outputs = cloud.wordup("outputs")
        yield DeployedBot(url=done["url"], key=outputs["access_key"], answer=done["answer"], cloud=cloud)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: while it runs, Playwright's event loop keeps every other from starting in this thread."""
    with chromium() as launched:
        yield launched


@pytest.fixture
def visits(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens tabs; each is closed, and its complaints fail the test."""
    opened: list[Visit] = []

    def visit(**options: Any) -> Visit:
        opened.append(Visit(browser, **options))
        return opened[-1]

    yield visit
    for each in opened:
        each.close()


@pytest.fixture
def visit(visits: Callable[..., Visit]) -> Visit:
    return visits()
