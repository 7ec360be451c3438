"""Delegation: agents as tools. Each call runs one subagent and brings back what it claims and, apart, what was seen.

Material goes by reference: ids are resolved here, by code, so nothing can be altered on the way.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from delegator.agents import Agent
from delegator.budget import Budget
from delegator.citations import Claim
from delegator.errors import ToolRejected
from delegator.events import DelegationFinished, DelegationStarted, Happening, Noticed
from delegator.handoff import DELEGATE, Brief, Report
from delegator.outcome import Outcome, Receipt, SourceSeen
from delegator.subagent import Result, Staff
from delegator.tools import Call, Tool, ToolOutput
from delegator.trust import OPERATOR, Label, untrusted

MAX_REVISIONS = 2
"""How often one finding may be sent back."""
LOWEST_ACCEPTED_SCORE = 3
MAX_TASK_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a reviewer said of a finding. It sorts and flags; it opens no gate."""

    by: str
    score: int
    verdict: str
    feedback: str

    @property
    def low(self) -> bool:
        """Whether the finding stays below the bar."""
        return self.verdict != "accept" or self.score < LOWEST_ACCEPTED_SCORE

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "by": self.by,
            "score": self.score,
            "verdict": self.verdict,
            "feedback": self.feedback,
        }


@dataclass(slots=True, kw_only=True)
class Delegation:
    """One subagent's run: what was asked, what it claims, what was seen, what a reviewer said."""

    id: str
    agent: Agent
    task: str
    about: str = ""
    """The finding that it reviews or revises."""
    revision: int = 0
    outcome: Outcome | None = None
    """`None` while it runs."""
    report: Report | None = None
    claims: tuple[Claim, ...] = ()
    receipt: Receipt | None = None
    review: Verdict | None = None
    review_failed: str = ""
    """The newest review of it, if that came to nothing: no verdict is no acceptance."""
    revised_by: str = ""
    failed_revisions: int = 0
    attested: Mapping[str, SourceSeen] = field(default_factory=dict)
    """Sources taken over from the finding that it revises."""

    @property
    def usable(self) -> bool:
        """Whether it left something that can be reviewed, revised or cited."""
        return self.report is not None and self.outcome is not Outcome.QUARANTINED

    def finding(self) -> dict[str, Any]:
        """Its report as others are shown it: claims with their numbers and checks."""
        value = dict(self.report.value) if self.report else {}
        if self.claims:
            value["claims"] = [claim.to_json() for claim in self.claims]
        return value

    def to_json(self) -> dict[str, object]:
        """As in `--json`."""
        return {
            "id": self.id,
            "agent": self.agent.name,
            "task": self.task,
            "about": self.about or None,
            "outcome": (self.outcome or Outcome.CANCELLED).value,
            "report": self.finding() if self.usable else None,
            "receipt": self.receipt.to_json() if self.receipt else None,
            "review": self.review.to_json() if self.review else None,
        }


@dataclass(slots=True)
class Delegations:
    """All delegations of one run: the `delegate_to_*` tools, and the record of what came of them."""

    staff: Staff
    budget: Budget
    parallel: int
    records: dict[str, Delegation] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Bound how many subagents run at once."""
        self._room = asyncio.Semaphore(self.parallel)

    def tools(self) -> dict[str, Tool]:
        """One `delegate_to_<agent>` for each agent."""
        tools = [self._tool(agent) for agent in self.staff.agents]
        return {tool.name: tool for tool in tools}

    def heads(self) -> Iterator[Delegation]:
        """Usable findings that no later revision replaces."""
        for record in self.records.values():
            if record.usable and not record.agent.reviews and not record.revised_by:
                yield record

    def flagged(self) -> list[Delegation]:
        """Findings that stayed below the bar: the last review in their line of revisions was low, or came to nothing."""
        return [record for record in self.heads() if self._below_the_bar(record)]

    def _below_the_bar(self, record: Delegation) -> bool:
        review = self.last_review(record)
        return bool(record.review_failed) or (review is not None and review.low)

    def last_review(self, record: Delegation) -> Verdict | None:
        """The newest review of a finding or of the findings that it revises."""
        node: Delegation | None = record
        while node is not None:
            if node.review is not None:
                return node.review
            node = self.records.get(node.about)
        return None

    def _tool(self, agent: Agent) -> Tool:
        async def run(call: Call) -> ToolOutput:
            return await self._delegate(agent, call)

        return Tool(
            name=f"{DELEGATE}{agent.name}",
            description=agent.description,
            input_schema=_REVIEW_INPUT if agent.reviews else _TASK_INPUT,
            run=run,
            seconds=None,
        )

    async def _delegate(self, agent: Agent, call: Call) -> ToolOutput:
        record, brief = self._prepare(agent, call)
        self.budget.open_delegation()
        self.records[record.id] = record
        if record.revision:
            self.records[record.about].revised_by = record.id
        async with self._room:  # its clock starts when it may run, not while it waits its turn
            subagent = self.staff.subagent(
                agent,
                brief,
                id=record.id,
                budget=self.budget,
                attested=record.attested,
            )
            self._tell(
                DelegationStarted(
                    id=record.id, name=agent.name, task=record.task, about=record.about
                )
            )
            try:
                result = await subagent.run()
            except asyncio.CancelledError:
                record.outcome = Outcome.CANCELLED
                record.receipt = subagent.loop.receipt("cancelled")
                self._give_back(record)
                raise
            except Exception as error:  # noqa: BLE001 - a model is foreign code; its siblings go on
                self._tell(Noticed(text=f"{record.id} crashed: {type(error).__name__}"))
                result = subagent.crashed()
            verdict = self._file(record, result)
        self._tell(
            DelegationFinished(
                id=record.id,
                outcome=result.outcome,
                receipt=result.receipt,
                verdict=f"{verdict.verdict} {verdict.score}/5" if verdict else "",
            )
        )
        return self._output(record, result)

    def _tell(self, what: Happening) -> None:
        self.staff.around.emit("orchestrator", what)

    def _prepare(self, agent: Agent, call: Call) -> tuple[Delegation, Brief]:
        """The record and the brief of a call, its references resolved.

        Raises:
            ToolRejected: A reference names nothing that can be used so.
        """
        id = f"D{len(self.records) + 1}"
        if agent.reviews:
            subject = self._finding(call.input["finding_id"])
            record = Delegation(id=id, agent=agent, task=f"Review {subject.id}", about=subject.id)
            material: tuple[Mapping[str, Any], ...] = (self._evidence(subject),)
            task = "Review the finding in your brief against its evidence."
            return record, _brief(task, OPERATOR, material, [subject])
        record = Delegation(id=id, agent=agent, task=call.input["task"])
        given = (
            call.input if self._usable() else {}
        )  # weak models name findings before there are any
        subjects = [self._finding(name) for name in given.get("material", ())]
        material = tuple({"finding_id": s.id, "finding": s.finding()} for s in subjects)
        if name := given.get("revises"):
            old = self._finding(name)
            self._allow_revision(old, agent)
            record.about, record.revision = old.id, old.revision + 1
            record.attested = self._attested(old)
            review = old.review.to_json() if old.review else None
            material += ({"earlier_finding": old.finding(), "review": review},)
            subjects.append(old)
        return record, _brief(record.task, call.label, material, subjects)

    def _finding(self, id: str) -> Delegation:
        record = self.records.get(id)
        if record is None or record.agent.reviews:
            raise ToolRejected(f"no finding has this id; {self._what_there_is()}")
        if not record.usable:
            raise ToolRejected("this finding has no report to work with")
        return record

    def _usable(self) -> list[str]:
        return [r.id for r in self.records.values() if r.usable and not r.agent.reviews]

    def _what_there_is(self) -> str:
        usable = self._usable()
        return (
            f"there are: {', '.join(usable)}" if usable else "there is none: delegate a task first"
        )

    def _allow_revision(self, old: Delegation, agent: Agent) -> None:
        if old.agent.name != agent.name:
            raise ToolRejected("a finding is revised by the agent that made it")
        if old.revised_by:
            raise ToolRejected(f"this finding is revised already, as {old.revised_by}")
        if old.revision + old.failed_revisions >= MAX_REVISIONS:
            raise ToolRejected(f"revised {MAX_REVISIONS} times already; use what there is")

    def _evidence(self, subject: Delegation) -> dict[str, Any]:
        """A finding with the passages it names: the evidence itself, not a retelling."""
        library, evidence = self.staff.library, []
        for n, claim in enumerate(subject.claims, 1):
            passage = library.passage(claim.source) if library and claim.place else None
            entry = {"claim": n, "verified": claim.verified, "place": claim.place}
            evidence.append({**entry, "passage": passage.text if passage else ""})
        return {"task": subject.task, "finding": subject.finding(), "evidence": evidence}

    def _file(self, record: Delegation, result: Result) -> Verdict | None:
        """Keep what came back; the verdict, if it was a review."""
        record.outcome, record.receipt = result.outcome, result.receipt
        record.report, record.claims = result.report, result.claims
        if record.revision and not record.usable:
            self._give_back(record)
        if not record.agent.reviews:
            return None
        subject = self.records[record.about]
        if result.outcome is not Outcome.COMPLETE or not result.report:
            subject.review_failed = record.id
            return None
        value = result.report.value
        review = Verdict(
            by=record.id,
            score=value["score"],
            verdict=value["verdict"],
            feedback=value.get("feedback", ""),
        )
        subject.review, subject.review_failed = review, ""
        return review

    def _give_back(self, record: Delegation) -> None:
        """A revision that came to nothing replaces nothing."""
        if record.revision:
            old = self.records[record.about]
            old.revised_by, old.failed_revisions = "", old.failed_revisions + 1

    def _attested(self, old: Delegation) -> dict[str, SourceSeen]:
        """The sources behind the verified claims of a finding."""
        kept = {claim.source for claim in old.claims if claim.verified}
        seen = old.receipt.sources if old.receipt else ()
        return {**old.attested, **{s.id: s for s in seen if s.id in kept}}

    def _output(self, record: Delegation, result: Result) -> ToolOutput:
        """What the orchestrator is shown: what is claimed and what was observed, apart."""
        seen = result.receipt
        data: dict[str, Any] = {
            **({"review_of": record.about} if record.agent.reviews else {"finding_id": record.id}),
            "outcome": result.outcome.value,
            "observed": {
                "model_calls": seen.model_calls,
                "tool_calls": seen.tool_calls,
                "sources_opened": len(seen.sources),
                "ended_by": seen.stop,
            },
        }
        if record.usable:
            data["claimed"] = record.finding()
        if result.outcome is Outcome.QUARANTINED:
            data["problem"] = "the report claims work that was not seen; it is withheld"
        elif result.problem:
            data["problem"] = result.problem
        label = result.label & untrusted(record.id)
        return ToolOutput(data=data, label=label, is_error=not record.usable)


def _brief(
    task: str,
    label: Label,
    material: tuple[Mapping[str, Any], ...],
    subjects: list[Delegation],
) -> Brief:
    joined: Label | None = None
    for subject in subjects:
        own = untrusted(subject.id)
        own = own & subject.report.label if subject.report else own
        joined = own if joined is None else joined & own
    return Brief(task=task, label=label, material=material, material_label=joined)


_ID = {"type": "string", "pattern": "^D[0-9]{1,6}$"}
_TASK_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "task": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TASK_CHARACTERS,
            "description": "What to find out, complete in itself: the subagent sees nothing else.",
        },
        "material": {
            "type": "array",
            "maxItems": 8,
            "items": _ID,
            "description": "finding_ids whose findings the subagent is to be given. Usually left out.",
        },
        "revises": {
            **_ID,
            "description": "Only to improve an earlier finding: its finding_id.",
        },
    },
    "required": ["task"],
    "additionalProperties": False,
}
_REVIEW_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "finding_id": {**_ID, "description": "finding_id of the finding to be reviewed."}
    },
    "required": ["finding_id"],
    "additionalProperties": False,
}
