"""The seam to language models: one streaming call, typed request and events, and the guard every request passes.

A provider implements `Model` and nothing else; the guard stands before it, so no provider can be reached around it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from delegator.budget import Usage
from delegator.envelope import Fence
from delegator.errors import GuardTripped
from delegator.messages import Block, Message, Stop, Text, ToolResult, ToolSpec, ToolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a model."""

    key: str
    """`agent/n`: which loop asks, and its how-manieth call this is."""
    agent: str
    """The asking agent's name."""
    model: str
    """A model id, or empty for the provider's default."""
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    max_tokens: int
    last: bool = False
    """Whether no further call is allowed: the reply must be the end."""
    final_tool: str = ""
    """The tool that ends this loop, if a tool does; else words do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """Some words of the reply."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseReady:
    """A tool call is complete: the model has gone on to something else, or stopped to wait for it."""

    call: ToolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The whole reply; always the last event of a call that did not fail.

    `content` holds no unfinished tool call.
    """

    content: tuple[Block, ...]
    stop: Stop
    usage: Usage
    stop_named: str = ""
    """The server's own word for the stop reason, where this version does not know it."""


ModelEvent = TextDelta | ToolUseReady | Reply


class Model(Protocol):
    """A language model, or something that plays one."""

    @property
    def id(self) -> str:
        """The model id used when a request names none."""

    def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Answer one request: any number of deltas and ready tool calls, then one `Reply`.

        Raises:
            ModelError: The call failed.
        """


def guard(request: Request, *, prompts: frozenset[str], fence: Fence) -> None:
    """Let a request pass only if it keeps T1 and T2.

    T1: its system text is one of the operator's `prompts`, to the byte. T2: what is not a person's words stands in sealed tool results.

    Raises:
        GuardTripped: It does not. The request must not be sent.
    """
    if request.system not in prompts:
        raise GuardTripped("T1", "system")
    for i, message in enumerate(request.messages):
        if message.role == "assistant":
            continue
        for block in message.content:
            match block:
                case ToolResult() if fence.sealed(block.text):
                    continue
                case Text() if message.label.trusted:
                    continue
            raise GuardTripped("T2", f"message {i}")
