"""What is handed down and what comes back: the brief and the report.

Only `accept` and `salvage` make a `Report`. Passing the schema makes a report well-formed, never trusted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from delegator.errors import HandoffRejected
from delegator.sanitize import clean_json
from delegator.schema import Schema
from delegator.trust import Label

DELEGATE = "delegate_to_"
"""How the tools begin whose calls are delegations."""
SUBMIT = "submit_report"
BRIEF = "brief"
CONVERSATION = "conversation"
TASK_HEAD = "Your task:"
"""How a task begins that stands in a user turn."""
MAX_REPORT_CHARACTERS = 64_000
"""A reply longer than this is refused before it is parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What goes down to a subagent. It sees this and nothing else of the run."""

    task: str
    label: Label
    """Of the task's text: the minimum of everything its author had read."""
    material: tuple[Mapping[str, Any], ...] = ()
    """Earlier reports and evidence, resolved by code from the ids that were named."""
    material_label: Label | None = None

    def __post_init__(self) -> None:
        """Material is untrusted or worse labelled than its brief: it must say what it is.

        Raises:
            ValueError: There is material without a label.
        """
        if self.material and self.material_label is None:
            msg = "material needs a label"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a subagent claims: fits its agent's schema, and is worth what its author had read."""

    value: Mapping[str, Any]
    label: Label


def accept(candidate: str | Mapping[str, Any], schema: Schema, *, label: Label) -> Report:
    """The report in `candidate`: an object, or text that holds one JSON object.

    Raises:
        HandoffRejected: It holds no JSON object, or one that does not fit the schema.
    """
    value = parse(candidate) if isinstance(candidate, str) else _short(candidate)
    cleaned = cast("dict[str, Any]", clean_json(value))
    schema.require(cleaned)
    return Report(value=schema.canonical(cleaned), label=label)


def salvage(candidate: str | Mapping[str, Any], schema: Schema, *, label: Label) -> Report | None:
    """The part of a malformed report that is well-formed by itself, or nothing."""
    try:
        value = parse(candidate) if isinstance(candidate, str) else _short(candidate)
    except HandoffRejected:
        return None
    kept = schema.salvage(clean_json(value))
    return Report(value=schema.canonical(kept), label=label) if kept else None


def _short(given: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's input, if it is no longer than a reply in words may be."""
    try:
        length = len(json.dumps(given, ensure_ascii=False))
    except RecursionError:
        raise HandoffRejected(("$: nested too deep",)) from None
    if length > MAX_REPORT_CHARACTERS:
        raise HandoffRejected((f"$: at most {MAX_REPORT_CHARACTERS} characters",))
    return dict(given)


def parse(text: str) -> dict[str, Any]:
    """The one JSON object in a reply, with or without a code fence or words around it.

    Raises:
        HandoffRejected: There is none, or it is too long.
    """
    if len(text) > MAX_REPORT_CHARACTERS:
        raise HandoffRejected((f"$: at most {MAX_REPORT_CHARACTERS} characters",))
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise HandoffRejected(("$: must be one JSON object",))
    try:
        value: dict[str, Any] = json.loads(text[start : end + 1], parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise HandoffRejected(("$: must be one valid JSON object",)) from None
    return value


def _no_constant(_name: str) -> None:
    msg = "NaN and Infinity are not JSON"
    raise ValueError(msg)
