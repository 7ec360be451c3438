"""Subagents: an agent and a brief become an isolated loop, whose report must meet its contract.

A subagent sees its brief and nothing else of the run. What it ends with is checked against its schema, its sources and the
harness's own record before anyone else sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from delegator.agents import AGENT_LIMITS, Agent
from delegator.budget import Budget
from delegator.citations import NOT_OPENED, Claim, check_claims, first_cite
from delegator.errors import ConfigError, HandoffRejected, ToolRejected
from delegator.handoff import BRIEF, SUBMIT, TASK_HEAD, Brief, Report, accept, salvage
from delegator.knowledge import Library
from delegator.loop import Again, Candidate, Done, Loop, Role, Surroundings
from delegator.messages import Message, Text, ToolResult, ToolUse
from delegator.outcome import Outcome, Receipt, SourceSeen, Watch
from delegator.tools import Call, Tool, ToolOutput, library_tools
from delegator.trust import OPERATOR, Label

_TASK_IN_BRIEF = (
    "Your task is in the result of the `brief` tool. Carry it out and submit your report."
)
_REPAIR = (
    "Your report was not accepted. Mend these points and call `submit_report` once more: {problems}. "
    "This is the last attempt."
)
_NO_TOOL_CALLED = "$: this task needs at least one call of a tool before the report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a subagent's loop came to, with its report checked."""

    outcome: Outcome
    report: Report | None
    claims: tuple[Claim, ...]
    receipt: Receipt
    label: Label
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

    def __call__(self, candidate: Candidate, watch: Watch) -> Done | Again:
        """The checked report; or, once, what to mend; or a failed contract with what can be saved."""
        report: Report | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who can be asked in a run, and what they may use."""

    agents: tuple[Agent, ...]
    library: Library | None
    around: Surroundings

    def tools_of(self, agent: Agent) -> dict[str, Tool]:
        """An agent's own tools, by name.

        Raises:
            ConfigError: It names a tool that does not exist here.
        """
        built_in = library_tools(self.library) if self.library is not None else {}
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
    ) -> "Subagent":
        """One subagent, ready to run in a transcript of its own.

        Raises:
            ConfigError: It names a tool that does not exist here.
        """
        contract = Contract(agent, self.library, first_cite(int(id[1:])), attested)
        tools = {**self.tools_of(agent), SUBMIT: _submit_tool(agent), BRIEF: _brief_tool(brief)}
        role = Role(
            id=id,
            name=agent.name,
            system=agent.prompt,
            tools=tools,
            budget=budget.child(id, agent.limits.over(AGENT_LIMITS)),
            model=agent.model,
            final_tool=SUBMIT,
        )
        return Subagent(contract, Loop(role, self._opening(brief), contract, self.around))

    def _opening(self, brief: Brief) -> list[Message]:
        """A fresh transcript made of the brief. Untrusted parts of it stand in a tool result."""
        task = f"{TASK_HEAD}\n\n{brief.task}" if brief.label.trusted else _TASK_IN_BRIEF
        label = brief.label if brief.label.trusted else OPERATOR
        opening = [Message(role="user", content=(Text(text=task),), label=label)]
        if brief.label.trusted and not brief.material:
            return opening
        return [*opening, *given(BRIEF, brief_data(brief), _brief_label(brief), self.around)]


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
            problem=str(ended.error) if ended.error else "",
        )

    def crashed(self) -> Result:
        """What is left of a loop that a bug, in the model or here, has ended."""
        return Result(
            outcome=Outcome.FAILED,
            report=None,
            claims=(),
            receipt=self.loop.receipt("crash"),
            label=self.loop.label,
            problem="the subagent crashed",
        )


def given(
    tool: str, data: Mapping[str, Any], label: Label, around: Surroundings
) -> tuple[Message, Message]:
    """A tool call and its result, put into a transcript before it starts: how data is handed to a loop."""
    call = ToolUse(id=f"toolu_{tool}", name=tool, input={})
    text = around.fence.seal(data, label=label, origin=tool)
    return (
        Message(role="assistant", content=(call,), label=OPERATOR),
        Message(role="user", content=(ToolResult(tool_use_id=call.id, text=text),), label=label),
    )


def brief_data(brief: Brief) -> dict[str, Any]:
    """A brief as the subagent reads it."""
    return {"task": brief.task, **({"material": list(brief.material)} if brief.material else {})}


def _brief_label(brief: Brief) -> Label:
    return brief.label & brief.material_label if brief.material_label else brief.label


def _brief_tool(brief: Brief) -> Tool:
    async def run(_call: Call) -> ToolOutput:
        return ToolOutput(data=brief_data(brief), label=_brief_label(brief))

    return Tool(
        name=BRIEF,
        description="Your brief: the task, and the material that belongs to it.",
        input_schema={"type": "object", "properties": {}, "additionalProperties": False},
        run=run,
    )


def _submit_tool(agent: Agent) -> Tool:
    async def run(_call: Call) -> ToolOutput:
        raise ToolRejected("the report is handed in once, at the end")

    return Tool(
        name=SUBMIT,
        description="Hand in your report. This ends your work; call it once, by itself, as your last act.",
        input_schema=agent.output_schema,
        run=run,
    )
