"""Keeping a long conversation short: old results give way to references, the question and the newest turns stay whole."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from delegator.envelope import Fence, seen
from delegator.messages import Block, Message, ToolResult, ToolUse

NEWEST = 4
"""Messages at the end that stay as they are."""
_SHORT = 40
_TASK = 200
_DROPPED = "left out to keep the conversation short"


def trimmed(messages: list[Message], fence: Fence) -> list[Message]:
    """A transcript whose older tool results are references: the ids and outcomes in them, and that the rest was left out."""
    old, new = messages[1:-NEWEST], messages[-NEWEST:]
    return [
        messages[0],
        *(replace(m, content=tuple(_short(block, m, fence) for block in m.content)) for m in old),
        *new,
    ]


def _short(block: Block, message: Message, fence: Fence) -> Block:
    match block:
        case ToolResult():
            data = seen(block.text)
            if "dropped" in data:
                return block
            kept = {**_references(data), "dropped": _DROPPED}
            return replace(block, text=fence.seal(kept, label=message.label, origin="delegator"))
        case ToolUse():
            given = {k: v[:_TASK] if isinstance(v, str) else v for k, v in block.input.items()}
            return replace(block, input=given)
        case _:
            return block


def _references(data: Mapping[str, Any]) -> dict[str, Any]:
    """The short plain values at the top: ids, outcomes, statuses."""
    return {
        key: value
        for key, value in data.items()
        if isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= _SHORT)
    }
