"""What the orchestrator is shown of a report, at each level: words, fields, or references.

What a subagent claims and what the harness observed stay apart. A quarantined report is shown only as that fact.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from delegator.agents import Agent
from delegator.agents.agent import fields_of
from delegator.ladder import Shown
from delegator.outcome import Outcome
from delegator.records import Delegation
from delegator.tools import ToolOutput
from delegator.trust import OPERATOR, Label

MAX_SOURCES = 3
"""Documents that one delegation is split over, where a subagent reads one of them."""
_FEW = 64
"""Values that a whole number may have and still say little."""
FOUND, NOTHING, FAILED = "found", "nothing", "failed"
_WITHHELD = "the report claims work that was not seen; it is withheld"


def output(records: Sequence[Delegation], shown: Shown, label: Label = OPERATOR) -> ToolOutput:
    """The result of a `delegate_to_*` call whose arguments are worth `label`."""
    for record in records:
        label &= record.worth() & record.label & record.reviewed
    if shown is Shown.REFERENCES:
        data = _references(records)
        return ToolOutput(data=data, label=label)
    (record,) = records
    return ToolOutput(
        data=_report(record, _CLAIMED[shown]), label=label, is_error=not record.usable
    )


def finding(record: Delegation, shown: Shown) -> dict[str, Any]:
    """A finding as other subagents are given it."""
    return record.finding() if shown is Shown.WORDS else _fields(record)


def _report(record: Delegation, claimed: Callable[[Delegation], object]) -> dict[str, Any]:
    seen, outcome = record.receipt, record.outcome
    named = {"review_of": record.about_ref} if record.agent.reviews else {"finding_id": record.ref}
    data: dict[str, Any] = {**named, "outcome": outcome.value if outcome else ""}
    if seen is not None:
        data["observed"] = {
            "model_calls": seen.model_calls,
            "tool_calls": seen.tool_calls,
            "sources_opened": len(seen.sources),
            "ended_by": seen.stop,
        }
    if outcome is Outcome.QUARANTINED:
        return {**data, "problem": _WITHHELD}
    if said := claimed(record):
        data["claimed"] = said
    if record.review:
        data["review"] = record.review.to_json()
    if record.problem:
        data["problem"] = record.problem
    return data


def _words(record: Delegation) -> object:
    """The report, or whatever was said instead of one."""
    well_formed = record.report is not None and record.outcome is not Outcome.CONTRACT_FAILED
    return record.finding() if well_formed else record.said


def _fields(record: Delegation) -> dict[str, Any]:
    """The report without quotes that do not stand in their source."""
    value = record.finding()
    if record.claims:
        value["claims"] = [
            claim.to_json() if claim.verified else claim.without_quote() for claim in record.claims
        ]
    return value


_CLAIMED: dict[Shown, Callable[[Delegation], object]] = {Shown.WORDS: _words, Shown.FIELDS: _fields}


def _references(records: Sequence[Delegation]) -> dict[str, Any]:
    """References with a status and the fields that hold a few bits; nothing else of what a subagent wrote."""
    if records and records[0].agent.reviews:
        (record,) = records
        return {"review_of": record.about_ref, **_sealed(record)}
    kept = [record for record in records if record.receipt is not None]
    return {"findings": [{"ref": r.ref, "kind": r.agent.name, **_sealed(r)} for r in kept]}


def _sealed(record: Delegation) -> dict[str, Any]:
    value = record.report.value if record.usable and record.report else {}
    named = few_bits(record.agent)
    typed = {name: value[name] for name in named if name in value}
    accepted = {"accepted": not record.review.low} if record.review else {}
    return {"status": _status(record), **typed, **accepted}


def _status(record: Delegation) -> str:
    if not record.usable:
        return FAILED
    empty = record.agent.cites and not record.verified
    return NOTHING if empty else FOUND


def few_bits(agent: Agent) -> dict[str, Mapping[str, Any]]:
    """The fields of an agent's report that hold one of a few values that its operator wrote down."""
    return {name: sub for name, sub in fields_of(agent.output_schema).items() if _small(sub)}


def _small(sub: object) -> bool:
    if not isinstance(sub, Mapping):
        return False
    whole = sub.get("type") == "integer" and {"minimum", "maximum"} <= sub.keys()
    few = whole and sub["maximum"] - sub["minimum"] < _FEW
    return "enum" in sub or sub.get("type") == "boolean" or few


def sealed_schema(agent: Agent, *, sources: int) -> dict[str, Any]:
    """The schema of what a sealed result says beyond references: its value count bounds what can pass."""
    review = {} if agent.reviews else {"accepted": {"type": "boolean"}}
    fields = {"status": {"enum": [FOUND, NOTHING, FAILED]}, **few_bits(agent), **review}
    one = {
        "type": "object",
        "properties": fields,
        "required": ["status"],
        "additionalProperties": False,
    }
    return one if agent.reviews else {"type": "array", "items": one, "maxItems": sources}
