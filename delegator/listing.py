"""What there is, as text or JSON: agents, and what a refresh of an index found."""

import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from delegator.agents import AGENT_LIMITS, Agent, shipped
from delegator.agents.agent import fields_of
from delegator.api import staffed
from delegator.knowledge import Refreshed
from delegator.sanitize import for_terminal, one_line

WIDEST = 78
"""Columns of a paragraph, where the terminal has so many."""
NARROWEST = 20


def agents_json(own: Iterable[Agent]) -> str:
    """All agents as a JSON array."""
    entries = [
        {
            "name": agent.name,
            "description": agent.description,
            "tools": list(agent.tool_names),
            "model": agent.model or None,
            "reviews": agent.reviews,
            "limits": _limits(agent),
            "output_schema": agent.output_schema if agent.name != "orchestrator" else None,
        }
        for agent in _all(own)
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2)


def agents_text(own: Iterable[Agent]) -> str:
    """All agents, a paragraph each."""
    return "\n\n".join(_paragraph(agent) for agent in _all(own))


def _all(own: Iterable[Agent]) -> tuple[Agent, ...]:
    """The orchestrator, then whom it can ask. Compiles every schema, so that a bad one is named here."""
    agents = (shipped("orchestrator"), *staffed(own))
    for agent in agents:
        agent.schema.check()
    return agents


def _limits(agent: Agent) -> dict[str, float]:
    orchestrates = agent.name == "orchestrator"
    return (agent.limits if orchestrates else agent.limits.over(AGENT_LIMITS)).to_json()


def _paragraph(agent: Agent) -> str:
    limits = ", ".join(
        f"{name.replace('_', ' ')} {value:,g}" for name, value in _limits(agent).items()
    )
    if agent.name == "orchestrator":
        tools, report = "delegate_to_<agent> for each agent below", "the answer, as text"
    else:
        tools, report = ", ".join(agent.tool_names) or "none", _shape(agent.output_schema)
    rows = [
        ("", one_line(agent.description, 400)),
        ("tools  ", tools),
        ("model  ", agent.model or "the run's"),
        ("limits ", limits),
        ("report ", report),
    ]
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns - 1))
    lines = [agent.name]
    for head, text in rows:
        indent = "  " + head
        lines += textwrap.wrap(
            for_terminal(text), width, initial_indent=indent, subsequent_indent=" " * len(indent)
        )
    return "\n".join(lines)


def _shape(schema: Mapping[str, Any]) -> str:
    """A schema in one line: `answer, claims [text, source, quote], confidence low|medium|high`."""
    parts = []
    for name, given in fields_of(schema).items():
        sub = given if isinstance(given, Mapping) else {}  # `true` is a schema too
        if inner := fields_of(sub.get("items")) or fields_of(sub):
            parts.append(f"{name} [{', '.join(inner)}]")
        elif "enum" in sub:
            parts.append(f"{name} {'|'.join(map(str, sub['enum']))}")
        elif {"minimum", "maximum"} <= sub.keys():
            parts.append(f"{name} {sub['minimum']}..{sub['maximum']}")
        else:
            parts.append(name)
    return ", ".join(parts)


def index_json(found: Refreshed) -> str:
    """What a refresh found, as a JSON object."""
    return json.dumps(
        {
            "documents": found.documents,
            "added": found.added,
            "changed": found.changed,
            "removed": found.removed,
            "skipped": dict(sorted(found.skipped.items())),
            "seconds": round(found.seconds, 3),
        },
        indent=2,
    )


def index_text(found: Refreshed, folder: str) -> str:
    """What a refresh found, in a line or two."""
    text = (
        f"{found.documents:,} document{'s' * (found.documents != 1)} in {one_line(folder)}: {found.added:,} added, {found.changed:,} changed, "
        f"{found.removed:,} removed ({found.seconds:.1f} s)"
    )
    if not found.skipped:
        return text
    counts = ", ".join(f"{n:,} {why}" for why, n in found.skipped.most_common())
    return f"{text}\nskipped: {counts}"
