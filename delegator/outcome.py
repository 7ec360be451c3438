"""How a loop ended, and what the harness saw it do.

A receipt is written by code that watched; nothing a subagent says can change it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from delegator.budget import Usage


class Outcome(StrEnum):
    """How a loop, a delegation or a run ended. A closed set."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    CONTRACT_FAILED = "contract_failed"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    NEEDS_REVIEW = "needs_review"


EXIT_STATUS: dict[Outcome, int] = {
    Outcome.COMPLETE: 0,
    Outcome.PARTIAL: 3,
    Outcome.BUDGET: 3,
    Outcome.TIMEOUT: 3,
    Outcome.REFUSED: 1,
    Outcome.CANCELLED: 130,
    Outcome.CONTRACT_FAILED: 1,
    Outcome.FAILED: 1,
    Outcome.QUARANTINED: 1,
    Outcome.NEEDS_REVIEW: 4,
}
"""The exit status of a run that ended so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSeen:
    """A passage that a tool put in front of an agent."""

    id: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """As a JSON object."""
        return {"id": self.id, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the harness saw an agent do."""

    model_calls: int
    tool_calls: int
    failed_tool_calls: int
    sources: tuple[SourceSeen, ...]
    """Passages opened, each once, in order."""
    usage: Usage
    seconds: float
    stop: str
    """Why the loop ended: the model's stop reason, or the limit or fault that ended it."""

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "failed_tool_calls": self.failed_tool_calls,
            "sources": [source.to_json() for source in self.sources],
            "usage": self.usage.to_json(),
            "seconds": round(self.seconds, 3),
            "stop": self.stop,
        }


@dataclass(slots=True)
class Watch:
    """A receipt in the making. Only the loop writes to it."""

    model_calls: int = 0
    tool_calls: int = 0
    failed_tool_calls: int = 0
    ran: set[str] = field(default_factory=set)
    """Tools that really ran at least once; a call that was refused did not."""
    sources: dict[str, SourceSeen] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def receipt(self, *, seconds: float, stop: str) -> Receipt:
        """The receipt as of now."""
        return Receipt(
            model_calls=self.model_calls,
            tool_calls=self.tool_calls,
            failed_tool_calls=self.failed_tool_calls,
            sources=tuple(self.sources.values()),
            usage=self.usage,
            seconds=seconds,
            stop=stop,
        )
