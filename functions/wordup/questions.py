"""What a question asks for: its language, the clouds it names, the kind of answer it wants, and the words that tell
what it is about, in English and without those that every question has."""

import re
from collections.abc import Collection
from functools import cache, lru_cache
from typing import Literal

import msgspec

from wordup.languages import CJK, ENGLISH, Lexicon, fold, lexicons
from wordup.services import CLOUDS, Cloud

Intent = Literal["summary", "equivalence", "comparison", "howto", "price", "limit", "concept", "any"]
# The first that a question has a word for: "how do I raise the limit" wants steps, "how many can I create" a limit.
_MARKS: dict[str, Intent] = {
    "@summary": "summary",
    "@equivalence": "equivalence",
    "@comparison": "comparison",
    "@howto": "howto",
    "@price": "price",
    "@limit": "limit",
    "@action": "howto",
    "@need": "howto",
    "@concept": "concept",
}
# "Or": between the names of products it asks for a comparison.
_CHOICE = "@choice"
# Before a limit of two it asks for the limit, else for a comparison.
_VERSUS = "@versus"
# A limit in time is asked for.
_LASTING = "@lasting"
# "We have to move" asks for steps, "it has to be Azure" for a counterpart.
_MOVING = frozenset({"migrate", "migration", "move", "connect", "copy", "sync"})
# At the beginning of a sentence it asks for steps, unless another word asks for something else.
_HOW = "@how"
_HOWS = frozenset({"how", "wie", "comment", "como", "come", "hoe"})
_BID = "@bid"
# With one of these the names of products tell nothing more.
_SAID = _MARKS.keys() - {"@action", "@need", "@concept", "@price"}
_RANKS = {mark: rank for rank, mark in enumerate(_MARKS)}

CLOUD_WORDS: dict[str, Cloud] = {
    "aws": "aws",
    "amazon": "aws",
    "azure": "azure",
    "microsoft": "azure",
    "google": "gcp",
    "gcp": "gcp",
    "gcloud": "gcp",
}
SMALL_TALK = frozenset(
    """
    hello hi hey thanks thank thx ok okay great cool nice perfect bye goodbye yes no sure hallo danke guten tag morgen
    bonjour salut merci hola gracias buenos dias ciao grazie buongiorno ola obrigado obrigada dank
    """.split()
)
# A request to summarise that is longer than this brings the text along.
PASTED_CHARACTERS = 400
# What an English word is also looked up as counts this much of it.
SYNONYM_WEIGHT = 0.4
# One of several English words that are one word elsewhere.
PART_WEIGHT = 0.7
# And so much a word that stands in questions about anything.
FAINT_WEIGHT = 0.25
# Longer text than this is no question; its most frequent words tell what it is about.
MOST_CHARACTERS = 4_000
_PHRASE = 4
# How many questions and words stay at hand, with what they mean.
PARSED, WORDS = 32, 16_384
# Words for these kinds of question stand in no passage.
_BARE_INTENTS = frozenset({"@equivalence", "@comparison", "@summary", _VERSUS})
_BEGINNING = re.compile(r"(?:^|[.?!:;,\u00bf])\W*(\w+)")
_CJK = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+)")
_WORD = re.compile(r"[^\W_]+(?:[.+#][^\W_]+)*[+#]*")
_NAME = re.compile(r"(?<!^)(?<![.?!]\s)\b(\w*[A-Z]\w*)")
_ACRONYM = re.compile(r"\b[A-Z]{2,4}\b")
# What stands for something said before.
_REFERENCE = re.compile(
    r"^\W*(and|or|but|so|then|what about|how about|same|und|oder|et|ou|y|e|ed|en)\b"
    r"|\b(it|its|that|they|them|those|these|the same)\b|\bthere\W*$",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^\W*(what|who|which|how|why|when|where|is|are|can|could|does|do|should|explain|describe|compare|list|show)\b",
    re.IGNORECASE,
)
# A title that asks, as its anchor spells it, and what stands in many of them.
_ASKING = re.compile(r"^(how|which|what|why|where|when|who|do|i)-|-(or|which|what)-")
_CHOOSING = frozenset({"choose", "decide", "difference", "which"})
_SIDES = re.compile(r"^(?!how-|i-).*-(or-|difference)")
# A message of more words than these says by itself what it is about, though it points back.
_POINTING_BACK = 4
# What a word that a language has another word for tells of the language, beside a stop word.
_MEANING_EVIDENCE = 0.6
# One such word alone may as well be a name.
_LEAST_EVIDENCE = 1.0
_BARE_WORDS = 2


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens` are all words, folded; `weights` are the words to look up, with what each counts; `synonyms` are looked
    up but not asked for; `stems` are the stems of all of them. `choice` says whether an "or" is in it, `open` whether
    the names in it may tell what it wants, `lasting` whether it asks how long, `needs` whether
    it asks for steps by no more than a need ("has to be")."""

    language: str
    intent: Intent
    choice: bool
    open: bool
    lasting: bool
    needs: bool
    clouds: frozenset[Cloud]
    tokens: tuple[str, ...]
    weights: dict[str, float]
    synonyms: dict[str, float]
    stems: frozenset[str]


def tokens(text: str) -> list[str]:
    """The words of a text as the index cuts them: folded, scripts without spaces apart from Latin names."""
    return _WORD.findall(_CJK.sub(r" \1 ", fold(text)))


def words(text: str) -> list[str]:
    """The words of an English text that are no stop words, in order, repeated where it repeats them."""
    stop_words = lexicons()[ENGLISH].stop_words
    return [word for word in tokens(text) if word not in stop_words and word not in SMALL_TALK]


def stem(word: str) -> str:
    """Enough to bring singular and plural together."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


@lru_cache(maxsize=PARSED)
def parse(text: str) -> Question:
    """To be read only: a turn asks for the same question's parts several times."""
    found = tokens(text[:MOST_CHARACTERS])
    language = _language(text[:MOST_CHARACTERS], found)
    lexicon = lexicons()[language]
    ignored = _ignored(language)
    weights: dict[str, float] = {}
    synonyms: dict[str, float] = {}
    marks: set[str] = set()
    beginnings = set(_BEGINNING.findall(fold(text[:MOST_CHARACTERS])))
    at = 0
    while at < len(found):
        width, meanings = _meaning(lexicon, found, at)
        marks.update(meaning for meaning in meanings if meaning.startswith("@"))
        if (_HOW in meanings and found[at] in beginnings) or (at == 0 and lexicon.is_imperative(found[at])):
            # "Export the bills" asks for steps, "how dear" for a price.
            marks |= {"@action"} if found[at] in _HOWS else {"@action", _BID}
        english = [meaning for meaning in meanings if not meaning.startswith("@") and meaning not in ignored]
        if language == ENGLISH or not meanings:
            for word in found[at : at + width] if not _BARE_INTENTS.issuperset(meanings or ["?"]) else []:
                if word in ignored or _CJK.match(word):
                    continue
                if word in lexicon.faint or word.isdigit() or len(word) == 1:
                    synonyms[word] = FAINT_WEIGHT
                elif any(meaning in _MARKS for meaning in meanings):
                    synonyms[word] = 1.0
                else:
                    weights[word] = min(weights.get(word, 0) + 1, 2)
            # Several words that mean something together say it more surely than one.
            synonyms |= dict.fromkeys(english, SYNONYM_WEIGHT if width == 1 else 1.0)
        else:
            weights |= dict.fromkeys(english, 1.0 if len(english) == 1 else PART_WEIGHT)
        at += width
    if not weights:
        weights, synonyms = synonyms, {}
    clouds = frozenset[Cloud](CLOUD_WORDS[word] for word in found if word in CLOUD_WORDS)
    intent = _intent(marks, clouds)
    if intent in ("limit", "price"):
        synonyms[intent] = SYNONYM_WEIGHT
    return Question(
        language=language,
        intent=intent,
        choice=_CHOICE in marks,
        open=marks.isdisjoint(_SAID),
        lasting=_LASTING in marks,
        needs=intent == "howto" and marks.isdisjoint({"@howto", "@action"}) and _MOVING.isdisjoint(weights),
        clouds=clouds,
        tokens=tuple(found),
        weights=weights,
        synonyms={word: weight for word, weight in synonyms.items() if word not in weights},
        stems=frozenset(map(stem, (*found, *weights, *synonyms))),
    )


def _intent(marks: set[str], clouds: frozenset[Cloud]) -> Intent:
    if _BID in marks and "@limit" not in marks:
        marks = {*marks, "@howto"}
    if _VERSUS in marks and "@limit" not in marks:
        marks = {*marks, "@comparison"}
    found = [mark for mark in marks if mark in _MARKS]
    intent = _MARKS[min(found, key=_RANKS.__getitem__)] if found else "any"
    # "Which AWS product is Azure's Key Vault?"
    return "equivalence" if intent in ("any", "concept") and len(clouds) > 1 else intent


@cache
def _ignored(language: str) -> frozenset[str]:
    every = lexicons()
    ignored = every[language].stop_words | every[ENGLISH].stop_words | CLOUD_WORDS.keys()
    if language == ENGLISH:
        return ignored | SMALL_TALK - {"tag"}  # "Guten Tag", but "tag a bucket"
    return ignored | SMALL_TALK | {"limit"}  # what a word for it means tells not of what it is


def with_names(question: Question, names: Collection[tuple[str, str]]) -> Question:
    """What the products' names in it, each with its cloud, tell beyond its words: several with an "or" ask for a
    comparison, those of one cloud beside the name of another cloud for a counterpart."""
    if not question.open or not names:
        return question
    if question.choice and len({name for name, _ in names}) > 1:
        return msgspec.structs.replace(question, intent="comparison")
    if question.intent not in ("any", "concept") and not question.needs:
        return question
    if {cloud for _, cloud in names} >= set(CLOUDS):
        return msgspec.structs.replace(question, intent="comparison")
    if question.clouds - {cloud for _, cloud in names}:
        return msgspec.structs.replace(question, intent="equivalence")
    return question


def _meaning(lexicon: Lexicon, found: list[str], at: int) -> tuple[int, tuple[str, ...]]:
    """How many of the words at a place mean something together, and what."""
    widest = min(_PHRASE, len(found) - at) if found[at] in lexicon.openings else 1
    for width in range(widest, 1, -1):
        if meanings := lexicon.phrase("_".join(["n" if word.isdigit() else word for word in found[at : at + width]])):
            return width, meanings
    if _CJK.match(found[at]):
        return 1, lexicon.within(found[at])
    return 1, lexicon.english(found[at])


def _language(text: str, found: list[str]) -> str:
    """The language whose stop words, words and letters are most of the text; English wins a draw. Products' names are
    English in every language, and say nothing for it."""
    best, most = ENGLISH, 0.0
    anywhere = lexicons()[ENGLISH].anywhere
    names = {fold(name) for name in _NAME.findall(text)}
    silent = anywhere | {fold(name) for name in _ACRONYM.findall(text)}  # "AI" is no Italian
    letters = set(text)
    for language, lexicon in lexicons().items():
        own = [word for word in found if word not in silent and (language != ENGLISH or word not in names)]
        evidence = sum([_evidence(language, word) for word in own]) + (not letters.isdisjoint(lexicon.letters))
        if evidence > most and (evidence >= _LEAST_EVIDENCE or language == ENGLISH):
            best, most = language, evidence
    return best


@lru_cache(maxsize=WORDS)
def _evidence(language: str, word: str) -> float:
    """What a word tells of the language that its text is in."""
    lexicon = lexicons()[language]
    if _CJK.match(word):
        return 2.0 * (language == CJK)
    if word in lexicon.stop_words:
        return 1.0
    if word in lexicon.faint:
        return _MEANING_EVIDENCE
    meanings = lexicon.english(word)
    return _MEANING_EVIDENCE if meanings and (language == ENGLISH or stem(word) not in map(stem, meanings)) else 0.0


def brings_its_text(message: str) -> bool:
    """Whether a message asks to summarise what stands in it."""
    return len(message) > PASTED_CHARACTERS and parse(message[:PASTED_CHARACTERS]).intent == "summary"


def asked_of_text(message: str) -> tuple[str, str]:
    """What a message asks of the text that it brings, and the text."""
    asked, _, text = message.partition("\n") if "\n" in message else message.partition(":")
    return asked, text


def is_small_talk(message: str) -> bool:
    found = tokens(message)
    return not words(message) and any(word in SMALL_TALK for word in found)


def asks_title(question: Question, anchor: str) -> float:
    """How much of a section's title a question holds, from 0 to 1: of a title that itself asks something ("How do I
    ..."). One of things side by side ("A, B or C?") is asked by who compares two of them."""
    told, of_sides = _told(anchor)
    held = len(told & question.stems) / len(told) if told else 0.0
    if of_sides:
        return held if question.intent == "comparison" or (question.choice and question.intent == "any") else 0.0
    return held * held


@lru_cache(maxsize=WORDS)
def _told(anchor: str) -> tuple[frozenset[str], bool]:
    """The words of a title that asks something, and whether it is of things side by side."""
    if not _ASKING.search(anchor):
        return frozenset(), False
    told = frozenset(map(stem, words(anchor.replace("-", " ")))) - CLOUD_WORDS.keys() - _CHOOSING
    return told if len(told) > 1 else frozenset(), _SIDES.search(anchor) is not None


def in_context(message: str, previous: str) -> str:
    """A message that cannot be understood alone, with the words of the question before it, but not those for what was
    wanted to know there where it wants something itself; any other stays as it is.
    "And on Azure?" asks the question before it of another cloud, so the first cloud's names go. The message comes
    twice, since its words weigh more."""
    found = tokens(message)
    if not previous or is_small_talk(message) or not _needs_context(message, found):
        return message
    earlier = tokens(previous)
    if parse(message).intent != "any":
        earlier = _without_intents(earlier)
    if any(word in CLOUD_WORDS for word in found):
        named = {fold(name) for name in _NAME.findall(previous)}
        bare = [word for word in earlier if word not in CLOUD_WORDS]
        without_names = [word for word in bare if word not in named]
        earlier = without_names if _subjects(without_names) else bare
    return " ".join([message, message, *earlier])


def _needs_context(message: str, found: list[str]) -> bool:
    subjects = _subjects(found)
    if _REFERENCE.search(message):
        return len(subjects) <= _POINTING_BACK
    return not subjects or (len(subjects) <= _BARE_WORDS and not _QUESTION.match(message))


def _subjects(found: list[str]) -> list[str]:
    """The words that tell what a question is about: not what it wants to know of it, and not of which cloud."""
    every = lexicons().values()
    return [
        word
        for word in _without_intents(found)
        if word not in CLOUD_WORDS and not any(word in lexicon.stop_words or word in lexicon.faint for lexicon in every)
    ]


def _without_intents(found: list[str]) -> list[str]:
    """The words of a question but those for the kind of answer that it wants."""
    spoken = [lexicons()[language] for language in (ENGLISH, _language(" ".join(found), found))]
    kept: list[str] = []
    at = 0
    while at < len(found):
        width, meanings = max(_meaning(lexicon, found, at) for lexicon in spoken)
        if not any(meaning in _MARKS for meaning in meanings):
            kept += found[at : at + width]
        at += width
    return kept
