"""Two answers side by side: where they differ, in words to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delegator.history import differences
from delegator.viewer.messages import flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that two runs make otherwise; empty where one of them has nothing."""

    what: str
    before: str
    after: str


def compared(answers: Sequence[Mapping[str, Any] | None]) -> list[Difference] | None:
    """What differs between two answers; `None` where there are not two."""
    both = [_readable(answer) for answer in answers if answer]
    if len(both) != 2:  # noqa: PLR2004 - two sides
        return None
    return [
        Difference(what=one["what"], before=_side(one["before"]), after=_side(one["after"]))
        for one in differences(*both)
    ]


def _side(value: object) -> str:
    if isinstance(value, bool):  # a delegation that only one of them has
        return "there" if value else ""
    return "" if value is None else str(value)


def _readable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer whose parts are texts, without what differs in every run."""
    trust = answer["trust"]
    label = trust["label"]
    return {
        **answer,
        "citations": "\n".join(f"[{c['n']}] {c['source']}" for c in answer["citations"]),
        "delegations": [
            {**one, "report": _lines(one["report"]), "review": _lines(one["review"])}
            for one in answer["delegations"]
        ],
        "trust": {**trust, "label": f"{label['integrity']}, {label['confidentiality']}"},
    }


def _lines(value: object) -> str | None:
    """A report or a review, one text a line."""
    return None if value is None else "\n".join(f"{name}: {words}" for name, words in flat(value))
