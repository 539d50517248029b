"""The table of services in knowledge/services: complete, unique, dated, and from the vendors' own documentation."""

import datetime
import re
import tomllib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "knowledge" / "services").glob("*.toml"))
DOCUMENTATION = {
    "aws": {"docs.aws.amazon.com", "aws.amazon.com"},
    "gcp": {"docs.cloud.google.com", "cloud.google.com", "firebase.google.com", "developers.google.com"},
    "azure": {"learn.microsoft.com", "azure.microsoft.com"},
}
MONEY = re.compile(r"[0-9][0-9.,]* USD")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Names that two clouds really share.
SHARED = {"api gateway", "identity and access management", "metrics explorer", "virtual private cloud"}


class Limit(msgspec.Struct, forbid_unknown_fields=True):
    what: str
    value: str
    source: str
    checked: datetime.date


class Product(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    aliases: list[str]
    was: list[str]
    line: str
    price: str
    url: str
    checked: datetime.date
    limits: list[Limit]


class Service(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    concept: str
    aliases: list[str]
    summary: str
    compare: str
    aws: list[Product] = []
    gcp: list[Product] = []
    azure: list[Product] = []

    def products(self) -> Iterator[tuple[str, Product]]:
        for cloud in DOCUMENTATION:
            for product in getattr(self, cloud):
                yield cloud, product


class Table(msgspec.Struct, forbid_unknown_fields=True):
    service: list[Service]


@pytest.fixture(scope="module")
def services() -> list[Service]:
    return [
        service for file in FILES for service in msgspec.convert(tomllib.loads(file.read_text("utf-8")), Table).service
    ]


def texts(service: Service) -> Iterator[str]:
    yield from (service.id, service.concept, *service.aliases, service.summary, service.compare)
    for _, product in service.products():
        yield from (product.name, *product.aliases, *product.was, product.line, product.price, product.url)
        for limit in product.limits:
            yield from (limit.what, limit.value, limit.source)


def test_the_table_has_at_least_150_entries_with_unique_ids_and_concepts(services: list[Service]) -> None:
    assert len(services) >= 150
    for attribute in ("id", "concept"):
        counted = Counter(getattr(service, attribute) for service in services)
        assert [value for value, times in counted.items() if times > 1] == []


def test_every_entry_is_complete_and_names_at_least_two_clouds(services: list[Service]) -> None:
    incomplete = {
        service.id
        for service in services
        if any(not text.strip() or text != text.strip() for text in texts(service))
        or sum(bool(getattr(service, cloud)) for cloud in DOCUMENTATION) < 2
        or not service.summary.endswith(".")
        or not service.compare.endswith(".")
        or not all(product.line.endswith(".") and product.price.endswith(".") for _, product in service.products())
    }
    assert incomplete == set()


def test_every_id_is_a_slug(services: list[Service]) -> None:
    assert [service.id for service in services if not SLUG.fullmatch(service.id)] == []


def test_an_entry_without_a_cloud_says_what_takes_its_place(services: list[Service]) -> None:
    names = {"aws": ("AWS", "Amazon"), "gcp": ("Google",), "azure": ("Azure", "Microsoft")}
    silent = [
        (service.id, cloud)
        for service in services
        for cloud, words in names.items()
        if not getattr(service, cloud) and not any(word in service.compare for word in words)
    ]
    assert silent == []


def test_every_url_is_https_at_its_vendor(services: list[Service]) -> None:
    wrong = [
        url
        for service in services
        for cloud, product in service.products()
        for url in (product.url, *(limit.source for limit in product.limits))
        if urlsplit(url).scheme != "https" or urlsplit(url).hostname not in DOCUMENTATION[cloud]
    ]
    assert wrong == []


def test_nothing_was_checked_in_the_future(services: list[Service]) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    assert [
        (service.id, product.name)
        for service in services
        for _, product in service.products()
        if any(checked > today for checked in (product.checked, *(limit.checked for limit in product.limits)))
    ] == []


def test_every_limit_holds_a_value_that_answers_a_question(services: list[Service]) -> None:
    """A number, or the word that takes its place."""
    empty = [
        (product.name, limit.what)
        for service in services
        for _, product in service.products()
        for limit in product.limits
        if not any(character.isdigit() for character in limit.value) and "unlimited" not in limit.value
    ]
    assert empty == []


def test_every_price_in_money_stands_among_the_limits_with_its_source(services: list[Service]) -> None:
    unsourced = [
        (product.name, amount)
        for service in services
        for _, product in service.products()
        for amount in MONEY.findall(f"{product.line} {product.price}")
        if not any(amount in limit.value for limit in product.limits)
    ]
    assert unsourced == []


def test_a_product_states_a_limit_alike_wherever_it_stands(services: list[Service]) -> None:
    values: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for service in services:
        for cloud, product in service.products():
            for limit in product.limits:
                values[cloud, product.name, limit.what].add(limit.value)
    assert {key: value for key, value in values.items() if len(value) > 1} == {}


def test_an_alias_means_the_services_of_one_cloud_only(services: list[Service]) -> None:
    clouds: defaultdict[str, set[str]] = defaultdict(set)
    for service in services:
        for cloud, product in service.products():
            for name in (product.name, *product.aliases, *product.was):
                clouds[name.casefold()].add(cloud)
    assert {name for name, among in clouds.items() if len(among) > 1} == SHARED


def test_an_alias_stands_once_in_its_list(services: list[Service]) -> None:
    twice = [
        (service.id, names)
        for service in services
        for names in (
            [service.concept, *service.aliases],
            *([product.name, *product.aliases] for _, product in service.products()),
        )
        if len({name.casefold() for name in names}) < len(names)
    ]
    assert twice == []


def test_the_text_is_composed_unicode_without_control_or_confusable_characters(services: list[Service]) -> None:
    wrong = [
        text
        for service in services
        for text in texts(service)
        if unicodedata.normalize("NFC", text) != text
        or any(unicodedata.category(character)[0] in "CZ" and character != " " for character in text)
        or any(character in "‘’“”–—…" for character in text)
    ]
    assert wrong == []


def test_every_number_and_address_has_the_ascii_that_people_type(services: list[Service]) -> None:
    assert [
        (product.name, text)
        for service in services
        for _, product in service.products()
        for text in (product.url, *(part for limit in product.limits for part in (limit.value, limit.source)))
        if not text.isascii()
    ] == []
