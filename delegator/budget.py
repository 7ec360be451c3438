"""The ledger: ceilings set before the run, and a tree that reserves before a call and settles after it.

A person sets ceilings; a model can only stay below them. A call starts only if its worst case, a bound on its input plus the most
it may say, fits into its agent's budget and every ancestor's, in tokens and in money. Where siblings hold what would make it fit, it
waits for them; where nobody does, it is refused. Enough is kept back for a last turn.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Protocol, Self

from delegator.errors import Ceiling, LimitExceeded

LANDING_SHARE = 0.75
"""The share of its seconds after which a loop is made to come to its end, while it still can."""
SMALLEST_REPLY = 16
"""Output tokens below which a model call cannot say anything useful."""
COMFORTABLE_REPLY = 1_000
"""Output tokens below which a call rather waits for what its siblings hold."""
MOST_KEPT_SHARE = 0.25
"""The most of a ceiling that is kept back for a last turn."""
_NO_CEILING = 1 << 60
NANO = 1_000_000_000
"""Money is counted in whole nano-dollars."""


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
    usd: float | None = None
    """US dollars."""
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


def raised(limits: Limits, *, tokens: int = 0, usd: float = 0.0) -> Limits:
    """Ceilings raised by so much; where there is none, there is none."""
    return replace(
        limits,
        tokens=None if limits.tokens is None else limits.tokens + tokens,
        usd=None if limits.usd is None else limits.usd + usd,
    )


NO_LIMITS = Limits()
RUN_LIMITS = Limits(
    tokens=2_000_000, model_calls=120, delegations=24, parallel=8, seconds=900.0, reply_tokens=8_000
)


class Price(Protocol):
    """What tokens cost, in nano-dollars."""

    def cost(self, usage: Usage) -> int:
        """What one call cost."""

    def worst_input(self, tokens: int) -> int:
        """The most that a prompt of up to so many tokens can cost."""

    def worst_output(self, prompt: int) -> int:
        """The most that one token of a reply to such a prompt can cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """What a model call may use at worst."""

    input_tokens: int
    """No prompt of this call can have more."""
    reply_tokens: int
    """The most it wants to say."""
    price: Price | None = None


@dataclass(slots=True, kw_only=True)
class Reservation:
    """One model call's place in the ledger. Settle it with what the call really used."""

    reply_tokens: int
    """The most output tokens this call may ask for."""
    tokens: int
    nano: int
    used: Usage = field(default_factory=Usage)

    def settle(self, usage: Usage) -> None:
        """Record the real usage, or what is known of it so far. Without it the call counts, but no tokens do."""
        self.used = usage


class Busy(Exception):
    """A call does not fit now, but would if calls that are under way used less than they may."""


@dataclass(slots=True, kw_only=True)
class Budget:
    """A node of the budget tree: ceilings, what was spent, and what open calls may still spend."""

    owner: str
    limits: Limits
    parent: "Budget | None" = None
    spent: Usage = field(default_factory=Usage)
    spent_nano: int = 0
    unpriced: bool = False
    """Whether a call was made whose price nobody knows."""
    model_calls: int = 0
    delegations: int = 0
    held_tokens: int = 0
    held_nano: int = 0
    kept_tokens: int = 0
    """Of the ceiling, what only a last turn may use."""
    kept_nano: int = 0
    started: float = field(default_factory=time.monotonic)
    _waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

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

    @property
    def usd(self) -> float | None:
        """Dollars spent; `None` if what some call cost is not known."""
        return None if self.unpriced else self.spent_nano / NANO

    @asynccontextmanager
    async def model_call(
        self, worst: Worst, *, landing: "Budget | None" = None, priority: int = 0
    ) -> AsyncIterator[Reservation]:
        """Open a model call on this budget and every ancestor, when there is room; waits for siblings that hold it.

        Args:
            worst: What it may use at most. The reply is shortened to what is left.
            landing: The budget whose reserve for a last turn this call may use.
            priority: Who is served first when room comes back; lower goes first.

        Raises:
            LimitExceeded: Some ceiling leaves no room, and nobody holds any that could come back; nothing was opened.
        """
        reservation = await self._reserved(worst, landing, priority)
        try:
            yield reservation
        finally:
            self.release(reservation, worst.price)

    async def _reserved(self, worst: Worst, landing: "Budget | None", priority: int) -> Reservation:
        while True:
            try:
                return self.reserve(worst, landing=landing)
            except Busy:
                await self._room_comes_back(priority)

    def reserve(self, worst: Worst, *, landing: "Budget | None" = None) -> Reservation:
        """Take a call's worst case from this budget and every ancestor, or nothing at all.

        Raises:
            Busy: It would fit if open calls gave back what they do not use.
            LimitExceeded: It would not.
        """
        granted = worst.reply_tokens
        for node in self.lineage:
            calls = node.limits.model_calls
            if calls is not None and node.model_calls >= calls:
                raise LimitExceeded(Ceiling.MODEL_CALLS, calls, node.owner)
            granted = min(granted, node._reply_room(worst, free=node is landing))
        if granted < min(worst.reply_tokens, COMFORTABLE_REPLY):
            self._refuse_or_wait(worst, landing, granted)
        tokens = worst.input_tokens + granted
        nano = _nano(worst, granted)
        for node in self.lineage:
            node.model_calls += 1
            node.held_tokens += tokens
            node.held_nano += nano
        return Reservation(reply_tokens=granted, tokens=tokens, nano=nano)

    def release(self, reservation: Reservation, price: Price | None = None) -> None:
        """Give back what a call held, and count what it used."""
        cost = price.cost(reservation.used) if price else 0
        for node in self.lineage:
            node.held_tokens -= reservation.tokens
            node.held_nano -= reservation.nano
            node.spent += reservation.used
            node.spent_nano += cost
            node.unpriced |= price is None and reservation.used.total > 0
        self._root.wake()

    def extend(self, *, tokens: int = 0, usd: float = 0.0) -> None:
        """Raise the ceilings that are set, here and above, by so much: a person allows it, no message does."""
        for node in self.lineage:
            node.limits = raised(node.limits, tokens=tokens, usd=usd)
        self._root.wake()

    def charge(self, usage: Usage, price: Price | None, *, below: "Budget | None" = None) -> None:
        """Count a call that was made before this process began: here, and above up to where it is counted already."""
        cost = price.cost(usage) if price else 0
        for node in self.lineage:
            if node is below:
                return
            node.model_calls += 1
            node.spent += usage
            node.spent_nano += cost
            node.unpriced |= price is None and usage.total > 0

    def keep(self, tokens: int, nano: int = 0) -> None:
        """Keep this much back for a last turn: at most a share of the ceiling, so that most of it stays usable."""
        limit, money = self.limits.tokens, self.limits.usd
        self.kept_tokens = min(tokens, int(limit * MOST_KEPT_SHARE)) if limit is not None else 0
        self.kept_nano = min(nano, int(money * NANO * MOST_KEPT_SHARE)) if money is not None else 0

    def affords(self, worst: Worst) -> bool:
        """Whether such a call would leave what is kept for a last turn alone, here and above, once open calls are over."""
        least = min(worst.reply_tokens, COMFORTABLE_REPLY)
        return all(node._reply_room(worst, held=False) >= least for node in self.lineage)

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
    def seconds_left(self) -> float:
        """Wall time until this budget or one above it has none left."""
        left = [
            node.limits.seconds - node.seconds
            for node in self.lineage
            if node.limits.seconds is not None
        ]
        return max(min(left, default=math.inf), 0.0)

    @property
    def late(self) -> bool:
        """Whether most of this budget's own seconds are gone."""
        seconds = self.limits.seconds
        return seconds is not None and self.seconds > LANDING_SHARE * seconds

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

    @property
    def _root(self) -> "Budget":
        return self if self.parent is None else self.parent._root

    def wake(self) -> None:
        """Let everyone who waits for room look again, the most urgent first."""
        waiting, self._waiting = sorted(self._waiting, key=lambda entry: entry[0]), []
        for _, future in waiting:
            if not future.done():
                future.set_result(None)

    async def _room_comes_back(self, priority: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._root._waiting.append((priority, future))
        await future

    def _reply_room(self, worst: Worst, *, free: bool = False, held: bool = True) -> int:
        """Output tokens for which this node has room beside such an input."""
        limit, money = self.limits.tokens, self.limits.usd
        room = _NO_CEILING
        if limit is not None:
            taken = self.spent.total + (self.held_tokens if held else 0)
            kept = 0 if free else self.kept_tokens
            room = limit - taken - kept - worst.input_tokens
        if money is not None and worst.price is not None:
            spent = self.spent_nano + (self.held_nano if held else 0)
            left = int(money * NANO) - spent - (0 if free else self.kept_nano)
            left -= worst.price.worst_input(worst.input_tokens)
            each = worst.price.worst_output(worst.input_tokens)
            room = min(room, left // each if each else (room if left >= 0 else -1))
        return room

    def _refuse_or_wait(self, worst: Worst, landing: "Budget | None", granted: int) -> None:
        """Wait where open calls hold the room; refuse where nobody does; let a short reply pass otherwise.

        Raises:
            Busy: Room may come back.
            LimitExceeded: It will not.
        """
        for node in self.lineage:
            free = node is landing
            now = node._reply_room(worst, free=free)
            later = node._reply_room(worst, free=free, held=False)
            if now == granted and later > now and later >= SMALLEST_REPLY:
                raise Busy
        for node in self.lineage:
            if node._reply_room(worst, free=node is landing) < SMALLEST_REPLY:
                raise node._exceeded(worst)

    def _exceeded(self, worst: Worst) -> LimitExceeded:
        limit, money = self.limits.tokens, self.limits.usd
        if (
            limit is not None
            and limit - self.spent.total - self.kept_tokens - worst.input_tokens < SMALLEST_REPLY
        ):
            return LimitExceeded(Ceiling.TOKENS, limit, self.owner)
        return LimitExceeded(Ceiling.USD, money or 0.0, self.owner)


def _nano(worst: Worst, reply_tokens: int) -> int:
    """The most that a call can cost."""
    if worst.price is None:
        return 0
    each = worst.price.worst_output(worst.input_tokens)
    return worst.price.worst_input(worst.input_tokens) + reply_tokens * each
