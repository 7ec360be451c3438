"""A request as the offline model reads it: who it is, what it was asked, what its tools returned so far."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from delegator.envelope import seen
from delegator.handoff import BRIEF, CONVERSATION, DELEGATE, SUBMIT, TASK_HEAD
from delegator.messages import Message, Text, ToolResult, ToolSpec, ToolUse
from delegator.model import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What to do next: say something, or call tools."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A tool call of this transcript and the data that it returned."""

    tool: str
    input: Mapping[str, Any]
    data: Mapping[str, Any]
    failed: bool


@dataclass(slots=True, kw_only=True)
class Transcript:
    """A request, read."""

    question: str
    tools: dict[str, ToolSpec]
    steps: list[Step] = field(default_factory=list)

    @property
    def delegates(self) -> dict[str, ToolSpec]:
        """The `delegate_to_*` tools."""
        return {name: tool for name, tool in self.tools.items() if name.startswith(DELEGATE)}

    @property
    def report_schema(self) -> Mapping[str, Any]:
        """The schema of the report that is wanted, if one is."""
        return self.tools[SUBMIT].input_schema if SUBMIT in self.tools else {}

    @property
    def report_fields(self) -> set[str]:
        """The names of the report's fields."""
        return set(self.report_schema.get("properties", {}))

    def results(self, tool: str) -> list[Step]:
        """The calls of one tool, in order."""
        return [step for step in self.steps if step.tool == tool]

    @property
    def brief(self) -> Mapping[str, Any]:
        """What the brief tool returned, or an empty brief."""
        steps = self.results(BRIEF)
        return steps[0].data if steps else {}

    @property
    def task(self) -> str:
        """The task of a subagent, wherever it stands."""
        return str(self.brief.get("task") or self.question)

    @property
    def material(self) -> list[Mapping[str, Any]]:
        """The material that came with the brief."""
        return list(self.brief.get("material", ()))


def read(request: Request) -> Transcript:
    """A request as a transcript. The first words of the first turn are the question or task."""
    words = "".join(b.text for b in request.messages[0].content if isinstance(b, Text))
    question, *handed = _HANDED.split(words)
    transcript = Transcript(
        question=question.removeprefix(TASK_HEAD).strip(),
        tools={tool.name: tool for tool in request.tools},
    )
    for tool, text in zip(handed[::2], handed[1::2], strict=True):
        data = seen(text)
        transcript.steps.append(Step(tool=tool, input={}, data=data, failed=False))
    transcript.steps += _steps(request.messages)
    return transcript


_HANDED = re.compile(rf"\n\n\[({BRIEF}|{CONVERSATION})\]\n")
"""How data stands among the words of a turn, at a level where it may."""


def _steps(messages: tuple[Message, ...]) -> Iterator[Step]:
    calls: dict[str, ToolUse] = {}
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolUse):
                calls[block.id] = block
            elif isinstance(block, ToolResult) and block.tool_use_id in calls:
                call, data = calls[block.tool_use_id], seen(block.text)
                yield Step(tool=call.name, input=call.input, data=data, failed=block.is_error)
