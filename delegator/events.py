"""What happened in a run, as it happens: the one stream that terminal, JSON, journal and viewer read.

An event is a value. Text in it is as untrusted as its author; whoever shows it encodes it for its sink.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from delegator.budget import Usage
from delegator.outcome import Outcome, Receipt
from delegator.trust import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A question was asked."""

    question: str
    model: str
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted:
    """A loop began."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallStarted:
    """A request is on its way; `n` counts the calls of this loop from 1."""

    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallRetried:
    """A call failed before it said anything, and is made again after a pause."""

    fault: str
    seconds: float
    """Until the next attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStreamed:
    """Some words of the reply that is arriving."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFinished:
    """A reply is complete."""

    n: int
    stop: str
    usage: Usage
    seconds: float
    usd: float | None = None
    """What it cost, if its model's price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool call with valid input began."""

    tool: str
    subject: str
    """The first text argument, cut short: what a person watching wants to see."""
    call: str = ""
    """The call's place in the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """A tool call ended; `problem` is empty if it went well."""

    tool: str
    problem: str
    label: Label
    """What the result is worth."""
    removed: int = 0
    """Invisible characters taken out of it."""
    call: str = ""
    """The call's place in the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A policy, or a person, decided on a consequential tool call."""

    tool: str
    decision: str
    """`allowed`, `denied` or `approved`."""
    rule: str
    """The policy that forbids it; empty if none does."""
    digest: str
    """SHA-256 of the exact call."""
    label: Label
    """What the call depends on."""
    call: str = ""
    """The call's place in the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationStarted:
    """A subagent is about to run as `id`."""

    id: str
    name: str
    task: str
    about: str
    """The delegation that this one reviews or revises, or empty."""
    source: str
    """The one document that it may read, where it is held to one."""
    label: Label
    """What its brief is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationFinished:
    """A subagent is done."""

    id: str
    outcome: Outcome
    receipt: Receipt
    verdict: str
    """A reviewer's verdict with its score, or empty."""
    label: Label
    """What its report is worth."""
    problem: str = ""
    """What went wrong, in words of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminded:
    """The harness asked a model to mend its reply, once."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """Something a person should know."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The last event of a run. `answer` is the object that `--json` prints."""

    outcome: Outcome
    answer: Mapping[str, Any]


Happening = (
    RunStarted
    | AgentStarted
    | ModelCallStarted
    | ModelCallRetried
    | TextStreamed
    | ModelCallFinished
    | ToolStarted
    | ToolFinished
    | Decided
    | DelegationStarted
    | DelegationFinished
    | Reminded
    | Noticed
    | RunFinished
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A happening, with its place in the run."""

    run: str
    seq: int
    at: float
    """Seconds since the run began."""
    agent: str
    """`orchestrator`, or the id of a delegation (`D1`)."""
    what: Happening

    @property
    def kind(self) -> str:
        """The happening's name in snake case, as in JSON."""
        return _KINDS[type(self.what)]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: place first, then the happening's own fields."""
        head = {"run": self.run, "seq": self.seq, "at": round(self.at, 4), "agent": self.agent}
        return {**head, "event": self.kind, **self.said()}

    def said(self) -> dict[str, Any]:
        """The happening's own fields."""
        what = self.what
        return {name: _plain(getattr(what, name)) for name in _FIELDS[type(what)]}


_KINDS: dict[type, str] = {
    kind: re.sub(r"(?<=.)([A-Z])", r"_\1", kind.__name__).lower() for kind in Happening.__args__
}

_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in Happening.__args__
}


def _plain(value: object) -> object:
    return value.to_json() if isinstance(value, Usage | Receipt | Label) else value


class Emitter:
    """Numbers and times what happens in one run, and hands it to a sink."""

    def __init__(self, run: str, sink: Callable[[Event], None]) -> None:
        self.run = run
        self._sink = sink
        self._seq = 0
        self._started = time.monotonic()

    def __call__(self, agent: str, what: Happening) -> None:
        """Tell the sink that `what` happened to `agent` just now."""
        self._seq += 1
        at = time.monotonic() - self._started
        self._sink(Event(run=self.run, seq=self._seq, at=at, agent=agent, what=what))
