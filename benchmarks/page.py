"""How long the chat page works on an answer of 20,000 characters, beside one that makes all of it anew on each delta.

Both are Debian's Chromium on the served page, with the same library of Markdown and the same sanitiser; the answer
comes through the bot from a stand-in for OpenAI, 50 characters every 5 ms. `page` is the page as it ships. `naive` is
the same page whose answers are made by a loop that many write first: on each delta the whole text to HTML, and that in
the place of what was there. `longest task` is what the browser's own observer of long tasks reports (it sees none
below 50 ms: 0 is none), `blocked` how much all tasks together took beyond 50 ms each, `first paint` the time from
the arrival of the first delta in the page to the frame that shows it. The kinds of text take turns; each row is the
median of its runs.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

from benchmarks import results
from tests.browsing import LIMITS, Visit, chromium
from tests.home import serving
from tests.provider_server import ProviderServer, Reply

RUNS = 3
CHARACTERS = 20_000
DELTA = 50
TEXTS = {
    "prose and code": "Some **bold** words, a [link](https://example.com/) and `code`.\n\n- one\n- two\n\n"
    '```python\nprint("a line of code")  # with a comment\n```\n\n',
    "one list": "- an item of a list that goes on, with `code` in it\n",
    "one paragraph": "Some **bold** words and `code` in a row. ",
}
VERSIONS = ("playwright", "starlette", "uvicorn")
NAIVE = """
import { blocks, nodes, visible } from "./markdown.js";
export class Answer {
  constructor(root, { changed = () => {} } = {}) { this.root = root; this.changed = changed; this.text = ""; }
  reset() { this.text = ""; this.root.replaceChildren(); }
  append(text) { this.text += visible(text); this.show(); }
  show() { this.root.replaceChildren(...blocks(this.text).flatMap(nodes)); this.changed(); }
  async finish(text) { this.text = visible(text); this.show(); }
}
"""
WATCH = """() => {
  window.seen = { long: [], arrived: 0, painted: 0 };
  new PerformanceObserver((list) => seen.long.push(...list.getEntries().map((each) => each.duration)))
    .observe({ type: "longtask" });
  const parse = JSON.parse;
  JSON.parse = (text, ...rest) => {
    const value = parse(text, ...rest);
    if (value && typeof value.text === "string" && !seen.arrived) seen.arrived = performance.now();
    return value;
  };
  new MutationObserver(() => {
    if (seen.painted || !seen.arrived || !document.querySelector(".body")?.textContent.trim()) return;
    seen.painted = -1;
    requestAnimationFrame(() => { const channel = new MessageChannel();
      channel.port1.onmessage = () => (seen.painted = performance.now()); channel.port2.postMessage(0); });
  }).observe(document.getElementById("conversation"), { childList: true, subtree: true });
}"""


def measure(browser: Browser, url: str, key: str, *, naive: bool) -> dict[str, float]:
    visit = Visit(browser, viewport={"width": 1280, "height": 800})
    if naive:
        visit.context.route("**/answer.js", _give_naive)
    page = visit.sign_in(url, key)
    page.wait_for_load_state("networkidle")
    page.evaluate(WATCH)
    visit.ask("Go")
    expect(page.locator(".answer footer")).to_be_visible(timeout=300_000)
    seen = _seen(page)
    visit.close()
    return seen


def _give_naive(route: Route) -> None:
    route.fulfill(content_type="text/javascript", body=NAIVE)


def _seen(page: Page) -> dict[str, float]:
    seen: Any = page.evaluate("seen")
    return {
        "longest_task_ms": max(seen["long"], default=0.0),
        "blocked_ms": sum(each - 50 for each in seen["long"]),
        "first_paint_ms": seen["painted"] - seen["arrived"],
    }


def run(runs: int) -> list[dict[str, results.Cell]]:
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ProviderServer() as provider, chromium() as browser:
        limits = {f"WORDUP_{name.upper()}": str(value) for name, value in LIMITS.items()}
        given = {"OPENAI_API_KEY": "sk-bench", "OPENAI_BASE_URL": provider.url, "WORDUP_ANSWER_TOKENS": "32000"}
        with serving(Path(folder), **given, **limits) as home:
            for _ in range(runs):
                for kind, line in TEXTS.items():
                    text = (line * (CHARACTERS // len(line) + 1))[:CHARACTERS]
                    deltas = tuple(text[at : at + DELTA] for at in range(0, len(text), DELTA))
                    for who in ("page", "naive"):
                        provider.script(Reply(deltas=deltas, delay=0.005))
                        seen = measure(browser, home.url, home.first_key, naive=who == "naive")
                        found.setdefault((kind, who), []).append(seen)
    return [_row(kind, who, seen) for (kind, who), seen in found.items()]


def _row(kind: str, who: str, seen: list[dict[str, float]]) -> dict[str, results.Cell]:
    medians = {name: round(statistics.median(each[name] for each in seen)) for name in seen[0]}
    return {"text": kind, "who": who, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the page on a long answer.")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true", help="the recorded line")
    arguments = parser.parse_args()
    rows = run(arguments.runs)
    blocked = {(row["text"], row["who"]): float(row["blocked_ms"]) for row in rows}
    for row in rows:
        own, naive = blocked[row["text"], "page"], blocked[row["text"], "naive"]
        row["blocked_ratio"] = 1.0 if row["who"] == "page" else round(naive / max(own, 1.0), 1)
    tables = {f"An answer of {CHARACTERS:,} characters, median of {arguments.runs}": rows}
    results.publish("page", tables, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
