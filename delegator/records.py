"""The record of a run: who was asked what, what came of it, what a reviewer said. Written by code, read by everyone else.

A finding is named by a reference. Where the orchestrator may not learn anything from names, references are random and granted one
by one; what was not granted does not exist, whoever asks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from delegator.agents import Agent
from delegator.citations import Claim
from delegator.errors import ToolRejected
from delegator.handoff import Report
from delegator.outcome import Outcome, Receipt, SourceSeen
from delegator.recording import Recording
from delegator.trust import OPERATOR, Label, untrusted

LOWEST_ACCEPTED_SCORE = 3


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
    ref: str
    """How the orchestrator names it."""
    path: str = ""
    """Its place in the run: the call that asked for it, and what followed from that."""
    agent: Agent
    task: str
    source: str = ""
    """The id of the one document that it may read, if it is held to one."""
    place: str = ""
    """That document's path, for people."""
    about: str = ""
    """The finding that it reviews or revises."""
    about_ref: str = ""
    """How the orchestrator names that one."""
    revision: int = 0
    outcome: Outcome | None = None
    """`None` while it runs."""
    report: Report | None = None
    claims: tuple[Claim, ...] = ()
    said: object = None
    """What it ended with, as it said it: words, or the input of its final tool."""
    receipt: Receipt | None = None
    problem: str = ""
    label: Label = OPERATOR
    """What its report is worth."""
    planned_review: bool = False
    """Whether code has it reviewed: its place among the delegations is taken already."""
    review: Verdict | None = None
    reviewed: Label = OPERATOR
    """What its review is worth."""
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

    @property
    def verified(self) -> tuple[Claim, ...]:
        """Its claims whose quotes stand in their sources; none if it is withheld."""
        return tuple(claim for claim in self.claims if claim.verified) if self.usable else ()

    def finding(self) -> dict[str, Any]:
        """Its report: claims with their numbers and checks."""
        value = dict(self.report.value) if self.report else {}
        if self.claims:
            value["claims"] = [claim.to_json() for claim in self.claims]
        return value

    def worth(self) -> Label:
        """The label of anything made from it: never above what a subagent's words are worth."""
        own = untrusted(self.id)
        return own & self.report.label if self.report else own & self.label

    def to_json(self) -> dict[str, object]:
        """As in `--json`."""
        return {
            "id": self.id,
            "agent": self.agent.name,
            "task": self.task,
            "about": self.about or None,
            "source": self.place or None,
            "outcome": (self.outcome or Outcome.CANCELLED).value,
            "report": self.finding() if self.usable else None,
            "receipt": self.receipt.to_json() if self.receipt else None,
            "review": self.review.to_json() if self.review else None,
        }


@dataclass(slots=True)
class Records:
    """All delegations of one run, by id and in order."""

    random: bool = False
    """Whether references are drawn at random."""
    recording: Recording = field(default_factory=Recording)
    """Knows which delegation had which id, if this run goes on."""
    by_id: dict[str, Delegation] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """What a reference looks like."""
        return "^f-[0-9a-f]{16}$" if self.random else "^D[0-9]{1,6}$"

    def new(self, agent: Agent, task: str, path: str, **more: Any) -> Delegation:
        """A record with the next id and a reference of its own, not yet kept. Its `path` is its place in the run, whenever it starts."""
        id = self.recording.place(path, tuple(self.by_id))
        ref = f"f-{self.recording.drawn(f'reference {id}')}" if self.random else id
        return Delegation(id=id, ref=ref, agent=agent, task=task, path=path, **more)

    def keep(self, record: Delegation) -> None:
        """Keep a record; a revision takes the place of what it revises."""
        self.by_id[record.id] = record
        self.recording.keep_place(record.path, record.id)
        if int(record.id[1:]) < len(
            self.by_id
        ):  # a run that goes on may come to it in another order
            self.by_id = dict(sorted(self.by_id.items(), key=lambda item: int(item[0][1:])))
        if record.revision:
            self.by_id[record.about].revised_by = record.id

    def all(self) -> tuple[Delegation, ...]:
        """Every record, in order."""
        return tuple(self.by_id.values())

    def finding(self, ref: str) -> Delegation:
        """The finding with this reference.

        Raises:
            ToolRejected: There is none, or it can not be worked with.
        """
        known = (r for r in self.by_id.values() if r.ref == ref and not r.agent.reviews)
        record = next(known, None)
        if record is None:
            raise ToolRejected(f"no finding has this id; {self._what_there_is()}")
        if not record.usable:
            raise ToolRejected("this finding has no report to work with")
        return record

    def usable(self) -> list[str]:
        """References of the findings that can be reviewed, revised or passed on."""
        return [r.ref for r in self.by_id.values() if r.usable and not r.agent.reviews]

    def _what_there_is(self) -> str:
        if self.random:  # what was not handed out yet is not named either
            return "use a reference from a result"
        usable = self.usable()
        return (
            f"there are: {', '.join(usable)}" if usable else "there is none: delegate a task first"
        )

    def heads(self) -> Iterator[Delegation]:
        """Usable findings that no later revision replaces."""
        for record in self.by_id.values():
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
            node = self.by_id.get(node.about)
        return None

    def give_back(self, record: Delegation) -> None:
        """A revision that came to nothing replaces nothing."""
        if record.revision:
            old = self.by_id[record.about]
            old.revised_by, old.failed_revisions = "", old.failed_revisions + 1
