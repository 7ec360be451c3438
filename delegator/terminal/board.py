"""What every agent of a run is doing, kept up to date by events. Values only: nothing is drawn here.

Text in a row is as untrusted as its author; who draws it encodes it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from delegator.budget import Usage
from delegator.events import (
    AgentStarted,
    DelegationFinished,
    DelegationStarted,
    Event,
    ModelCallFinished,
    ModelCallRetried,
    ModelCallStarted,
    Reminded,
    RunFinished,
    RunStarted,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from delegator.outcome import Outcome
from delegator.trust import USER, Confidentiality, Label

TOP = "orchestrator"
_DELEGATES = "delegate_to_"


@dataclass(slots=True)
class Row:
    """One agent."""

    id: str
    name: str
    started: float
    task: str = ""
    about: str = ""
    """The finding that it reviews or revises."""
    doing: str = "starting"
    over: str = ""
    """What it thinks about, once it thinks again: a search, a reminder."""
    words: int = 0
    """Written so far, in the reply that is arriving."""
    waiting_for: int = 0
    """Subagents it has asked and not heard of."""
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    label: Label | None = None
    """The least of what it has read; `None` before it is known."""
    seconds: float | None = None
    """`None` while it works."""
    outcome: Outcome | None = None
    verdict: str = ""

    @property
    def note(self) -> str:
        """What it is doing, or what came of it where that is not plain success."""
        if self.outcome is not None:
            plain = self.outcome is Outcome.COMPLETE
            return self.verdict or ("" if plain else self.outcome.value.replace("_", " "))
        if self.doing:
            return self.doing
        return f"waiting for {counted(self.waiting_for, 'subagent')}" if self.waiting_for else ""

    def end(self, outcome: Outcome, seconds: float) -> None:
        """It is done."""
        self.outcome, self.seconds, self.doing = outcome, seconds, ""


@dataclass(slots=True)
class Board:
    """All agents of one run, in the order in which they began."""

    clock: Callable[[], float] = time.monotonic
    rows: dict[str, Row] = field(default_factory=dict)
    _zero: float | None = None

    def take(self, event: Event) -> None:
        """Follow one event."""
        if self._zero is None:
            self._zero = self.clock() - event.at
        if event.agent not in self.rows:
            self.rows[event.agent] = Row(event.agent, event.agent, event.at)
        match what := event.what:
            case DelegationStarted(id=id, name=name, about=about):
                named = f"{what.source}: {what.task}" if what.source else what.task
                self.rows[id] = Row(id, name, event.at, task=named, about=about, label=what.label)
            case DelegationFinished(id=id, outcome=outcome, verdict=verdict, receipt=receipt):
                self.rows[id].end(outcome, receipt.seconds)
                self.rows[id].verdict, self.rows[id].label = verdict, what.label
            case RunFinished(outcome=outcome):
                for row in self.rows.values():
                    if row.outcome is None:
                        ended = outcome if row.id == TOP else Outcome.CANCELLED
                        row.end(ended, event.at - row.started)
            case _:
                _follow(self.rows[event.agent], what)

    @property
    def total(self) -> Row:
        """The orchestrator's row with the figures of the whole run."""
        top = self.rows.get(TOP) or Row(TOP, TOP, 0.0)
        own = [row.usage for row in self.rows.values()]
        whole = Row(TOP, top.name, top.started, doing=top.note, seconds=top.seconds)
        whole.outcome, whole.calls = top.outcome, sum(row.calls for row in self.rows.values())
        whole.usage, whole.usd = sum(own, Usage()), sum(row.usd for row in self.rows.values())
        whole.label = top.label
        return whole

    def at_work(self) -> list[str]:
        """Ids of the subagents that have not ended."""
        return [id for id, row in self.rows.items() if id != TOP and row.outcome is None]

    def about(self, id: str) -> Iterator[Row]:
        """Reviews and revisions of a finding; for "", the findings that are neither."""
        for row in self.rows.values():
            known = row.about if row.about in self.rows else ""
            if row.id != TOP and known == id:
                yield row

    def figures(self, row: Row) -> list[str]:
        """`untrusted`, `3 calls`, `2.1k tokens`, `$0.0043`, `1.4 s`: what matters most comes last."""
        parts = [worth(row.label)] if row.label is not None and row.calls else []
        parts += [counted(row.calls, "call")] if row.calls else []
        if row.usage.total:
            parts.append(f"{short(row.usage.total)} tokens")
        if row.usd:
            parts.append(dollars(row.usd))
        if row.seconds is not None:
            return [*parts, f"{row.seconds:.1f} s"]
        now = self.clock() - self._zero if self._zero is not None else 0.0
        return [*parts, f"{max(now - row.started, 0):.0f} s"]


def _follow(row: Row, what: object) -> None:
    """Keep the row of the agent to which it happened."""
    match what:
        case AgentStarted(name=name):
            row.name = name
        case RunStarted():
            row.label = USER
        case ModelCallStarted():
            row.doing, row.words = (f"thinking over {row.over}" if row.over else "thinking"), 0
        case ModelCallRetried(fault=fault, seconds=seconds):
            row.doing = retried(fault, seconds)
        case TextStreamed(text=text):
            row.words += text.count(" ")
            row.doing = f"writing, {counted(row.words, 'word')}" if row.words else "writing"
        case ModelCallFinished(usage=usage, usd=usd):
            row.calls, row.usage, row.doing = row.calls + 1, row.usage + usage, ""
            row.usd += usd or 0.0
        case Reminded(why=why):
            row.over = f"a reminder: {why}"
        case ToolStarted() | ToolFinished():
            _follow_tool(row, what)
        case _:
            pass


def _follow_tool(row: Row, what: ToolStarted | ToolFinished) -> None:
    if isinstance(what, ToolFinished) and row.label is not None:
        row.label &= what.label
    match what:
        case ToolStarted(tool=tool) if tool.startswith(_DELEGATES):
            row.waiting_for += 1
        case ToolFinished(tool=tool) if tool.startswith(_DELEGATES):
            row.waiting_for -= 1
        case ToolStarted(tool=tool, subject=subject):
            row.doing, row.over = _using(tool, subject)
        case ToolFinished(tool=tool, problem=problem) if problem:
            row.over = f"a failed {tool}: {problem}"
        case _:
            pass


def _using(tool: str, subject: str) -> tuple[str, str]:
    """What using a tool is called while it lasts, and while its result is looked at."""
    if tool == "read":  # its subject is an id, which tells a person nothing
        return "reading on", "what it read"
    quoted = f" “{subject}”" if subject else ""
    return f"{'searching' if tool == 'search' else tool}{quoted}", quoted.strip() or tool


def retried(fault: str, seconds: float) -> str:
    """`server overloaded, asks again in 3 s`."""
    return f"server {fault.replace('_', ' ')}, asks again in {seconds:.0f} s"


def worth(label: Label) -> str:
    """`user`, `untrusted`; `untrusted, private`."""
    secret = label.confidentiality > Confidentiality.CONVERSATION
    return label.integrity.name.lower() + (
        f", {label.confidentiality.name.lower()}" if secret else ""
    )


def dollars(amount: float) -> str:
    """An amount of money, with more digits where it is small."""
    return f"${amount:.4f}" if amount < 1 else f"${amount:,.2f}"


def counted(number: int, noun: str) -> str:
    """`1 call`, `3 calls`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(number: int) -> str:
    """`950`, `12.3k`, `4.5M`."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)
