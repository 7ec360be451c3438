"""Briefs: what goes down to a subagent, made by code from the references that an orchestrator named.

Nothing is copied by a model on the way: a finding and its evidence are handed over as they are on record, with their labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delegator.agents import Agent
from delegator.handoff import Brief
from delegator.knowledge import Library
from delegator.ladder import Rung, Shown
from delegator.outcome import SourceSeen
from delegator.records import Delegation, Records
from delegator.shown import finding
from delegator.trust import OPERATOR, Label

MAX_TASK_CHARACTERS = 4_000
MAX_QUERY_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Briefs:
    """Makes the briefs of one run."""

    records: Records
    library: Library | None
    shown: Shown

    def revision(self, record: Delegation, old: Delegation, label: Label) -> Brief:
        """Make `record` a revision of `old`; its brief."""
        record.about, record.about_ref, record.revision = old.id, old.ref, old.revision + 1
        record.source, record.place = old.source, old.place
        record.attested = attested(old)
        review = old.review.to_json() if old.review else None
        material = ({"earlier_finding": self.finding(old), "review": review},)
        subjects = [old, *([self.records.by_id[old.review.by]] if old.review else [])]
        return brief_of(record.task, label, material, subjects)

    def review_of(
        self, subject: Delegation, agent: Agent, path: str = ""
    ) -> tuple[Delegation, Brief]:
        """A review of a finding: its record, not kept yet, and its brief with the evidence itself."""
        record = self.records.new(
            agent,
            f"Review {subject.id}",
            path=path or f"{subject.path}.review",
            about=subject.id,
            about_ref=subject.ref,
        )
        material = (self._evidence(subject),)
        task = "Review the finding in your brief against its evidence."
        return record, brief_of(task, OPERATOR, material, [subject])

    def finding(self, subject: Delegation) -> dict[str, Any]:
        """A finding as others are given it at this level."""
        return finding(subject, self.shown)

    def _evidence(self, subject: Delegation) -> dict[str, Any]:
        """A finding with the passages it names: the evidence itself, not a retelling."""
        library, evidence = self.library, []
        for n, claim in enumerate(subject.claims, 1):
            passage = library.passage(claim.source) if library and claim.place else None
            entry = {"claim": n, "verified": claim.verified, "place": claim.place}
            evidence.append({**entry, "passage": passage.text if passage else ""})
        return {"task": subject.task, "finding": self.finding(subject), "evidence": evidence}


def attested(old: Delegation) -> dict[str, SourceSeen]:
    """The sources behind the verified claims of a finding."""
    kept = {claim.source for claim in old.claims if claim.verified}
    seen = old.receipt.sources if old.receipt else ()
    return {**old.attested, **{s.id: s for s in seen if s.id in kept}}


def brief_of(
    task: str,
    label: Label,
    material: tuple[Mapping[str, Any], ...],
    subjects: list[Delegation],
) -> Brief:
    """A brief whose material is worth what those were worth who made it."""
    joined: Label | None = None
    for subject in subjects:
        joined = subject.worth() if joined is None else joined & subject.worth()
    return Brief(task=task, label=label, material=material, material_label=joined)


def joined(one: Brief, other: Brief) -> Brief:
    """A brief with the material of both."""
    label = one.label & other.label
    material_label = label
    for more in (one.material_label, other.material_label):
        material_label = material_label & more if more is not None else material_label
    return Brief(
        task=one.task,
        label=label,
        material=(*other.material, *one.material),
        material_label=material_label,
    )


def input_schema(
    agent: Agent, rung: Rung, pattern: str, *, splits: bool, reviewed: bool
) -> dict[str, Any]:
    """What the orchestrator may say: a task and references, or the reference of what is to be reviewed."""
    id = {"type": "string", "pattern": pattern}
    if agent.reviews:
        return _closed(
            {"finding_id": {**id, "description": "The finding to be reviewed."}}, "finding_id"
        )
    fields = {"task": _TASK}
    if splits:
        fields["queries"] = _QUERIES
    elif not rung.fixed_plan:
        fields["material"] = {
            "type": "array",
            "maxItems": 8,
            "items": id,
            "description": _MATERIAL,
        }
    if not rung.fixed_plan and reviewed:
        fields["reviewed"] = {"type": "boolean", "description": _REVIEWED}
    if not rung.fixed_plan:
        fields["revises"] = {**id, "description": _REVISES}
    return _closed(fields, "task")


_TASK: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TASK_CHARACTERS,
    "description": "What to find out, complete in itself: the subagent sees nothing else.",
}
_QUERIES: dict[str, Any] = {
    "type": "array",
    "maxItems": 4,
    "items": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS},
    "description": "Search words by which documents are chosen, a few telling words each. Usually two or three.",
}
_MATERIAL = "Findings that the subagent is to be given. Usually left out."
_REVIEWED = "Have the finding reviewed, and improved while it is weak, before it comes back."
_REVISES = "Only to improve an earlier finding: its id."


def _closed(fields: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(required),
        "additionalProperties": False,
    }
