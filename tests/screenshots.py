"""The pictures of the page in the README: `make screenshots` writes them."""

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browsing import Visit, chromium, talkative
from tests.provider_server import Reply
from tests.serving import Caller

FOLDER = Path(__file__).parents[1] / "docs" / "images"
EARLIER = ["Which queue would you take on Azure?", "What does a NAT gateway cost?", "Cloud Run or GKE for a small API?"]
QUESTION = "How long can a Lambda function run?"
ANSWER = """\
A **Lambda function** runs for at most **900 seconds** (15 minutes) per invocation [1]. The other clouds go further:

| Service | Longest run | Per million calls |
|---|---:|---:|
| AWS Lambda | 15 min | $0.20 |
| Cloud Run functions | 60 min | $0.40 |
| Azure Functions, Flex | unbounded | $0.40 |

Set the timeout above the slowest call, and put longer work behind a queue:

```python
import boto3

client = boto3.client("lambda")
client.update_function_configuration(FunctionName="report", Timeout=900)  # seconds
```
"""
LOOKS: dict[str, dict[str, Any]] = {
    "page-light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "page-dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "page-phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    deltas = tuple(ANSWER[at : at + 20] for at in range(0, len(ANSWER), 20))
    with (
        tempfile.TemporaryDirectory() as folder,
        talkative(Path(folder), Reply(deltas=deltas), user_daily_usd=0.5) as url,
    ):
        caller = Caller(url)
        for question in (*EARLIER, QUESTION):
            caller.ask(question).raise_for_status()
        caller.http.close()
        with chromium() as browser:
            for name, look in LOOKS.items():
                visit = Visit(browser, **look)
                page = visit.sign_in(url)
                if name == "page-phone":
                    page.get_by_role("button", name="Conversations").click()
                page.get_by_role("link", name=QUESTION).click()
                expect(page.locator(".hljs-comment")).to_be_visible()
                page.locator("#log").evaluate("log => log.scrollTop = 0")
                page.locator("#title").click()  # out of the field, whose caret blinks
                page.wait_for_timeout(500)
                page.screenshot(path=FOLDER / f"{name}.png")
                visit.close()
                print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
