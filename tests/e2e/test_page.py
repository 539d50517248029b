"""The page at `/` in a real browser: what somebody does there."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Visit, talkative
from tests.issuer import issuer
from tests.provider_server import Reply
from tests.serving import KEY, Caller, served, settings

MARKDOWN = """\
## Limits

A function runs for **900 seconds** at most [1], says [the guide](https://example.com/guide).

| cloud | minutes |
|---|---:|
| AWS | 15 |

```python
def handler(event):
    return "done"  # the answer
```

```hcl
resource "aws_lambda_function" "report" {}
```
"""
SENTENCES = [f"This is sentence {word}. " for word in "one two three four five six seven eight".split()]


def split(text: str, size: int = 9) -> tuple[str, ...]:
    return tuple(text[at : at + size] for at in range(0, len(text), size))


REPLIES = {
    "Markdown": Reply(deltas=split(MARKDOWN)),
    "Slowly": Reply(deltas=("word ",), delay=0.05, endless=True),
    "Sentences": Reply(deltas=split("".join(SENTENCES), 4), delay=0.005),
    "Fails": Reply(status=500),
    "Breaks": Reply(deltas=("Half of it. ", "and"), cut_after=1),
}


def reply(body: dict[str, Any]) -> Reply:
    asked = body["messages"][-1]["content"]
    return REPLIES.get(asked.partition(":")[0], Reply(deltas=(f"You asked: {asked}",)))


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with talkative(tmp_path_factory.mktemp("bot"), reply, message_characters=2_000) as url:
        yield url


@pytest.fixture
def page(visit: Visit, bot: str) -> Page:
    return visit.sign_in(bot)


def test_wrong_key_is_refused_in_clear_words(visit: Visit, bot: str) -> None:
    page = visit.open(bot)
    page.get_by_label("Access key").fill("not the key")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("status")).to_contain_text("ask the operator for a new one")
    expect(visit.question).to_be_hidden()


def test_session_lasts_as_long_as_the_tab_and_the_key_is_kept_nowhere(visit: Visit, page: Page, bot: str) -> None:
    kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    page.reload()
    expect(visit.question).to_be_visible()
    assert "token" in kept
    assert KEY not in kept

    stranger = visit.context.new_page()
    stranger.goto(bot)
    expect(stranger.get_by_label("Access key")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access key")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('wordup.session')") is None


def test_bot_without_keys_asks_for_none(visit: Visit, tmp_path: Path) -> None:
    with served(settings(tmp_path, auth="open", access_key="")) as url:
        visit.open(url)
        answer = visit.ask_whole("What is a cold start?")

        expect(answer).to_contain_text("cold start")
        expect(answer.locator(".facts")).to_contain_text("offline:")


def test_issuer_signs_in_by_pkce(visit: Visit, tmp_path: Path) -> None:
    with issuer(tmp_path) as provider:
        oidc = {"auth": "oidc", "oidc_issuer": provider.url, "oidc_audience": "page", "oidc_client_id": "page"}
        with served(settings(tmp_path, **oidc)) as url:
            page = visit.open(f"{url}/")
            expect(page.get_by_label("Access key")).to_be_hidden()
            with page.expect_request(f"{provider.url}/auth?*") as left:
                page.get_by_role("button", name="Sign in").click()
            assert "code_challenge_method=S256" in left.value.url
            page.locator("[name=login]").fill("anna")
            page.locator("[name=password]").fill("any")
            page.get_by_role("button", name="Sign-in").click()
            page.get_by_role("button", name="Continue").click()

            expect(visit.question).to_be_visible()
            assert page.url == f"{url}/"
            expect(visit.ask_whole("What is S3?").locator(".facts")).to_contain_text("offline:")
            visit.asked[:] = [url for url in visit.asked if url.startswith(visit.origin)]


def test_code_that_this_page_did_not_ask_for_is_refused(visit: Visit, tmp_path: Path) -> None:
    with issuer(tmp_path) as provider:
        oidc = {"auth": "oidc", "oidc_issuer": provider.url, "oidc_audience": "page", "oidc_client_id": "page"}
        with served(settings(tmp_path, **oidc)) as url:
            page = visit.open(f"{url}/?code=stolen&state=guessed")
            expect(page.locator("#sign-in-status")).to_have_text("This sign-in was not begun here. Try again.")
            expect(visit.question).to_be_hidden()
            assert page.url == f"{url}/"


def test_answer_shows_its_markdown_model_and_cost(visit: Visit, page: Page) -> None:
    answer = visit.ask_whole("Markdown")

    expect(page.locator(".question p")).to_have_text("Markdown")
    expect(answer.get_by_role("heading", name="Limits")).to_be_visible()
    expect(answer.locator("strong")).to_have_text("900 seconds")
    expect(answer.get_by_role("columnheader", name="cloud")).to_be_visible()
    assert answer.locator("td").all_inner_texts() == ["AWS", "15"]
    expect(answer.locator(".model")).to_have_text("openai:gpt-6-luna")
    expect(answer.locator(".cost")).to_have_text(re.compile(r"\$0\.\d+"))
    link = answer.get_by_role("link", name="the guide")
    expect(link).to_have_attribute("href", "https://example.com/guide")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(link).to_have_attribute("target", "_blank")


def test_code_is_coloured_and_copied(visit: Visit, page: Page) -> None:
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer = visit.ask_whole("Markdown")

    expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    expect(answer.locator(".language-hcl .hljs-keyword")).to_have_text("resource")
    answer.get_by_role("button", name="Copy code").first.click()
    expect(answer.get_by_role("button", name="Copy code").first).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == MARKDOWN.partition("```python\n")[2].partition("```")[0]


def test_highlighter_is_fetched_only_when_there_is_code(visit: Visit, page: Page) -> None:
    visit.ask_whole("Hello")
    assert not any("highlight" in url for url in visit.asked)
    visit.ask_whole("Markdown")
    expect(page.locator(".hljs-keyword").first).to_be_visible()
    fetched = {url.rpartition("/")[2] for url in visit.asked if "/languages/" in url}
    assert fetched == {"python.min.js"}


def test_sources_are_numbered_and_open(visit: Visit, page: Page) -> None:
    page.route("https://docs.aws.amazon.com/**", lambda route: route.fulfill(body="the source"))
    visit.context.route("https://docs.aws.amazon.com/**", lambda route: route.fulfill(body="the source"))
    visit.ask_whole("How long can an AWS Lambda function run?")
    answer = visit.ask_whole("Markdown: how long can an AWS Lambda function run?")

    first = answer.locator(".sources li").first
    answer.get_by_role("link", name=re.compile("^Source 1: ")).click()
    expect(first).to_be_focused()
    with visit.context.expect_page() as opened:
        first.get_by_role("link").click()
    assert opened.value.url == first.get_by_role("link").get_attribute("href")
    assert opened.value.evaluate("window.opener") is None
    visit.asked[:] = [url for url in visit.asked if url != opened.value.url]


def test_answer_streams_and_stops(visit: Visit, page: Page) -> None:
    answer = visit.ask("Slowly")
    expect(answer.locator(".body")).to_contain_text("word word word")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()

    expect(answer.locator(".note")).to_have_text("Stopped before its end.")
    expect(answer.locator(".body")).to_contain_text("word word word")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_answer_is_given_again_in_its_place(visit: Visit, page: Page, bot: str) -> None:
    visit.ask_whole("Regenerate this")
    page.get_by_role("button", name="Regenerate", exact=True).click()
    expect(page.locator("#conversation")).to_have_attribute("aria-busy", "false")

    expect(page.locator(".question")).to_have_count(1)
    expect(visit.answer.locator(".body")).to_have_text("You asked: Regenerate this")
    usage = page.locator("#usage-more")
    expect(usage).not_to_have_text("No answers yet.")
    conversation = page.url.partition("#")[2]
    stored = Caller(bot).http.get(f"/v1/conversations/{conversation}").json()
    assert stored["conversation"]["turns"] == 1


def test_topic_cards_ask_their_questions(visit: Visit, page: Page) -> None:
    cards = page.locator(".topic")
    assert cards.locator("h2").all_inner_texts() == ["AWS", "Google Cloud", "Azure"]
    starter = page.get_by_role("region", name="Azure").get_by_role("button").first
    question = starter.inner_text()
    starter.click()

    expect(page.locator(".question p")).to_have_text(question)
    expect(visit.answer.locator(".body")).to_have_text(f"You asked: {question}")
    expect(cards.first).to_be_hidden()


def test_conversations_are_listed_searched_and_opened(visit: Visit, page: Page) -> None:
    visit.ask_whole("About zebras")
    page.get_by_role("button", name="New conversation").click()
    visit.ask_whole("About yaks")
    listed = page.locator("#conversations a")
    expect(listed.nth(0)).to_have_text("About yaks")
    expect(listed.nth(1)).to_have_text("About zebras")

    page.get_by_label("Search conversations").fill("ZEBRA")
    expect(listed).to_have_text(["About zebras"])
    listed.first.click()
    expect(page.locator(".question p")).to_have_text("About zebras")
    expect(page.get_by_role("heading", level=1)).to_have_text("About zebras")
    page.get_by_label("Search conversations").fill("no such animal")
    expect(page.get_by_text("No conversation has this in its title.")).to_be_visible()

    page.go_back()
    expect(page.locator(".question p")).to_have_text("About yaks")


def test_search_finds_what_is_not_listed_yet(visit: Visit, bot: str) -> None:
    caller = Caller(bot)
    caller.ask("The needle")
    for number in range(31):
        caller.ask(f"Hay {number}")
    page = visit.sign_in(bot)

    expect(page.locator("#conversations a")).to_have_count(30)
    page.get_by_label("Search conversations").fill("needle")
    expect(page.locator("#conversations a").first).to_have_text("The needle")


def test_conversation_is_renamed_exported_and_deleted(visit: Visit, page: Page) -> None:
    visit.ask_whole("Give me a name")

    def act(name: str) -> None:
        page.locator("#conversations li:has([aria-current])").get_by_role("button").click()
        page.get_by_role("menuitem", name=name).click()

    act("Rename")
    page.get_by_label("Title").fill("The named one")
    page.keyboard.press("Enter")
    expect(page.locator("#conversations a").first).to_have_text("The named one")
    expect(page.get_by_role("heading", level=1)).to_have_text("The named one")

    with page.expect_download() as markdown:
        act("Export as Markdown")
    assert "You asked: Give me a name" in Path(markdown.value.path()).read_text()
    with page.expect_download() as exported:
        act("Export as JSON")
    content = json.loads(Path(exported.value.path()).read_bytes())
    assert content["conversation"]["title"] == "The named one"
    assert exported.value.suggested_filename == f"conversation-{content['conversation']['id']}.json"

    act("Delete")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#conversations a").first).to_have_text("The named one")
    act("Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#conversations").get_by_text("The named one")).to_have_count(0)
    expect(page.locator(".lead")).to_be_visible()


def test_feedback_takes_reasons_and_a_comment_and_can_be_taken_back(visit: Visit, page: Page, bot: str) -> None:
    answer = visit.ask_whole("Rate this")
    conversation = page.url.partition("#")[2]

    def stored() -> Any:
        messages = Caller(bot).http.get(f"/v1/conversations/{conversation}").json()["messages"]
        return messages[1].get("feedback")

    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_label("Out of date").check()
    answer.get_by_label("Comment").fill("There is a newer limit.")
    answer.get_by_role("button", name="Send feedback").click()
    expect(answer.get_by_role("status")).to_have_text("Thank you.")
    assert stored() == {"rating": "down", "reasons": ["Out of date"], "comment": "There is a newer limit."}

    page.reload()
    thumb = visit.answer.get_by_role("button", name="Bad answer")
    expect(thumb).to_have_attribute("aria-pressed", "true")
    with page.expect_response("**/feedback"):
        thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "false")
    assert stored() is None


def test_usage_stands_beside_its_limit(visit: Visit, tmp_path: Path) -> None:
    with talkative(tmp_path, reply, user_daily_usd=0.5) as url:
        page = visit.sign_in(url)
        expect(page.locator("#usage-today")).to_have_text("$0.00 of $0.50")
        visit.ask_whole("What does this cost?")
        expect(page.locator("#usage-today")).to_have_text(re.compile(r"\$0\.000\d+ of \$0\.50"))
        expect(page.locator("#usage-more")).to_contain_text("1 answer today")
        assert page.locator("#usage-meter").evaluate("meter => meter.value") > 0


def test_chosen_model_answers(visit: Visit, page: Page) -> None:
    page.get_by_label("Model").select_option("openai:gpt-6.1-terra")
    answer = visit.ask_whole("Who are you?")
    expect(answer.locator(".model")).to_have_text("openai:gpt-6.1-terra")


def test_everything_is_done_by_keyboard(visit: Visit, bot: str) -> None:
    page = visit.open(bot)
    keys = page.keyboard
    expect(page.get_by_label("Access key")).to_be_focused()
    keys.type(KEY)
    keys.press("Enter")
    expect(visit.question).to_be_focused()
    keys.type("One line")
    keys.press("Shift+Enter")
    keys.type("and another")
    keys.press("Enter")
    expect(visit.answer.locator("footer")).to_be_visible()
    expect(page.locator(".question p")).to_have_text("One line\nand another")
    expect(visit.question).to_be_focused()

    keys.type("Slowly")
    keys.press("Enter")
    expect(visit.answer.locator(".body")).to_contain_text("word word")
    keys.press("Escape")
    expect(visit.answer.locator(".note")).to_have_text("Stopped before its end.")

    page.locator("#conversations [aria-current]").focus()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    keys.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_every_control_is_reached_by_the_tab_key(visit: Visit, page: Page) -> None:
    visit.ask_whole("Markdown: all of it")
    wanted = page.locator(
        ":is(button, a[href], select, textarea, input, pre, .table):visible:not([tabindex='-1'])"
    ).evaluate_all("all => all.filter(each => each.checkVisibility({visibilityProperty: true})).length")
    page.evaluate("document.activeElement.blur(); window.reached = new Set()")
    for _ in range(wanted + 15):
        page.keyboard.press("Tab")
        page.evaluate("reached.add(document.activeElement)")
    missed = page.locator(":is(button, a[href], select, textarea, input, pre, .table):visible").evaluate_all(
        "all => all.filter(each => !reached.has(each)).map(each => each.outerHTML)"
    )
    assert missed == []


def test_screen_reader_hears_whole_sentences(visit: Visit, page: Page) -> None:
    page.evaluate(
        """() => {
            window.heard = [];
            new MutationObserver((changes) => {
                for (const { addedNodes } of changes) for (const node of addedNodes) heard.push(node.textContent);
            }).observe(document.getElementById("announcer"), { childList: true });
        }"""
    )
    visit.ask_whole("Sentences")
    heard = page.evaluate("heard")
    deltas = len(REPLIES["Sentences"].deltas)

    assert heard[-1] == "End of the answer."
    assert " ".join(heard[:-1]).split() == "".join(SENTENCES).split()
    assert all(sentence.endswith(".") for sentence in heard)
    assert len(heard) <= len(SENTENCES) + 1 < deltas
    expect(page.locator("#announcer")).to_have_attribute("aria-live", "polite")


def test_theme_follows_the_system_until_it_is_chosen(visits: Callable[..., Visit], bot: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = visits(color_scheme="light").sign_in(bot), visits(color_scheme="dark").sign_in(bot)
    assert light.evaluate(ground) != dark.evaluate(ground)

    chosen = dark.get_by_role("button", name="Theme: Auto")
    chosen.click()
    assert dark.evaluate(ground) == light.evaluate(ground)
    dark.reload()
    expect(dark.get_by_role("button", name="Theme: Light")).to_be_visible()
    assert dark.evaluate(ground) == light.evaluate(ground)


def test_phone_shows_everything_within_its_width(visits: Callable[..., Visit], bot: str) -> None:
    visit = visits(viewport={"width": 360, "height": 640})
    page = visit.sign_in(bot)
    visit.ask_whole("Markdown")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#log").evaluate("log => log.scrollWidth - log.clientWidth") == 0

    expect(page.locator("#side")).not_to_be_in_viewport()
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("button", name="New conversation")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator("#side")).not_to_be_in_viewport()
    expect(page.get_by_role("button", name="Conversations")).to_be_focused()


def test_page_says_that_an_ai_answers(visit: Visit, bot: str) -> None:
    page = visit.open(bot)
    expect(page.locator("#sign-in").get_by_text("An AI answers, and it can be wrong.")).to_be_visible()
    visit.sign_in(bot)
    expect(page.locator("#ask").get_by_text("An AI answers, and it can be wrong.")).to_be_visible()


def test_refused_question_is_given_back_to_be_mended(visit: Visit, page: Page) -> None:
    visit.ask("x" * 2_001)

    expect(visit.status).to_contain_text("longer than 2,000 characters")
    expect(visit.question).to_have_value("x" * 2_001)
    expect(page.locator(".question")).to_have_count(0)


def test_failed_answer_can_be_tried_again(visit: Visit, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = visit.ask("Breaks")
    expect(answer.get_by_role("alert")).to_contain_text("broke off")
    expect(answer.get_by_role("alert")).to_contain_text("Reference: ")
    expect(answer.locator(".body")).to_contain_text("Half of it.")

    monkeypatch.setitem(REPLIES, "Breaks", Reply(deltas=("Whole now.",)))
    answer.get_by_role("button", name="Try again").click()
    expect(answer.locator(".body")).to_have_text("Whole now.")
    expect(answer.get_by_role("alert")).to_have_count(0)


def test_question_of_a_failed_answer_can_be_edited(visit: Visit, page: Page) -> None:
    answer = visit.ask("Fails: please")
    answer.get_by_role("button", name="Edit the question").click()
    expect(visit.question).to_have_value("Fails: please")
    expect(page.locator(".question")).to_have_count(0)


def test_what_was_typed_outlives_the_page(visit: Visit, page: Page) -> None:
    visit.question.fill("half a thought")
    page.reload()
    expect(visit.question).to_have_value("half a thought")


def test_question_under_way_outlives_the_page(visit: Visit, page: Page, bot: str) -> None:
    visit.ask("Slowly: before the reload")
    expect(visit.answer.locator(".body")).to_contain_text("word word")
    page.reload()

    expect(page.locator(".question p")).to_have_text("Slowly: before the reload")
    expect(visit.answer.locator(".note")).to_have_text("Stopped before its end.")
    expect(visit.answer.locator(".body")).to_contain_text("word word")
    conversation = page.url.partition("#")[2]
    assert Caller(bot).http.get(f"/v1/conversations/{conversation}").json()["conversation"]["turns"] == 1


def test_ended_session_keeps_what_was_typed(visit: Visit, page: Page, bot: str) -> None:
    page.evaluate("""() => {
        const session = JSON.parse(sessionStorage.getItem("wordup.session"));
        sessionStorage.setItem("wordup.session", JSON.stringify({ ...session, token: "no.longer.valid" }));
    }""")
    visit.ask("Will this be lost?")
    expect(page.locator("#sign-in-status")).to_contain_text("Sign in again; what you typed is still here.")
    page.get_by_label("Access key").fill(KEY)
    page.keyboard.press("Enter")
    expect(visit.question).to_be_focused()
    expect(visit.question).to_have_value("Will this be lost?")
    page.keyboard.press("Enter")
    expect(visit.answer.locator(".body")).to_have_text("You asked: Will this be lost?")


def test_session_is_renewed_before_it_ends(visit: Visit, page: Page) -> None:
    page.evaluate("""() => {
        const session = JSON.parse(sessionStorage.getItem("wordup.session"));
        sessionStorage.setItem("wordup.session", JSON.stringify({ ...session, expires: Date.now() + 60_000 }));
    }""")
    with page.expect_response("**/v1/sessions") as renewed:
        visit.ask_whole("Still here?")
    assert renewed.value.status == 201
    assert page.evaluate("JSON.parse(sessionStorage.getItem('wordup.session')).expires - Date.now()") > 600_000


def test_documentation_shows_every_route(visit: Visit, bot: str) -> None:
    page = visit.open(f"{bot}/docs")

    expect(page.locator("#routes")).to_contain_text("/v1/sessions")
    expect(page.locator("#routes")).to_contain_text("Idempotency-Key")
