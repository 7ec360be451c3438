"""Questions taken apart by their grammar: what kind they are, what they name, and which parts they have.

Nothing here knows a topic. The verbs and question words are those of plain English.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from delegator.language import STOPWORDS, content_words, stem, words

MAX_PARTS = 4


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in text.split())


_WH = r"(?:what|who|whom|whose|which|when|where|why|how)"
_AUX = _set("do does did can could should would will may might must is are was were has have had")
_VERBS = _stems(
    "add adapt affect allow answer apply ask avoid become begin behave break bring build call "
    "cause change check choose cite combine come compare compute configure connect contain "
    "control convert cope create deal debug decide define delete deliver deploy depend describe "
    "design detect determine develop differ disable do enable encode encrypt ensure evaluate "
    "execute explain express extend extract fail fetch filter find fit fix follow format generate "
    "get give go grow guard handle happen help hold identify implement import improve include "
    "increase index influence install interact keep know lead learn let limit list load log look "
    "lose make manage measure merge migrate mitigate model monitor move need offer open operate "
    "optimize order organize override parse pass pay perform plan play prevent process produce "
    "protect prove provide publish query raise rank reach read reason receive recover reduce "
    "register relate release remove render replace reply report represent request resolve respond "
    "restrict retrieve return review reward run save scale schedule search secure select send "
    "serve set share show sign solve sort speak specify split start stay stop store stream "
    "structure submit suffer support switch take talk teach test think track train translate "
    "treat trust try turn understand update upgrade use validate verify view wait want warn work "
    "write"
)
_ADVERBS = re.compile(r"(?:then|also|still|even|safely|quickly|reliably|effectively|\w+ly)\Z")
_PRONOUNS = re.compile(
    r"\b(it|its|they|them|their|this|that|these|those|he|she|him|her|his|the (?:same|former|latter))\b",
    re.IGNORECASE,
)
_ORDINAL = re.compile(
    r"\bthe (first|second|third|fourth|last|former|latter)(?: (?:one|part|topic|point|thing))?\b",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"^\W*(?:(?:and|but|so|also)\s+)?(?:what|how) about\s+|^\W*(?:and|but|so|also)\s+",
    re.IGNORECASE,
)
_PLACES = {"first": 0, "former": 0, "second": 1, "latter": -1, "third": 2, "fourth": 3, "last": -1}
_DEFINING = re.compile(
    r"^\s*(?:(?:please\s+)?(?:explain|describe|define|summari[sz]e|introduce|discuss|tell me about|give me an overview of)"
    r"|what(?:'s| is| are| was| were)|who(?:'s| is| are| was| were))\s+(?P<rest>.+?)[?.!]*\s*$",
    re.IGNORECASE | re.DOTALL,
)
_COMPARING = (
    re.compile(r"\bdifferences?\s+between\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)[?.!]*$", re.IGNORECASE),
    re.compile(r"\bcompare\s+(?P<a>.+?)\s+(?:and|with|to|against)\s+(?P<b>.+?)[?.!]*$", re.IGNORECASE),
    re.compile(r"\b(?:how|what)\b.*?\b(?:do|does|is|are)\s+(?P<a>.+?)\s+(?:differs?|different)\s+from\s+(?P<b>.+?)[?.!]*$", re.IGNORECASE),
    re.compile(r"\bhow\s+(?:do|does|did)\s+(?P<a>.+?)\s+compare\s+(?:with|to|against)\s+(?P<b>.+?)[?.!]*$", re.IGNORECASE),
    re.compile(r"\bhow\s+do\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)\s+differ[?.!]*$", re.IGNORECASE),
    re.compile(r"^(?:what about\s+)?(?P<a>[^?]+?)\s+(?:vs\.?|versus)\s+(?P<b>[^?]+?)[?.!]*$", re.IGNORECASE),
)  # fmt: skip
_AND_WH = re.compile(
    rf"(?:,\s*|\s+)(?:and|but|or)\s+(?={_WH}\b(?!\s+(?:not|else)\b)|(?:is|are|does|do|can|should)\s)",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|thanks?|thank you|bye|goodbye|ok(?:ay)?|great|cool|nice)\b[^?]{0,30}\Z",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"(?:--?)?\b\w*(?:[_.:/]|(?<=[a-z])(?=[A-Z])|\d)\w+\b(?:\(\))?")


class Kind(Enum):
    """What an answer must hold."""

    DEFINITION = auto()
    PERSON = auto()
    TIME = auto()
    NUMBER = auto()
    REASON = auto()
    ADDRESS = auto()
    NAME = auto()
    METHOD = auto()
    OTHER = auto()


_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"^\W*(?:how (?:many|much|long|often|big|large|old|far|fast|high|deep)|what (?:number|percentage|size|port)|which (?:port|number))\b", Kind.NUMBER),
    (r"\b(?:e-?mail address|url|web ?site|web address|home ?page)\b", Kind.ADDRESS),
    (r"^\W*(?:when|since when|until when|what year|in which year|what date)\b", Kind.TIME),
    (r"^\W*(?:who|whom|whose|after whom)\b", Kind.PERSON),
    (r"^\W*why\b|\breasons?\b", Kind.REASON),
    (r"^\W*how (?:do|can|should|would|to|does one)\b", Kind.METHOD),
    (r"^\W*(?:what(?:'s| is| are| was| were| does \S+ (?:mean|stand for))|define|explain|describe)\b", Kind.DEFINITION),
    (r"^\W*(?:\w+ )?(?:which|what)\b(?! (?:happens|does|do|if|kind|ways?)\b)", Kind.NAME),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question as search and extraction need it."""

    text: str
    kind: Kind
    terms: tuple[str, ...]
    """Stems of the words that carry meaning, in order."""
    words: tuple[str, ...]
    """The same words, unstemmed."""
    names: frozenset[str]
    """Stems of terms that look like names: an answer about something else is no answer."""
    pairs: frozenset[tuple[str, str]]
    """Stems of neighbouring words, at least one of which carries meaning."""
    joined: frozenset[str]
    """Neighbours written as one word: `log in` as `login`."""
    identifiers: tuple[str, ...]
    """Words of code, which must stand in the source as they are."""


_VAGUE = _stems(
    "differ differs work works working mean means meaning use used using modern good best main important "
    "effectively exactly actually really get make do say know thing things way ways kind kinds "
    "happen happens tell explain describe give find documents document sources source default "
    "usually please need want different difference compare compared introduced called big long "
    "old often far fast large many much small high deep come"
)


def vague(term: str) -> bool:
    """Whether a stem says little about the topic by itself."""
    return term in _VAGUE


def is_verb(term: str) -> bool:
    """Whether a stem is a common verb: a writer may well have chosen another one."""
    return term in _VERBS


def analyse(text: str) -> Question:
    """What a question names and what kind of answer it wants."""
    chosen = content_words(text)
    kind = next(
        (kind for pattern, kind in _KINDS if re.search(pattern, text, re.IGNORECASE)), Kind.OTHER
    )
    by_stem = {stem(word): word for word in reversed(chosen)}
    terms = tuple(dict.fromkeys(stem(word) for word in chosen))
    return Question(
        text=text,
        kind=kind,
        terms=terms,
        words=tuple(by_stem[term] for term in terms),
        names=frozenset(_names(text)) & frozenset(terms),
        pairs=frozenset(
            (stem(a), stem(b)) for a, b in pairwise(words(text)) if a in chosen or b in chosen
        ),
        joined=frozenset(a + b for a, b in pairwise(words(text)) if a in chosen),
        identifiers=tuple(
            name for name in _IDENTIFIER.findall(text) if "_" in name or re.search(r"\w\.\w", name)
        ),
    )


def _names(text: str) -> set[str]:
    """Stems of capitalised or quoted words that do not merely begin a sentence."""
    found: set[str] = set()
    for match in re.finditer(r"(?P<start>(?:\A|[.?!:]\s+)\W*)?\b(?P<word>[A-Z][\w'’-]*)", text):
        word = match["word"]
        shouted = len(word) > 1 and word.isupper()
        inner = any(c.isupper() for c in word[1:]) or any(c.isdigit() for c in word)
        if (match["start"] is None or shouted or inner) and word.lower() not in STOPWORDS:
            found |= {stem(part) for part in words(word)}
    for quoted in re.findall(r"[\"“`']([^\"”`']{2,60})[\"”`']", text):
        found |= {stem(word) for word in content_words(quoted)}
    return found


def is_small_talk(text: str) -> bool:
    """Whether it greets or thanks and asks nothing."""
    return _GREETING.match(text.strip()) is not None


def parts(question: str) -> list[str]:
    """The questions in a question, each complete in itself; one if it can not be taken apart."""
    sentences = [s.strip() for s in re.findall(r"[^?]+\??", question) if content_words(s)]
    asked = [s for s in sentences if s.endswith("?")] or [" ".join(sentences)]
    context = " ".join(s for s in sentences if s not in asked)
    found: list[str] = []
    subject = ""
    for sentence in asked:
        whole = f"{context} {sentence}".strip() if len(asked) == 1 else sentence
        found += _clauses(_with_subject(whole, subject) if subject else whole)
        subject = topic(sentence) or subject
    tidy = dict.fromkeys(_tidy(part) for part in found if content_words(part))
    return list(tidy)[:MAX_PARTS] or [question.strip()]


def _tidy(part: str) -> str:
    folded = " ".join(part.split())
    return folded[:1].upper() + folded[1:]


def _clauses(sentence: str) -> list[str]:
    for pattern in _COMPARING:
        if match := pattern.search(sentence):
            a, b = _trim(match["a"]), _trim(match["b"])
            if content_words(a) and content_words(b):
                return [f"What is {a}?", f"What is {b}?", f"How do {a} and {b} differ?"]
    pieces = _AND_WH.split(sentence.rstrip("?.! "))
    if len(pieces) > 1 and all(content_words(piece) for piece in pieces):
        subject = topic(pieces[0])
        return [pieces[0] + "?", *(_with_subject(piece, subject) + "?" for piece in pieces[1:])]
    if match := _DEFINING.match(sentence):
        items = _items(match["rest"])
        if len(items) > 1:
            return [f"What is {item}?" for item in items]
    return _verb_phrases(sentence)


def _trim(text: str) -> str:
    return re.sub(r"^(?:the|a|an)\s+", "", text.strip(" ,.?!"), flags=re.IGNORECASE)


def _items(text: str) -> list[str]:
    """The members of `A, B and C`, if each of them is short enough to be a thing."""
    if re.search(r"\b(?:between|when|that|which|who|for|of|in|to|on|with)\b", text, re.IGNORECASE):
        return [text]
    items = [_trim(item) for item in re.split(r"\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+", text)]
    longest = 4
    fits = all(item and len(item.split()) <= longest and content_words(item) for item in items)
    return items if fits else [text]


def _verb_phrases(sentence: str) -> list[str]:
    """`How do X learn A and use B?` as `How do X learn A?` and `How do X use B?`."""
    tokens = sentence.rstrip("?.! ").split()
    lower = [token.lower().strip(",") for token in tokens]
    aux = next((i for i, token in enumerate(lower[:4]) if token in _AUX), None)
    if aux is None:
        return [sentence]
    first = next((i for i in range(aux + 2, len(lower)) if stem(lower[i]) in _VERBS), None)
    if first is None:
        return [sentence]
    cuts = [
        i
        for i in range(first + 1, len(lower) - 1)
        if lower[i] == "and" and _begins_verb(lower[i + 1 :])
    ]
    if not cuts:
        return [sentence]
    head = " ".join(tokens[:first])
    governed = _infinitive(lower[first : cuts[0]])
    found = []
    for start, end in zip([first, *(c + 1 for c in cuts)], [*cuts, len(tokens)], strict=True):
        phrase = " ".join(tokens[start:end]).strip(" ,")
        lead = (
            ""
            if start == first or lower[start] == "to"
            else " ".join(tokens[first : first + governed])
        )
        found.append(" ".join(f"{head} {lead} {phrase}".split()) + "?")
    return found


def _begins_verb(tokens: list[str]) -> bool:
    rest = tokens[1:] if _ADVERBS.match(tokens[0]) or tokens[0] == "to" else tokens
    return bool(rest) and stem(rest[0]) in _VERBS and len(rest) > 1


def _infinitive(phrase: list[str]) -> int:
    """How many words stand before the verb that governs the rest: 2 for `learn to follow …`, else 0."""
    return phrase.index("to") + 1 if "to" in phrase[:3] else 0


def _with_subject(clause: str, subject: str) -> str:
    """A clause whose pronoun is replaced by what it stands for."""
    if not subject:
        return clause
    replaced, count = _PRONOUNS.subn(subject, clause, count=1)
    return replaced if count or content_words(clause) else f"{clause} ({subject})"


def topic(question: str) -> str:
    """What a question is about: its longest run of words that are neither grammar nor verbs."""
    best: list[str] = []
    run: list[str] = []
    for token in [*re.findall(r"[\w'’.+#-]+", question), "is"]:
        low = token.lower()
        if low in STOPWORDS or low in _AUX or (stem(low) in _VERBS and not token[0].isupper()):
            best, run = (run if len(run) > len(best) else best), []
        else:
            run.append(token)
    return " ".join(best)


def resolve(question: str, earlier: list[str]) -> str:
    """A follow-up made complete: what it points back to is taken from the questions before it."""
    if not earlier:
        return question
    topics = [t for part in parts(earlier[-1]) if (t := topic(part))]
    if not topics:
        return question

    def ordinal(match: re.Match[str]) -> str:
        place = _PLACES[match[1].lower()]
        return topics[place] if -len(topics) <= place < len(topics) else match[0]

    text, pointed = _ORDINAL.subn(ordinal, question)
    text, led_in = _LEAD_IN.subn("", text)
    text, replaced = _PRONOUNS.subn(topics[0], text, count=1)
    bare = not content_words(text)
    if not pointed and not replaced and (led_in or bare):
        text = f"{text.rstrip('?.! ')} ({' '.join(topics)})?"
    return _tidy(text)
