"""Tool calls: from a model's wish to a labelled, sealed result.

Every call gets a result, and no result quotes what went wrong in any words but ours. A policy looks at a call before it runs, on
what its author is worth; a person may approve one that it forbids, bound to the exact call.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from delegator.budget import Price
from delegator.envelope import Fence
from delegator.events import Decided, Emitter, ToolFinished, ToolStarted
from delegator.ladder import Rung
from delegator.messages import ToolResult, ToolUse
from delegator.model import Guard, Model
from delegator.outcome import Watch
from delegator.policy import UNDECLARED, ApprovalRequest, Approver, Denied, decide, nobody
from delegator.recording import Recording
from delegator.sanitize import one_line
from delegator.tools import Attempt, Call, Tool, ToolOutput, attempt, capped
from delegator.tracing import Tracing, following
from delegator.trust import OPERATOR, Label, untrusted

_NOT_AGAIN = "a replay runs no tool with effects, and what this one did is not on record"
_SORTED = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all loops of a run share."""

    model: Model
    rung: Rung
    fence: Fence
    guard: Guard
    emit: Emitter
    approve: Approver = nobody
    """Asks a person about a call that a policy denies."""
    counts: bool = True
    """Whether the model uses tokens at all."""
    price_of: Callable[[str], Price | None] = lambda _model: None
    """What a model's tokens cost, by its id."""
    recording: Recording = field(default_factory=Recording)
    """Where it is put down what happens."""
    tracing: Tracing = field(default_factory=following)
    """Who follows the run."""

    def price(self, model: str) -> Price | None:
        """What the tokens of an agent's model cost."""
        return self.price_of(model or self.model.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A tool call and its result, ready to be sent."""

    call: ToolUse
    block: ToolResult
    label: Label
    invalid: bool = False
    """Whether no tool could take the call, or it was refused before, word for word."""


@dataclass(slots=True)
class Calls:
    """The tool calls of one loop."""

    agent: str
    tools: Mapping[str, Tool]
    around: Surroundings
    watch: Watch
    turn: int = 0
    """Which reply the calls are part of."""
    _keys: Counter[str] = field(default_factory=Counter)
    _refused: set[str] = field(default_factory=set)
    """Calls that were refused, so that a model that repeats them word for word is not let go on for ever."""

    async def run(self, use: ToolUse, label: Label) -> Output:
        """The result of one call whose author is worth `label`. Never raises: what goes wrong is a result that says so."""
        tool = self.tools.get(use.name)
        if tool is None:
            return self.error(use, "there is no tool of this name", invalid=True)
        if problems := tool.schema.problems(use.input):
            text = "the input does not fit the tool's schema: " + "; ".join(problems)
            return self.error(use, text, invalid=True)
        call = Call(input=use.input, label=label, key=self._key(use))
        known = self.around.recording.tool(call.key)
        if known is None and self.around.recording.replays and tool.effects.lasting:
            known = Attempt(None, _NOT_AGAIN)
        if known is None and (denied := await self._denied(tool, call)):
            text = f"denied by policy {denied.rule}: {denied.reason}"
            known = Attempt(None, text, rule=denied.rule)
            self.around.recording.keep_tool(call.key, known)
        if known is not None and known.rule:
            return self.error(use, known.problem, invalid=self._repeats(use))
        started = ToolStarted(tool=tool.name, subject=_subject(use.input), call=call.key)
        self.around.emit(self.agent, started)
        self.watch.tool_calls += 1
        return self._finished(tool, use, known or await self._done(tool, call), call.key)

    def _key(self, use: ToolUse) -> str:
        what = place_of(self.agent, self.turn, use)
        self._keys[what] += 1
        return what if self._keys[what] == 1 else f"{what}-{self._keys[what]}"

    async def _done(self, tool: Tool, call: Call) -> Attempt:
        """Run a tool. What it found is on record before anybody sees it; delegations are put down by themselves."""
        recording = self.around.recording
        if tool.effects.lasting:
            await recording.before_effect(call.key)
        done = await attempt(tool, call)
        if done.output is not None:
            data = capped(done.output.data)
            data = data if isinstance(data, dict) else {"result": data}
            done = replace(done, output=replace(done.output, data=data))
        if not tool.effects.delegates:
            recording.keep_tool(call.key, done)
        return done

    async def _denied(self, tool: Tool, call: Call) -> Denied | None:
        """What forbids this call, unless a person approves of exactly it."""
        rung, effects = self.around.rung, tool.effects
        decision = decide(effects, call.label, guarded=rung.decides, fixed_plan=rung.fixed_plan)
        if not isinstance(decision, Denied):
            if rung.decides and effects.consequential:
                self._decided(tool, call, "allowed", "")
            return None
        asked = ApprovalRequest(
            agent=self.agent, tool=tool.name, input=call.input, label=call.label, denied=decision
        )
        approved = decision.approvable and await self._approved(asked)
        self._decided(tool, call, "approved" if approved else "denied", decision.rule, asked.digest)
        return None if approved else decision

    async def _approved(self, asked: ApprovalRequest) -> bool:
        """Whether a person approved of the very call that is about to run."""
        try:
            return await self.around.approve(asked) == asked.digest
        except Exception:  # noqa: BLE001 - whoever asks people is foreign code: no answer is no approval
            return False

    def _decided(self, tool: Tool, call: Call, decision: str, rule: str, digest: str = "") -> None:
        self.around.emit(
            self.agent,
            Decided(
                tool=tool.name,
                decision=decision,
                rule=rule,
                digest=digest,
                label=call.label,
                call=call.key,
            ),
        )

    def _finished(self, tool: Tool, use: ToolUse, done: Attempt, key: str) -> Output:
        """Note what a tool did, and seal what it found."""
        fence = self.around.fence
        before = fence.removed
        result = self._result(tool, use, done)
        self.around.emit(
            self.agent,
            ToolFinished(
                tool=tool.name,
                problem=done.problem,
                label=result.label,
                removed=fence.removed - before,
                call=key,
            ),
        )
        return result

    def _result(self, tool: Tool, use: ToolUse, done: Attempt) -> Output:
        output = done.output
        if not done.rejected:
            self.watch.ran.add(tool.name)
        if output is None or output.is_error:
            self.watch.failed_tool_calls += 1
        if output is None:
            repeated = done.rejected and self._repeats(use)
            return self.error(use, done.problem, label=_failed(tool), invalid=repeated)
        for source in output.sources:
            self.watch.sources.setdefault(source.id, source)
        return self._output(use, output)

    def _repeats(self, use: ToolUse) -> bool:
        """Whether this very call failed before; remembers it."""
        known = f"{use.name} {_SORTED(use.input)}"
        repeated = known in self._refused
        self._refused.add(known)
        return repeated

    def _output(self, use: ToolUse, output: ToolOutput) -> Output:
        text = self.around.fence.seal(output.data, label=output.label, origin=use.name)
        block = ToolResult(tool_use_id=use.id, text=text, is_error=output.is_error)
        return Output(call=use, block=block, label=output.label)

    def error(
        self, use: ToolUse, problem: str, *, label: Label = OPERATOR, invalid: bool = False
    ) -> Output:
        """A result that says what is wrong with a call."""
        origin = "delegator" if label is OPERATOR else use.name
        text = self.around.fence.seal({"error": problem}, label=label, origin=origin)
        block = ToolResult(tool_use_id=use.id, text=text, is_error=True)
        return Output(call=use, block=block, label=label, invalid=invalid)


def place_of(agent: str, turn: int, use: ToolUse) -> str:
    """A call's place in the run, by what is asked: a server that is asked again gives other ids."""
    said = _SORTED([use.name, use.input]).encode(errors="replace")
    return f"{agent}/{turn}/{hashlib.sha256(said).hexdigest()[:16]}"


def _failed(tool: Tool) -> Label:
    """What a failure is worth: its words are ours, but that it failed, and how, is the tool's own choice."""
    private = tool.effects.private and tool.effects is not UNDECLARED
    return untrusted(f"tool:{tool.name}", private=private)


def _subject(given: Mapping[str, Any]) -> str:
    words = next((value for value in given.values() if isinstance(value, str)), "")
    return one_line(words, 120)
