"""Answers put together from an entry of the service table: no sentence in them is anyone's but the table's."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from wordup.languages import ENGLISH, labels
from wordup.questions import CLOUD_WORDS, FAINT_WEIGHT, Question, stem, tokens
from wordup.services import CLOUD_NAMES, CLOUDS, Cloud, Limit, Offer, Service

# Limits that hold no word of the question are told up to so many.
OTHER_LIMITS = 8
# What a word in a limit's value counts beside one in what is limited.
IN_VALUE = 0.75
# What it adds that a limit is the utmost of the thing, not of a way to use it.
UTMOST = 0.3
_UTMOST = frozenset({"largest", "longest", "most"})
# What it adds to a limit that it is a time, when how long is asked.
LASTING = 1.5
_TIME = re.compile(r"\d (milliseconds|seconds|minutes|hours?|days|months|years?)\b")
# And that it is a size, when that is asked.
SIZED = 0.5
_SIZE = re.compile(r"\d ?(bytes|[KMGTP]i?B|characters)\b")
# Asks for any of them.
_ASKS = frozenset({"limit", "quota", "maximum"})
# Prices stand among the limits.
_PAID = frozenset({"price", "free"})
# A limit that holds this share of a question's words is about what it asks for.
ABOUT = 0.6
# How many names stay at hand, cut into words.
NAMES = 4_096


def composed(service: Service, question: Question, citation: str) -> str:
    """What the entry says to a question, as Markdown; `citation` stands behind its title."""
    parts = _PARTS.get(question.intent, _overview)
    title = f"**{_capital(service.concept)}** {citation}"
    return "\n\n".join([title, *parts(service, question)])


def named(service: Service, question: Question) -> list[tuple[Cloud, Offer]]:
    """The offers of an entry that a question names: by a whole name, else by all of its words. Of offers with one name
    those of the cloud that stands before it or elsewhere in the question (of another one, where a counterpart is asked
    for), else those that are spelled so."""
    spaced = f" {' '.join(question.tokens)} "
    stems = f" {' '.join(map(stem, question.tokens))} "
    joined, words = "".join(question.tokens), set(question.tokens)
    whole: dict[str, list[tuple[int, Cloud, Offer]]] = {}
    loose: list[tuple[Cloud, Offer]] = []
    for cloud, offer in service.offers():
        for name in (offer.name, *offer.aliases, *offer.was):
            own, key = _own(name)
            exact = f" {own} " in spaced
            if own and (exact or f" {key} " in stems or (" " in own and own.replace(" ", "") in joined)):
                before = any(f" {word} {own} " in spaced for word, named in CLOUD_WORDS.items() if named == cloud)
                meant = (cloud in question.clouds) is (question.intent != "equivalence")
                rank = 3 if before else 2 if question.clouds and meant else int(exact)
                whole.setdefault(key, []).append((rank, cloud, offer))
            elif own and words.issuperset(own.split()):
                loose.append((cloud, offer))
    sure: list[tuple[Cloud, Offer]] = []
    for key, found in whole.items():
        if not any(_is_part(key, other, stems) for other in whole):
            most = max(rank for rank, _, _ in found)
            sure.extend((cloud, offer) for rank, cloud, offer in found if rank == most)
    return [pair for pair in service.offers() if pair in (sure or loose)]


def _is_part(name: str, other: str, text: str) -> bool:
    """Whether a text holds a name as part of another only: "Functions" in "Cloud Functions"."""
    return name != other and f" {name} " in f" {other} " and text.count(f" {name} ") <= text.count(f" {other} ")


@lru_cache(maxsize=NAMES)
def _own(name: str) -> tuple[str, str]:
    """A name without its vendor's, as the index cuts words, and by their stems."""
    own = [word for word in tokens(name) if word not in CLOUD_WORDS]
    return " ".join(own), " ".join(map(stem, own))


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
    scored = _scored(offers, question)
    best = scored[0][0] if scored else 0.0
    # What words of another language mean is not always known.
    least = best if best > UTMOST else math.inf if question.language == ENGLISH else -math.inf
    chosen = [(offer, limit) for score, offer, limit in scored if score >= least][:OTHER_LIMITS]
    yield "\n".join(_limit(offer, limit, said) for offer, limit in chosen) or said["unlisted"]
    if others := [(offer, limit) for _, offer, limit in scored if (offer, limit) not in chosen][:OTHER_LIMITS]:
        yield f"{said['limits']}:\n\n" + "\n".join(_limit(offer, limit, said) for offer, limit in others)
    yield _lines(service, question, sorted({cloud for cloud, _ in offers}))


def _scored(offers: Sequence[tuple[Cloud, Offer]], question: Question) -> list[tuple[float, Offer, Limit]]:
    """The offers' limits with what each holds of the question's words, the most first. A name is in the question and
    in some limits, where it tells nothing."""
    pairs = [(offer, limit) for _, offer in offers for limit in offer.limits]
    called = _called(offers)
    weights = question.synonyms | question.weights
    asked = {stem(word): weight for word, weight in weights.items() if weight > FAINT_WEIGHT}
    wanted = {word: weight for word, weight in asked.items() if word not in called and word not in _ASKS}
    at_large = float(not wanted)  # "the limits of SQS"
    wanted = wanted or asked
    held = [(_limited(limit.what), _stems(limit.value)) for _, limit in pairs]
    scores = [
        at_large
        + sum(weight for word, weight in wanted.items() if word in what)
        + IN_VALUE * sum(weight for word, weight in wanted.items() if word in value)
        + UTMOST * (not what.isdisjoint(_UTMOST))
        - UTMOST * (not what.isdisjoint(_PAID))
        + LASTING * (question.lasting and _TIME.search(limit.value) is not None)
        + SIZED * ("size" in asked and _SIZE.search(limit.value) is not None)
        for (what, value), (_, limit) in zip(held, pairs, strict=True)
    ]
    scored = [(score, offer, limit) for score, (offer, limit) in zip(scores, pairs, strict=True)]
    return sorted(scored, key=lambda each: -each[0])


def _limited(what: str) -> set[str]:
    """The words of what is limited: the largest message is a message's size."""
    words = _stems(what)
    return words | {"size"} if "largest" in words else words


def tells_limit(service: Service, question: Question) -> bool:
    """Whether a question names a product of the entry and a limit holds a word of it, or without one enough words."""
    offers = _asked(service, question)
    if named(service, question):
        scored = _scored(offers, question)
        return bool(scored) and (scored[0][0] > UTMOST or question.language != ENGLISH)
    asked = {stem(word) for word in question.weights}
    called = _called(offers)
    held = (_stems(f"{limit.what} {limit.value}") for _, offer in offers for limit in offer.limits)
    return any(len(asked & (words | called)) >= ABOUT * len(asked) for words in held)


def _called(offers: Iterable[tuple[Cloud, Offer]]) -> set[str]:
    """The words of the offers' names."""
    return {word for _, offer in offers for name in (offer.name, *offer.aliases) for word in _stems(name)}


def _stems(text: str) -> set[str]:
    return {stem(word) for word in tokens(text)}


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
