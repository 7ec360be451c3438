"""Budgets: ceilings set before the run, and a tree that counts what was spent under them.

A person sets ceilings; a model can only stay below them. Model calls, delegations and output tokens are taken from an agent's
budget and every ancestor's before a call starts; what a call's input costs is known, and counted, when it is answered.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Self

from delegator.errors import Ceiling, LimitExceeded

LANDING_SHARE = 0.75
"""The share of its tokens or seconds after which a loop is made to come to its end, while it still can."""
SMALLEST_REPLY = 16
"""Output tokens below which a model call cannot say anything useful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or more model calls. Every kind counts against a token limit."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: Self) -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )

    @property
    def total(self) -> int:
        """All tokens, cached or not, in and out."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
        )

    def to_json(self) -> dict[str, int]:
        """As a JSON object of token counts."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Ceilings for a run or for one agent. `None` means: only the ancestors' ceilings count."""

    tokens: int | None = None
    """Input, cached and output tokens together."""
    model_calls: int | None = None
    delegations: int | None = None
    parallel: int | None = None
    """Subagents that may run at the same time."""
    seconds: float | None = None
    """Wall time from the start of the agent or run."""
    reply_tokens: int | None = None
    """Output tokens of one model call (`max_tokens`)."""

    def __post_init__(self) -> None:
        """Refuse a ceiling that no run could live under.

        Raises:
            ValueError: A ceiling is zero or negative.
        """
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and not value > 0:
                msg = f"limit {f.name} must be more than zero"
                raise ValueError(msg)

    def over(self, defaults: "Limits") -> "Limits":
        """These limits, with `defaults` where nothing is set."""
        given = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        return replace(defaults, **given)

    def to_json(self) -> dict[str, float]:
        """As a JSON object, without what is not set."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


RUN_LIMITS = Limits(
    tokens=2_000_000, model_calls=120, delegations=24, parallel=8, seconds=900.0, reply_tokens=8_000
)


@dataclass(slots=True, kw_only=True)
class Reservation:
    """One model call's place in the budget. Settle it with what the call really used."""

    reply_tokens: int
    """The most output tokens this call may ask for."""
    used: Usage | None = None

    def settle(self, usage: Usage) -> None:
        """Record the real usage. Without it the call counts, but no tokens do."""
        self.used = usage


@dataclass(slots=True, kw_only=True)
class Budget:
    """A node of the budget tree: ceilings, what was spent, and what open calls may still spend."""

    owner: str
    limits: Limits
    parent: "Budget | None" = None
    spent: Usage = field(default_factory=Usage)
    model_calls: int = 0
    delegations: int = 0
    held_tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    def child(self, owner: str, limits: Limits) -> "Budget":
        """A budget for one agent, under this one."""
        return Budget(owner=owner, limits=limits, parent=self)

    @property
    def lineage(self) -> "Iterator[Budget]":
        """This budget and all above it."""
        node: Budget | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def seconds(self) -> float:
        """Wall time since this budget was made."""
        return time.monotonic() - self.started

    @contextmanager
    def model_call(self, reply_tokens: int) -> Iterator[Reservation]:
        """Open a model call of at most `reply_tokens`, on this budget and every ancestor.

        Raises:
            LimitExceeded: Some ceiling leaves no room; nothing was opened.
        """
        granted = min(reply_tokens, *(node._room() for node in self.lineage))
        for node in self.lineage:
            node.model_calls += 1
            node.held_tokens += granted
        reservation = Reservation(reply_tokens=granted)
        try:
            yield reservation
        finally:
            for node in self.lineage:
                node.held_tokens -= granted
                node.spent += reservation.used or Usage()

    @property
    def calls_left(self) -> int | None:
        """Model calls that this budget and its ancestors still allow; `None` without a ceiling."""
        left = [
            node.limits.model_calls - node.model_calls
            for node in self.lineage
            if node.limits.model_calls is not None
        ]
        return min(left, default=None)

    @property
    def reply_tokens(self) -> int | None:
        """The most output tokens of one call, here and above; `None` without a ceiling."""
        set_ones = [
            n.limits.reply_tokens for n in self.lineage if n.limits.reply_tokens is not None
        ]
        return min(set_ones, default=None)

    @property
    def nearly_spent(self) -> bool:
        """Whether most of this budget's own tokens or seconds are gone."""
        tokens, seconds = self.limits.tokens, self.limits.seconds
        return (tokens is not None and self.spent.total > LANDING_SHARE * tokens) or (
            seconds is not None and self.seconds > LANDING_SHARE * seconds
        )

    def open_delegation(self) -> None:
        """Count one delegation.

        Raises:
            LimitExceeded: The ceiling is reached; nothing was counted.
        """
        for node in self.lineage:
            limit = node.limits.delegations
            if limit is not None and node.delegations >= limit:
                raise LimitExceeded(Ceiling.DELEGATIONS, limit, node.owner)
        for node in self.lineage:
            node.delegations += 1

    def _room(self) -> int:
        calls, tokens = self.limits.model_calls, self.limits.tokens
        if calls is not None and self.model_calls >= calls:
            raise LimitExceeded(Ceiling.MODEL_CALLS, calls, self.owner)
        if tokens is None:
            return 1 << 30
        room = tokens - self.spent.total - self.held_tokens
        if room < SMALLEST_REPLY:
            raise LimitExceeded(Ceiling.TOKENS, tokens, self.owner)
        return room
