"""What a run used of its ceilings, when, and what was held for calls under way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from delegator.budget import NANO, Price, Usage
from delegator.errors import Ceiling
from delegator.prices import price_from, price_of
from delegator.viewer.record import Called, Record
from delegator.viewer.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was spent and what was held for open calls, from a moment on."""

    at: float
    tokens: int
    held: int
    usd: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A run's budget: ceilings as they were set, and how they were approached."""

    limits: Mapping[str, float]
    used: Mapping[str, float]
    points: tuple[Point, ...]
    by_agent: Mapping[str, float | None]
    """Dollars by agent; `None` where a price is not known."""


def spending(record: Record, times: Timeline) -> Spending:
    """A run's budget."""
    costs = _Costs(record)
    points = tuple(_points(record, times, costs))
    last = points[-1] if points else Point(at=0.0, tokens=0, held=0, usd=0.0, calls=0)
    used: dict[str, float] = {
        Ceiling.TOKENS: last.tokens,
        Ceiling.MODEL_CALLS: last.calls,
        Ceiling.DELEGATIONS: len(record.places),
        Ceiling.SECONDS: times.seconds,
    }
    if costs.known:
        used[Ceiling.USD] = last.usd
    return Spending(
        limits={k: float(v) for k, v in record.settings.get("limits", {}).items()},
        used=used,
        points=points,
        by_agent=costs.by_agent,
    )


class _Costs:
    """What calls cost, as far as prices are known."""

    def __init__(self, record: Record) -> None:
        given: Mapping[str, Any] = record.settings.get("prices", {})
        self._own = {name: price_from(rates, name) for name, rates in given.items()}
        started = (e.data["model"] for e in record.events if e.kind == "run_started")
        self._model = str(next(started, ""))
        self.known = True
        self.by_agent: dict[str, float | None] = {}
        for call in record.calls:
            cost = self.of(call)
            before = self.by_agent.get(call.agent, 0.0)
            self.by_agent[call.agent] = None if cost is None or before is None else before + cost
            self.known &= cost is not None

    def of(self, call: Called) -> float | None:
        price: Price | None = price_of(call.model or self._model, self._own)
        used = Usage(**call.used)
        if price is None:
            return None if used.total else 0.0
        return price.cost(used) / NANO


def _points(record: Record, times: Timeline, costs: _Costs) -> Iterator[Point]:
    """One point for each call that is opened, one for each that is over."""
    spans = {(s.agent, s.n): s for s in times.spans if s.kind == "model"}
    changes: list[tuple[float, int, Called]] = []
    for call in record.calls:
        span = spans.get((call.agent, call.n))
        if span is not None:
            changes += [(span.start, 1, call), (span.end, -1, call)]
    tokens = held = calls = 0
    usd = 0.0
    for at, opened, call in sorted(changes, key=lambda change: (change[0], -change[1])):
        held += opened * Usage(**call.worst).total
        if opened < 0:
            tokens += Usage(**call.used).total
            usd += costs.of(call) or 0.0
        else:
            calls += 1
        yield Point(at=at, tokens=tokens, held=held, usd=usd, calls=calls)
