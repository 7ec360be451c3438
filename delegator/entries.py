"""How model calls and tool results stand in the journal: as JSON, and back without loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delegator.budget import Usage
from delegator.errors import Fault
from delegator.messages import Stop, block_from_wire, block_to_wire
from delegator.model import Reply
from delegator.outcome import SourceSeen
from delegator.tools import Attempt, ToolOutput
from delegator.trust import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What a model call took."""

    usage: Usage
    usd: float | None
    """`None` where nobody knows its model's price."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in the journal."""
        return {
            "usage": self.usage.to_json(),
            "usd": self.usd,
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A model call on record."""

    key: str
    attempt: int
    seq: int
    """The number of the entry that says that it is about to be made."""
    request: str
    state: str
    """`open`: nobody knows how it ended. `answered`, `failed`, or `broken` off by us."""
    reply_tokens: int
    last: bool
    usage: Usage
    """What it used; for an open one, what was reserved for it."""
    worst: Usage
    """What was reserved for it."""
    reply: Reply | None = None
    fault: Fault | None = None
    model: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "PastCall":
        """A row of the journal."""
        reply, usage = row["reply"], Usage(**(row["usage"] or row["worst"]))
        return cls(
            key=row["key"],
            attempt=row["attempt"],
            seq=row["seq"],
            request=row["request"],
            state=row["state"],
            reply_tokens=row["reply_tokens"],
            last=row["last"],
            usage=usage,
            worst=Usage(**row["worst"]),
            reply=reply_of(reply, usage) if reply else None,
            fault=Fault(row["fault"]) if row["fault"] else None,
            model=row["model"],
        )


def reply_of(said: Mapping[str, Any], usage: Usage) -> Reply:
    """What `reply_to_json` was given."""
    return Reply(
        content=tuple(block_from_wire(block) for block in said["content"]),
        stop=Stop.of(said["stop"]),
        usage=usage,
        stop_named=said["named"],
    )


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """A reply, without what it used."""
    return {
        "content": [block_to_wire(block) for block in reply.content],
        "stop": reply.stop.value,
        "named": reply.stop_named,
    }


def attempt_to_json(done: Attempt) -> dict[str, Any]:
    """How a tool call went."""
    output = done.output
    return {
        "problem": done.problem,
        "rejected": done.rejected,
        "rule": done.rule,
        "output": {
            "data": output.data,
            "label": output.label.to_json(),
            "sources": [source.to_json() for source in output.sources],
            "is_error": output.is_error,
        }
        if output
        else None,
    }


def attempt_of(said: Mapping[str, Any]) -> Attempt:
    """What `attempt_to_json` was given."""
    output = said["output"]
    return Attempt(
        ToolOutput(
            data=output["data"],
            label=Label.from_json(output["label"]),
            sources=tuple(SourceSeen(**source) for source in output["sources"]),
            is_error=output["is_error"],
        )
        if output
        else None,
        said["problem"],
        rejected=said["rejected"],
        rule=said["rule"],
    )
