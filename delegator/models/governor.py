"""The governor: one for each server in a process. It paces all agents of all runs together, so that no storm of retries starts.

It lets everything through until a server objects. Then as many calls run at once as the server has shown to bear: half of what was
under way after a refusal, one more for each round of answers. Pauses that a server asks for hold for everybody.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from delegator.errors import Fault, ModelError

ATTEMPTS = 5
"""How often one call is made at most."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, where the server names no pause of its own."""
FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""
_UNHINDERED = 1 << 20
_TRANSIENT = frozenset(
    {Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.SERVER, Fault.UNREACHABLE, Fault.CUT}
)
_OBJECTIONS = frozenset({Fault.RATE_LIMITED, Fault.OVERLOADED})
_LEFT = "anthropic-ratelimit-{}-remaining"
_RESET = "anthropic-ratelimit-{}-reset"
_COUNTED = ("requests", "tokens", "input-tokens", "output-tokens")


@dataclass(order=True, slots=True)
class _Waiting:
    """A call in the queue: the most urgent first, then the run that has least under way, then who came first."""

    priority: int
    share: int
    number: int
    run: str = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)


@dataclass(slots=True)
class Governor:
    """Paces the calls to one server. Make it in the event loop that uses it."""

    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    """From 0 to 1: spreads out what would otherwise happen at once."""
    limit: float = _UNHINDERED
    """How many calls may be under way at once."""
    not_before: float = 0.0
    """When the next call may start, by the clock."""
    _under_way: Counter[str] = field(default_factory=Counter)
    _queue: list[_Waiting] = field(default_factory=list)
    _number: int = 0
    _timer: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """Calls that are being answered."""
        return self._under_way.total()

    @property
    def pause(self) -> float:
        """Seconds until the next call may start."""
        return max(self.not_before - self.clock(), 0.0)

    @asynccontextmanager
    async def slot(self, *, priority: int, run: str) -> AsyncIterator[None]:
        """A place among the calls that are under way; waits for one if need be."""
        if self._queue or not self._open():
            await self._queued(priority, run)
        else:
            self._under_way[run] += 1
        try:
            yield
        finally:
            self._under_way[run] -= 1
            if not self._under_way[run]:
                del self._under_way[run]
            self._serve()

    def answered(self, headers: Mapping[str, str]) -> None:
        """A server has taken a request. What it says about its limits is heeded."""
        if self.limit < _UNHINDERED:
            self.limit += 1 / max(self.limit, 1)
        for counted in _COUNTED:
            left = headers.get(_LEFT.format(counted))
            if left is not None and left.isdecimal() and int(left) == 0:
                self._hold(_seconds_until(headers.get(_RESET.format(counted), "")))

    def failed(self, error: ModelError, attempt: int) -> float | None:
        """Seconds to wait before the call is made again; `None` if that is no use."""
        if error.fault in _OBJECTIONS:
            self.limit = max(min(self.limit, self.under_way) / 2, 1)
        if error.fault not in _TRANSIENT or attempt >= ATTEMPTS:
            return None
        if error.retry_after is not None:
            self._hold(error.retry_after)
            return error.retry_after * (1 + 0.1 * self.chance())
        pause: float = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
        return pause * (0.5 + 0.5 * self.chance())

    def _hold(self, seconds: float) -> None:
        self.not_before = max(self.not_before, self.clock() + seconds)

    def _open(self) -> bool:
        return self.under_way < int(self.limit) and self.clock() >= self.not_before

    async def _queued(self, priority: int, run: str) -> None:
        self._number += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(priority, 0, self._number, run, turn)
        self._queue.append(waiting)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had its place already
                self._under_way[run] -= 1
            else:
                self._queue.remove(waiting)
            self._serve()
            raise

    def _serve(self) -> None:
        """Let in whoever may come in now; come back when a pause is over."""
        while self._queue and self._open():
            for waiting in self._queue:
                waiting.share = self._under_way[waiting.run]
            first = min(self._queue)
            self._queue.remove(first)
            self._under_way[first.run] += 1
            first.turn.set_result(None)
        pause = self.not_before - self.clock()
        if self._queue and pause > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(pause, self._over)

    def _over(self) -> None:
        self._timer = None
        self._serve()


def _seconds_until(moment: str) -> float:
    """Seconds until a moment that a server names; none if it is past, or no moment."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    aware = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause that a server asks for, in seconds; `None` if it asks for none that makes sense."""
    for name, unit in (("retry-after-ms", 1_000), ("retry-after", 1)):
        seconds = _asked(headers.get(name, ""))
        if seconds is not None and 0 <= seconds / unit < 24 * 3600:
            return seconds / unit
    return None


def _asked(asked: str) -> float | None:
    """Seconds, or how far off a date is."""
    with suppress(ValueError):
        return float(asked)
    with suppress(ValueError):
        then = parsedate_to_datetime(asked)
        return _seconds_until(then.isoformat())
    return None
