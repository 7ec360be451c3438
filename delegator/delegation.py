"""Delegation: agents as tools. Each call runs subagents and brings back what they claim and, apart, what was seen.

Material goes by reference: ids are resolved here, by code, so nothing can be altered on the way. Where a level holds each reader to
one source, one call runs one subagent for each document that its search words find, and none of them sees another's document.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from delegator.agents import Agent
from delegator.briefs import MAX_QUERY_CHARACTERS, Briefs, brief_of, input_schema, joined
from delegator.budget import Budget, Usage
from delegator.errors import ConfigError, LimitExceeded, ModelError, ToolRejected
from delegator.events import Decided, DelegationFinished, DelegationStarted, Happening, Noticed
from delegator.handoff import DELEGATE, Brief
from delegator.knowledge import OneDocument, Passage
from delegator.outcome import Outcome, Receipt, Watch
from delegator.policy import Denied, Effects, decide
from delegator.records import Delegation, Records, Verdict
from delegator.shown import MAX_SOURCES, output
from delegator.subagent import CANCELLED, Begun, Result, Staff, Subagent
from delegator.tools import Attempt, Call, Tool, ToolOutput, passages_output, search_tool
from delegator.trust import OPERATOR, Label, untrusted

MAX_REVISIONS = 2
"""How often one finding may be sent back."""
_HITS = 8
_SEARCH = "search"
_CANCELLED = "/cancelled"
"""Behind a delegation's id: the key under which it is on record that a person cancelled it, and what was seen until then."""


@dataclass(slots=True)
class Delegations:
    """All delegations of one run: the `delegate_to_*` tools, and the record of what came of them."""

    staff: Staff
    budget: Budget
    parallel: int
    records: Records = field(init=False)
    blamed: ModelError | None = None
    """What a server did that kept a subagent waiting until it was cancelled."""
    _at_work: dict[str, asyncio.Timeout] = field(default_factory=dict)
    """What ends each subagent that runs, should a person want it."""
    _briefs: Briefs = field(init=False)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Bound how many subagents run at once."""
        self._room = asyncio.Semaphore(self.parallel)
        rung = self.staff.around.rung
        self.records = Records(random=self._named_at_random, recording=self.staff.around.recording)
        self._briefs = Briefs(self.records, self.staff.library, rung.shown)

    @property
    def _named_at_random(self) -> bool:
        """Whether findings have random names: as on record, if the run goes on."""
        recorded = self.staff.around.recording.named_at_random
        return self.staff.around.rung.one_source_each if recorded is None else recorded

    def cancel(self, id: str) -> bool:
        """Stop one subagent; its siblings go on. Whether it was at work."""
        scope = self._at_work.pop(id, None)
        if scope is not None:
            scope.reschedule(0)
        return scope is not None

    @property
    def at_work(self) -> tuple[str, ...]:
        """Ids of the subagents that run."""
        return tuple(self._at_work)

    def tools(self) -> dict[str, Tool]:
        """One `delegate_to_<agent>` for each agent; with a fixed plan, reviews are no choice of the orchestrator's."""
        planned = self.staff.around.rung.fixed_plan
        tools = [
            self._tool(agent) for agent in self.staff.agents if not (planned and agent.reviews)
        ]
        named = {tool.name: tool for tool in tools}
        if len(named) < len(tools):
            raise ConfigError(
                "two agents have names that differ in - and _ only",
                hint="Give one of them another name.",
            )
        return named

    def _tool(self, agent: Agent) -> Tool:
        async def run(call: Call) -> ToolOutput:
            revises = "revises" in call.input and self.records.usable()
            if self._splits(agent) and not revises:
                return await self._by_source(agent, call)
            record, brief = self._prepare(agent, call)
            record.planned_review = self._open()
            self.records.keep(record)
            return self._output(await self._worked([record], [brief], call))

        return Tool(
            name=DELEGATE + agent.name.replace("-", "_"),
            description=agent.description,
            input_schema=input_schema(
                agent,
                self.staff.around.rung,
                self.records.pattern,
                splits=self._splits(agent),
                reviewed=self._reviewer is not None,
            ),
            run=run,
            seconds=None,
            effects=Effects(delegates=True),
        )

    def _splits(self, agent: Agent) -> bool:
        """Whether this agent is held to one document, and a task is split over several of them."""
        return self.staff.around.rung.one_source_each and reads_documents_only(agent)

    def _open(self) -> bool:
        """Count a delegation, and with a fixed plan its review, whatever it will find; whether it can be reviewed.

        Raises:
            LimitExceeded: There may be no further one.
        """
        self.budget.open_delegation()
        if not self.staff.around.rung.fixed_plan or self._reviewer is None:
            return False
        with suppress(LimitExceeded):
            self.budget.open_delegation()
            return True
        return False

    @property
    def _reviewer(self) -> Agent | None:
        return next((agent for agent in self.staff.agents if agent.reviews), None)

    async def _by_source(self, agent: Agent, call: Call) -> ToolOutput:
        """One subagent for each of the documents that the search words find best."""
        task, brief = call.input["task"], Brief(task=call.input["task"], label=call.label)
        found = self._found(call)
        records: list[Delegation] = []
        for i, passage in enumerate(found, 1):
            try:
                reviewed = self._open()
            except LimitExceeded:
                if not records:
                    raise
                break  # what fits is read
            record = self.records.new(
                agent,
                task,
                path=f"{call.key}#{i}",
                source=passage.document,
                place=passage.path,
                planned_review=reviewed,
            )
            self.records.keep(record)
            records.append(record)
        done = await self._worked(records, [brief] * len(records), call)
        label = call.label
        if not records:
            self.budget.open_delegation()
            label &= self._nothing_to_read(self.records.new(agent, task, path=call.key), call.label)
        return self._output(done, label)

    async def _worked(
        self, records: list[Delegation], briefs: list[Brief], call: Call
    ) -> list[Delegation]:
        """Run some delegations at the same time; each goes through its own reviews, so a slow one holds up no other."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._one(record, brief, call))
                for record, brief in zip(records, briefs, strict=True)
            ]
        return [task.result() for task in tasks]

    async def _one(self, record: Delegation, brief: Brief, call: Call) -> Delegation:
        """Run one delegation; if that was asked for, have it reviewed, and revised while it is low. The newest version."""
        await self._run(record, brief, self._reading(record, call))
        while call.input.get("reviewed") and record.usable and self._reviewer is not None:
            if not await self._added(*self._briefs.review_of(record, self._reviewer)):
                break
            again = record.review is not None and record.review.verdict == "revise"
            if not again or record.revision >= MAX_REVISIONS or not self._may_reread(record, call):
                break
            revision = self.records.new(record.agent, record.task, path=f"{record.path}.revised")
            revised = self._briefs.revision(revision, record, call.label)
            if not await self._added(revision, revised, self._reading(revision, call)):
                break
            if not revision.usable:
                break
            record = revision
        return record

    def _may_reread(self, record: Delegation, call: Call) -> bool:
        """Whether a revision may open its source again: that a critic asks for it is not the person's word."""
        try:
            self._allow_reading(record, replace(call, label=call.label & record.reviewed))
        except ToolRejected:
            return False
        return True

    async def _added(self, record: Delegation, brief: Brief, begun: Begun | None = None) -> bool:
        """Run one more delegation, if there may be one."""
        try:
            self.budget.open_delegation()
        except LimitExceeded as error:
            self._tell(Noticed(text=f"{record.task} was left out: {error}"))
            return False
        self.records.keep(record)
        await self._run(record, brief, begun)
        return True

    def _nothing_to_read(self, record: Delegation, label: Label) -> Label:
        """On record too: a task for which the search words found no document, which is what their authors decided."""
        record.outcome, record.label = Outcome.COMPLETE, label
        record.receipt = Watch().receipt(seconds=0.0, stop="nothing to read")
        self.records.keep(record)
        self._tell(Noticed(text=f"{record.id}: no document mentions the words of “{record.task}”"))
        library = self.staff.library
        return record.worth() & untrusted(private=library is not None and library.private)

    def _found(self, call: Call) -> list[Passage]:
        """A passage of each of the documents that match the search words best, in an order that says nothing of how well."""
        library, best = self.staff.library, dict[str, Passage]()
        if library is None:
            return []
        open_only = self._denied(search_tool(library), call)
        for query in call.input.get("queries") or [call.input["task"][:MAX_QUERY_CHARACTERS]]:
            for hit in library.search(query, _HITS):
                if not (open_only and hit.passage.private):
                    best.setdefault(hit.passage.document, hit.passage)
        return sorted(list(best.values())[:MAX_SOURCES], key=lambda passage: passage.document)

    def _denied(self, tool: Tool, call: Call) -> bool:
        """Whether private documents must be left out, because this search does not rest on words of people alone."""
        rung = self.staff.around.rung
        decision = decide(tool.effects, call.label, guarded=rung.decides, fixed_plan=False)
        if isinstance(decision, Denied):
            self._tell(
                Decided(
                    tool=tool.name,
                    decision="denied",
                    rule=decision.rule,
                    digest="",
                    label=call.label,
                    call=call.key,
                )
            )
        return isinstance(decision, Denied)

    def _reading(self, record: Delegation, call: Call) -> Begun | None:
        """The search that code makes for a subagent held to one document."""
        library = self.staff.library
        if not record.source or library is None:
            return None
        queries = call.input.get("queries") or [record.task]
        one = OneDocument(library, record.source)
        query = " ".join(queries)[:MAX_QUERY_CHARACTERS]
        output = passages_output([hit.passage for hit in one.search(query, _HITS)], "hits")
        seen = {"query": query, "limit": _HITS} if call.label.trusted else {}
        asked = call.label if seen else OPERATOR
        return Begun(library=one, tool=_SEARCH, input=seen, asked=asked, output=output)

    async def _run(self, record: Delegation, brief: Brief, begun: Begun | None = None) -> None:
        """Run one subagent to its end and keep what came of it. Raises nothing but a cancellation."""
        async with self._room:  # its clock starts when it may run, not while it waits its turn
            subagent = self.staff.subagent(
                record.agent,
                brief,
                id=record.id,
                budget=self.budget,
                attested=record.attested,
                begun=begun,
            )
            self._tell(_started(record, subagent.loop.label))
            try:
                result = await self._come_to(record.id, subagent)
            except asyncio.CancelledError:
                record.outcome = Outcome.CANCELLED
                record.receipt = subagent.loop.receipt("cancelled")
                self.records.give_back(record)
                self.blamed = self.blamed or subagent.loop.blame()
                self._tell(_finished(record, record.outcome, record.receipt))
                raise
            except Exception as error:  # noqa: BLE001 - a model is foreign code; its siblings go on
                self._tell(Noticed(text=f"{record.id} crashed: {type(error).__name__}"))
                result = subagent.crashed()
            verdict = self._file(record, result)
        self._tell(_finished(record, result.outcome, result.receipt, verdict))
        if record.planned_review and self._reviewer and record.verified:
            review, of = self._briefs.review_of(record, self._reviewer)
            self.records.keep(review)
            await self._run(review, of)

    async def _come_to(self, id: str, subagent: Subagent) -> Result:
        """What a subagent comes to, or what is left of it if a person cancels it: for good, so that goes on record."""
        recording = self.staff.around.recording
        if (past := recording.tool(id + _CANCELLED)) is not None and past.output is not None:
            for call in recording.unasked(id):
                price = self.staff.around.price(call.model)
                subagent.loop.role.budget.charge(call.usage, price)
            return _cancelled(past.output)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._at_work[id] = scope
                return await subagent.run()
        except TimeoutError:
            if not scope.expired():
                raise
            result = subagent.cancelled()
            recording.keep_tool(id + _CANCELLED, Attempt(_seen(result)))
            return result
        finally:
            self._at_work.pop(id, None)

    def _tell(self, what: Happening) -> None:
        self.staff.around.emit("orchestrator", what)

    def _output(self, records: list[Delegation], label: Label = OPERATOR) -> ToolOutput:
        return output(records, self.staff.around.rung.shown, label)

    def _prepare(self, agent: Agent, call: Call) -> tuple[Delegation, Brief]:
        """The record and the brief of a call, its references resolved.

        Raises:
            ToolRejected: A reference names nothing that can be used so.
        """
        if agent.reviews:
            subject = self.records.finding(call.input["finding_id"])
            return self._briefs.review_of(subject, agent, path=call.key)
        record = self.records.new(agent, call.input["task"], path=call.key)
        given = (
            call.input if self.records.usable() else {}
        )  # weak models name findings before there are any
        subjects = [self.records.finding(ref) for ref in given.get("material", ())]
        material: tuple[Mapping[str, Any], ...] = tuple(
            {"finding_id": s.ref, "finding": self._briefs.finding(s)} for s in subjects
        )
        if ref := given.get("revises"):
            old = self.records.finding(ref)
            self._allow_revision(old, agent)
            self._allow_reading(old, call)
            revised = self._briefs.revision(record, old, call.label)
            return record, joined(revised, brief_of(record.task, call.label, material, subjects))
        return record, brief_of(record.task, call.label, material, subjects)

    def _allow_reading(self, old: Delegation, call: Call) -> None:
        """A private source is opened again only for who has read nothing but words of people."""
        library = self.staff.library
        if library is None or not old.source:
            return
        private = any(p.private for p in library.following(f"{old.source}.1", 1))
        if private and self._denied(search_tool(library), call):
            raise ToolRejected("reading this source again is denied by policy P-T")

    def _allow_revision(self, old: Delegation, agent: Agent) -> None:
        if old.agent.name != agent.name:
            raise ToolRejected("a finding is revised by the agent that made it")
        if old.revised_by:
            by = self.records.by_id[old.revised_by].ref
            raise ToolRejected(f"this finding is revised already, as {by}")
        if old.revision + old.failed_revisions >= MAX_REVISIONS:
            raise ToolRejected(f"revised {MAX_REVISIONS} times already; use what there is")

    def _file(self, record: Delegation, result: Result) -> Verdict | None:
        """Keep what came back; the verdict, if it was a review."""
        record.outcome, record.receipt = result.outcome, result.receipt
        record.report, record.claims, record.said = result.report, result.claims, result.said
        record.label, record.problem = result.label, result.problem
        if record.revision and not record.usable:
            self.records.give_back(record)
        if not record.agent.reviews:
            return None
        subject = self.records.by_id[record.about]
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
        subject.review, subject.review_failed, subject.reviewed = review, "", record.worth()
        return review


def reads_documents_only(agent: Agent) -> bool:
    """Whether an agent quotes documents and does nothing else: then it can be held to one of them."""
    tools = set(agent.tool_names)
    return agent.cites and _SEARCH in tools and tools <= {_SEARCH, "read"}


def _started(record: Delegation, label: Label) -> DelegationStarted:
    return DelegationStarted(
        id=record.id,
        name=record.agent.name,
        task=record.task,
        about=record.about,
        source=record.place,
        label=label,
    )


def _finished(
    record: Delegation, outcome: Outcome, receipt: Receipt, verdict: Verdict | None = None
) -> DelegationFinished:
    return DelegationFinished(
        id=record.id,
        outcome=outcome,
        receipt=receipt,
        verdict=f"{verdict.verdict} {verdict.score}/5" if verdict else "",
        label=record.worth(),
        problem=record.problem,
    )


def _seen(result: Result) -> ToolOutput:
    """What was seen of a subagent that a person cancelled."""
    seen = result.receipt.to_json()
    del seen["sources"]
    return ToolOutput(data=seen, label=result.label, sources=result.receipt.sources)


def _cancelled(seen: ToolOutput) -> Result:
    """The same, from the record."""
    usage = Usage(**seen.data["usage"])
    return Result(
        outcome=Outcome.CANCELLED,
        report=None,
        claims=(),
        receipt=Receipt(**{**seen.data, "usage": usage}, sources=seen.sources),
        label=seen.label,
        problem=CANCELLED,
    )
