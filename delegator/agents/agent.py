"""An agent: prompt, tools, output schema, limits, model. A value; no message can change it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from delegator.budget import Limits
from delegator.errors import ConfigError
from delegator.schema import Schema, schema_of
from delegator.tools import Tool

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")

ANSWER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1, "maxLength": 8_000}},
    "required": ["answer"],
    "additionalProperties": False,
}
"""The report of an agent that names no schema of its own."""

MAX_CLAIMS = 9
"""Claims in one report: each has a number of its own in the answer."""
AGENT_LIMITS = Limits(model_calls=10, tokens=300_000, seconds=300.0, reply_tokens=4_000)
"""What holds for a subagent where it sets nothing itself."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Someone who can be asked. `prompt` is the system prompt, to the byte.

    Raises:
        ConfigError: The name is not usable in a tool name, or the output schema is not closed.
    """

    name: str
    description: str
    """What the orchestrator reads when it chooses whom to ask."""
    prompt: str
    tools: tuple[str | Tool, ...] = ()
    """Names of built-in tools (`search`, `read`), or tools of your own."""
    output_schema: Mapping[str, Any] = field(default_factory=lambda: ANSWER_SCHEMA)
    limits: Limits = field(default_factory=Limits)
    model: str = ""
    """A model id, or empty for the run's model."""

    def __post_init__(self) -> None:
        """Check what can be checked without compiling."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"agent name {self.name[:40]!r} is not usable",
                hint="Use lower-case letters, digits, - and _, starting with a letter.",
            )
        if not self.prompt.strip():
            raise ConfigError(
                f"agent {self.name} has no prompt",
                hint="Say in it what the agent is to do, and how.",
            )
        if self.output_schema.get("type") != "object":
            raise ConfigError(
                f"the output schema of agent {self.name} is not that of an object",
                hint='Its "type" must be "object".',
            )
        _ = self.schema
        most = self.output_schema["properties"]["claims"].get("maxItems") if self.cites else 0
        if not isinstance(most, int) or most > MAX_CLAIMS:
            raise ConfigError(
                f"agent {self.name} may report too many claims",
                hint=f"Set maxItems of claims to {MAX_CLAIMS} or less in its output_schema.",
            )

    @cached_property
    def schema(self) -> Schema:
        """The closed schema of this agent's report."""
        return schema_of(self.output_schema, name=f"agent {self.name}")

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The names of its tools, in order."""
        return tuple(tool if isinstance(tool, str) else tool.name for tool in self.tools)

    @cached_property
    def reviews(self) -> bool:
        """Whether it judges findings: its report must have a score from 1 to 5 and a verdict that can be `accept`."""
        score = _mapping(fields_of(self.output_schema).get("score"))
        verdict = _mapping(fields_of(self.output_schema).get("verdict"))
        return (
            {"score", "verdict"} <= set(self.output_schema.get("required", ()))
            and (score.get("type"), score.get("minimum"), score.get("maximum")) == ("integer", 1, 5)
            and "accept" in verdict.get("enum", ())
        )

    @cached_property
    def cites(self) -> bool:
        """Whether every claim of its report must name a source and a quote that code can check."""
        claims = _mapping(fields_of(self.output_schema).get("claims"))
        return {"text", "source", "quote"} <= set(_mapping(claims.get("items")).get("required", ()))


def fields_of(schema: object) -> Mapping[str, Any]:
    """The fields that a schema gives an object; none if it describes something else."""
    return _mapping(_mapping(schema).get("properties"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
