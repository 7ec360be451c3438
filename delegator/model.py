"""The seam to language models: one streaming call, typed request and events, and the guard every request passes.

A provider implements `Model` and nothing else; the guard stands before it, so no provider can be reached around it.
"""

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from delegator.budget import Usage
from delegator.envelope import Fence
from delegator.errors import Fault, GuardTripped
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
    run: str = ""
    """Which run asks: runs share a server fairly."""
    priority: int = 0
    """Who is served first where calls have to wait; lower goes first."""
    patience: float = math.inf
    """Seconds until whoever asks has to be done: longer pauses are not worth waiting out."""
    headers: tuple[tuple[str, str], ...] = ()
    """What goes with it over HTTP beside its body: the trace that it is part of, where a person wants the server to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The server has taken the request: what it has counted so far is paid for, whatever comes of the reply."""

    usage: Usage
    so_far: Callable[[], Usage] | None = field(default=None, compare=False)
    """What it comes to at any later moment, where the provider can say: a reply that is broken off is paid for as far as it came."""
    id: str = field(default="", compare=False)
    """The server's own name for the reply."""
    model: str = field(default="", compare=False)
    """The model that really answers, as the server says."""

    @property
    def owed(self) -> Usage:
        """What is to be paid if nothing more comes."""
        return self.so_far() if self.so_far else self.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """A call failed before it said anything useful, and is made again after a pause. It stays one call in the ledger."""

    fault: Fault
    seconds: float


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

    @property
    def name(self) -> str:
        """Why it stopped, in one word."""
        return self.stop_named or self.stop.value


ModelEvent = Begun | Retrying | TextDelta | ToolUseReady | Reply


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


@runtime_checkable
class CountsTokens(Protocol):
    """A model that can say how large a prompt is before it is sent."""

    async def count_tokens(self, request: Request) -> int | None:
        """Tokens of a request's prompt, by the server's own count; `None` if it can not say."""


@dataclass(slots=True, kw_only=True)
class Guard:
    """Lets a request pass only if it keeps T1 and T2. Once tripped, it lets nothing pass any more: the run is over.

    T1: its system text is one of the operator's `prompts`, to the byte. T2: what is not a person's words stands in sealed tool results.
    """

    prompts: frozenset[str]
    """The system prompts that the operator wrote for this run: no other may be sent."""
    fence: Fence
    inline: bool = False
    """Whether this level lets untrusted text stand anywhere (`raw`): then only T1 is kept."""
    tripped: GuardTripped | None = None

    def __call__(self, request: Request) -> None:
        """Check one request.

        Raises:
            GuardTripped: It breaks a rule, or an earlier one did. It must not be sent.
        """
        self.tripped = self.tripped or self._broken(request)
        if self.tripped is not None:
            raise GuardTripped(self.tripped.rule, self.tripped.place)

    def _broken(self, request: Request) -> GuardTripped | None:
        if request.system not in self.prompts:
            return GuardTripped("T1", "system")
        for i, message in enumerate(request.messages):
            if message.role == "user" and not self.inline and not self._placed(message):
                return GuardTripped("T2", f"message {i}")
        return None

    def _placed(self, message: Message) -> bool:
        """Whether every block of a user turn is sealed, or the words of people."""
        trusted = message.label.trusted
        for block in message.content:
            match block:
                case ToolResult() if self.fence.sealed(block.text):
                    continue
                case Text() if trusted:
                    continue
            return False
        return True
