"""The one loop: ask the model, run the tools of its reply together, append, until it ends.

It serves the orchestrator and every subagent alike, gets model, tools and limits as values, and never ends in silence: every
path leads to an `Ended` with one of the closed set of outcomes, and every tool call gets a result.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from delegator.asking import Asking, Role
from delegator.calls import Calls, Output, Surroundings
from delegator.errors import (
    DelegatorError,
    Fault,
    GuardTripped,
    LimitExceeded,
    ModelError,
)
from delegator.events import (
    AgentStarted,
    Reminded,
)
from delegator.journal import JournalError
from delegator.messages import Block, Message, Speaker, Stop, Text, ToolUse, text_of
from delegator.model import Reply
from delegator.outcome import Outcome, Receipt, Watch
from delegator.recording import AsRecorded, NotTheSame
from delegator.trust import OPERATOR, Label

_NO_RESULTS = frozenset({Stop.REFUSAL, Stop.CONTEXT_FULL, Stop.UNKNOWN})
"""After these, results of tools can not be sent any more."""
_BY_ITSELF = "call this tool once, by itself, when you have seen the results of the others"
MAX_INVALID_REPLIES = 2
"""Replies in a row with a call that no tool can take, or that was refused before: then the loop gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a model wants to end with: words, or the input of its final tool."""

    value: str | Mapping[str, Any]
    stop: Stop
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The candidate is the end."""

    value: Any
    outcome: Outcome = Outcome.COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The model should mend its candidate. The text is the operator's: it quotes nothing that a model wrote."""

    text: str
    why: str


Conclude = Callable[[Candidate, Watch], Done | Again]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a loop ended, and what it leaves."""

    outcome: Outcome
    receipt: Receipt
    label: Label
    value: Any = None
    text: str = ""
    """The last words of the model, where there is no value."""
    error: DelegatorError | None = None

    @property
    def timed_out(self) -> bool:
        """Whether its time was up."""
        return self.outcome is Outcome.TIMEOUT


@dataclass(slots=True)
class Loop:
    """A loop and its transcript. Run it once."""

    role: Role
    messages: list[Message]
    conclude: Conclude
    around: Surroundings
    watch: Watch = field(default_factory=Watch)
    label: Label = OPERATOR
    """What everything in the transcript so far makes its author worth."""
    _invalid_replies: int = 0
    _words: str = ""
    """What the newest turns without tool calls say."""
    _pending: Candidate | None = None
    """What the model wanted to end with when it was asked to mend it."""

    _calls: Calls = field(init=False)
    _asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        """Join the labels of the opening."""
        role = self.role
        self._calls = Calls(role.id, role.tools, self.around, self.watch)
        self._asking = Asking(role, self.messages, self.around, self.watch)
        for message in self.messages:
            self.label &= message.label

    def receipt(self, stop: str) -> Receipt:
        """What this loop has been seen to do until now."""
        return self.watch.receipt(seconds=self.role.budget.seconds, stop=stop)

    def blame(self) -> ModelError | None:
        """What the server did, if it is because of the server that time runs out just now."""
        return self._asking.kept_waiting()

    async def run(self) -> Ended:
        """Run to the end. Raises nothing but a cancellation from outside, and bugs."""
        self.around.emit(self.role.id, AgentStarted(name=self.role.name))
        seconds = self.role.budget.limits.seconds
        own = asyncio.timeout(seconds)
        try:
            async with own:
                return await self._turns()
        except TimeoutError:
            if not own.expired():
                raise
            return self._ended(Outcome.TIMEOUT, stop="seconds", error=self.blame())
        except AsRecorded as end:
            return self._ended(end.outcome, stop=end.stop, error=end.error)
        except DelegatorError as error:
            return self._stopped(error)

    def _stopped(self, error: DelegatorError) -> Ended:
        match error:
            case LimitExceeded():
                return self._ended(Outcome.BUDGET, stop=error.ceiling.value, error=error)
            case GuardTripped():
                return self._ended(Outcome.QUARANTINED, stop="guard", error=error)
            case JournalError() | NotTheSame():
                return self._ended(Outcome.FAILED, stop="journal", error=error)
            case ModelError(fault=fault):
                outcome = Outcome.TIMEOUT if fault is Fault.SILENT else Outcome.FAILED
                return self._ended(outcome, stop=fault.value, error=error)
            case _:
                raise error

    async def _turns(self) -> Ended:
        self._asking.keep_back(1)
        for n in count(1):
            reply, outputs = await self._turn(n)
            ended = self._settle(reply, outputs)
            if ended is not None:
                return ended
        raise AssertionError

    async def _turn(self, n: int) -> tuple[Reply, list[Output]]:
        """One reply, and the results of its tool calls in the order in which it made them."""
        running: dict[str, asyncio.Task[Output]] = {}
        self._calls.turn = n
        reply: Reply | Exception
        async with asyncio.TaskGroup() as group:

            def start(call: ToolUse) -> None:
                if call.id not in running and call.name != self.role.final_tool:
                    running[call.id] = group.create_task(self._calls.run(call, self.label))

            def start_early(call: ToolUse) -> None:
                if not self._lasting(call):  # that waits until the whole reply is on record
                    start(call)

            try:
                reply = await self._asking.ask(n, start_early)
            except Exception as error:  # noqa: BLE001 - raised below: here the group would wrap it
                reply = error
            if isinstance(reply, Exception) or reply.stop in _NO_RESULTS:
                for task in running.values():
                    task.cancel()
            else:
                self._asking.keep_back(len(_tool_uses(reply)))
                for call in _tool_uses(reply):
                    start(call)
        if isinstance(reply, Exception):
            raise reply
        done = [task for task in running.values() if not task.cancelled()]
        return reply, [task.result() for task in done]

    def _lasting(self, call: ToolUse) -> bool:
        tool = self.role.tools.get(call.name)
        return tool is not None and tool.effects.lasting

    def _settle(self, reply: Reply, outputs: list[Output]) -> Ended | None:
        """Append what happened in a turn; the end if it was the last."""
        calls, label = _tool_uses(reply), self.label
        if not calls:  # words beside tool calls are no answer
            self._words += text_of(reply.content)
        says_something = any(isinstance(block, Text | ToolUse) for block in reply.content)
        if says_something:  # a turn of thinking alone can not be sent back
            self._append("assistant", reply.content, label)
        match reply.stop:
            case Stop.REFUSAL:
                return self._ended(Outcome.REFUSED, stop=reply.name)
            case Stop.CONTEXT_FULL | Stop.UNKNOWN:
                outcome = Outcome.PARTIAL if self._words else Outcome.FAILED
                return self._ended(outcome, stop=reply.name)
            case Stop.PAUSE_TURN if says_something and not calls:
                return None
        if not calls:
            words, self._words = self._words, ""
            return self._end_with(Candidate(value=words, stop=reply.stop, label=label))
        self._words = ""
        return self._answer_calls(reply, calls, outputs, label)

    def _answer_calls(
        self, reply: Reply, calls: list[ToolUse], outputs: list[Output], label: Label
    ) -> Ended | None:
        """Send every call its result, unless the final tool was called with something acceptable."""
        results = {output.call.id: output for output in outputs}
        final: Done | Again | None = None
        for call in calls:
            if call.name == self.role.final_tool and results:
                results[call.id] = self._calls.error(call, _BY_ITSELF)
            elif call.name == self.role.final_tool and final is None:
                final = self._weigh(Candidate(value=call.input, stop=reply.stop, label=label))
                if isinstance(final, Done):
                    return self._done(final)
                self._remind(final)
                results[call.id] = self._calls.error(call, final.text)
            elif call.id not in results:
                results[call.id] = self._calls.error(call, _BY_ITSELF)
        self._invalid_replies = (
            self._invalid_replies + 1 if any(r.invalid for r in results.values()) else 0
        )
        joined = OPERATOR
        for output in results.values():
            joined &= output.label
        self._append("user", tuple(results[call.id].block for call in calls), joined)
        if self._invalid_replies >= MAX_INVALID_REPLIES:
            return self._ended(Outcome.CONTRACT_FAILED, stop="invalid_tool_input")
        return None

    def _end_with(self, candidate: Candidate) -> Ended | None:
        verdict = self._weigh(candidate)
        if isinstance(verdict, Done):
            return self._done(verdict)
        self._remind(verdict)
        if self.messages[-1].role == "user":  # an empty reply left no turn of its own
            self._append("assistant", (Text(text="(no reply)"),), OPERATOR)
        self._append("user", (Text(text=verdict.text),), OPERATOR)
        return None

    def _weigh(self, candidate: Candidate) -> Done | Again:
        """Whether the loop ends with this. With no call left to mend it, it is asked as the last attempt at once."""
        verdict = self.conclude(candidate, self.watch)
        if isinstance(verdict, Again) and self.role.budget.calls_left == 0:
            verdict = self.conclude(candidate, self.watch)
        self._pending = candidate if isinstance(verdict, Again) else None
        return verdict

    def _remind(self, again: Again) -> None:
        self.around.emit(self.role.id, Reminded(why=again.why))

    def _append(self, role: Speaker, content: tuple[Block, ...], label: Label) -> None:
        self.messages.append(Message(role=role, content=content, label=label))
        self.label &= label

    def _done(self, done: Done) -> Ended:
        return Ended(
            outcome=done.outcome,
            value=done.value,
            text=self._words,
            label=self.label,
            receipt=self.receipt(stop="end"),
        )

    def _ended(self, outcome: Outcome, *, stop: str, error: DelegatorError | None = None) -> Ended:
        kept = self.conclude(self._pending, self.watch) if self._pending else None
        value = kept.value if isinstance(kept, Done) else None
        if isinstance(kept, Done) and kept.outcome is Outcome.QUARANTINED:
            outcome = kept.outcome
        return Ended(
            outcome=outcome,
            value=value,
            text=self._words,
            label=self.label,
            receipt=self.receipt(stop=stop),
            error=error,
        )


def _tool_uses(reply: Reply) -> list[ToolUse]:
    return [block for block in reply.content if isinstance(block, ToolUse)]
