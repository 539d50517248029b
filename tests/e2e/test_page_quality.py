"""The page for everybody: accessible, light, steady."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Visit, talkative
from tests.provider_server import Reply

AXE = (Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js").read_text()
FIRST_LOAD_BYTES = 150 * 1024
# What Lighthouse calls good.
LAYOUT_SHIFT = 0.1
ANSWER = """\
### Two ways

A *function* [1] or a **container**, see [the guide](https://example.com/):

| way | limit |
|---|---:|
| function | 15 min |

```python
print("hello")  # a comment
```

- one
- two with `code`

> A quotation.
"""
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "light phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 640}},
    "dark phone": {"color_scheme": "dark", "viewport": {"width": 360, "height": 640}},
}
# Texts whose last block is as long as the whole, and one of many blocks.
LONG = {
    "prose": "Some **bold** words, a [link](https://example.com/) and `code`.\n\n- one\n- two\n\n",
    "one paragraph": "Some **bold** words and `code` in a row. ",
    "one list": "- an item of a list that goes on\n",
    "one table": "| a cell | and another | and a third |\n",
    "one code block": "print('a line of code')  # with a comment\n",
}
HEADS = {"one table": "| a | b | c |\n|---|---|---|\n", "one code block": "```python\n"}
FEED = """async ([head, line, length]) => {
    const { Answer } = await import("./answer.js");
    const text = head + line.repeat(Math.ceil(length / line.length));
    const root = document.createElement("div");
    const settled = new Set();
    const answer = new Answer(root, { settled: (elements) => elements.forEach((each) => settled.add(each)) });
    for (let at = 0; at < text.length; at += 20) {
        answer.append(text.slice(at, at + 20));
        answer.step();
    }
    const before = [...root.children].filter((each) => settled.has(each));
    answer.finish(text);
    answer.step();
    return {
        parsed: answer.parsed, length: text.length, text: root.textContent.length, kept: before.length,
        same: before.every((each, at) => root.children[at] === each), blocks: root.children.length,
    };
}"""


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def reply(body: dict[str, Any]) -> Reply:
        return Reply(deltas=tuple(ANSWER[at : at + 12] for at in range(0, len(ANSWER), 12)))

    with talkative(tmp_path_factory.mktemp("bot"), reply) as url:
        yield url


def violations(page: Page) -> list[str]:
    """What axe finds; what is still moving is let come to rest."""
    page.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    return [f"{each['id']}: {json.dumps([node['html'] for node in each['nodes']][:3])}" for each in found]


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation_in_any_state(visits: Callable[..., Visit], bot: str, look: str) -> None:
    visit = visits(**LOOKS[look])
    page = visit.open(bot)
    is_phone = "phone" in look
    expect(page.get_by_label("Access key")).to_be_visible()
    found = {"signed out": violations(page)}

    visit.sign_in(bot)
    expect(page.locator("#usage-today")).to_contain_text("of")
    found["empty"] = violations(page)

    answer = visit.ask_whole("How long can an AWS Lambda function run?")
    expect(answer.locator(".hljs-comment")).to_be_visible()
    answer.get_by_role("button", name="Bad answer").click()
    expect(answer.get_by_label("Comment")).to_be_visible()
    found["answer"] = violations(page)

    if is_phone:
        page.get_by_role("button", name="Conversations").click()
        expect(page.get_by_label("Search conversations")).to_be_in_viewport()
        found["drawer"] = violations(page)
    page.locator("#conversations li:has([aria-current])").get_by_role("button").click()
    found["menu"] = violations(page)
    page.get_by_role("menuitem", name="Rename").click()
    found["renaming"] = violations(page)
    page.keyboard.press("Escape")
    page.locator("#conversations li:has([aria-current])").get_by_role("button").click()
    page.get_by_role("menuitem", name="Delete").click()
    found["deleting"] = violations(page)
    assert {state: named for state, named in found.items() if named} == {}


def test_axe_finds_no_violation_in_the_documentation(visit: Visit, bot: str) -> None:
    page = visit.open(f"{bot}/docs")
    expect(page.locator("#routes h2").last).to_be_visible()
    assert violations(page) == []


def test_first_load_is_light_and_asks_nobody_else(visit: Visit, bot: str) -> None:
    network = visit.context.new_cdp_session(visit.page)
    network.send("Network.enable")
    received: list[float] = []
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    visit.sign_in(bot)
    visit.page.wait_for_load_state("networkidle")

    assert len(received) > 10
    assert sum(received) < FIRST_LOAD_BYTES
    assert visit.elsewhere == []


def test_layout_stays_where_it_is(visit: Visit, bot: str) -> None:
    page = visit.sign_in(bot)
    visit.ask_whole("How long can an AWS Lambda function run?")
    shifts = page.evaluate(
        """() => new Promise((resolve) => new PerformanceObserver((list) => resolve(
            list.getEntries().map(({ value, hadRecentInput }) => (hadRecentInput ? 0 : value))
        )).observe({ type: "layout-shift", buffered: true }) ?? setTimeout(() => resolve([]), 500))"""
    )
    assert sum(shifts) < LAYOUT_SHIFT


@pytest.mark.parametrize("kind", LONG)
def test_long_answer_costs_in_proportion_to_its_length(visit: Visit, bot: str, kind: str) -> None:
    page = visit.open(bot)
    half, whole = (page.evaluate(FEED, [HEADS.get(kind, ""), LONG[kind], length]) for length in (10_000, 20_000))

    assert whole["parsed"] < 2.2 * half["parsed"]
    assert whole["blocks"] < 3 or kind == "prose"
    assert whole["text"] > 0.5 * whole["length"]


def test_items_of_a_long_list_are_left_alone(visit: Visit, bot: str) -> None:
    page = visit.open(bot)
    kept = page.evaluate(
        """async () => {
            const { Answer } = await import("./answer.js");
            const answer = new Answer(document.createElement("div"));
            const add = (from, to) => {
                for (let at = from; at <= to; at++) {
                    answer.append(`${at}. item with **bold** words, number ${at}\\n`);
                    answer.step();
                }
            };
            add(1, 100);
            const [list] = answer.root.children;
            const before = [...list.children].slice(0, 60);
            add(101, 200);
            answer.append("\\nAnd that is all.\\n");
            answer.step();
            answer.finish(answer.text);
            answer.step();
            return {
                same: answer.root.firstChild === list && before.every((each, at) => list.children[at] === each),
                items: list.children.length, last: list.lastChild.textContent, blocks: answer.root.children.length,
            };
        }"""
    )
    assert kept == {"same": True, "items": 200, "last": "item with bold words, number 200", "blocks": 2}


def test_finished_blocks_are_left_alone(visit: Visit, bot: str) -> None:
    page = visit.open(bot)
    fed = page.evaluate(FEED, ["", LONG["prose"], 5_000])

    assert fed["kept"] == fed["blocks"] - 1
    assert fed["same"]


def test_answer_that_streamed_stands_as_one_that_came_whole(visit: Visit, bot: str) -> None:
    """A link that is defined below its use, a list whose items stand apart, a block that never ends."""
    parts = [
        "See [the guide][g] first.",
        "1. one",
        "2. two",
        "   more",
        "[g]: https://example.com/",
        ANSWER,
        "```\nopen",
    ]
    text = "\n\n".join(parts)
    page = visit.open(bot)
    streamed, whole = page.evaluate(
        """async (text) => {
            const { Answer } = await import("./answer.js");
            const made = [];
            for (const size of [1, text.length]) {
                const answer = new Answer(document.createElement("div"));
                for (let at = 0; at < text.length; at += size) {
                    answer.append(text.slice(at, at + size));
                    answer.step();
                }
                answer.finish(text);
                answer.step();
                made.push(answer.root.innerHTML);
            }
            return made;
        }""",
        text,
    )
    assert streamed == whole
