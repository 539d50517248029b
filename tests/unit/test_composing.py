"""What an answer from the service table says about its sources."""

import pytest

from wordup.composing import composed, named, tells_limit
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


LIMITS = TABLE.replace(
    "{dates}",
    """checked = 2026-11-21
limits = [
  { what = "price of a message", value = "1 USD", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 },
  { what = "policy size", value = "20 KB", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 },
  { what = "single batch", value = "256 KiB", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 },
  { what = "largest message", value = "1 MiB", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 },
  { what = "retention", value = "14 days", source = "https://docs.aws.amazon.com/q", checked = 2026-11-20 },
]""",
)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("How big may a message in SQS be?", "largest message: **1 MiB**"),
        ("How large can one single thing in SQS be?", "largest message: **1 MiB**"),
        ("What is the retention limit of SQS?", "retention: **14 days**"),
        ("How long may a message in SQS lie there?", "retention: **14 days**"),
        ("¿Cuánto tiempo puede quedarse un mensaje en SQS?", "retention: **14 days**"),
    ],
)
def test_the_limit_that_is_asked_for_comes_first(question: str, first: str) -> None:
    (service,) = parse(LIMITS, "messaging", name="messaging.toml")
    assert composed(service, understood(question), "[1]").split("\n\n")[1].startswith(f"- Amazon SQS, {first}")


def test_an_entry_tells_a_limit_of_what_is_asked_for_only() -> None:
    (service,) = parse(LIMITS, "messaging", name="messaging.toml")
    assert tells_limit(service, understood("How long is the retention of a message at most?"))
    assert tells_limit(service, understood("How many of them may SQS have?"))
    assert not tells_limit(service, understood("How many security rules may a firewall have?"))
    assert not tells_limit(service, understood("How many regional replicas may SQS have?"))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How many regional replicas may SQS have?", "This figure is not in my built-in knowledge"),
        ("What are the limits of SQS?", "- Amazon SQS, largest message"),
        ("Which size is the maximum of SQS?", "- Amazon SQS, largest message"),
        ("¿Cuántos enchufes como máximo en SQS?", "- Amazon SQS, "),
    ],
)
def test_a_limit_that_is_not_known_is_told_so(question: str, said: str) -> None:
    (service,) = parse(LIMITS, "messaging", name="messaging.toml")
    assert composed(service, understood(question), "[1]").split("\n\n")[1].startswith(said)


NAMES = """
[[service]]
id = "pipe"
concept = "pipe"
summary = "Moves things."
compare = "They differ."
[[service.aws]]
name = "Amazon Pipes"
aliases = ["Flow Manager"]
line = "A pipe."
price = "By thing."
url = "https://docs.aws.amazon.com/pipes"
checked = 2026-11-21
[[service.gcp]]
name = "Cloud Pipes"
aliases = ["Flows Manager"]
line = "A pipe."
price = "By thing."
url = "https://docs.cloud.google.com/pipes"
checked = 2026-11-21
[[service.azure]]
name = "Azure Pipes"
line = "A pipe."
price = "By thing."
url = "https://learn.microsoft.com/pipes"
checked = 2026-11-21
"""


@pytest.mark.parametrize(
    ("question", "clouds"),
    [
        ("Which Google Cloud service does what Azure Pipes do?", {"azure"}),
        ("What takes the place of AWS Pipes on Azure?", {"aws"}),
        ("How many steps has a Flow Manager?", {"aws"}),
        ("Flows Managers and their limits on AWS", {"aws"}),
        ("How many may a cloud pipe have?", {"gcp"}),
        ("Can a manager see the flow?", {"aws"}),
        ("How long is a piece of string?", set[str]()),
    ],
)
def test_a_name_is_that_of_the_cloud_that_is_asked_about(question: str, clouds: set[str]) -> None:
    (service,) = parse(NAMES, "messaging", name="messaging.toml")
    assert {cloud for cloud, _ in named(service, understood(question))} == clouds
