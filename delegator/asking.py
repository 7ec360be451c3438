"""Asking the model: one call, from the budget past the guard to the reply, whatever the server makes of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from delegator.budget import NANO, Budget, Price, Reservation, Usage, Worst
from delegator.calls import Surroundings
from delegator.entries import Paid, PastCall
from delegator.errors import Fault, ModelError
from delegator.events import ModelCallFinished, ModelCallRetried, ModelCallStarted, TextStreamed
from delegator.messages import Message, ToolUse
from delegator.model import Begun, CountsTokens, Reply, Request, Retrying, TextDelta, ToolUseReady
from delegator.outcome import Watch
from delegator.sizing import PromptSize
from delegator.tools import Tool
from delegator.tracing import ModelCall
from delegator.trimming import trimmed

DEFAULT_REPLY_TOKENS = 4_000
FINAL_REPLY = 600
"""Output tokens that are kept back for a last turn."""
COUNT_MARGIN = 1.02
"""How far a server's count of a prompt may be off."""
LONG_SILENCE = 30.0
"""Seconds after which a server that says nothing is to blame for a loop whose time is up."""
RESULT_ALLOWANCE = 800
"""Tokens that are kept back for a result that is still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who runs in a loop: fixed before it starts."""

    id: str
    """`orchestrator`, or the id of a delegation."""
    name: str
    system: str
    tools: Mapping[str, Tool]
    budget: Budget
    model: str = ""
    final_tool: str = ""
    """The tool whose call ends the loop, if it can be ended so."""
    lands_with: Budget | None = None
    """The budget in which enough is kept back for this loop's last turn, if it is not its own."""
    price: Price | None = None
    """What its model's tokens cost, if that is known."""
    priority: int = 0
    """Who is served first where calls have to wait; lower goes first."""
    context_tokens: int | None = None
    """About how long its prompt may grow before old results give way to references."""


@dataclass(slots=True)
class Asking:
    """The model calls of one loop, over the transcript that the loop keeps."""

    role: Role
    messages: list[Message]
    around: Surroundings
    watch: Watch
    _waits: Fault | None = None
    """What the server is to blame for, as long as it keeps a call of this loop waiting."""
    _heard: float = 0.0
    """When the server last said something, by the event loop's clock."""
    _size: PromptSize = field(init=False)

    def __post_init__(self) -> None:
        """Weigh what every prompt of the loop has in common."""
        role = self.role
        self._size = PromptSize(role.system, (tool.spec for tool in role.tools.values()))

    async def ask(self, n: int, start: Callable[[ToolUse], None]) -> Reply:
        """One model call, checked by the guard and paid from the budget; or what came of it, if it was made before.

        Raises:
            GuardTripped, LimitExceeded, ModelError: There is no reply.
            JournalError, NotTheSame: What was done can not be put, or is not what was put, on record.
            AsRecorded: It is on record that the loop ended here.
        """
        self._shorten()
        key, recording = f"{self.role.id}/{n}", self.around.recording
        for lost in recording.lost(key):
            self._pay(lost)
        if (known := recording.answered(key)) is not None:
            return self._again(known, n, start)
        recording.goes_on(self.role.id, key)
        return await self._anew(n, start)

    def _pay(self, call: PastCall) -> None:
        self.role.budget.charge(call.usage, self.role.price, below=self.around.recording.settled)
        self.watch.model_calls += 1
        self.watch.usage += call.usage

    def _again(self, known: PastCall, n: int, start: Callable[[ToolUse], None]) -> Reply:
        """The reply of a call that was made before."""
        role, emit = self.role, self.around.emit
        request = self._request(n, known.reply_tokens, last=known.last)
        self.around.guard(request)
        self.around.recording.check(known, request)
        emit(role.id, ModelCallStarted(n=n))
        self._pay(known)
        if known.reply is None:
            raise ModelError(known.fault or Fault.CUT)
        for block in known.reply.content:
            if isinstance(block, ToolUse):
                start(block)
        return self._counted(known.reply, n, 0.0)

    async def _anew(self, n: int, start: Callable[[ToolUse], None]) -> Reply:
        """A call that is made now."""
        role, emit = self.role, self.around.emit
        worst = await self._worst(n)
        last = n > 1 and self._landing(worst)
        landing = self._lander if last else None
        async with role.budget.model_call(
            worst, landing=landing, priority=role.priority
        ) as reservation:
            last = last or (n > 1 and role.budget.calls_left == 0)
            request = self._request(n, reservation.reply_tokens, last=last)
            self.around.guard(request)
            emit(role.id, ModelCallStarted(n=n))
            self.watch.model_calls += 1
            started = time.monotonic()
            try:
                reply = await self._recorded(request, worst, reservation, start)
            finally:
                self.watch.usage += reservation.used
        return self._counted(reply, n, time.monotonic() - started)

    def _counted(self, reply: Reply, n: int, seconds: float) -> Reply:
        self._size.answered(reply.usage, len(self.messages))
        finished = ModelCallFinished(
            n=n,
            stop=reply.name,
            usage=reply.usage,
            seconds=seconds,
            usd=self._usd(reply.usage),
        )
        self.around.emit(self.role.id, finished)
        return reply

    def _usd(self, usage: Usage) -> float | None:
        price = self.role.price
        return price.cost(usage) / NANO if price else None

    async def _recorded(
        self,
        request: Request,
        worst: Worst,
        reservation: Reservation,
        start: Callable[[ToolUse], None],
    ) -> Reply:
        """A call that is on record before it is made, and again when it is over."""
        recording = self.around.recording
        most = Usage(input_tokens=worst.input_tokens, output_tokens=reservation.reply_tokens)
        opened = await recording.open(request, most if self.around.counts else Usage())
        reply, fault, started = None, None, time.monotonic()
        try:
            reply = await self._stream(request, reservation, start)
        except ModelError as error:
            fault = error.fault
            raise
        finally:
            seconds = time.monotonic() - started
            used = reservation.used
            paid = Paid(usage=used, usd=self._usd(used), seconds=seconds)
            recording.close(opened, paid, reply, fault)
        return reply

    async def _stream(
        self, request: Request, reservation: Reservation, start: Callable[[ToolUse], None]
    ) -> Reply:
        """The reply to a request; what it costs is settled, however it ends.

        Raises:
            ModelError: There is none.
        """
        emit, clock = self.around.emit, asyncio.get_running_loop().time
        call = ModelCall(
            model=self.around.model,
            request=request,
            reservation=reservation,
            price=self.role.price,
        )
        begun: Begun | None = None
        reply: Reply | None = None
        self._waits, self._heard = Fault.SILENT, clock()
        try:
            async for event in self.around.tracing.asked(call):
                self._heard = clock()
                match event:
                    case Begun():
                        begun, self._waits = event, Fault.SILENT
                    case Retrying():
                        self._waits = event.fault
                        retried = ModelCallRetried(fault=event.fault.value, seconds=event.seconds)
                        emit(self.role.id, retried)
                    case TextDelta():
                        emit(self.role.id, TextStreamed(text=event.text))
                    case ToolUseReady():
                        start(event.call)
                    case Reply():
                        reply, begun, self._waits = event, None, None
                        reservation.settle(reply.usage)
        finally:
            if begun is not None:
                reservation.settle(begun.owed)
        if reply is None:
            raise ModelError(Fault.CUT)
        return reply

    def kept_waiting(self) -> ModelError | None:
        """What a server did to a loop whose time is up, if it was the server: it let half of the time pass, or much of it."""
        allowed = [node.limits.seconds for node in self.role.budget.lineage]
        half = min((s for s in allowed if s is not None), default=0.0) / 2
        silent = asyncio.get_running_loop().time() - self._heard
        if self._waits is None or silent < min(half, LONG_SILENCE):
            return None
        return ModelError(self._waits)

    def _request(self, n: int, reply_tokens: int, *, last: bool = False) -> Request:
        role = self.role
        return Request(
            key=f"{role.id}/{n}",
            agent=role.name,
            model=role.model,
            system=role.system,
            messages=tuple(self.messages),
            tools=tuple(tool.spec for tool in role.tools.values()),
            max_tokens=reply_tokens,
            last=last,
            final_tool=role.final_tool,
            run=self.around.emit.run,
            priority=role.priority,
            patience=role.budget.seconds_left,
        )

    def _shorten(self) -> None:
        """Where the transcript has grown too long, older results give way to references."""
        most = self.role.context_tokens
        if most is not None and self._size.length(self.messages) > most:
            self.messages[:] = trimmed(self.messages, self.around.fence)
            self._size.forget()

    async def _worst(self, n: int) -> Worst:
        """What the next call may use at worst. Where the bound by bytes does not fit, the server is asked for its count."""
        role, model = self.role, self.around.model
        wanted = role.budget.reply_tokens or DEFAULT_REPLY_TOKENS
        known = self.around.recording.bound(f"{role.id}/{n}")
        bound = self._size.bound(self.messages) if known is None else known
        bound = bound if self.around.counts else 0
        worst = Worst(input_tokens=bound, reply_tokens=wanted, price=role.price)
        if bound and isinstance(model, CountsTokens) and not role.budget.affords(worst):
            request = self._request(n, wanted)
            self.around.guard(request)
            counted = await model.count_tokens(request)
            if counted is not None:
                exact = int(counted * COUNT_MARGIN) + 1
                return replace(worst, input_tokens=min(bound, exact))
        return worst

    @property
    def _lander(self) -> Budget:
        """Where enough is kept back for this loop's last turn."""
        return self.role.lands_with or self.role.budget

    def _landing(self, worst: Worst) -> bool:
        """Whether so little is left that the next reply should be the last."""
        budget = self.role.budget
        return self._lander.late or not budget.affords(worst)

    def keep_back(self, calls: int) -> None:
        """Keep enough for a last turn, after so many results that are still to come."""
        if not self.around.counts:
            return
        prompt = self._size.guess(self.messages) + calls * RESULT_ALLOWANCE
        final = Usage(input_tokens=prompt, output_tokens=FINAL_REPLY)
        self._lander.keep(final.total, self.role.price.cost(final) if self.role.price else 0)
