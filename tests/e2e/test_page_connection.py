"""The page behind a proxy with a path of its own, which loses connections."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browsing import Visit, talkative
from tests.prefix_proxy import PREFIX, PrefixProxy
from tests.provider_server import Reply

WORDS = "one two three four five six seven eight nine ten "


def reply(body: dict[str, Any]) -> Reply:
    return Reply(deltas=tuple(word + " " for word in WORDS.split()), delay=0.02)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefixProxy]:
    with talkative(tmp_path_factory.mktemp("bot"), reply) as url, PrefixProxy(url) as proxy:
        yield proxy


def test_page_works_under_a_path_prefix(visit: Visit, proxy: PrefixProxy) -> None:
    page = visit.sign_in(proxy.url)
    answer = visit.ask_whole("Count")
    page.reload()

    expect(answer.locator(".body")).to_have_text(WORDS.strip())
    paths = [url.removeprefix(visit.origin) for url in visit.asked]
    assert [path for path in paths if not path.startswith(f"{PREFIX}/")] == []


def test_broken_answer_is_resumed_and_paid_once(visit: Visit, proxy: PrefixProxy) -> None:
    visit.sign_in(proxy.url)
    proxy.keys.clear()
    proxy.cut()
    answer = visit.ask("Count once")

    expect(answer.locator(".note")).to_contain_text("The connection was lost. Connecting again")
    expect(answer.locator(".body")).to_have_text(WORDS.strip(), timeout=15_000)
    expect(answer.locator("footer")).to_be_visible()
    assert len(proxy.keys) >= 2
    assert len(set(proxy.keys)) == 1


def test_lost_connection_is_told_and_what_was_asked_is_kept(visit: Visit, proxy: PrefixProxy) -> None:
    page = visit.sign_in(proxy.url)
    page.clock.install()
    proxy.keys.clear()
    with proxy.down():
        answer = visit.ask("Is anybody there?")
        for _ in range(6):
            page.clock.run_for(10_000)
            page.wait_for_timeout(50)
        expect(answer.get_by_role("alert")).to_contain_text("The connection was lost.")
        expect(page.locator(".question p")).to_have_text("Is anybody there?")
    answer.get_by_role("button", name="Try again").click()
    page.clock.resume()
    expect(answer.locator(".body")).to_have_text(WORDS.strip())
    assert len(proxy.keys) >= 6
    assert len(set(proxy.keys)) == 1


def test_offline_browser_waits_until_it_is_online(visit: Visit, proxy: PrefixProxy) -> None:
    visit.sign_in(proxy.url)
    visit.context.set_offline(True)
    expect(visit.status).to_contain_text("You are offline.")
    answer = visit.ask("Later, please")
    expect(answer.locator(".note")).to_contain_text("The connection was lost.")
    visit.context.set_offline(False)

    expect(answer.locator(".body")).to_have_text(WORDS.strip())
