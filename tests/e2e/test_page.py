"""The page at `/` in a real browser, which can look up no other host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.serving import KEY, served, settings

FLAGS = ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "there is no chromium on the PATH; `make test` installs it on Debian"
    # Chromium's own sandbox refuses to work for root.
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=os.geteuid() != 0)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose errors, those of the content security policy too, fail the test."""
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    opened.close()
    assert errors == []


def sign_in(page: Page, url: str, key: str = KEY) -> None:
    page.goto(url)
    page.get_by_label("Access key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Send").click()


def test_page_signs_in_asks_and_shows_the_answer(page: Page, tmp_path: Path) -> None:
    with served(settings(tmp_path)) as url:
        sign_in(page, url)
        ask(page, "What is a cold start?")

        expect(page.locator("#conversation .question")).to_have_text("What is a cold start?")
        expect(page.locator("#conversation .answer")).to_contain_text("cold start")
        expect(page.get_by_role("status")).to_contain_text("offline:")


def test_wrong_key_is_refused_with_its_mend(page: Page, tmp_path: Path) -> None:
    with served(settings(tmp_path)) as url:
        sign_in(page, url, "not the key")

        expect(page.get_by_role("status")).to_contain_text("ask the operator for a new one")
        expect(page.get_by_label("Your question")).to_be_hidden()


def test_refused_question_is_given_back_to_be_mended(page: Page, tmp_path: Path) -> None:
    with served(settings(tmp_path, message_characters=20)) as url:
        sign_in(page, url)
        ask(page, "What, if you please, is a cold start?")

        expect(page.get_by_role("status")).to_contain_text("20")
        expect(page.get_by_label("Your question")).to_have_value("What, if you please, is a cold start?")
        expect(page.locator("#conversation .question")).to_have_count(0)


def test_documentation_shows_every_route(page: Page, tmp_path: Path) -> None:
    with served(settings(tmp_path)) as url:
        page.goto(f"{url}/docs")

        expect(page.locator("#routes")).to_contain_text("/v1/sessions")
        expect(page.locator("#routes")).to_contain_text("Idempotency-Key")
