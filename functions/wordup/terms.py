"""The words of a question: what it is about, without the words that every question has."""

import re

# One of these alone, or with nothing but stop words, is no question to look anything up for.
_SMALL_TALK = "hello hi hey thanks thank thx ok okay great cool nice perfect bye goodbye yes no sure"

_STOP_WORDS = """
    a about above after again all also am an and any are aren as at be because been before being below between
    best both but by can cannot could couldn did didn do does doesn doing don down during each else few for from
    further get gets getting give good had has have having he help her here hers him his how however i if in into
    is isn it its just know let like ll look make many me mean might more most much must my myself need needs never
    new nor not now of off often on once one only or other our ours out over own per please possible quite rather
    re really s same say see shall she should show so some something such t tell than that the their theirs them
    then there these they thing things this those through to too try under until up us use used useful using ve
    very want wants was way ways we well were what when where whether which while who whom whose why will with
    without word words work works would yet you your yours explain describe difference different differ compare
    versus vs better between example examples simple quick quickly question answer
    long longest large largest big biggest max maximum maximal highest tell old bot service services ask asked
"""
SMALL_TALK = frozenset(_SMALL_TALK.split())
STOP_WORDS = SMALL_TALK | frozenset(_STOP_WORDS.split())

# Said in place of the knowledge's own word.
_ALIASES = {
    "gcp": "google",
    "equivalent": "counterpart",
    "equivalents": "counterpart",
    "alternative": "counterpart",
    "alternatives": "counterpart",
}

# Names that pick a cloud: a follow-up that has its own drops those of the question before it.
CLOUDS = {"aws": "aws", "amazon": "aws", "azure": "azure", "microsoft": "azure", "google": "google"}

# As the index cuts words: an underscore ends one.
_WORD = re.compile(r"[^\W_]+(?:[.+#][^\W_]+)*[+#]*")
_NAME = re.compile(r"(?<!^)(?<![.?!]\s)\b(\w*[A-Z]\w*)")
# What stands for something said before.
_REFERENCE = re.compile(
    r"^\W*(and|or|but|so|then|what about|how about|same)\b"
    r"|\b(it|its|that|they|them|those|these|the same)\b|\bthere\W*$",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^\W*(what|who|which|how|why|when|where|is|are|can|could|does|do|should|explain|describe|compare|list|show)\b",
    re.IGNORECASE,
)
# A message of more words than these says by itself what it is about, though it points back.
_POINTING_BACK = 4
_BARE_WORDS = 2


def terms(text: str) -> list[str]:
    """The words of a text in lower case, stop words left out, in order, repeated where the text repeats them."""
    words: list[str] = _WORD.findall(text.lower())
    return [_ALIASES.get(word, word) for word in words if word not in STOP_WORDS]


def is_small_talk(message: str) -> bool:
    words: list[str] = _WORD.findall(message.lower())
    return not terms(message) and any(word in SMALL_TALK for word in words)


def in_context(message: str, previous: str) -> str:
    """A message that cannot be understood alone, with the words of the question before it; any other stays as it is.
    "And on Azure?" asks the question before it of another cloud, so the first cloud's names go. The message comes
    twice, since its words weigh more."""
    own = terms(message)
    if not previous or is_small_talk(message) or not _needs_context(message, len(own)):
        return message
    earlier = terms(previous)
    if any(word in CLOUDS for word in own):
        earlier = _without_names(previous) or [word for word in earlier if word not in CLOUDS]
    return " ".join([message, message, *earlier])


def _needs_context(message: str, words: int) -> bool:
    if _REFERENCE.search(message):
        return words <= _POINTING_BACK
    return words == 0 or (words <= _BARE_WORDS and not _QUESTION.match(message))


def _without_names(question: str) -> list[str]:
    """The terms but for the clouds and whatever has a capital letter within the sentence: a product's name."""
    named = {name.lower() for name in _NAME.findall(question)}
    return [word for word in terms(question) if word not in CLOUDS and word not in named]
