"""Model calls: one `chat` span for each, with all its attempts.

The span is current only while the model works, never while whoever asked does: what starts in between is no child of it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from delegator.budget import NANO, Usage
from delegator.errors import ModelError
from delegator.model import Begun, ModelEvent, Reply, Request, Retrying
from delegator.telemetry import attributes as at
from delegator.telemetry.metrics import Metrics
from delegator.tracing import ModelCall

_W3C = TraceContextTextMapPropagator()


@dataclass(slots=True)
class _Heard:
    """What a model has said so far."""

    started: float = field(default_factory=time.perf_counter)
    first: float | None = None
    """Seconds until the first event."""
    begun: Begun | None = None
    reply: Reply | None = None
    failed: str = ""

    def note(self, event: ModelEvent, span: Span) -> None:
        if isinstance(event, Retrying):
            pause = {at.ERROR_TYPE: event.fault.value, "delegator.pause": event.seconds}
            span.add_event("delegator.retry", pause)
            return
        if self.first is None:
            self.first = time.perf_counter() - self.started
        if isinstance(event, Begun):
            self.begun = event
        elif isinstance(event, Reply):
            self.reply = event

    @property
    def used(self) -> Usage:
        if self.reply is not None:
            return self.reply.usage
        return self.begun.owed if self.begun is not None else Usage()


class ModelCalls:
    """Follows model calls. `own` says whether spans are made where the SDK makes its own: they go to the process's provider."""

    def __init__(
        self, tracer: Tracer, metrics: Metrics, *, own: bool, content: bool, propagate: bool
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._own = own
        self._content = content
        self._propagate = propagate

    def straight(self, call: ModelCall) -> AsyncIterator[ModelEvent]:
        """Make a call that somebody else follows."""
        return call.model.stream(self._sent(call.request, context.get_current()))

    async def followed(self, call: ModelCall) -> AsyncIterator[ModelEvent]:
        """Make a call, and say how it went."""
        about = _about(call)
        span = self._span(call, about)
        inside = trace.set_span_in_context(span) if span.is_recording() else context.get_current()
        heard = _Heard()
        events = aiter(call.model.stream(self._sent(call.request, inside)))
        try:
            while True:
                token = context.attach(inside)
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    return
                finally:
                    context.detach(token)
                heard.note(event, span)
                yield event
        except BaseException as error:
            heard.failed = _failure(error, heard)
            raise
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()
            self._ended(call, heard, span, about, inside)

    def _span(self, call: ModelCall, about: at.Attributes) -> Span:
        """The span of a call, unless the SDK makes it."""
        if getattr(call.model, "traces", False) and not self._own:
            return trace.INVALID_SPAN
        request = call.request
        agent, _, n = request.key.rpartition("/")
        kind = SpanKind.CLIENT if at.SERVER_ADDRESS in about else SpanKind.INTERNAL
        held = call.reservation
        asked: at.Attributes = {
            **about,
            at.CONVERSATION: request.run,
            at.AGENT_NAME: request.agent,
            at.AGENT_ID: agent,
            at.MAX_TOKENS: request.max_tokens,
            at.STREAM: True,
            "delegator.call": int(n),
            "delegator.reserved.tokens": held.tokens,
        }
        if call.price is not None:
            asked["delegator.reserved.usd"] = held.nano / NANO
        span = self._tracer.start_span(
            f"{at.CHAT} {about[at.REQUEST_MODEL]}", kind=kind, attributes=asked
        )
        if self._content and span.is_recording():
            span.set_attribute(
                at.SYSTEM_INSTRUCTIONS, at.content([{"type": "text", "content": request.system}])
            )
            span.set_attribute(at.INPUT_MESSAGES, at.content(at.messages(request.messages)))
        return span

    def _sent(self, request: Request, inside: Context) -> Request:
        """The request, with its place in the trace where the server is to know it."""
        if not self._propagate:
            return request
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, inside)
        return replace(request, headers=tuple(carrier.items()))

    def _ended(
        self, call: ModelCall, heard: _Heard, span: Span, about: at.Attributes, inside: Context
    ) -> None:
        seconds, usd = time.perf_counter() - heard.started, at.dollars(call.price, heard.used)
        told: at.Attributes = {}
        if heard.begun is not None and heard.begun.model:
            told[at.RESPONSE_MODEL] = at.word(heard.begun.model)
        self._metrics.used(heard.used, usd, {**about, **told}, inside)
        if heard.failed:
            told[at.ERROR_TYPE] = heard.failed
        self._metrics.call(seconds, heard.first, {**about, **told}, inside)
        if span.is_recording():
            self._finish(span, heard, usd, told)

    def _finish(self, span: Span, heard: _Heard, usd: float | None, about: at.Attributes) -> None:
        used = {"delegator.settled.tokens": heard.used.total}
        told: at.Attributes = {**about, **at.usage(heard.used), **used}
        if usd is not None:
            told["delegator.settled.usd"] = usd
        if heard.first is not None:
            told[at.FIRST_CHUNK] = heard.first
        if heard.begun is not None and heard.begun.id:
            told[at.RESPONSE_ID] = at.word(heard.begun.id)
        if heard.reply is not None:
            told[at.FINISH_REASONS] = [at.word(heard.reply.name)]
            if self._content:
                said = at.reply(heard.reply.content, heard.reply.name)
                told[at.OUTPUT_MESSAGES] = at.content(said)
        span.set_attributes(told)
        if heard.failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _about(call: ModelCall) -> at.Attributes:
    """What spans and metrics of a call have in common."""
    model = call.model
    return {
        at.OPERATION: at.CHAT,
        at.PROVIDER: getattr(model, "provider", "") or type(model).__name__.lower(),
        at.REQUEST_MODEL: at.word(call.request.model or model.id),
        **at.server(getattr(model, "address", "")),
    }


def _failure(error: BaseException, heard: _Heard) -> str:
    match error:
        case ModelError(fault=fault):
            return fault.value
        case asyncio.CancelledError() | GeneratorExit():
            return "" if heard.reply is not None else "cancelled"
        case _:
            return type(error).__name__
