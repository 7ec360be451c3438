"""Subagents: an agent and a brief become an isolated loop, whose report must meet its contract.

A subagent sees its brief and nothing else of the run. What it ends with is checked against its schema, its sources and the
harness's own record before anyone else sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

from delegator.agents import AGENT_LIMITS, Agent
from delegator.asking import Role
from delegator.budget import Budget
from delegator.calls import Surroundings
from delegator.citations import NOT_OPENED, Claim, check_claims, first_cite
from delegator.errors import ConfigError, HandoffRejected, ToolRejected
from delegator.handoff import BRIEF, SUBMIT, TASK_HEAD, Brief, Report, accept, salvage
from delegator.knowledge import Library
from delegator.ladder import Rung
from delegator.loop import Again, Candidate, Done, Loop
from delegator.messages import Message, Text, ToolResult, ToolUse
from delegator.outcome import Outcome, Receipt, SourceSeen, Watch
from delegator.policy import Effects
from delegator.tools import Call, Tool, ToolOutput, capped, library_tools
from delegator.trust import OPERATOR, Label

MAX_MATERIAL_CHARACTERS = 64_000
"""The strings of what a loop is handed at its start hold this many characters at most, all together."""
_TASK_IN_BRIEF = (
    "Your task is in the result of the `brief` tool. Carry it out and submit your report."
)
_REPAIR = (
    "Your report was not accepted. Mend these points and call `submit_report` once more: {problems}. "
    "This is the last attempt."
)
CANCELLED = "a person cancelled it"
_NO_TOOL_CALLED = "$: this task needs at least one call of a tool before the report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a subagent's loop came to, with its report checked."""

    outcome: Outcome
    report: Report | None
    claims: tuple[Claim, ...]
    receipt: Receipt
    label: Label
    said: object = None
    """What the subagent ended with, as it said it."""
    problem: str = ""
    """What went wrong, in one constant line."""


@dataclass(slots=True)
class Contract:
    """Decides whether what a subagent ends with is a report: schema, evidence, and one chance to mend it."""

    agent: Agent
    library: Library | None
    first: int
    attested: Mapping[str, SourceSeen]
    """Sources that an earlier version of this finding was seen to open, for quotes it may keep."""
    reminded: bool = False
    claims: tuple[Claim, ...] = ()
    said: object = None

    def __call__(self, candidate: Candidate, watch: Watch) -> Done | Again:
        """The checked report; or, once, what to mend; or a failed contract with what can be saved."""
        report: Report | None = None
        self.said = candidate.value
        try:
            report = accept(candidate.value, self.agent.schema, label=candidate.label)
            problems = self._evidence_problems(report, watch)
        except HandoffRejected as rejection:
            problems = rejection.problems
        if problems and not self.reminded:
            self.reminded = True
            return Again(text=_REPAIR.format(problems="; ".join(problems)), why="; ".join(problems))
        outcome = Outcome.COMPLETE
        if report is None:
            report = salvage(candidate.value, self.agent.schema, label=candidate.label)
            outcome = Outcome.CONTRACT_FAILED
            if report is not None:
                self._evidence_problems(report, watch)
        if report is not None and self._unattested(watch):
            outcome = Outcome.QUARANTINED
        return Done(value=report, outcome=outcome)

    def _evidence_problems(self, report: Report, watch: Watch) -> tuple[str, ...]:
        problems: list[str] = []
        if self._idle(watch):
            problems.append(_NO_TOOL_CALLED)
        if self.agent.cites:
            self.claims = check_claims(
                report.value.get("claims", ()),
                library=self.library,
                opened=self._opened(watch),
                first=self.first,
            )
            for i, claim in enumerate(self.claims):
                if claim.problem:
                    part = "source" if claim.problem == NOT_OPENED else "quote"
                    problems.append(f"$.claims[{i}].{part}: {claim.problem}")
        return tuple(problems)

    def _unattested(self, watch: Watch) -> bool:
        """Whether the report claims work that the harness did not see."""
        return self._idle(watch) or any(c.problem == NOT_OPENED for c in self.claims)

    def _idle(self, watch: Watch) -> bool:
        """Whether an agent that has tools ran none of them."""
        return bool(self.agent.tools) and not watch.ran & set(self.agent.tool_names)

    def _opened(self, watch: Watch) -> dict[str, SourceSeen]:
        return {**self.attested, **watch.sources}


def system_of(agent: Agent, rung: Rung, library: Library | None) -> str:
    """An agent's system prompt at a level."""
    private = library is not None and library.private
    effects = any(private if isinstance(t, str) else t.effects.consequential for t in agent.tools)
    return rung.system(agent.prompt, effects=effects)


@dataclass(frozen=True, kw_only=True)
class Staff:
    """Who can be asked in a run, and what they may use."""

    agents: tuple[Agent, ...]
    library: Library | None
    around: Surroundings

    @cached_property
    def _built_in(self) -> dict[str, Tool]:
        """The tools over the run's whole library: the same for every subagent."""
        return library_tools(self.library) if self.library is not None else {}

    @cached_property
    def _submits(self) -> dict[str, Tool]:
        return {agent.name: _submit_tool(agent) for agent in self.agents}

    def _submitting(self, agent: Agent) -> Tool:
        """The tool that hands in an agent's report: the same for every subagent of that agent."""
        return self._submits.get(agent.name) or _submit_tool(agent)

    def tools_of(self, agent: Agent, library: Library | None = None) -> dict[str, Tool]:
        """An agent's own tools, by name, over the run's library or a part of it.

        Raises:
            ConfigError: It names a tool that does not exist here.
        """
        built_in = library_tools(library) if library is not None else self._built_in
        tools: dict[str, Tool] = {}
        for tool in agent.tools:
            found = built_in.get(tool) if isinstance(tool, str) else tool
            if found is None:
                raise ConfigError(
                    f"agent {agent.name} wants the tool {tool!s:.40}, which is not there",
                    hint="Built-in tools are search and read; they need documents.",
                )
            found.schema.check()
            if found.name in (*tools, SUBMIT, BRIEF):
                raise ConfigError(f"agent {agent.name} has two tools named {found.name}")
            tools[found.name] = found
        return tools

    def subagent(
        self,
        agent: Agent,
        brief: Brief,
        *,
        id: str,
        budget: Budget,
        attested: Mapping[str, SourceSeen] = MappingProxyType({}),
        begun: "Begun | None" = None,
    ) -> "Subagent":
        """One subagent, ready to run in a transcript of its own. What was `begun` for it is all it may read.

        Raises:
            ConfigError: It names a tool that does not exist here.
        """
        library = begun.library if begun else self.library
        contract = Contract(agent, library, first_cite(int(id[1:])), attested)
        own = self.tools_of(agent, begun.library if begun else None)
        role = Role(
            id=id,
            name=agent.name,
            system=system_of(agent, self.around.rung, self.library),
            tools={**own, SUBMIT: self._submitting(agent), BRIEF: _brief_tool(brief)},
            budget=budget.child(id, agent.limits.over(AGENT_LIMITS)),
            model=agent.model,
            final_tool=SUBMIT,
            price=self.around.price(agent.model),
            priority=1 if agent.reviews else 2,
        )
        loop = Loop(role, self._opening(brief, begun), contract, self.around)
        if begun is not None:
            loop.watch.ran.add(begun.tool)
            loop.watch.sources.update({source.id: source for source in begun.output.sources})
        return Subagent(contract, loop)

    def _opening(self, brief: Brief, begun: "Begun | None") -> list[Message]:
        """A fresh transcript made of the brief. Untrusted parts of it stand in a tool result."""
        task = f"{TASK_HEAD}\n\n{brief.task}" if brief.label.trusted else _TASK_IN_BRIEF
        label = brief.label if brief.label.trusted else OPERATOR
        opening = [Message(role="user", content=(Text(text=task),), label=label)]
        if not brief.label.trusted or brief.material:
            opening = handed(opening, BRIEF, brief_data(brief), _brief_label(brief), self.around)
        if begun is not None:
            data, label = begun.output.data, begun.output.label
            call = ToolUse(id=f"toolu_{begun.tool}", name=begun.tool, input=dict(begun.input))
            opening += given(call, begun.asked, data, label, self.around)
        return opening


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Work that code did for a subagent before it started: one tool call, over the only library it has."""

    library: Library
    tool: str
    input: Mapping[str, Any]
    asked: Label
    """What the input is worth."""
    output: ToolOutput


@dataclass(frozen=True, slots=True)
class Subagent:
    """A subagent's loop, and the contract that its report must meet."""

    contract: Contract
    loop: Loop

    async def run(self) -> Result:
        """Run to the end."""
        ended = await self.loop.run()
        report = ended.value if isinstance(ended.value, Report) else None
        return Result(
            outcome=ended.outcome,
            report=report,
            claims=self.contract.claims if report else (),
            receipt=ended.receipt,
            label=ended.label,
            said=self.contract.said or ended.text,
            problem=str(ended.error) if ended.error else "",
        )

    def crashed(self) -> Result:
        """What is left of a loop that a bug, in the model or here, has ended."""
        return self._left(Outcome.FAILED, "crash", "the subagent crashed")

    def cancelled(self) -> Result:
        """What is left of a loop that a person has cancelled."""
        return self._left(Outcome.CANCELLED, "cancelled", CANCELLED)

    def _left(self, outcome: Outcome, stop: str, problem: str) -> Result:
        return Result(
            outcome=outcome,
            report=None,
            claims=(),
            receipt=self.loop.receipt(stop),
            label=self.loop.label,
            problem=problem,
        )


def handed(
    opening: list[Message], tool: str, data: Mapping[str, Any], label: Label, around: Surroundings
) -> list[Message]:
    """A transcript's opening with data handed over: as a tool's result, or, at the lowest level, among its words."""
    if not around.rung.inline:
        call = ToolUse(id=f"toolu_{tool}", name=tool, input={})
        return [*opening, *given(call, OPERATOR, data, label, around)]
    *before, last = opening
    text = around.fence.seal(_bounded(data), label=label, origin=tool)
    block = Text(text=f"\n\n[{tool}]\n{text}")
    return [*before, replace(last, content=(*last.content, block), label=last.label & label)]


def given(
    call: ToolUse, asked: Label, data: Mapping[str, Any], label: Label, around: Surroundings
) -> tuple[Message, Message]:
    """A tool call worth `asked` and its result, put into a transcript before it starts: how data is handed to a loop."""
    text = around.fence.seal(_bounded(data), label=label, origin=call.name)
    return (
        Message(role="assistant", content=(call,), label=asked),
        Message(role="user", content=(ToolResult(tool_use_id=call.id, text=text),), label=label),
    )


def _bounded(data: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", capped(data, [MAX_MATERIAL_CHARACTERS]))


def brief_data(brief: Brief) -> dict[str, Any]:
    """A brief as the subagent reads it."""
    return {"task": brief.task, **({"material": list(brief.material)} if brief.material else {})}


def _brief_label(brief: Brief) -> Label:
    return brief.label & brief.material_label if brief.material_label else brief.label


_NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def _brief_tool(brief: Brief) -> Tool:
    async def run(_call: Call) -> ToolOutput:
        return ToolOutput(data=brief_data(brief), label=_brief_label(brief))

    return Tool(
        name=BRIEF,
        description="Your brief: the task, and the material that belongs to it.",
        input_schema=_NOTHING,
        run=run,
        effects=Effects(),
    )


def _submit_tool(agent: Agent) -> Tool:
    async def run(_call: Call) -> ToolOutput:
        raise ToolRejected("the report is handed in once, at the end")

    return Tool(
        name=SUBMIT,
        description="Hand in your report. This ends your work; call it once, by itself, as your last act.",
        input_schema=agent.output_schema,
        run=run,
        effects=Effects(),
    )
