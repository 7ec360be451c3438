"""A model that says what a script tells it: for tests and for the lab.

It records every request it was shown, fails when asked more often than the script provides, and `assert_spent` fails when it
was asked less often.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delegator.budget import Usage
from delegator.envelope import seen
from delegator.errors import Fault, ModelError
from delegator.messages import Block, Stop, Text, ToolResult, ToolUse, text_of
from delegator.model import ModelEvent, Reply, Request, TextDelta, ToolUseReady

_USAGE = Usage(input_tokens=100, output_tokens=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """One scripted reply."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stop: Stop | None = None
    delay: float = 0.0
    """Seconds before the reply."""
    usage: Usage = _USAGE
    fault: Fault | None = None
    """Fail in this way, after whatever the reply holds."""


Step = Says | Callable[[Request], Says]


def say(text: str, **more: Any) -> Says:
    """A reply of words."""
    return Says(text=text, **more)


def call(name: str, /, **given: Any) -> Says:
    """A reply with one tool call."""
    return Says(calls=((name, given),))


def calls(*pairs: tuple[str, Mapping[str, Any]], **more: Any) -> Says:
    """A reply with several tool calls."""
    return Says(calls=pairs, **more)


def fail(fault: Fault) -> Says:
    """A call that fails."""
    return Says(fault=fault)


class Scripted:
    """Plays a script: steps for each loop, by its id (`orchestrator`, `D1`) or else by its agent's name."""

    id = "scripted"

    def __init__(self, script: Mapping[str, Sequence[Step] | Callable[[Request], Says]]) -> None:
        self.requests: list[Request] = []
        self.peak = 0
        """The most calls that were under way at the same time."""
        self._script = {
            name: steps if callable(steps) else list(steps) for name, steps in script.items()
        }
        self._unexpected: list[str] = []
        self._ids = itertools.count(1)
        self._open = 0

    def shown(self, who: str) -> list[Request]:
        """The requests of one loop (by id) or of all loops of an agent (by name)."""
        return [r for r in self.requests if who in (r.key.split("/")[0], r.agent)]

    def assert_spent(self) -> None:
        """Fail if the script was longer or shorter than what was asked for."""
        left = {
            name: len(steps)
            for name, steps in self._script.items()
            if isinstance(steps, list) and steps
        }
        if left or self._unexpected:
            msg = f"script not followed: not asked for {left}, asked too often {self._unexpected}"
            raise AssertionError(msg)

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Play the next step for the loop that asks."""
        self.requests.append(request)
        says = self._next(request)
        self._open += 1
        self.peak = max(self.peak, self._open)
        try:
            if says.delay:
                await asyncio.sleep(says.delay)
            content: list[Block] = []
            if says.text:
                yield TextDelta(text=says.text)
                content.append(Text(text=says.text))
            for name, given in says.calls:
                use = ToolUse(id=f"toolu_{next(self._ids)}", name=name, input=given)
                yield ToolUseReady(call=use)
                content.append(use)
            if says.fault is not None:
                raise ModelError(says.fault)
            stop = says.stop or (Stop.TOOL_USE if says.calls else Stop.END_TURN)
            yield Reply(content=tuple(content), stop=stop, usage=says.usage)
        finally:
            self._open -= 1

    def _next(self, request: Request) -> Says:
        for name in (request.key.split("/")[0], request.agent):
            steps = self._script.get(name)
            if isinstance(steps, list) and steps:
                step = steps.pop(0)
                return step(request) if callable(step) else step
            if callable(steps):
                return steps(request)
        self._unexpected.append(request.key)
        raise ModelError(Fault.SERVER)


def results(request: Request) -> list[dict[str, Any]]:
    """What the tool results of the newest turn hold, unsealed: for steps that react to what they are shown."""
    return [
        dict(seen(block.text))
        for block in request.messages[-1].content
        if isinstance(block, ToolResult)
    ]


def prompt_text(request: Request) -> str:
    """Everything that a request shows a model, as one text: for assertions about what it can see."""
    parts = [request.system, json.dumps([dict(tool.input_schema) for tool in request.tools])]
    for message in request.messages:
        parts.append(text_of(message.content))
        parts += [block.text for block in message.content if isinstance(block, ToolResult)]
        parts += [
            json.dumps(dict(block.input)) for block in message.content if isinstance(block, ToolUse)
        ]
    return "\n".join(parts)
