"""The page on the embedded cloud, behind API Gateway with its stage in the path."""

import re
from collections.abc import Callable, Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import Visit, chromium
from tests.e2e.conftest import DeployedBot

# A deployment builds the package, starts Node several times and an AWS: on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(600)

QUESTION = "How long can an AWS Lambda function run?"


@pytest.fixture(scope="module")
def browser(deployed_bot: DeployedBot) -> Iterator[Browser]:
    """After the deployment, which needs an event loop of its own."""
    with chromium() as launched:
        yield launched


def test_deployed_page_signs_in_asks_and_keeps_the_conversation(visit: Visit, deployed_bot: DeployedBot) -> None:
    page = visit.sign_in(deployed_bot.url, deployed_bot.key)
    answer = visit.ask_whole(QUESTION)

    expect(answer.locator(".body")).to_contain_text("15 minutes")
    expect(answer.locator(".sources a").first).to_have_attribute("href", re.compile("^https://"))
    expect(answer.locator(".facts")).to_contain_text("offline:")
    page.reload()
    expect(page.locator(".question p")).to_have_text(QUESTION)
    page.get_by_role("button", name="Good answer").click()
    page.get_by_role("button", name="Send feedback").click()
    expect(visit.answer.get_by_role("status")).to_have_text("Thank you.")
    prefix = deployed_bot.url.removeprefix(visit.origin)
    assert prefix.strip("/")
    assert [url for url in visit.asked if not url.startswith(deployed_bot.url)] == []


def test_deployed_answer_is_given_again_and_deleted(visits: Callable[..., Visit], deployed_bot: DeployedBot) -> None:
    visit = visits(viewport={"width": 360, "height": 640})
    page = visit.sign_in(deployed_bot.url, deployed_bot.key)
    visit.ask_whole(QUESTION)
    page.get_by_role("button", name="Regenerate", exact=True).click()
    expect(page.locator("#conversation")).to_have_attribute("aria-busy", "false")
    expect(page.locator(".answer footer")).to_have_count(1)

    page.get_by_role("button", name="Conversations").click()
    page.locator("#conversations li:has([aria-current])").get_by_role("button").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".lead")).to_be_visible()


def test_deployed_page_is_packed_on_its_way(deployed_bot: DeployedBot) -> None:
    address = f"{deployed_bot.url}vendor/markdown-it.esm.min.mjs"
    packed = httpx2.get(address, headers={"accept-encoding": "gzip"})
    plain = httpx2.get(address, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.num_bytes_downloaded < 0.5 * len(plain.content)
