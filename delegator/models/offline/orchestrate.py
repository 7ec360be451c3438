"""The offline orchestrator: take the question apart, delegate, have findings reviewed and revised, compose the answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delegator.handoff import CONVERSATION, DELEGATE
from delegator.language import stems
from delegator.models.offline import dispatch
from delegator.models.offline.question import is_small_talk, parts, resolve
from delegator.models.offline.transcript import Move, Step, Transcript
from delegator.sanitize import unmarked

_HELLO = "Hello. Ask a question about the documents, and I will look for sentences that answer it."
_REVISIONS = 2
_ADDRESSED = re.compile(
    r"^\s*(?:please\s+)?(?:ask|let|have|tell)\s+the\s+[\w-]+(?:\s*[:,]|\s+to\b)?\s+", re.IGNORECASE
)


@dataclass(slots=True, kw_only=True)
class _Thread:
    """One subtask: its findings so far, newest last, and the newest review."""

    tool: str
    task: str
    findings: list[Mapping[str, Any]]
    review: Mapping[str, Any] | None = None

    @property
    def newest(self) -> Mapping[str, Any]:
        return self.findings[-1]

    @property
    def id(self) -> str:
        return str(self.newest.get("finding_id", ""))

    @property
    def usable(self) -> bool:
        return isinstance(self.newest.get("claimed"), Mapping)


def move(transcript: Transcript) -> Move:
    """The orchestrator's next move."""
    workers, reviewers = _staff(transcript)
    if any("findings" in step.data for step in transcript.steps):
        return dispatch.move(transcript, reviewers)
    threads = _threads(transcript, reviewers)
    if not threads:
        if is_small_talk(transcript.question) or not workers:
            return Move(text=_HELLO)
        tasks = parts(resolve(transcript.question, _earlier(transcript)))
        return Move(calls=tuple((_worker(task, workers), {"task": _order(task)}) for task in tasks))
    if reviewers and (unseen := [t for t in threads if t.usable and t.review is None and t.id]):
        reviewed = {s.input.get("finding_id") for s in transcript.steps if s.tool in reviewers}
        calls = [(reviewers[0], {"finding_id": t.id}) for t in unseen if t.id not in reviewed]
        if calls:
            return Move(calls=tuple(calls))
    low = [t for t in threads if t.usable and _low(t) and len(t.findings) <= _REVISIONS]
    if low:
        return Move(calls=tuple((t.tool, {"task": t.task, "revises": t.id}) for t in low))
    return Move(text=_compose(threads))


def _staff(transcript: Transcript) -> tuple[dict[str, str], list[str]]:
    """Workers with their descriptions, and reviewers."""
    workers, reviewers = {}, []
    for name, tool in transcript.delegates.items():
        if "finding_id" in tool.input_schema.get("properties", {}):
            reviewers.append(name)
        else:
            workers[name] = tool.description
    return workers, reviewers


def _worker(task: str, workers: Mapping[str, str]) -> str:
    """The worker whose name or description is nearest to the task; the researcher where none stands out."""
    asked = stems(task)

    def nearness(name: str) -> float:
        own = stems(name.removeprefix(DELEGATE).replace("_", " ").replace("-", " "))
        default = 2.0 if name == f"{DELEGATE}researcher" else 0.0
        return default + 3 * len(asked & own) + 0.5 * len(asked & stems(workers[name]))

    return max(workers, key=nearness)


def _order(task: str) -> str:
    """A task without the words that only say whom to ask."""
    return _ADDRESSED.sub("", task)[:4000] or task[:4000]


def _earlier(transcript: Transcript) -> list[str]:
    told = transcript.results(CONVERSATION)
    turns = told[0].data.get("turns", ()) if told else ()
    return [str(turn.get("question", "")) for turn in turns if isinstance(turn, Mapping)]


def _threads(transcript: Transcript, reviewers: list[str]) -> list[_Thread]:
    threads: list[_Thread] = []
    for step in transcript.steps:
        if step.tool in reviewers:
            _take_review(threads, step)
        elif step.tool in transcript.delegates:
            _take_finding(threads, step)
    return threads


def _take_finding(threads: list[_Thread], step: Step) -> None:
    revised = step.input.get("revises")
    thread = next((t for t in threads if revised and t.id == revised), None)
    if thread is None:
        task = str(step.input.get("task", ""))
        threads.append(_Thread(tool=step.tool, task=task, findings=[step.data]))
    elif step.failed:
        thread.findings = [thread.newest] * (_REVISIONS + 1)  # no better one is to be had
    else:
        thread.findings.append(step.data)
        thread.review = None


def _take_review(threads: list[_Thread], step: Step) -> None:
    for thread in threads:
        if thread.id == step.input.get("finding_id"):
            claimed = step.data.get("claimed")
            thread.review = claimed if isinstance(claimed, Mapping) else {}


def _low(thread: _Thread) -> bool:
    return (
        bool(thread.review) and thread.review.get("verdict") != "accept" if thread.review else False
    )


def _compose(threads: list[_Thread]) -> str:
    """The answer: what was found for each part, with markers, and what was not found."""
    said: set[str] = set()
    sections: list[tuple[str, str]] = []
    gaps: list[str] = []
    for thread in threads:
        text = _paragraph(thread, said)
        if text:
            sections.append((thread.task, text))
        elif not _repeats(thread, said):
            gaps.append(thread.task)
    if not sections:
        return "The documents do not answer this question."
    if len(sections) == 1 and not gaps:
        return sections[0][1]
    body = "\n\n".join(f"**{task}**\n{text}" for task, text in sections)
    missing = "".join(f"\n- {task}" for task in gaps)
    return f"{body}\n\nNot found in the documents:{missing}" if gaps else body


def _claims(thread: _Thread) -> list[Mapping[str, Any]]:
    claimed = thread.newest.get("claimed")
    claims = claimed.get("claims", ()) if isinstance(claimed, Mapping) else ()
    return [claim for claim in claims if isinstance(claim, Mapping) and claim.get("verified")]


def _gaps(thread: _Thread) -> list[str]:
    claimed = thread.newest.get("claimed")
    gaps = claimed.get("gaps", ()) if isinstance(claimed, Mapping) else ()
    return [gap for gap in gaps if isinstance(gap, str)]


def _paragraph(thread: _Thread, said: set[str]) -> str:
    lines = []
    for claim in _claims(thread):
        text = unmarked(str(claim["text"]))
        if text not in said:
            said.add(text)
            lines.append(f"{text} [{claim['cite']}]")
    if lines:
        lines += [f"({gap.rstrip('.')}.)" for gap in _gaps(thread)]
        return " ".join(lines) if sum(map(len, lines)) < 900 else "\n".join(f"- {x}" for x in lines)  # noqa: PLR2004
    claimed = thread.newest.get("claimed")
    if isinstance(claimed, Mapping) and "claims" not in claimed:
        return " ".join(value for value in claimed.values() if isinstance(value, str))
    return ""


def _repeats(thread: _Thread, said: set[str]) -> bool:
    """Whether everything it found was said in an earlier part already."""
    claims = _claims(thread)
    return bool(claims) and all(str(claim["text"]).strip() in said for claim in claims)
