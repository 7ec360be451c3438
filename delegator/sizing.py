"""How large a prompt is: a bound that no tokenizer passes, and a guess.

A token stands for one byte at least, so bytes bound tokens. What a server has counted once is known exactly; only what was added since
is bounded by its bytes.
"""

import json
from collections.abc import Iterable

from delegator.budget import Usage
from delegator.messages import Block, Message, Opaque, Text, ToolResult, ToolSpec, ToolUse

TOOLS_OVERHEAD = 800
"""Tokens that a server may add to explain tools to a model."""
BLOCK_OVERHEAD = 24
"""Tokens that may mark where a block begins and ends."""
BYTES_PER_TOKEN = 3.5
"""Of usual text, for guesses."""


class PromptSize:
    """The size of one loop's prompt as it grows."""

    def __init__(self, system: str, tools: Iterable[ToolSpec]) -> None:
        described = sum(
            _size(tool.description) + tool.schema_bytes + BLOCK_OVERHEAD for tool in tools
        )
        self._fixed = _size(system) + described + BLOCK_OVERHEAD
        self.forget()

    def forget(self) -> None:
        """Nothing of this transcript was counted: it is not the one that a server has seen."""
        self._unmeasured = self._fixed
        """Bytes of what no server has counted yet, but for messages."""
        self._measured = 0
        """Tokens that a server has counted, its reply included."""
        self._messages = 0
        """How many messages that covers."""
        self._overhead = TOOLS_OVERHEAD
        self._weighed, self._bytes = 0, self._fixed

    def length(self, messages: list[Message]) -> int:
        """About how many tokens a transcript has by its bytes alone, whatever a server says; it may only have grown."""
        self._bytes += sum(_block(b) for m in messages[self._weighed :] for b in m.content)
        self._weighed = len(messages)
        return int(self._bytes / BYTES_PER_TOKEN)

    def bound(self, messages: list[Message]) -> int:
        """Tokens that a prompt of these messages can not pass."""
        return self._measured + self._unmeasured + self._overhead + self._added(messages)

    def guess(self, messages: list[Message]) -> int:
        """Tokens that a prompt of these messages usually has."""
        return self._measured + int((self._unmeasured + self._added(messages)) / BYTES_PER_TOKEN)

    def answered(self, usage: Usage, messages: int) -> None:
        """A server has counted a prompt of so many messages, and its reply, which is the next one."""
        if usage.total:
            self._measured, self._messages = usage.total, messages + 1
            self._unmeasured = self._overhead = 0

    def _added(self, messages: list[Message]) -> int:
        added = messages[self._messages :]
        return sum(_block(block) for message in added for block in message.content)


def _block(block: Block) -> int:
    match block:
        case Text() | ToolResult():
            return _size(block.text) + BLOCK_OVERHEAD
        case ToolUse():
            return _size(block.name) + _size(json.dumps(dict(block.input))) + BLOCK_OVERHEAD
        case Opaque():
            return _size(json.dumps(dict(block.data))) + BLOCK_OVERHEAD


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
