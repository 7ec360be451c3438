"""A chat's runs form a session: each keeps the session's name and the conversation before it, so a chat can be taken up again."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delegator.answer import Answer
from delegator.budget import Budget, Usage
from delegator.citations import Citation
from delegator.entries import PastCall
from delegator.errors import ConfigError
from delegator.journal import Past, Row
from delegator.orchestrator import Setup, Turn, turns_of
from delegator.outcome import Outcome
from delegator.repl.commands import Task
from delegator.trust import Label, Level

NAME = "session"
"""Under this name every run of a chat remembers which chat it was part of."""
_LOOKED_THROUGH = 1_000
"""Newest runs among which those of a session are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The runs of a chat on record, the oldest first; never none."""

    runs: tuple[Row, ...]

    @property
    def last(self) -> Row:
        """The newest run."""
        return self.runs[-1]

    @property
    def remembered(self) -> dict[str, Any]:
        """The settings of the newest run, as the options that make them."""
        kept = json.loads(self.last["settings"])
        return {**kept, "trust": kept["level"]}

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation before the newest run."""
        return turns_of(json.loads(self.last["settings"]))


def named() -> str:
    """A name for a new session."""
    return secrets.token_hex(6)


def session(past: Past, run: str = "") -> Session:
    """The session that a run belongs to, or the newest one; a run that was asked outside of a chat is one by itself.

    Raises:
        ConfigError: There is none.
    """
    rows = past.runs(_LOOKED_THROUGH)
    first = past.run(run) if run else next(filter(_name, rows), None)
    if first is None:
        raise ConfigError("no chat is on record yet", hint="delegator chat begins one.")
    name = _name(first)
    found = [row for row in reversed(rows) if name and _name(row) == name] or [first]
    return Session(runs=tuple(past.run(row["id"]) if row is found[-1] else row for row in found))


def _name(row: Row) -> str:
    return str(json.loads(row["settings"]).get(NAME, ""))


def charge(past: Past, found: Session, setup: Setup) -> None:
    """Count what a session has used before: its ceilings hold for all of it."""
    budget: Budget = setup.session
    for run in found.runs:
        for call in map(PastCall.of, past.calls(run["id"])):
            budget.charge(call.usage, setup.price_of(call.model or setup.model.id))


def tasks(past: Past, run: str) -> dict[str, Task]:
    """What the subagents of a run were asked."""
    started = (e for e in past.events(run) if e["kind"] == "delegation_started")
    said: Sequence[Mapping[str, Any]] = [json.loads(event["data"]) for event in started]
    return {s["id"]: Task(text=s["task"], label=Label.from_json(s["label"])) for s in said}


def answer_of(row: Row) -> Answer:
    """The answer of a run on record: its words, citations and figures. Who found what is in the journal alone."""
    said = json.loads(row["answer"])
    used = said["usage"]
    tokens = {name: n for name, n in used.items() if name.endswith("_tokens")}
    return Answer(
        run_id=row["id"],
        question=row["question"],
        outcome=Outcome(said["outcome"]),
        stop=said["stop"],
        text=said["answer"],
        citations=tuple(Citation(**citation) for citation in said["citations"]),
        delegations=(),
        flagged=(),
        usage=Usage(**tokens),
        usd=used["usd"],
        model_calls=used["model_calls"],
        seconds=used["seconds"],
        label=Label.from_json(said["trust"]["label"]),
        level=Level(said["trust"]["level"]),
    )
