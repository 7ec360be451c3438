"""When who did what: the spans of every agent, and the critical path through them.

A span is a model call, a tool call, or the wait for subagents. The critical path is found backwards from the end: what ended last
before each moment, and, where somebody waited, what ended last of that which was waited for.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Literal

from delegator.handoff import DELEGATE
from delegator.viewer.record import Called, Happened, Record

LEADER = "orchestrator"
Kind = Literal["model", "tool", "wait", "own"]
"""`own` is time in which nothing was under way but the harness itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in which an agent was busy with one thing."""

    agent: str
    kind: Kind
    start: float
    end: float
    name: str = ""
    call: str = ""
    """The place of a tool call."""
    n: int = 0
    """The number of a model call."""
    state: str = ""
    """How it ended, if not well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A subagent from its start to its end."""

    id: str
    asked_by: str
    """The place of the tool call that asked for it."""
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run in time, in seconds since it began."""

    seconds: float
    spans: tuple[Span, ...]
    lives: tuple[Life, ...]
    path: tuple[Span, ...]
    """The critical path, from the first to the last: what the run could not have ended without."""


def timeline(record: Record) -> Timeline:
    """A run in time."""
    seconds = max((event.at for event in record.events), default=0.0)
    lives = tuple(_lives(record, seconds))
    spans = sorted(
        (*_model_spans(record, seconds), *_tool_spans(record.events, seconds)),
        key=lambda span: (span.start, span.end),
    )
    path = _Walk(spans, lives).path(seconds) if spans else ()
    return Timeline(seconds=seconds, spans=tuple(spans), lives=lives, path=path)


def asked_by(path: str) -> str:
    """The tool call that a delegation goes back to, by its place in the run."""
    return re.split(r"[#.]", path, maxsplit=1)[0]


def _lives(record: Record, seconds: float) -> Iterator[Life]:
    ends = {e.data["id"]: e.at for e in record.events if e.kind == "delegation_finished"}
    for event in record.events:
        if event.kind == "delegation_started":
            id = event.data["id"]
            yield Life(
                id=id,
                asked_by=asked_by(record.places.get(id, "")),
                start=event.at,
                end=max(ends.get(id, seconds), event.at),
            )


def _model_spans(record: Record, seconds: float) -> Iterator[Span]:
    """Answered calls by their events; those that were not answered from what came before them to what came next."""
    answered = set()
    for event in record.events:
        if event.kind == "model_call_finished":
            n, took = int(event.data["n"]), float(event.data["seconds"])
            answered.add((event.agent, n))
            start = max(event.at - took, 0.0)
            yield Span(agent=event.agent, kind="model", start=start, end=event.at, n=n)
    for call in record.calls:
        if call.state != "answered" or (call.agent, call.n) not in answered:
            yield _unanswered(call, record.events, seconds)


def _unanswered(call: Called, events: Sequence[Happened], seconds: float) -> Span:
    i = bisect_left(events, call.after, key=lambda event: event.seq)
    start = events[i].at if i < len(events) else seconds
    rest = islice(events, i + 1, None)
    later = (e.at for e in rest if e.agent == call.agent or _ends(e, call.agent))
    return Span(
        agent=call.agent,
        kind="model",
        start=start,
        end=max(next(later, seconds), start),
        n=call.n,
        state=call.fault or call.state,
    )


def _ends(event: Happened, agent: str) -> bool:
    return event.kind == "delegation_finished" and event.data["id"] == agent


def _tool_spans(events: Iterable[Happened], seconds: float) -> Iterator[Span]:
    open_ones: dict[tuple[str, str, str], Happened] = {}
    for event in events:
        key = (event.agent, event.data.get("tool", ""), event.data.get("call", ""))
        if event.kind == "tool_started":
            open_ones[key] = event
        elif event.kind == "tool_finished" and key in open_ones:
            yield _tool_span(open_ones.pop(key), event.at, event.data["problem"])
    for event in open_ones.values():
        yield _tool_span(event, seconds, "unfinished")


def _tool_span(started: Happened, end: float, state: str) -> Span:
    tool = str(started.data["tool"])
    return Span(
        agent=started.agent,
        kind="wait" if started.agent == LEADER and tool.startswith(DELEGATE) else "tool",
        start=started.at,
        end=max(end, started.at),
        name=tool,
        call=str(started.data.get("call", "")),
        state=state,
    )


@dataclass(slots=True)
class _Lane:
    """The spans of one agent, asked for the one that ends last among those that began before a moment."""

    spans: list[Span]
    starts: list[float] = field(init=False)
    latest: list[Span] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [span.start for span in self.spans]
        self.latest = list(accumulate(self.spans, _later))

    def before(self, until: float) -> Span | None:
        i = bisect_left(self.starts, until)
        return self.latest[i - 1] if i else None


def _later(a: Span, b: Span) -> Span:
    return b if b.end >= a.end else a


class _Walk:
    """The way back from the end of a run."""

    def __init__(self, spans: Iterable[Span], lives: Iterable[Life]) -> None:
        by_agent: dict[str, list[Span]] = {}
        for span in spans:
            by_agent.setdefault(span.agent, []).append(span)
        self._lanes = {agent: _Lane(own) for agent, own in by_agent.items()}
        self._waited: dict[str, list[Life]] = {}
        for life in sorted(lives, key=lambda life: life.end):
            self._waited.setdefault(life.asked_by, []).append(life)

    def path(self, seconds: float) -> tuple[Span, ...]:
        way = [part for part in self._back(LEADER, 0.0, seconds) if part.end > part.start]
        return tuple(reversed(way))

    def _back(self, agent: str, since: float, until: float) -> Iterator[Span]:
        lane = self._lanes.get(agent)
        while until > since and lane is not None:
            span = lane.before(until)
            if span is None or span.end <= since:
                break
            end, start = min(span.end, until), max(span.start, since)
            yield Span(agent=agent, kind="own", start=end, end=until)
            if span.kind == "wait":
                yield from self._below(span, start, end)
            else:
                yield _cut(span, start, end)
            until = start
        yield Span(agent=agent, kind="own", start=since, end=until)

    def _below(self, span: Span, since: float, until: float) -> Iterator[Span]:
        """What was waited for, the last first; where nothing of it was under way, the wait itself."""
        for life in reversed(self._waited.get(span.call, [])):
            if life.end > until or life.start < since or life.start >= until:
                continue
            yield _cut(span, life.end, until)
            yield from self._back(life.id, life.start, life.end)
            until = life.start
        yield _cut(span, since, until)


def _cut(span: Span, start: float, end: float) -> Span:
    return Span(
        agent=span.agent,
        kind=span.kind,
        start=start,
        end=end,
        name=span.name,
        call=span.call,
        n=span.n,
        state=span.state,
    )


def shares(path: Iterable[Span]) -> Mapping[str, float]:
    """Seconds of a path by kind."""
    found: dict[str, float] = {}
    for span in path:
        found[span.kind] = found.get(span.kind, 0.0) + span.end - span.start
    return found
