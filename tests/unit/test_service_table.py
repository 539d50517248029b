"""The table of services in knowledge/services: complete, unique, dated, and from the vendors' own documentation."""

import datetime
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wordup.errors import ConfigurationError
from wordup.services import CLOUDS, Service, load, parse

ROOT = Path(__file__).parents[2]
DOCUMENTATION = {
    "aws": {"docs.aws.amazon.com", "aws.amazon.com"},
    "gcp": {"docs.cloud.google.com", "cloud.google.com", "firebase.google.com", "developers.google.com"},
    "azure": {"learn.microsoft.com", "azure.microsoft.com"},
}
VENDORS = {"aws": ("AWS", "Amazon"), "gcp": ("Google",), "azure": ("Azure", "Microsoft")}
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MONEY = re.compile(r"[0-9][0-9.,]* USD")
# Names that two clouds really share.
SHARED = {"api gateway", "identity and access management", "metrics explorer", "virtual private cloud"}


@pytest.fixture(scope="module")
def services() -> list[Service]:
    return load(ROOT / "knowledge" / "services")


def texts(service: Service) -> Iterator[str]:
    yield from (service.id, service.concept, *service.aliases, service.summary, service.compare)
    for _, offer in service.offers():
        yield from (offer.name, *offer.aliases, *offer.was, offer.line, offer.price, offer.url)
        for limit in offer.limits:
            yield from (limit.what, limit.value, limit.source)


def test_the_table_has_at_least_220_entries_with_unique_slugs_and_concepts(services: list[Service]) -> None:
    assert len(services) >= 220
    assert [service.id for service in services if not SLUG.fullmatch(service.id)] == []
    concepts = Counter(service.concept for service in services)
    assert [concept for concept, times in concepts.items() if times > 1] == []


def test_every_entry_is_complete_and_names_at_least_two_clouds(services: list[Service]) -> None:
    assert [
        service.id
        for service in services
        if any(text != text.strip() or not text for text in texts(service))
        or sum(bool(service.on(cloud)) for cloud in CLOUDS) < 2
        or not all(sentence.endswith(".") for sentence in (service.summary, service.compare))
        or not all(offer.line.endswith(".") and offer.price.endswith(".") for _, offer in service.offers())
    ] == []


def test_an_entry_without_a_cloud_says_what_takes_its_place(services: list[Service]) -> None:
    assert [
        (service.id, cloud)
        for service in services
        for cloud in CLOUDS
        if not service.on(cloud) and not any(vendor in service.compare for vendor in VENDORS[cloud])
    ] == []


def test_every_address_is_https_at_its_vendor(services: list[Service]) -> None:
    assert [
        url
        for service in services
        for cloud, offer in service.offers()
        for url in (offer.url, *(limit.source for limit in offer.limits))
        if urlsplit(url).scheme != "https" or urlsplit(url).hostname not in DOCUMENTATION[cloud]
    ] == []


def dates(service: Service) -> Iterator[tuple[str, datetime.date | None, datetime.date | None]]:
    """Every address with the day its page was read, or the day it was only seen."""
    for _, offer in service.offers():
        yield offer.url, offer.checked, offer.seen
        yield from ((limit.source, limit.checked, limit.seen) for limit in offer.limits)


def test_every_address_and_number_has_one_date_that_is_past(services: list[Service]) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    listed = [date for service in services for date in dates(service)]
    assert len(listed) > 900
    assert [
        url
        for url, checked, seen in listed
        if (checked is None) is (seen is None) or not datetime.date(2026, 11, 1) <= (checked or seen or today) <= today
    ] == []


DATED = """
[[service]]
id = "queue"
concept = "queue"
summary = "A queue."
compare = "Alike."
[[service.aws]]
name = "Amazon SQS"
line = "A queue."
price = "Free."
url = "https://docs.aws.amazon.com/sqs"
{offer}
limits = [{{ what = "size", value = "1 MiB", source = "https://docs.aws.amazon.com/sqs"{limit} }}]
"""


@pytest.mark.parametrize(
    ("offer", "limit", "wrong"),
    [
        ("checked = 2026-11-21", "", "Amazon SQS, size"),
        ("", ", seen = 2026-11-21", "Amazon SQS, https://docs.aws.amazon.com/sqs"),
        ("checked = 2026-11-21", ", checked = 2026-11-21, seen = 2026-11-21", "Amazon SQS, size"),
    ],
)
def test_an_address_or_number_without_its_date_is_refused(offer: str, limit: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(wrong)):
        list(parse(DATED.format(offer=offer, limit=limit), "messaging", name="messaging.toml"))
    right = DATED.format(offer="seen = 2026-11-21", limit=", checked = 2026-11-21")
    assert [service.id for service in parse(right, "messaging", name="messaging.toml")] == ["queue"]


def test_every_limit_holds_a_value_that_answers_a_question(services: list[Service]) -> None:
    """A number, or the word that takes its place."""
    assert [
        (offer.name, limit.what)
        for service in services
        for _, offer in service.offers()
        for limit in offer.limits
        if not any(character.isdigit() for character in limit.value) and "unlimited" not in limit.value
    ] == []


def test_every_price_in_money_stands_among_the_limits_with_its_source(services: list[Service]) -> None:
    assert [
        (offer.name, amount)
        for service in services
        for _, offer in service.offers()
        for amount in MONEY.findall(f"{offer.line} {offer.price}")
        if not any(amount in limit.value for limit in offer.limits)
    ] == []


def test_a_product_states_a_limit_alike_wherever_it_stands(services: list[Service]) -> None:
    values: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for service in services:
        for cloud, offer in service.offers():
            for limit in offer.limits:
                values[cloud, offer.name, limit.what].add(limit.value)
    assert {key: value for key, value in values.items() if len(value) > 1} == {}


def test_a_name_means_the_products_of_one_cloud_only(services: list[Service]) -> None:
    clouds: defaultdict[str, set[str]] = defaultdict(set)
    for service in services:
        for cloud, offer in service.offers():
            for name in (offer.name, *offer.aliases, *offer.was):
                clouds[name.casefold()].add(cloud)
    assert {name for name, among in clouds.items() if len(among) > 1} == SHARED


def test_an_alias_leads_to_one_entry(services: list[Service]) -> None:
    """A product may stand in several entries; its short and former names stand in the one that it belongs to most."""
    names = {(cloud, offer.name.casefold()) for service in services for cloud, offer in service.offers()}
    entries: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for service in services:
        for cloud, offer in service.offers():
            for alias in {*offer.aliases, *offer.was}:
                entries[cloud, alias.casefold()].add(service.id)
    assert {alias: ids for alias, ids in entries.items() if len(ids) > 1 and alias not in names} == {}


def test_a_name_stands_once_in_its_list(services: list[Service]) -> None:
    lists = [
        (service.id, names)
        for service in services
        for names in (
            [service.concept, *service.aliases],
            *([offer.name, *offer.aliases] for _, offer in service.offers()),
            *(offer.was for _, offer in service.offers()),
        )
    ]
    assert [(where, names) for where, names in lists if len({name.casefold() for name in names}) < len(names)] == []


def test_the_text_is_composed_unicode_without_control_or_typographic_characters(services: list[Service]) -> None:
    assert [
        text
        for service in services
        for text in texts(service)
        if unicodedata.normalize("NFC", text) != text
        or any(unicodedata.category(character)[0] in "CZ" and character != " " for character in text)
        or any(character in "‘’“”–—…" for character in text)
    ] == []


def test_every_number_and_address_is_ascii(services: list[Service]) -> None:
    assert [
        (offer.name, text)
        for service in services
        for _, offer in service.offers()
        for text in (offer.url, *(part for limit in offer.limits for part in (limit.value, limit.source)))
        if not text.isascii()
    ] == []
