"""Citations: quotes checked against the stored source, markers checked against the quotes.

What fails is marked, never hidden and never mended.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from delegator.agents import MAX_CLAIMS
from delegator.knowledge import Library, Passage
from delegator.outcome import SourceSeen
from delegator.sanitize import CODE, fold, inert, plain_brackets

SHORTEST_QUOTE = 8
"""Characters below which a quote is found in any text and shows nothing."""
UNSUPPORTED = "[unsupported]"
MOST_DIGITS = 9
"""A longer number names no claim, and is not worth reading."""

NOT_OPENED = "not a source that this agent opened"
TOO_SHORT = f"a quote needs at least {SHORTEST_QUOTE} characters"
NOT_VERBATIM = "not a verbatim span of its source"

_NUMBERS = re.compile(r"(\d+)(?:\s*[\u2013-]\s*(\d+))?")
_MARKERS = re.compile(CODE + r"|(?:\\?\[\s*\d+(?:\s*[,;\u2013-]\s*\d+)*\s*\\?\])+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim of a report, with what code found out about its quote."""

    cite: int
    """The number by which an answer refers to it."""
    text: str
    source: str
    quote: str
    place: str
    """Where the quote stands, for people; empty if the source is not known."""
    problem: str
    """What is wrong with source or quote, in constant words; empty if it is verified."""

    @property
    def verified(self) -> bool:
        """Whether the quote stands in its source, letter by letter, and the agent opened that source."""
        return not self.problem

    def to_json(self) -> dict[str, object]:
        """As the orchestrator is shown it."""
        return {
            "cite": self.cite,
            "text": self.text,
            "source": self.source,
            "quote": self.quote,
            "verified": self.verified,
        }

    def without_quote(self) -> dict[str, object]:
        """As a reader is shown it who must see no quote that is not in its source."""
        said = self.to_json()
        del said["quote"]
        return {**said, "problem": self.problem}


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A numbered source below an answer."""

    n: int
    source: str
    quote: str
    verified: bool

    def to_json(self) -> dict[str, object]:
        """As in `--json`."""
        return {"n": self.n, "source": self.source, "quote": self.quote, "verified": self.verified}


def first_cite(finding: int) -> int:
    """The number of the first claim of the n-th delegation (from 1): the same in every replay, whoever finished first."""
    return (MAX_CLAIMS + 1) * finding + 1


def check_claims(
    claims: Iterable[Mapping[str, Any]],
    *,
    library: Library | None,
    opened: Mapping[str, SourceSeen],
    first: int,
) -> tuple[Claim, ...]:
    """Compare every quote with the source it names, as stored and as it was shown to the agent."""
    checked = []
    for i, claim in enumerate(claims):
        source, quote = str(claim["source"]), str(claim["quote"])
        passage = library.passage(source) if library is not None else None
        problem = ""
        if source not in opened or passage is None:
            problem = NOT_OPENED
        elif len(fold(quote)) < SHORTEST_QUOTE:
            problem = TOO_SHORT
        elif passage.sha256 != opened[source].sha256 or fold(quote) not in fold(passage.text):
            problem = NOT_VERBATIM
        checked.append(
            Claim(
                cite=first + i,
                text=str(claim["text"]),
                source=source,
                quote=quote,
                place=_place(passage, quote) if passage and source in opened else "",
                problem=problem,
            )
        )
    return tuple(checked)


def _place(passage: Passage, quote: str) -> str:
    """`path:first-last` of the lines in which the quote stands, or of its passage where that can not be told."""
    rows, wanted = passage.text.split("\n"), fold(quote)
    if not wanted or len(rows) != passage.last - passage.first + 1:
        return passage.where
    first, last = 0, len(rows)
    while first + 1 < last and wanted in fold("\n".join(rows[first + 1 : last])):
        first += 1
    while last - 1 > first and wanted in fold("\n".join(rows[first : last - 1])):
        last -= 1
    lines = (passage.first + first, passage.first + last - 1)
    return f"{passage.path}:{lines[0]}" + (f"-{lines[1]}" if lines[1] > lines[0] else "")


def resolve(answer: str, claims: Mapping[int, Claim]) -> tuple[str, tuple[Citation, ...]]:
    """The answer with its markers renumbered from 1 in order of appearance, and the citations they refer to.

    A marker that names no claim becomes `[unsupported]`; one whose quote failed its check says `unverified`.
    Brackets inside code stay as they are.
    """
    cited: dict[tuple[str, str, bool], Citation] = {}

    def number(digits: str) -> str:
        claim = claims.get(int(digits)) if len(digits) <= MOST_DIGITS else None
        if claim is None:
            return UNSUPPORTED
        quoted = (claim.place or str(claim.cite), fold(claim.quote), claim.verified)
        if quoted not in cited:
            cited[quoted] = Citation(
                n=len(cited) + 1,
                source=claim.place or "unknown source",
                quote=claim.quote,
                verified=claim.verified,
            )
        n = cited[quoted].n
        return f"[{n}]" if claim.verified else f"[{n}: unverified]"

    def renumbered(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        return "".join(dict.fromkeys(number(digits) for digits in _spelled_out(match[0])))

    text = _MARKERS.sub(renumbered, plain_brackets(answer))
    return inert(text), tuple(cited.values())  # a marker may have completed a link


def _spelled_out(markers: str) -> Iterator[str]:
    """The numbers in some markers; `11-13` is 11, 12 and 13."""
    for first, last in _NUMBERS.findall(markers):
        few = len(first) <= MOST_DIGITS >= len(last or first)
        span = range(int(first), int(last or first) + 1) if few else range(0)
        if 0 < len(span) <= MAX_CLAIMS:
            yield from map(str, span)
        else:
            yield from filter(None, (first, last))
