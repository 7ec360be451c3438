"""The cases as a list: for a person who chooses, and as JSON."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from delegator.lab.cases import CATEGORIES, Case
from delegator.lab.report import NARROWEST, WIDEST
from delegator.sanitize import one_line
from delegator.terminal.board import counted


def cases_json(cases: Sequence[Case]) -> str:
    """What each case attacks, and where it stops."""
    told = [
        {
            "id": case.id,
            "name": case.name,
            "family": case.family,
            "category": case.category,
            "boundary": case.boundary,
            "stops_at": case.stops_at.value if case.stops_at else None,
            "declared": case.declared or None,
            "needs_worst_case": case.scripted,
        }
        for case in cases
    ]
    return json.dumps(told, ensure_ascii=False, indent=2)


def cases_text(cases: Sequence[Case], width: int) -> str:
    """By category: the level that stops a case, its id, what it does."""
    return "\n".join(_lines(cases, max(NARROWEST, min(width, WIDEST))))


def _lines(cases: Sequence[Case], width: int) -> Iterator[str]:
    for category, group in groupby(cases, key=lambda case: case.category):
        yield f"{category:>2} {CATEGORIES[category]}"
        for case in group:
            stop = case.stops_at.value if case.stops_at else "open"
            yield f"   {stop:<8} {case.id}"
            yield from textwrap.wrap(
                f"{one_line(case.name, 120)}  ({case.boundary})",
                width,
                initial_indent=" " * 12,
                subsequent_indent=" " * 12,
            )
    yield f"{counted(len(cases), 'case')}; before each the first level that stops it"
