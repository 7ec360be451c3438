"""Sentences that answer: passages into quotable units, scored by how much of the question they cover.

A unit is a verbatim stretch of its passage, so it can be quoted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from delegator.language import sentences, stem, words
from delegator.models.offline.question import Kind, Question, is_verb, vague

MAX_QUOTE = 600
MAX_EXAMPLE = 240
"""Characters of the list or piece of code that a sentence introduces."""
_SHORTEST, _LONGEST = 3, 70
_BULLET = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)]|#\.)\s+")
_NOISE = re.compile(
    r"^\s*(?:\.\. (?:_|\w+::\s*\Z)|\||={3,}|-{3,}|\+-|>>>|#!|see also\b|table of contents\b)|https?://\S+\s*$",
    re.IGNORECASE,
)
_MARKUP = (
    (re.compile(r":[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"``([^`]*)``"), r"`\1`"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#\.|#{1,6}|>)\s+"), ""),
    (re.compile(r"^\s*\.\. [\w:+-]+:: +(\S+)(?=\s)"), r"\1:"),
    (re.compile(r"::$"), ":"),
)
_YEAR = re.compile(
    r"\b(?:1[6-9]|20)\d\d\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"spring|summer|autumn|fall|winter|century|years?|months?|weeks?|days?)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|million|half|"
    r"twice|once|every|daily|weekly|monthly|yearly)\b",
    re.IGNORECASE,
)
_CAUSE = re.compile(
    r"\b(?:because|since|so that|due to|therefore|thus|as a result|reason|causes?|leads? to|otherwise|in order to|"
    r"means that|ensures?|prevents?|allows?|avoids?|risk)\b",
    re.IGNORECASE,
)
_DOING = re.compile(
    r"`|\b(?:use|set|run|call|add|create|pass|install|enable|configure|specify|define|include|by \w+ing|you can|to do (?:this|so))\b",
    re.IGNORECASE,
)  # fmt: skip
_PERSON = re.compile(
    r"(?<=[a-z,;:] )[\"“(]?[A-Z][a-z]+\b|\b(?:people|team|members?|users?|authors?|managers?|admins?|developers?)\b|@\w|\b[A-Z]{3,}\b"
)
_ADDRESS = re.compile(r"\S@\S|\bhttps?://|\bwww\.")
_NAMED = re.compile(r"(?<=[a-z,;:(\"'`*_] )[\"'`*(]*([A-Z][\w.+-]+)|`+([\w.+-]+)")
_CODE_NAME = re.compile(r"[_.()]|[a-z][A-Z]|^[A-Z\d_]+$")
_DANGLING = re.compile(
    r"(?:This|That|These|Those|It|They|Its|Their|He|She|Such|However|Also|Otherwise|If this|In such)\b"
)
_NO_NAMES = (
    "admonition attention caution code code-block contents csv-table currentmodule danger deprecated error figure highlight "
    "hint image important include index list-table literalinclude math module note only parsed-literal raw rubric seealso "
    "sourcecode table tip toctree versionadded versionchanged versionremoved warning"
)
_DEFINED = re.compile(rf"\s*\.\. (?!(?:{_NO_NAMES.replace(' ', '|')})::)[\w:+-]+:: +\S[^\n]*\Z")
"""A reStructuredText directive that names the thing which the indented text below it describes."""
_SIGNS = {
    Kind.ADDRESS: _ADDRESS,
    Kind.TIME: _YEAR,
    Kind.NUMBER: _NUMBER,
    Kind.REASON: _CAUSE,
    Kind.METHOD: _DOING,
    Kind.PERSON: _PERSON,
}
_DEFINES = r"(?:\s*\([^)]{1,60}\))?(?:,[^,]{1,60},)?\s+(?:is|are|was|were|refers? to|means?|stands? for|describes?)\s"
_FACTS = frozenset({Kind.TIME, Kind.NUMBER, Kind.PERSON, Kind.ADDRESS, Kind.NAME})
"""Kinds that one or two sentences answer."""
ENOUGH = 0.5
"""The least share of a question's weight that an answer must cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage as a tool returned it."""

    id: str
    title: str
    section: str
    text: str
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A sentence (with its example, where it introduces one), and how well it answers."""

    quote: str
    source: Source
    place: int
    """Its number in its passage, from 0."""
    stems: frozenset[str]
    """Of its own words, and of the name that it defines."""
    context: frozenset[str]
    """Of the titles above it."""
    score: float = 0.0
    cover: float = 0.0

    @property
    def plain(self) -> str:
        """The words without markup, after the name that they are about where that is not among them."""
        text, name = plain(self.quote), plain(self.source.section)
        if (
            len(name.split()) > 1
            or not name
            or name.lower() in text.lower()
            or not _CODE_NAME.search(name)
        ):
            return text
        return f"{name}: {text}"


def plain(text: str) -> str:
    """A stretch of Markdown or reStructuredText as plain words."""
    for pattern, put in _MARKUP:
        text = pattern.sub(put, text)
    return " ".join(text.split())


def sources(results: Iterable[Mapping[str, object]]) -> list[Source]:
    """The passages in tool results, each once, in the order in which they were shown."""
    found: dict[str, Source] = {}
    for data in results:
        shown = data.get("hits") or data.get("passages") or ()
        for entry in shown if isinstance(shown, list) else ():
            if not isinstance(entry, Mapping) or str(entry.get("id")) in found:
                continue
            found[str(entry["id"])] = Source(
                id=str(entry["id"]),
                title=str(entry.get("title", "")),
                section=str(entry.get("section", "")),
                text=str(entry.get("text", "")),
                rank=len(found),
            )
    return list(found.values())


def units(source: Source) -> list[Unit]:
    """The quotable units of a passage."""
    context = frozenset(stem(word) for word in words(f"{source.title} {source.section}"))
    found: list[Unit] = []
    for quote, own in _quotes(_blocks(source.text), source.section):
        if len(words(own)) >= _SHORTEST and len(words(quote)) <= _LONGEST:
            said = words(quote)
            joined = frozenset(a + b for a, b in pairwise(said))
            stems = frozenset(stem(word) for word in said) | joined
            place = len(found)
            found.append(
                Unit(quote=quote, source=source, place=place, stems=stems, context=context)
            )
    return found


def _quotes(blocks: list[str], section: str) -> Iterator[tuple[str, str]]:
    """Stretches to quote, each with the sentence at its heart."""
    for i, block in enumerate(blocks):
        before = blocks[i - 1] if i and _DEFINED.match(blocks[i - 1]) else ""
        before = before if before and _indent(block) > _indent(before) else ""
        if _NOISE.search(block) or _DEFINED.match(block) or block.strip() == section:
            continue
        for n, sentence in enumerate(sentences(block)):
            quote = f"{before} {sentence}" if before and n == 0 else sentence
            if sentence.endswith(":") and block.rstrip().endswith(sentence) and i + 1 < len(blocks):
                quote = f"{quote} {_cut(blocks[i + 1], MAX_EXAMPLE)}"
            yield _cut(quote, MAX_QUOTE), sentence


def _cut(text: str, most: int) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= most else folded[:most].rpartition(" ")[0]


def _blocks(text: str) -> list[str]:
    """Paragraphs, list items and pieces of code."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if not line.strip():
            blocks.append([])
        elif _BULLET.match(line) or (blocks[-1] and _indent(line) > _indent(blocks[-1][-1]) + 3):
            blocks.append([line])
        else:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if block]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def rank(question: Question, found: list[Source]) -> list[Unit]:
    """The units of all passages that touch the question, best first."""
    every = [unit for source in found for unit in units(source)]
    weights = _weights(question, every)
    total = sum(weights.values()) or 1.0
    scored = [_scored(unit, question, weights, total) for unit in every]
    return sorted(
        (u for u in scored if u.score > 0), key=lambda u: (-u.score, u.source.rank, u.place)
    )


def _weights(question: Question, every: list[Unit]) -> dict[str, float]:
    """How much each term matters: rare among what was found, or a name, matters more."""
    counts = Counter(term for unit in every for term in unit.stems if term in question.terms)
    weights = {}
    for term in question.terms:
        weight = 1.0 + math.log((1 + len(every)) / (1 + counts[term])) / 4
        weight *= 0.35 if vague(term) else 0.6 if is_verb(term) else 1.0
        weights[term] = weight * (1.3 if term in question.names else 1.0)
    return weights


def _scored(unit: Unit, question: Question, weights: Mapping[str, float], total: float) -> Unit:
    inside = sum(w for term, w in weights.items() if _says(unit, term, question))
    around = sum(
        w for term, w in weights.items() if term in unit.context and term not in unit.stems
    )
    cover = (inside + 0.75 * around) / total
    opens_section = unit.place == 0 and around >= ENOUGH * total
    if inside == 0 and not opens_section:
        return unit
    score = (inside + 0.6 * around) / total + (0.15 if opens_section else 0.0)
    score += 0.12 * _pairs(unit, question)
    score += _kind_bonus(unit, question)
    score += 0.12 / (1 + unit.source.rank)
    return replace(unit, score=score - _blemishes(unit), cover=cover)


def _says(unit: Unit, term: str, question: Question) -> bool:
    """Whether a unit holds a term, by itself or as a part of a compound (`superuser` in `createsuperuser`)."""
    if term in unit.stems:
        return True
    return any(word in unit.stems for word in question.joined if term in word)


def _blemishes(unit: Unit) -> float:
    """What makes a sentence a poor answer whatever it says."""
    quote = unit.quote
    cost = 0.35 if quote.endswith("?") else 0.0
    if not quote.rstrip("\"')*_`").endswith((".", "!", ":", "。")) and ": " not in quote:
        cost += 0.1
    return cost + (0.08 if _DANGLING.match(quote) else 0.0)


def _pairs(unit: Unit, question: Question) -> int:
    """How many neighbours in the question are neighbours in the sentence."""
    line = [stem(word) for word in words(unit.quote)]
    return min(sum(pair in question.pairs for pair in set(pairwise(line))), 4)


def _kind_bonus(unit: Unit, question: Question) -> float:
    if question.kind is Kind.DEFINITION:
        return _definition_bonus(unit, question)
    sign = has_sign(unit, question)
    return 0.0 if sign is None else (0.2 if sign else -0.1)


def _definition_bonus(unit: Unit, question: Question) -> float:
    text = plain(unit.quote).lower()
    head = re.escape(" ".join(question.words[:4]))
    if re.match(rf"(?:an?\s+|the\s+)?{head}s?{_DEFINES}", text):
        return 0.5
    last = question.words and rf"\b{re.escape(question.words[-1])}\w*{_DEFINES}"
    return 0.25 if last and re.search(last, text) else 0.0


def has_sign(unit: Unit, question: Question) -> bool | None:
    """Whether a unit holds the kind of thing that is asked for (a number, a date, a name …); `None` if any will do."""
    if question.kind is Kind.NAME:
        found = (word for pair in _NAMED.findall(unit.quote) for word in words(" ".join(pair)))
        return any(stem(word) not in question.terms for word in found)
    sign = _SIGNS.get(question.kind)
    return None if sign is None else sign.search(unit.quote) is not None


def answers(question: Question, ranked: list[Unit]) -> list[Unit]:
    """The units that together answer, best first; none if the passages do not say it."""
    names = question.names - _ambient(question, ranked)
    fit = [unit for unit in ranked if _fits(unit, question, names)]
    if not fit:
        return []
    most, share = (2, 0.85) if question.kind in _FACTS else (4, 0.72)
    chosen = [fit[0]]
    if has_sign(fit[0], question) is False and (near := _neighbour(fit[0], question)):
        chosen.append(near)
        most += 1
    for unit in fit[1:]:
        if unit.score < share * fit[0].score or len(chosen) >= most:
            break
        if all(_apart(unit, other) for other in chosen):
            chosen.append(unit)
    return chosen


def _neighbour(unit: Unit, question: Question) -> Unit | None:
    """The nearest unit of the same passage that holds what is asked for and this one lacks."""
    others = [other for other in units(unit.source) if 0 < abs(other.place - unit.place) <= 2]  # noqa: PLR2004
    others.sort(key=lambda other: abs(other.place - unit.place))
    return next((other for other in others if has_sign(other, question)), None)


def _ambient(question: Question, ranked: list[Unit]) -> set[str]:
    """Names that much of what was found mentions: what the documents are about, so no sentence need repeat them."""
    found = {unit.source.id: _whole(unit.source) for unit in ranked}
    enough = max(0.3 * len(found), 2)
    return {name for name in question.names if sum(name in w for w in found.values()) >= enough}


def _whole(source: Source) -> frozenset[str]:
    return frozenset(stem(w) for w in words(f"{source.title} {source.section} {source.text}"))


def _fits(unit: Unit, question: Question, names: frozenset[str]) -> bool:
    text = f"{unit.source.title} {unit.source.section} {unit.source.text}".lower()
    return (
        unit.cover >= ENOUGH
        and names <= unit.stems | _whole(unit.source)
        and all(name.lower() in text for name in question.identifiers)
    )


def _apart(unit: Unit, other: Unit) -> bool:
    shared = len(unit.stems & other.stems)
    return shared < 0.7 * min(len(unit.stems), len(other.stems))
