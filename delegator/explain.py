"""What a trust level means for one configuration: what may cross each boundary, what a run may cost at worst, what stays open.

Every number is computed from the schemas and limits that a run would use; nothing is asked of a model.
"""

import json
import math
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from delegator.agents import AGENT_LIMITS, Agent, shipped
from delegator.api import Settings, staffed
from delegator.briefs import MAX_TASK_CHARACTERS
from delegator.budget import NANO, RUN_LIMITS
from delegator.capacity import bits, text
from delegator.delegation import reads_documents_only
from delegator.ladder import LADDER, Encoding, Rung, Shown
from delegator.models import DEFAULT_MODEL
from delegator.orchestrator import MAX_TURN_CHARACTERS, MAX_TURNS
from delegator.policy import Effects
from delegator.prices import price_of
from delegator.sanitize import one_line
from delegator.shown import MAX_SOURCES, sealed_schema
from delegator.subagent import MAX_MATERIAL_CHARACTERS
from delegator.tools import MAX_RESULT_CHARACTERS
from delegator.trust import Level

WIDEST = 96
_NARROW = 72
"""Columns below which a row takes two lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """What may cross between two parties."""

    name: str
    crosses: str
    bits: float
    """Of untrusted text, for one crossing; 0 where none can."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; no bound is null."""
        carried = None if math.isinf(self.bits) else round(self.bits, 2)
        return {"boundary": self.name, "crosses": self.crosses, "bits": carried}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """What a run can cost at worst."""

    model_calls: int
    delegations: int
    orchestrator_calls: int
    calls_each: int
    tokens: int | None
    seconds: float | None
    usd: float | None
    """All tokens at the dearest rate, or the limit in dollars; `None` where a model's price is not known."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "model_calls": self.model_calls,
            "delegations": self.delegations,
            "orchestrator_calls": self.orchestrator_calls,
            "calls_each": self.calls_each,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "usd": self.usd,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """A tool with effects outside, and what decides about its calls."""

    agent: str
    tool: str
    effects: Effects
    policy: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        effects = str(self.effects)
        return {"agent": self.agent, "tool": self.tool, "effects": effects, "policy": self.policy}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A level, explained for one configuration."""

    rung: Rung
    boundaries: tuple[Boundary, ...]
    worst: Worst
    tools: tuple[ToolPolicy, ...]
    influence: float
    """Bits that untrusted text can have on which delegations are made in a whole run."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "level": self.rung.level.value,
            "adds": self.rung.adds,
            "guarantees": self.rung.guarantees,
            "leaves_open": self.rung.leaves_open,
            "boundaries": [boundary.to_json() for boundary in self.boundaries],
            "influence_bits": None if math.isinf(self.influence) else round(self.influence, 2),
            "worst_case": self.worst.to_json(),
            "consequential_tools": [tool.to_json() for tool in self.tools],
        }


def explain(settings: Settings) -> Explanation:
    """What the level of these settings means for a run under them."""
    rung, agents = LADDER[settings.level], staffed(settings.agents)
    reports = tuple(_report(agent, rung) for agent in agents)
    worst = _worst(settings, rung, agents)
    largest = max(boundary.bits for boundary in reports)
    influence = 0.0 if rung.fixed_plan else largest * worst.delegations
    return Explanation(
        rung=rung,
        boundaries=(*_down(rung, agents, influence), *reports, _answer(rung)),
        worst=worst,
        tools=tuple(_tools(settings, rung, agents)),
        influence=influence,
    )


_WRITTEN = {
    Encoding.PLAIN: "as it is, among other text",
    Encoding.MARKED: "as it is, in tool results between random marks",
    Encoding.JSON: "canonical text, in tool results as JSON strings",
}


def _down(rung: Rung, agents: tuple[Agent, ...], influence: float) -> Iterator[Boundary]:
    """What goes into the orchestrator and down to subagents."""
    sealed = rung.shown is Shown.REFERENCES
    turns = MAX_TURNS * 2 * text(MAX_TURN_CHARACTERS)
    earlier = "earlier questions only" if sealed else "earlier questions and answers"
    yield Boundary(
        name="person → orchestrator", crosses="the question, as the person's words", bits=0.0
    )
    yield Boundary(name="turn → next turn", crosses=earlier, bits=0.0 if sealed else turns)
    yield Boundary(
        name="orchestrator → subagent",
        crosses=_TASKS[rung.fixed_plan, sealed],
        bits=min(influence, text(MAX_TASK_CHARACTERS)),
    )
    for agent in agents:
        name, most = f"source → {agent.name}", text(MAX_RESULT_CHARACTERS)
        if agent.reviews:
            evidence = "one finding with its passages, by reference"
            yield Boundary(name=name, crosses=evidence, bits=text(MAX_MATERIAL_CHARACTERS))
            continue
        one = rung.one_source_each and reads_documents_only(agent)
        reader = "one document" if one else "any document and tool"
        yield Boundary(name=name, crosses=f"{reader}, {_WRITTEN[rung.encoding]}", bits=most)


_TASKS = {
    (False, False): "a task; untrusted once the orchestrator has read a report",
    (False, True): "a task by an orchestrator that saw no words of a source",
    (True, True): "tasks fixed from the question",
}


def _report(agent: Agent, rung: Rung) -> Boundary:
    """What one delegation to an agent brings back."""
    carried = {
        Shown.WORDS: text(MAX_RESULT_CHARACTERS),
        Shown.FIELDS: bits(agent.output_schema),
        Shown.REFERENCES: bits({"anyOf": [sealed_schema(agent, sources=MAX_SOURCES), _REFUSED]}),
    }
    name = f"{agent.name} → orchestrator"
    return Boundary(name=name, crosses=_REPORTS[rung.shown], bits=carried[rung.shown])


_REFUSED = {"const": "refused"}
"""A call may also bring back a refusal instead: one value more."""
_REPORTS = {
    Shown.WORDS: "whatever it says",
    Shown.FIELDS: "a report that fits its schema",
    Shown.REFERENCES: "random references, a status, fields of few values",
}


def _answer(rung: Rung) -> Boundary:
    said = (
        "quotations under their source's name, written by code"
        if rung.shown is Shown.REFERENCES
        else "the orchestrator's words, citations checked"
    )
    return Boundary(name="answer → reader", crosses=f"{said}; no live markup", bits=math.inf)


def _worst(settings: Settings, rung: Rung, agents: tuple[Agent, ...]) -> Worst:
    """The sum of everyone's limits, held to the run's."""
    run = settings.limits.over(RUN_LIMITS)
    leads = shipped(rung.orchestrator).limits.over(run).model_calls or 0
    each = max(agent.limits.over(AGENT_LIMITS).model_calls or 0 for agent in agents)
    delegations = run.delegations or 0
    calls = leads + delegations * each
    usd = run.usd if run.usd is not None else _dearest(settings, agents, run.tokens)
    return Worst(
        usd=usd,
        model_calls=min(calls, run.model_calls or calls),
        delegations=delegations,
        orchestrator_calls=min(leads, run.model_calls or leads),
        calls_each=each,
        tokens=run.tokens,
        seconds=run.seconds,
    )


def _dearest(settings: Settings, agents: tuple[Agent, ...], tokens: int | None) -> float | None:
    """So many tokens at the dearest rate of any model that is asked."""
    of_run = "offline" if settings.plays_offline else settings.model or DEFAULT_MODEL
    prices = [price_of(agent.model or of_run, settings.prices) for agent in agents]
    known = [price for price in prices if price is not None]
    if tokens is None or len(known) < len(prices):
        return None
    return max(tokens * price.worst_output(tokens) / NANO for price in known)


def _tools(settings: Settings, rung: Rung, agents: tuple[Agent, ...]) -> Iterator[ToolPolicy]:
    built_in = Effects(reads=True, private=bool(settings.private))
    for agent in agents:
        for tool in agent.tools:
            name, effects = (tool, built_in) if isinstance(tool, str) else (tool.name, tool.effects)
            if effects.consequential:
                rules = (
                    "P-T and P-F, or a person"
                    if effects.writes or effects.sends
                    else "P-T, or a person"
                )
                policy = rules if rung.decides else "none at this level"
                yield ToolPolicy(agent=agent.name, tool=name, effects=effects, policy=policy)


def explanation_json(explained: Explanation) -> str:
    """As the JSON that `--json` prints."""
    return json.dumps(explained.to_json(), ensure_ascii=False, indent=2)


def explanation_text(explained: Explanation) -> str:
    """For a terminal of any width."""
    width = max(40, min(WIDEST, shutil.get_terminal_size().columns - 1))
    return "\n".join(_lines(explained, width))


def _lines(explained: Explanation, width: int) -> Iterator[str]:
    rung, levels = explained.rung, list(Level)
    yield f"{rung.level.value}  (level {levels.index(rung.level)} of 0 to {len(levels) - 1})"
    for head, words in (
        ("adds", rung.adds),
        ("holds", rung.guarantees),
        ("open", rung.leaves_open),
    ):
        yield from _wrapped(f"  {head:<7}", words, width)
    yield from (
        "",
        *_wrapped("", "What may cross, and how many bits of untrusted text at once", width),
    )
    yield from _table([(b.name, b.crosses, _size(b)) for b in explained.boundaries], width)
    shown = "0" if not explained.influence else _count(explained.influence)
    yield from _wrapped(
        "  ",
        f"Influence of untrusted text on the delegations of a whole run: {shown} bits.",
        width,
    )
    yield from ("", "The most a run may cost")
    yield from _table(list(_costs(explained.worst)), width)
    yield from ("", "Tools with effects outside")
    rows = [
        (f"{t.agent} {one_line(t.tool, 40)}", str(t.effects), t.policy) for t in explained.tools
    ]
    yield from _table(rows, width) if rows else ["  none"]


def _costs(worst: Worst) -> Iterator[tuple[str, str, str]]:
    whole = worst.orchestrator_calls + worst.delegations * worst.calls_each
    sum_of = f"{worst.orchestrator_calls} + {worst.delegations} delegations × {worst.calls_each}"
    held = "" if whole <= worst.model_calls else f" = {whole:,}, held to the run's limit"
    yield "model calls", sum_of + held, f"{worst.model_calls:,}"
    if worst.tokens:
        yield "tokens", "input, cached and output", f"{worst.tokens:,}"
    if worst.seconds:
        yield "seconds", "wall time", f"{worst.seconds:,g}"
    if worst.usd is None:
        yield "dollars", "a model's price is not known", "?"
    else:
        yield "dollars", "every token at the dearest rate", f"{worst.usd:,.2f}"


def _size(boundary: Boundary) -> str:
    return "-" if math.isinf(boundary.bits) else _count(boundary.bits)


def _count(carried: float) -> str:
    if math.isinf(carried):
        return "no bound"
    return f"{carried:,.1f}" if 0 < carried < 1000 else f"{carried:,.0f}"  # noqa: PLR2004


def _table(rows: list[tuple[str, str, str]], width: int) -> Iterator[str]:
    """Three columns; in a narrow terminal the middle one goes below."""
    first, last = (max((len(row[i]) for row in rows), default=0) for i in (0, 2))
    for name, middle, end in rows:
        if width < _NARROW:
            room = width - len(name) - 4
            yield f"  {name}  {end:>{room}}" if len(end) <= room else f"  {name}"
            if len(end) > room:
                yield from _wrapped("      ", end, width)
            yield from _wrapped("      ", middle, width)
            continue
        room = width - first - last - 6
        lines = textwrap.wrap(middle, room) or [""]
        yield f"  {name:<{first}}  {lines[0]:<{room}}  {end:>{last}}"
        yield from (f"  {'':<{first}}  {line}" for line in lines[1:])


def _wrapped(head: str, words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, initial_indent=head, subsequent_indent=" " * len(head))
