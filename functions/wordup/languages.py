"""Other languages' words for what the knowledge, which is English, is asked about.

Products have the same names everywhere; what stands around them ("Wie groß darf eine Nachricht in SQS sein?") is
mapped word by word. In languages.toml a line is `English = words of the language`; `*` at the end stands for any
ending, `_` joins words that mean it together only. An English word with `@` in front is no word of the text: it tells
what is asked for. `cjk` is Chinese, Japanese and Korean, whose words are looked for anywhere in the text.
"""

import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

ENGLISH = "en"
CJK = "cjk"
_FILE = Path(__file__).with_name("languages.toml")


class Lexicon(msgspec.Struct, frozen=True):
    """A language's words: `words` are whole, `beginnings` those of others, each with its English ones. `letters` are
    no other language's; stop words that are `anywhere` tell nothing about the language; `infinitives` are the endings
    of a request that begins with its verb; `openings` are the first of several words that mean something together."""

    letters: str
    stop_words: frozenset[str]
    anywhere: frozenset[str]
    faint: frozenset[str]
    words: dict[str, tuple[str, ...]]
    beginnings: dict[str, tuple[str, ...]]
    openings: frozenset[str]
    infinitives: tuple[str, ...] = ()

    def phrase(self, joined: str) -> tuple[str, ...]:
        """What several words, joined with `_`, mean together. Empty: nothing."""
        if joined in self.words:
            return self.words[joined]
        ends = range(len(joined), joined.rindex("_"), -1)
        return next((found for end in ends if (found := self.beginnings.get(joined[:end]))), ())

    def english(self, word: str) -> tuple[str, ...]:
        """What a word means; of the beginnings the longest counts. Empty: not known."""
        meanings = self.words.get(word, ())
        for end in range(len(word), 2, -1):
            if found := self.beginnings.get(word[:end]):
                return meanings + found + (() if meanings else self._rest(word[end:]))
        return meanings

    def is_imperative(self, word: str) -> bool:
        """Whether a word that a message begins with is told as an infinitive ("Supprimer les fichiers...")."""
        return len(word) > 4 and word.endswith(self.infinitives) and word not in self.stop_words

    def within(self, text: str) -> tuple[str, ...]:
        """What the words mean that stand anywhere in a text without spaces."""
        return tuple(meaning for word, meanings in self.words.items() if word in text for meaning in meanings)

    def _rest(self, rest: str) -> tuple[str, ...]:
        """The second part of a compound ("Nachrichtengröße")."""
        for start in range(min(4, len(rest))):
            for end in range(len(rest), start + 3, -1):
                if found := self.beginnings.get(rest[start:end]):
                    return found
        return ()


def fold(text: str) -> str:
    """In small letters and without diacritics, as the index folds them."""
    if text.isascii():
        return text.lower()
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


@cache
def lexicons() -> dict[str, Lexicon]:
    """By language; read at the first question, not at the start."""
    return {language: _lexicon(language, part) for language, part in _content().items()}


@cache
def labels(language: str) -> dict[str, str]:
    """What an answer that is put together says of its own accord; in English where the language has no labels."""
    return _content().get(language, {}).get("labels") or _content()[ENGLISH]["labels"]


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def _lexicon(language: str, part: dict[str, Any]) -> Lexicon:
    words: dict[str, tuple[str, ...]] = {}
    beginnings: dict[str, tuple[str, ...]] = {}
    for english, foreign in part["words"].items():
        meanings = (english,) if english.startswith("@") else tuple(english.split())
        for spelled in _spellings(language, foreign):
            target = beginnings if spelled.endswith("*") else words
            key = spelled.rstrip("*")
            target[key] = target[key] + meanings if key in target else meanings
    stop_words, anywhere, faint = (
        frozenset(fold(part.get(key, "")).replace("'", " ").split()) for key in ("stop_words", "anywhere", "faint")
    )
    infinitives = tuple(part.get("infinitives", "").split())
    openings = frozenset(key.partition("_")[0] for key in (*words, *beginnings) if "_" in key)
    return Lexicon(part.get("letters", ""), stop_words, anywhere, faint, words, beginnings, openings, infinitives)


def _spellings(language: str, words: str) -> dict[str, None]:
    """Folded; German umlauts are also typed as two letters, the Polish l without its stroke, which is no diacritic."""
    spelled = fold(words)
    if language == "de":
        spelled += " " + fold(words.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue"))
    if language == "pl":
        spelled += " " + fold(words.replace("ł", "l"))
    return dict.fromkeys(spelled.replace("-", "_").replace("'", "_").split())
