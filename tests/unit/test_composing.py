"""What an answer from the service table says about its sources."""

import pytest

from wordup.composing import composed
from wordup.questions import parse as understood
from wordup.services import parse

TABLE = """
[[service]]
id = "message-queue"
concept = "message queue"
summary = "Work for later."
compare = "Alike."
[[service.aws]]
name = "Amazon SQS"
line = "Queues."
price = "Per request."
url = "https://docs.aws.amazon.com/sqs"
{dates}
"""
READ = """checked = 2026-11-21
limits = [{ what = "message size", value = "1 MiB", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 }]"""
SEEN = """seen = 2026-11-21
limits = [{ what = "message size", value = "1 MiB", source = "https://docs.aws.amazon.com/q", seen = 2026-11-20 }]"""


@pytest.mark.parametrize(
    ("dates", "question", "said"),
    [
        (READ, "How big may an SQS message be?", "**1 MiB** ([source](https://docs.aws.amazon.com/q), 2026-11-20)"),
        (SEEN, "How big may an SQS message be?", "**1 MiB** ([source](https://docs.aws.amazon.com/q), not checked)"),
        (READ, "What does SQS cost?", "Per request. ([source](https://docs.aws.amazon.com/sqs), checked 2026-11-21)"),
        (SEEN, "What does SQS cost?", "Per request. ([source](https://docs.aws.amazon.com/sqs), not checked)"),
        (SEEN, "Was kostet SQS?", "Per request. ([Quelle](https://docs.aws.amazon.com/sqs), nicht geprüft)"),
    ],
)
def test_an_answer_gives_the_day_of_what_was_checked_only(dates: str, question: str, said: str) -> None:
    (service,) = parse(TABLE.replace("{dates}", dates), "messaging", name="messaging.toml")
    assert said in composed(service, understood(question), "[1]")
