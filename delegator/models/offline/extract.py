"""Sentences that answer: passages into quotable units, scored by how much of the question they cover.

A unit is a verbatim stretch of its passage, so it can be quoted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from delegator.language import sentences, stem, words
from delegator.models.offline.question import Kind, Question, vague

MAX_QUOTE = 600
_SHORTEST, _LONGEST = 4, 70
_BULLET = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)]|#\.)\s+")
_NOISE = re.compile(
    r"^\s*(?:\.\.\s|\||={3,}|-{3,}|\+-|>>>|#!|see also\b|table of contents\b)|https?://\S+\s*$",
    re.IGNORECASE,
)
_MARKUP = (
    (re.compile(r":[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"``([^`]*)``"), r"`\1`"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#\.|#{1,6}|>)\s+"), ""),
    (re.compile(r"::$"), ":"),
)
_YEAR = re.compile(
    r"\b(?:1[6-9]|20)\d\d\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"spring|summer|autumn|fall|winter|century|years?|months?|weeks?|days?)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|million|half|"
    r"twice|once|every)\b",
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
_SIGNS = {
    Kind.TIME: _YEAR,
    Kind.NUMBER: _NUMBER,
    Kind.REASON: _CAUSE,
    Kind.METHOD: _DOING,
    Kind.PERSON: _PERSON,
}
_DEFINES = r"(?:\s*\([^)]{1,60}\))?(?:,[^,]{1,60},)?\s+(?:is|are|was|were|refers? to|means?|stands? for|describes?)\s"
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
    stems: frozenset[str]
    context: frozenset[str]
    score: float = 0.0
    cover: float = 0.0

    @property
    def plain(self) -> str:
        """The words without markup."""
        return plain(self.quote)


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
    blocks = _blocks(source.text)
    found = []
    for i, block in enumerate(blocks):
        if block.strip().rstrip(":") == source.section or _NOISE.search(block):
            continue
        for sentence in sentences(block):
            quote = sentence
            if sentence.endswith(":") and block.endswith(sentence) and i + 1 < len(blocks):
                quote = f"{sentence} {blocks[i + 1]}"
            quote = " ".join(quote.split())[:MAX_QUOTE].rstrip()
            size = len(words(sentence))
            if _SHORTEST <= size <= _LONGEST:
                stems = frozenset(stem(word) for word in words(quote))
                found.append(Unit(quote=quote, source=source, stems=stems, context=context))
    return found


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
    return sorted((u for u in scored if u.score > 0), key=lambda u: (-u.score, u.source.rank))


def _weights(question: Question, every: list[Unit]) -> dict[str, float]:
    """How much each term matters: rare among what was found, or a name, matters more."""
    counts = Counter(term for unit in every for term in unit.stems if term in question.terms)
    weights = {}
    for term in question.terms:
        weight = 1.0 + math.log((1 + len(every)) / (1 + counts[term])) / 4
        weight *= 0.35 if vague(term) else 1.0
        weights[term] = weight * (1.3 if term in question.names else 1.0)
    return weights


def _scored(unit: Unit, question: Question, weights: Mapping[str, float], total: float) -> Unit:
    inside = sum(w for term, w in weights.items() if term in unit.stems)
    around = sum(
        w for term, w in weights.items() if term not in unit.stems and term in unit.context
    )
    cover = (inside + 0.75 * around) / total
    if inside == 0:
        return unit
    score = (inside + 0.6 * around) / total
    score += 0.08 * _pairs(unit, question)
    score += _kind_bonus(unit, question)
    score += 0.12 / (1 + unit.source.rank)
    if unit.quote.endswith("?"):
        score -= 0.35
    if not unit.quote.rstrip("\"')*_`").endswith((".", "!", ":", "。")) and ": " not in unit.quote:
        score -= 0.1
    return Unit(
        quote=unit.quote,
        source=unit.source,
        stems=unit.stems,
        context=unit.context,
        score=score,
        cover=cover,
    )


def _pairs(unit: Unit, question: Question) -> int:
    """How many neighbours in the question are neighbours in the sentence."""
    line = [stem(word) for word in words(unit.quote)]
    neighbours = set(pairwise(line))
    return sum(pair in neighbours for pair in pairwise(question.terms))


def _kind_bonus(unit: Unit, question: Question) -> float:
    if question.kind is Kind.DEFINITION:
        text = plain(unit.quote).lower()
        head = re.escape(" ".join(question.words[:4]))
        if re.match(rf"(?:an?\s+|the\s+)?{head}s?{_DEFINES}", text):
            return 0.5
        return (
            0.25
            if question.words
            and re.search(rf"\b{re.escape(question.words[-1])}\w*{_DEFINES}", text)
            else 0.0
        )
    sign = _SIGNS.get(question.kind)
    return 0.0 if sign is None else (0.2 if sign.search(unit.quote) else -0.1)


def answers(question: Question, ranked: list[Unit], most: int = 4) -> list[Unit]:
    """The units that together answer, best first; none if the passages do not say it."""
    fit = [unit for unit in ranked if _fits(unit, question)]
    if not fit:
        return []
    chosen: list[Unit] = []
    for unit in fit:
        if unit.score < 0.72 * fit[0].score or len(chosen) == most:
            break
        if all(_apart(unit, other) for other in chosen):
            chosen.append(unit)
    return chosen


def _fits(unit: Unit, question: Question) -> bool:
    near = unit.stems | unit.context
    whole = near | frozenset(stem(word) for word in words(unit.source.text))
    text = unit.source.text.lower()
    return (
        unit.cover >= ENOUGH
        and question.names <= whole
        and all(name.lower() in text for name in question.identifiers)
    )


def _apart(unit: Unit, other: Unit) -> bool:
    shared = len(unit.stems & other.stems)
    return shared < 0.7 * min(len(unit.stems), len(other.stems))
