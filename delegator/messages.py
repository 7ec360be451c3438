"""Messages and their wire shapes: what a model is shown and what it says.

A message has no default label: whoever makes one must say what its text is worth.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, assert_never

from delegator.trust import Label

Speaker = Literal["user", "assistant"]


class Stop(StrEnum):
    """Why a model stopped. Reasons this version does not know read as `UNKNOWN` and end the loop."""

    END_TURN = "end_turn"
    TOOL_USE = "tool_use"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    PAUSE_TURN = "pause_turn"
    REFUSAL = "refusal"
    CONTEXT_FULL = "model_context_window_exceeded"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, value: object) -> "Stop":
        """The reason named by a server, or `UNKNOWN`."""
        return cls(value) if isinstance(value, str) and value in _STOPS else cls.UNKNOWN


_STOPS = frozenset(Stop) - {Stop.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A model's wish to run a tool. `input` is whatever the model wrote: nothing has checked it."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of a tool call. `text` is an envelope (see `delegator.envelope`)."""

    tool_use_id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """A block to be sent back untouched (thinking, redacted thinking, a server's own tools)."""

    data: Mapping[str, Any]


Block = Text | ToolUse | ToolResult | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a transcript."""

    role: Speaker
    content: tuple[Block, ...]
    label: Label


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as a model sees it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]

    @cached_property
    def schema_bytes(self) -> int:
        """How long the schema is as JSON."""
        return len(json.dumps(dict(self.input_schema)))

    @cached_property
    def wire(self) -> str:
        """The tool as JSON."""
        return json.dumps(tool_to_wire(self))


def text_of(content: tuple[Block, ...]) -> str:
    """The words of a turn, without its tool calls and opaque blocks."""
    return "".join(block.text for block in content if isinstance(block, Text))


def block_to_wire(block: Block) -> dict[str, Any]:
    """A block in the shape of the Messages API."""
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        case ToolResult():
            wire = {"type": "tool_result", "tool_use_id": block.tool_use_id, "content": block.text}
            return {**wire, "is_error": True} if block.is_error else wire
        case Opaque():
            return dict(block.data)
    assert_never(block)


def block_from_wire(wire: Mapping[str, Any]) -> Block:
    """What `block_to_wire` was given."""
    match wire["type"]:
        case "text" if wire.keys() == {"type", "text"}:
            return Text(text=wire["text"])
        case "tool_use" if wire.keys() == {"type", "id", "name", "input"}:
            return ToolUse(id=wire["id"], name=wire["name"], input=wire["input"])
        case "tool_result":
            failed = wire.get("is_error", False)
            return ToolResult(
                tool_use_id=wire["tool_use_id"], text=wire["content"], is_error=failed
            )
        case _:
            return Opaque(data=dict(wire))


def message_to_wire(message: Message) -> dict[str, Any]:
    """A message in the shape of the Messages API. Labels stay at home."""
    return {"role": message.role, "content": [block_to_wire(block) for block in message.content]}


def tool_to_wire(tool: ToolSpec) -> dict[str, Any]:
    """A tool in the shape of the Messages API."""
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
    }
