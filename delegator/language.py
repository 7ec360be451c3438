"""Words and sentences of English text, by rule: for ranking and extracting, not for understanding."""

import re
from functools import lru_cache

STOPWORDS = frozenset(
    (
        "a about above after again all also am an and any are as at be because been before being "
        "below between both but by can could did do does doing down during each few for from "
        "further had has have having he her here hers him his how i if in into is it its itself "
        "just me more most my no nor not now of off on once only or other our out over own same "
        "shall she should so some such than that the their them then there these they this those "
        "through to too under until up us very was we were what when where which while who whom "
        "whose why will with would you your"
    ).split()
)

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|fig|eq|no|dr|mr|mrs|ms|prof|st|inc|approx|resp|ca|vol|pp?)|\b[A-Za-z]|(?:\A|\n)\s*\d{1,3})\.\Z",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?<=[.!?])[\"')\]*_`”’]{0,3}\s+(?=[\"'(\[*_`“‘]{0,3}[A-Z0-9:`<{])|(?<=[。！？])"
)
_SUFFIXES = (
    ("ational", "ate"), ("fulness", "ful"), ("iveness", "ive"), ("ization", "ize"), ("isation", "ize"),
    ("ations", "ate"), ("ation", "ate"), ("ities", "ity"), ("ements", "e"), ("ement", "e"), ("ising", "ize"),
    ("izing", "ize"), ("ised", "ize"), ("ise", "ize"), ("ies", "y"), ("ied", "y"), ("ing", ""), ("edly", ""), ("ed", ""),
    ("ers", ""), ("er", ""), ("ors", ""), ("or", ""), ("ions", ""), ("ion", ""), ("ly", ""), ("es", ""), ("s", ""), ("e", ""),
)  # fmt: skip
_IRREGULAR = {
    "using": "use",
    "used": "use",
    "uses": "use",
    "ran": "run",
    "made": "make",
    "wrote": "write",
    "written": "write",
}
_SHORTEST_STEM = 3


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return [match.lower() for match in _WORD.findall(text)]


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A word without its ending, so that `indexes`, `indexed` and `indexing` are one."""
    word = word.split("'", maxsplit=1)[0].split("’", maxsplit=1)[0]
    word = american(_IRREGULAR.get(word, word))
    if len(word) <= _SHORTEST_STEM or word.endswith("ss"):
        return word
    for suffix, put in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) + len(put) >= _SHORTEST_STEM:
            word = word[: -len(suffix)] + put
            break
    if len(word) > _SHORTEST_STEM and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > _SHORTEST_STEM + 1 else word


_SPELLINGS = (
    (re.compile(r"(?<=[a-z]{3})our(?=s|ed|ing|al|able|\Z)"), "or"),
    (re.compile(r"(?<=[a-z]{3})is(?=e[sdr]?\Z|ing\Z|ation)"), "iz"),
    (re.compile(r"\b(lic|def|off|pract)enc(?=e)"), r"\1ens"),
    (re.compile(r"(?<=[a-z]{3})ogue\b"), "og"),
    (re.compile(r"(?<=[a-z]{2})ll(?=ed\Z|ing\Z|er)"), "l"),
    (re.compile(r"(?<=[b-df-hj-np-tv-z])re\Z"), "er"),
)
_SHORTEST_BRITISH = 6


def american(word: str) -> str:
    """A British spelling as the American one, by its pattern; other words as they are."""
    if len(word) < _SHORTEST_BRITISH:
        return word
    for pattern, put in _SPELLINGS:
        changed = pattern.sub(put, word)
        if changed != word:
            return changed
    return word


def content_words(text: str) -> list[str]:
    """The words that carry meaning, each once, in order."""
    return list(dict.fromkeys(word for word in words(text) if word not in STOPWORDS))


def stems(text: str) -> set[str]:
    """The stems of all words of a text."""
    return {stem(word) for word in words(text)}


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each a verbatim stretch of it."""
    found: list[str] = []
    start = 0
    for match in _END.finditer(paragraph):
        if _ABBREVIATION.search(paragraph[start : match.start()]) and match[0]:
            continue
        found.append(paragraph[start : match.end()].strip())
        start = match.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]
