"""Decisions: may this tool call run? On what the tool does, and on the label of everything that the call depends on.

A decision is `Allowed` or `Denied`, and the last line denies. A person may approve one denied call, word for word; no rule does.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from delegator.trust import Confidentiality, Integrity, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a tool does beyond answering. The operator says so; a tool that says nothing may do anything."""

    reads: bool = False
    """It reads what the run was given: documents, files, a cache."""
    writes: bool = False
    """It changes something that outlasts the call."""
    sends: bool = False
    """Its input leaves the process: a search engine, a web page, a mail."""
    private: bool = False
    """It reads what only some people may see."""
    delegates: bool = False
    """It starts a subagent."""
    sink: Confidentiality = Confidentiality.CONVERSATION
    """The most secret text that may go where this tool writes or sends."""

    @property
    def consequential(self) -> bool:
        """Whether a wrong call does harm that the run cannot take back."""
        return self.writes or self.sends or self.private

    @property
    def lasting(self) -> bool:
        """Whether a call changes something outside: to make it twice is not the same as once."""
        return self.writes or self.sends

    def __str__(self) -> str:
        """`reads, sends (up to conversation)`."""
        names = ("reads", "writes", "sends", "private", "delegates")
        said = ", ".join(name for name in names if getattr(self, name)) or "none"
        return f"{said} (up to {self.sink.name.lower()})" if self.writes or self.sends else said


UNDECLARED = Effects(writes=True, sends=True, private=True, sink=Confidentiality.PUBLIC)
"""What a tool is taken to do whose author did not say."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may run."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not run. `rule` names the policy, `reason` is constant text."""

    rule: str
    reason: str
    approvable: bool = True
    """Whether a person may let one such call through."""


Decision = Allowed | Denied

_NOT_THE_USERS = Denied(
    "P-T", "it has effects outside, and what it depends on includes text that nobody vouches for"
)
_TOO_SECRET = Denied("P-F", "it would let text out that is more secret than the place it goes to")
_PLAN_IS_FIXED = Denied(
    "plan", "delegations are fixed before the first source is read", approvable=False
)
REASONS = {denied.rule: denied.reason for denied in (_NOT_THE_USERS, _TOO_SECRET, _PLAN_IS_FIXED)}
"""Why a rule denies, for people."""


def decide(effects: Effects, label: Label, *, guarded: bool, fixed_plan: bool) -> Decision:
    """Whether a call may run whose arguments and whose author are worth `label`.

    P-T: who decides on an effect has read nothing untrusted. P-F: nothing goes where it is too secret for.
    """
    by_people = label.integrity >= Integrity.USER
    leaves = effects.writes or effects.sends
    if effects.delegates and fixed_plan and not by_people:
        return _PLAN_IS_FIXED
    if not guarded or not effects.consequential:
        return Allowed()
    if by_people and (label.confidentiality <= effects.sink or not leaves):
        return Allowed()
    return _TOO_SECRET if by_people else _NOT_THE_USERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A denied call that a person may let through once, exactly as it stands here."""

    agent: str
    """Which loop asks: `D1`."""
    tool: str
    input: Mapping[str, Any]
    label: Label
    denied: Denied

    @property
    def digest(self) -> str:
        """SHA-256 of who asks for what: an approval of this call fits no other."""
        exact = [self.agent, self.tool, self.input, self.label.to_json()]
        canonical = json.dumps(exact, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


Approver = Callable[[ApprovalRequest], Awaitable[str]]
"""Asks a person; gives back the digest of the very call that was approved, or an empty string."""


async def nobody(_request: ApprovalRequest) -> str:
    """The approver of a run that nobody watches: nothing is approved."""
    return ""
