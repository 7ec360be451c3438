"""The offline orchestrator where it sees references only: have findings reviewed and revised, put their references in place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delegator.models.offline.transcript import Move, Step, Transcript
from delegator.sanitize import unmarked

_REVISIONS = 1


@dataclass(slots=True, kw_only=True)
class _Finding:
    """One finding in the line of its revisions: what is known of the newest."""

    tool: str
    task: str
    ref: str
    status: str
    verdict: str = ""
    revisions: int = 0


def move(transcript: Transcript, reviewers: Sequence[str]) -> Move:
    """The next move after something was delegated."""
    findings = _findings(transcript, reviewers)
    found = [f for f in findings if f.status == "found"]
    asked = {step.input.get("finding_id") for step in transcript.steps if step.tool in reviewers}
    unseen = [f for f in found if f.ref not in asked]
    if reviewers and unseen:
        return Move(calls=tuple((reviewers[0], {"finding_id": f.ref}) for f in unseen))
    low = [f for f in found if f.verdict == "revise" and f.revisions < _REVISIONS]
    if low and reviewers:
        return Move(calls=tuple((f.tool, {"task": f.task, "revises": f.ref}) for f in low))
    return Move(text=_template(findings))


def _findings(transcript: Transcript, reviewers: Sequence[str]) -> list[_Finding]:
    findings: list[_Finding] = []
    for step in transcript.steps:
        if step.tool in reviewers:
            _take_review(findings, step)
        elif step.tool in transcript.delegates:
            _take_findings(findings, step)
    return findings


def _take_review(findings: list[_Finding], step: Step) -> None:
    for finding in findings:
        if finding.ref == step.input.get("finding_id"):
            finding.verdict = str(step.data.get("verdict", ""))


def _take_findings(findings: list[_Finding], step: Step) -> None:
    task, entries = str(step.input.get("task", "")), step.data.get("findings")
    shown: list[Mapping[str, Any]] = entries if isinstance(entries, list) else []
    old = next((f for f in findings if f.ref == step.input.get("revises")), None)
    if old is not None:
        old.revisions = _REVISIONS
        for entry in shown:
            if entry.get("status") == "found":
                old.ref, old.verdict = str(entry.get("ref", "")), ""
        return
    if not shown:
        findings.append(_Finding(tool=step.tool, task=task, ref="", status="nothing"))
    for entry in shown:
        ref, status = str(entry.get("ref", "")), str(entry.get("status", ""))
        findings.append(_Finding(tool=step.tool, task=task, ref=ref, status=status))


def _template(findings: list[_Finding]) -> str:
    """A slot for every finding that is good enough, below its task where there are several."""
    kept: dict[str, list[str]] = {finding.task: [] for finding in findings}
    for finding in findings:
        if finding.status == "found" and finding.verdict != "reject":
            kept[finding.task].append(f"{{{{{finding.ref}}}}}")
    answered = {task: slots for task, slots in kept.items() if slots}
    if not answered:
        return "The documents do not answer this question."
    if len(kept) == 1:
        return "\n\n".join(next(iter(answered.values())))
    parts = [f"**{unmarked(task)}**\n\n" + "\n\n".join(s) for task, s in answered.items()]
    gaps = "".join(f"\n- {unmarked(task)}" for task in kept if task not in answered)
    return "\n\n".join(parts) + (f"\n\nNot found in the documents:{gaps}" if gaps else "")
