"""The page in Debian's Chromium, which can look up no other host, as somebody uses it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.provider_server import ProviderServer, Reply
from tests.serving import KEY, served, settings

FLAGS = ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
# On a machine that does much else.
expect.set_options(timeout=20_000)

# So many questions, and so many who sign in, in one minute are the tests' own.
LIMITS: dict[str, Any] = {
    "rate_limit_per_minute": 10_000,
    "sign_ins_per_minute": 10_000,
    "user_daily_usd": 1_000.0,
    "deployment_daily_usd": 1_000.0,
}


@contextmanager
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "there is no chromium on the PATH; `make test` installs it on Debian"
    # Chromium's own sandbox refuses to work for root.
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=os.geteuid() != 0)
        yield launched
        launched.close()


class Visit:
    """One tab. `complaints` are errors of its scripts and of the content security policy; `asked` are the addresses
    that it asked for, those that were blocked too."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.origin = ""
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self._heard(line.text))
        self.context.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, line: str) -> None:
        if any(words in line for words in ("Content Security Policy", "TrustedHTML", "Trusted Type")):
            self.complaints.append(line)

    @property
    def elsewhere(self) -> list[str]:
        """What it asked another host, or its own by another way than the network, for; a download is its own."""
        return [url for url in self.asked if not url.startswith((f"{self.origin}/", f"blob:{self.origin}/"))]

    def open(self, url: str) -> Page:
        split = urlsplit(url)
        self.origin = f"{split.scheme}://{split.netloc}"
        self.page.goto(url, timeout=60_000)
        return self.page

    def sign_in(self, url: str, key: str = KEY) -> Page:
        page = self.open(url)
        page.get_by_label("Access key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(self.question).to_be_visible()
        return page

    def ask(self, question: str) -> Locator:
        """Sends a question; the answer that is coming."""
        self.question.fill(question)
        self.page.get_by_role("button", name="Send").click()
        return self.answer

    def ask_whole(self, question: str) -> Locator:
        """Asks, and waits for the end of the answer."""
        answers = self.page.locator(".answer footer")
        count = answers.count()
        self.ask(question)
        expect(answers).to_have_count(count + 1)
        return self.answer

    @property
    def question(self) -> Locator:
        return self.page.get_by_label("Your question")

    @property
    def answer(self) -> Locator:
        """The last one."""
        return self.page.locator(".answer").last

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert self.elsewhere == []


@contextmanager
def talkative(folder: Path, answer: Reply | Callable[[dict[str, Any]], Reply], **fields: Any) -> Iterator[str]:
    """The URL of a bot whose model says what it is told."""
    given = {**LIMITS, "provider": "openai", "openai_api_key": "sk-test", **fields}
    with ProviderServer(answer) as provider, served(settings(folder, openai_base_url=provider.url, **given)) as url:
        yield url
