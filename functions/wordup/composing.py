"""Answers put together from an entry of the service table: no sentence in them is anyone's but the table's."""

import re
from collections.abc import Iterable, Iterator, Sequence

from wordup.languages import labels
from wordup.questions import Question, stem, tokens
from wordup.services import CLOUD_NAMES, CLOUDS, Cloud, Limit, Offer, Service

# Limits that hold no word of the question are told up to so many.
OTHER_LIMITS = 8


def composed(service: Service, question: Question, citation: str) -> str:
    """What the entry says to a question, as Markdown; `citation` stands behind its title."""
    parts = _PARTS.get(question.intent, _overview)
    title = f"**{_capital(service.concept)}** {citation}"
    return "\n\n".join([title, *parts(service, question)])


def named(service: Service, question: Question) -> list[tuple[Cloud, Offer]]:
    """The offers of an entry that a question names."""
    asked = f" {' '.join(question.tokens)} ".replace(" ", "")
    found: list[tuple[Cloud, Offer]] = []
    words = set(question.tokens)
    for cloud, offer in service.offers():
        for name in (offer.name, *offer.aliases, *offer.was):
            own = [word for word in tokens(name) if word not in ("amazon", "aws", "azure", "google")]
            if own and (set(own) <= words or (len(own) > 1 and "".join(own) in asked)):
                found.append((cloud, offer))
                break
    return found


def beside(service: Service, question: Question, citation: str) -> str:
    """What another entry adds to an answer: the offers that are asked for, in a line each."""
    own = {cloud for cloud, _ in named(service, question)}
    clouds = own if question.intent == "comparison" else question.clouds - own or set(CLOUDS)
    lines = _lines(service, question, [cloud for cloud in CLOUDS if cloud in clouds])
    return f"**{_capital(service.concept)}** {citation}\n\n{lines}\n\n{service.compare}"


def _equivalents(service: Service, question: Question) -> Iterator[str]:
    own = {cloud for cloud, _ in named(service, question)}
    asked = question.clouds - own or set(CLOUDS) - own or set(CLOUDS)
    for first in (True, False):
        clouds: list[Cloud] = [cloud for cloud in CLOUDS if (cloud in asked) is first]
        if clouds:
            yield _lines(service, question, clouds)
    yield service.compare


def _limits(service: Service, question: Question) -> Iterator[str]:
    offers = _asked(service, question)
    said = labels(question.language)
    asked = {stem(word) for word in (*question.weights, *question.synonyms)}
    named = {stem(word) for _, offer in offers for name in (offer.name, *offer.aliases) for word in tokens(name)}
    wanted = asked - named or asked  # a name is in the question and in some limits, where it tells nothing
    scored = [
        (len(wanted & {stem(word) for word in tokens(f"{limit.what} {limit.value}")}), offer, limit)
        for _, offer in offers
        for limit in offer.limits
    ]
    best = max((score for score, _, _ in scored), default=0)
    chosen = [(offer, limit) for score, offer, limit in scored if score == best][:OTHER_LIMITS]
    if chosen:
        yield "\n".join(_limit(offer, limit, said) for offer, limit in chosen)
        others = [(offer, limit) for _, offer, limit in scored if (offer, limit) not in chosen][:OTHER_LIMITS]
        if others:
            yield f"{said['limits']}:\n\n" + "\n".join(_limit(offer, limit, said) for offer, limit in others)
    else:
        yield said["unlisted"]
    yield _lines(service, question, sorted({cloud for cloud, _ in offers}))


def _limit(offer: Offer, limit: Limit, said: dict[str, str]) -> str:
    day = limit.checked or said["unchecked"]
    return f"- {offer.name}, {limit.what}: **{limit.value}** ([{said['source']}]({limit.source}), {day})"


def _prices(service: Service, question: Question) -> Iterator[str]:
    yield _priced(_asked(service, question), question)
    yield service.summary


def _priced(offers: Iterable[tuple[Cloud, Offer]], question: Question) -> str:
    said = labels(question.language)
    return "\n".join(
        f"- {offer.name}: {offer.price} ([{said['source']}]({offer.url}), {_day(offer, said)})" for _, offer in offers
    )


def _day(offer: Offer, said: dict[str, str]) -> str:
    return f"{said['checked']} {offer.checked}" if offer.checked else said["unchecked"]


def _comparison(service: Service, question: Question) -> Iterator[str]:
    yield service.compare
    yield _lines(service, question, CLOUDS)
    if {"price", "cost"} & {*question.weights, *question.synonyms}:
        yield _priced(service.offers(), question)


def _overview(service: Service, question: Question) -> Iterator[str]:
    yield service.summary
    yield _lines(service, question, CLOUDS)
    yield service.compare


_PARTS = {
    "equivalence": _equivalents,
    "limit": _limits,
    "price": _prices,
    "comparison": _comparison,
}


def _lines(service: Service, question: Question, clouds: Sequence[Cloud]) -> str:
    said = labels(question.language)
    lines: list[str] = []
    for cloud in clouds:
        offers = service.on(cloud)
        lines += [f"- {CLOUD_NAMES[cloud]}: **[{offer.name}]({offer.url})**: {offer.line}" for offer in offers]
        if not offers:
            lines.append(f"- {CLOUD_NAMES[cloud]} {said['none']}.")
    return "\n".join(lines)


def _asked(service: Service, question: Question) -> list[tuple[Cloud, Offer]]:
    """The offers that the question is about: those it names, else those of its clouds, else all."""
    called = named(service, question)
    if called and (not question.clouds or any(cloud in question.clouds for cloud, _ in called)):
        return called
    return [pair for pair in service.offers() if pair[0] in question.clouds] or list(service.offers())


def _capital(text: str) -> str:
    return re.sub(r"^[a-z]", lambda first: first[0].upper(), text)
