"""A text longer than the model's context on the page: how much of it has been read is told until the answer begins."""

import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browsing import Visit, talkative
from tests.provider_server import Reply

TEXT = "".join(f"Paragraph {n} tells that gate {n} opens at dawn and closes at dusk.\n\n" for n in range(1, 2_001))

# A model of unknown context.
LONG = {"message_characters": 200_000, "model": "openai:stand-in", "model_prices": "openai:stand-in=0/0"}


def test_parts_that_were_read_are_told(visit: Visit, tmp_path: Path) -> None:
    go_on = threading.Event()
    parts: list[str] = []

    def reply(body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        if not asked.lstrip().startswith("Paragraph"):
            return Reply(deltas=("They open.",))
        parts.append(asked)
        if len(parts) == 2:
            go_on.wait(60)
        return Reply(deltas=("- gates",))

    with talkative(tmp_path, reply, **LONG) as url:
        page = visit.sign_in(url)
        # As it is pasted: typed, a text of this length takes Chromium half a minute.
        visit.question.evaluate("(field, text) => (field.value = text)", f"Summarise this text:\n{TEXT}")
        visit.question.dispatch_event("input")
        page.get_by_role("button", name="Send").click()
        answer = visit.answer
        expect(answer.locator(".note")).to_contain_text("Read 1 of ")
        go_on.set()
        expect(answer.locator(".body")).to_have_text("They open.")

    assert len(parts) > 1
