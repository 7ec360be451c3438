"""A run as the viewer sees it: plain values, read from the journal in one place, or taken from a replay.

Nothing that is read here is trusted: an exported file may hold anything.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from delegator.answer import Answer
from delegator.errors import ConfigError
from delegator.events import AgentStarted, Event, ModelCallStarted, RunFinished, TextStreamed
from delegator.journal import Past

_NOT_SHOWN = (TextStreamed, ModelCallStarted, AgentStarted)


class Unreadable(ConfigError):
    """What is said to be a run does not read like one."""

    def __init__(self) -> None:
        super().__init__(
            "the file does not read like a run", hint="delegator show RUN --export FILE writes one."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event on record."""

    seq: int
    at: float
    """Seconds of work since the run began; a run that was resumed goes on where it was."""
    agent: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A model call on record: one attempt."""

    agent: str
    n: int
    attempt: int
    after: int
    """The number of the last event before it."""
    state: str
    model: str
    worst: Mapping[str, int]
    """Tokens that were reserved for it."""
    used: Mapping[str, int]
    reply: Mapping[str, Any] | None
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, as far as it is on record."""

    id: str
    name: str
    """What distinguishes it from another one beside it."""
    question: str
    settings: Mapping[str, Any]
    started: float
    outcome: str
    """Empty if it did not end."""
    answer: Mapping[str, Any] | None
    events: tuple[Happened, ...]
    calls: tuple[Called, ...]
    results: Mapping[str, Mapping[str, Any]]
    """What tool calls came to, by their place in the run."""
    places: Mapping[str, str]
    """By delegation: the call that asked for it, and what followed from that."""
    imported: bool = False
    """Whether it comes from a file, which may hold anything."""
    replay: bool = False
    """Whether it was run without a model, on the record of another run."""
    breaks: tuple[float, ...] = ()
    """When it was resumed."""
    broken: int | None = None
    """The first event that does not follow from the one before it."""

    @property
    def level(self) -> str:
        """The level of the defence ladder that it ran at."""
        return str(self.settings.get("level", "typed"))


def recorded(past: Past, id: str) -> Record:
    """A run in the journal; or the one in an exported file, whatever its id.

    Raises:
        ConfigError: There is no such run.
        Unreadable: A file holds something else.
    """
    try:
        row = _only(past) if past.imported else past.run(id)
        rows = past.events(row["id"])
        began = float(rows[0]["at"]) if rows else 0.0
        return Record(
            id=row["id"],
            name=row["id"],
            question=row["question"],
            settings=dict(json.loads(row["settings"])),
            started=float(row["started"]),
            outcome=str(row["outcome"] or ""),
            answer=json.loads(row["answer"]) if row["answer"] else None,
            events=tuple(_on_record(event, began) for event in rows),
            calls=tuple(map(_called, past.calls(row["id"]))),
            results=dict(past.tools(row["id"])),
            places={place["id"]: place["path"] for place in past.places(row["id"])},
            imported=past.imported,
            breaks=tuple(max(at - began, 0.0) for at in past.lives(row["id"])),
            broken=past.broken_link(row["id"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if past.imported:
            raise Unreadable from error
        raise


def _only(past: Past) -> Mapping[str, Any]:
    """The run in a file."""
    for row in past.runs(1):
        return past.run(row["id"])
    raise Unreadable


def replayed(before: Record, events: Iterable[Event], answer: Answer, level: str) -> Record:
    """A replay of a run: it takes its model's words from the record, and keeps none of its own."""
    shown = [event for event in events if not isinstance(event.what, _NOT_SHOWN)]
    kept = tuple(_happened(event, since=shown[0].at) for event in shown)
    made = {f"{one.agent}/{one.data['n']}" for one in kept if one.kind == "model_call_finished"}
    return replace(
        before,
        name=f"replay at {level}",
        settings={**before.settings, "level": level},
        outcome=answer.outcome.value,
        answer=json.loads(json.dumps(answer.to_json())),
        events=kept,
        calls=tuple(call for call in before.calls if f"{call.agent}/{call.n}" in made),
        breaks=(),
        replay=True,
    )


def _happened(event: Event, *, since: float) -> Happened:
    said = event.to_json()
    if isinstance(event.what, RunFinished):
        del said["answer"]
    seq, at, agent, kind = (said.pop(name) for name in ("seq", "at", "agent", "event"))
    return Happened(seq=seq, at=max(at - since, 0.0), agent=agent, kind=kind, data=said)


def _on_record(row: Mapping[str, Any], began: float) -> Happened:
    return Happened(
        seq=int(row["seq"]),
        at=max(float(row["at"]) - began, 0.0),
        agent=str(row["agent"]),
        kind=str(row["kind"]),
        data=json.loads(row["data"]),
    )


def _called(row: Mapping[str, Any]) -> Called:
    agent, _, n = row["key"].rpartition("/")
    return Called(
        agent=agent,
        n=int(n),
        attempt=int(row["attempt"]),
        after=int(row["seq"]),
        state=str(row["state"]),
        model=str(row["model"]),
        worst=row["worst"],
        used=row["usage"] or row["worst"],
        reply=row["reply"],
        fault=str(row["fault"] or ""),
    )
