"""The service table: what a kind of service is called on each cloud, its limits and prices, each with its source.

It is written as TOML, one file a topic (`knowledge/services/TOPIC.toml`), and read at build time only: the index holds
it ready for use.

    [[service]]
    id = "message-queue"                        the document's id is `service:message-queue`
    concept = "Message queue"
    aliases = ["queue", "message broker"]       other words for the concept
    keywords = "work, later"                    what it is also asked for by, and no name of it
    summary = "..."                             what it is
    compare = "..."                             how the three clouds' differ

    [[service.aws]]                             also [[service.gcp]] and [[service.azure]]
    name = "Amazon SQS"
    aliases = ["SQS"]
    was = []                                    names of the past
    line = "..."                                what it is, in one line
    price = "..."
    url = "https://..."
    checked = 2026-11-21
    limits = [{ what = "message size", value = "1 MiB", source = "https://...", checked = 2026-11-21 }]

An address has one date: `checked`, the day its page was read and said what stands here, or `seen`, the day its place in
the vendor's documentation was known and the page not read.
"""

import tomllib
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal

import msgspec

from wordup.errors import ConfigurationError

Cloud = Literal["aws", "gcp", "azure"]
CLOUDS: tuple[Cloud, ...] = ("aws", "gcp", "azure")
CLOUD_NAMES: dict[Cloud, str] = {"aws": "AWS", "gcp": "Google Cloud", "azure": "Azure"}


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that nobody reads is a mistake in the table."""


class Limit(_Entry, frozen=True, kw_only=True):
    what: str
    value: str
    source: str
    checked: date | None = None
    seen: date | None = None


class Offer(_Entry, frozen=True, kw_only=True):
    """What one cloud has for a concept."""

    name: str
    aliases: list[str] = []
    was: list[str] = []
    line: str
    price: str
    url: str
    checked: date | None = None
    seen: date | None = None
    limits: list[Limit] = []


class Service(_Entry, frozen=True, kw_only=True):
    """A concept with what each cloud has for it. `topic` is its file's name."""

    id: str
    concept: str
    aliases: list[str] = []
    keywords: str = ""
    summary: str
    compare: str
    aws: list[Offer] = []
    gcp: list[Offer] = []
    azure: list[Offer] = []
    topic: str = ""

    def on(self, cloud: Cloud) -> list[Offer]:
        return getattr(self, cloud)

    def offers(self) -> Iterator[tuple[Cloud, Offer]]:
        for cloud in CLOUDS:
            for offer in self.on(cloud):
                yield cloud, offer


def load(folder: Path) -> list[Service]:
    """The table of a folder of TOML files, by id. Raises ConfigurationError that names the file and the entry."""
    found: dict[str, Service] = {}
    for path in sorted(folder.glob("*.toml")):
        for service in parse(path.read_text(encoding="utf-8"), path.stem, name=path.name):
            if service.id in found:
                raise _wrong(path.name, service.id, "the id stands twice in the table")
            found[service.id] = service
    return [found[key] for key in sorted(found)]


def parse(text: str, topic: str, *, name: str) -> Iterator[Service]:
    """The entries of one file; `name` is said in errors. Raises ConfigurationError."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(name, "", str(error)) from None
    try:
        entries = msgspec.convert(content, dict[Literal["service"], list[dict[str, Any]]]).get("service", [])
    except msgspec.ValidationError as error:
        raise _wrong(name, "", f"it holds something else than [[service]] entries: {error}") from None
    for number, entry in enumerate(entries, 1):
        try:
            service = msgspec.convert({**entry, "topic": topic}, Service)
        except msgspec.ValidationError as error:
            raise _wrong(name, str(entry.get("id") or f"number {number}"), str(error)) from None
        for _, offer in service.offers():
            for what, dated in ((offer.url, offer), *((limit.what, limit) for limit in offer.limits)):
                if (dated.checked is None) is (dated.seen is None):
                    raise _wrong(name, service.id, f"{offer.name}, {what} has not one date, `checked` or `seen`")
        yield service


def described(service: Service, clouds: Iterable[Cloud], characters: int) -> str:
    """An entry as Markdown of at most so many characters; what `clouds` have comes first and in full."""
    first = sorted(set(clouds))
    lines = [service.summary, *(f"- {CLOUD_NAMES[cloud]}: {_names(service, cloud)}" for cloud in CLOUDS)]
    for cloud in first or CLOUDS:
        for offer in service.on(cloud):
            lines += [f"{offer.name}: {offer.line} Price: {offer.price}"]
            lines += [f"- {offer.name}, {limit.what}: {limit.value}" for limit in offer.limits]
    lines.insert(4, service.compare)
    text = ""
    for line in lines:
        if len(text) + len(line) < characters:
            text += line + "\n"
    return text.strip()


def _names(service: Service, cloud: Cloud) -> str:
    return ", ".join(offer.name for offer in service.on(cloud)) or "none of its own"


def _wrong(file: str, entry: str, why: str) -> ConfigurationError:
    where = f"{file}, entry {entry}" if entry else file
    return ConfigurationError("the service table", f"{where}: {why}.", mend="Mend the entry; see wordup/services.py.")
