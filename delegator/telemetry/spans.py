"""Spans: each opens and closes in the task in which its work is done, so whatever happens in there, ours or not, is its child.

A task that is cancelled leaves the span of its tool call open; it ends, as cancelled, with the agent that made the call.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from delegator import __version__
from delegator.events import (
    Decided,
    DelegationFinished,
    DelegationStarted,
    Event,
    Reminded,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from delegator.model import ModelEvent
from delegator.telemetry import attributes as at
from delegator.telemetry.chat import ModelCalls
from delegator.telemetry.metrics import Metrics
from delegator.tracing import ModelCall

NAME = "delegator"
_LOG = logging.getLogger(__name__)
_W3C = TraceContextTextMapPropagator()
_CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class _Open:
    """A span that has begun, and what it takes to end it."""

    key: str
    """Empty for a run; the id of a delegation; the name of a tool."""
    agent: str
    """Whose work it is, by name."""
    span: Span
    about: at.Attributes
    """What its metric says of it."""
    outer: "_Open | None"
    started: float = field(default_factory=time.perf_counter)
    failed: str = ""
    why: str = ""
    inside: "set[_Open]" = field(default_factory=set)
    attached: Token[Context] | None = None
    entered: "Token[_Open | None] | None" = None


_innermost: ContextVar[_Open | None] = ContextVar("delegator_span", default=None)


class Spans:
    """A `Tracing` that tells OpenTelemetry. One for any number of runs at the same time."""

    def __init__(
        self,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        *,
        content: bool = False,
        chat: bool | None = None,
        propagate: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer(NAME, __version__, tracer_provider)
        self._metrics = Metrics(metrics.get_meter(NAME, __version__, meter_provider))
        self._content = content
        self._chat = chat
        elsewhere = tracer_provider not in (None, trace.get_tracer_provider())
        self._calls = ModelCalls(
            self._tracer,
            self._metrics,
            own=bool(chat) or elsewhere,
            content=content,
            propagate=propagate,
        )
        self._hear: dict[type, Callable[[Event, Any], None]] = {
            RunStarted: self._run_started,
            RunFinished: self._run_finished,
            DelegationStarted: self._delegation_started,
            DelegationFinished: self._delegation_finished,
            ToolStarted: self._tool_started,
            ToolFinished: self._tool_finished,
            Decided: self._decided,
            Reminded: self._reminded,
        }

    @contextmanager
    def run(self, run: str, agent: str, earlier: str) -> Iterator[str]:
        """The span of a run: that of the agent that leads it. Gives its `traceparent`."""
        root = self._opened(
            f"{at.INVOKE_AGENT} {agent}",
            agent=agent,
            attributes={
                at.OPERATION: at.INVOKE_AGENT,
                at.AGENT_NAME: agent,
                at.AGENT_ID: "orchestrator",
                at.CONVERSATION: run,
            },
            links=_links(earlier),
        )
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        try:
            yield carrier.get("traceparent", "")
        except BaseException as error:
            root.failed = type(error).__name__
            raise
        finally:
            self._closed(root, self._metrics.agent)

    def heard(self, event: Event) -> None:
        """Take note of an event."""
        hear = self._hear.get(type(event.what))
        if hear is None:
            return
        try:
            hear(event, event.what)
        except Exception:  # noqa: BLE001 - a run never fails because somebody watches it
            _LOG.debug("could not follow %s", event.kind, exc_info=True)

    def asked(self, call: ModelCall) -> AsyncIterator[ModelEvent]:
        """Make a model call."""
        return self._calls.straight(call) if self._chat is False else self._calls.followed(call)

    def _run_started(self, _event: Event, what: RunStarted) -> None:
        root = _found("")
        if root is not None:
            root.span.set_attributes({at.LEVEL: what.level, at.REQUEST_MODEL: at.word(what.model)})
            self._say(root.span, at.INPUT_MESSAGES, "user", what.question)

    def _run_finished(self, _event: Event, what: RunFinished) -> None:
        root = _found("")
        if root is None:
            return
        answer, used = what.answer, what.answer["usage"]
        kinds = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        worth = answer["trust"]["label"]
        root.span.set_attributes(
            {
                at.OUTCOME: what.outcome.value,
                at.STOP: at.word(answer["stop"]),
                "delegator.label.integrity": worth["integrity"],
                "delegator.label.confidentiality": worth["confidentiality"],
                "delegator.run.tokens": sum(used[kind] for kind in kinds),
                "delegator.run.model_calls": used["model_calls"],
                "delegator.run.delegations": len(answer["delegations"]),
            }
        )
        if used["usd"] is not None:
            root.span.set_attribute("delegator.run.usd", used["usd"])
        self._say(root.span, at.OUTPUT_MESSAGES, "assistant", answer["answer"])
        root.failed = at.failure(what.outcome)

    def _delegation_started(self, event: Event, what: DelegationStarted) -> None:
        attributes = {
            at.OPERATION: at.INVOKE_AGENT,
            at.AGENT_NAME: what.name,
            at.AGENT_ID: what.id,
            at.CONVERSATION: event.run,
            **at.label(what.label),
        }
        if what.about:
            attributes["delegator.about"] = what.about
        name = f"{at.INVOKE_AGENT} {what.name}"
        opened = self._opened(name, key=what.id, agent=what.name, attributes=attributes)
        self._say(opened.span, at.INPUT_MESSAGES, "user", what.task)
        if self._content and what.source:
            opened.span.set_attribute("delegator.source", at.word(what.source))

    def _delegation_finished(self, _event: Event, what: DelegationFinished) -> None:
        opened = _found(what.id)
        if opened is None:
            return
        opened.span.set_attributes(
            {
                at.OUTCOME: what.outcome.value,
                **at.receipt(what.receipt.to_json()),
                **at.usage(what.receipt.usage),
                **at.label(what.label),
            }
        )
        if what.verdict:
            opened.span.set_attribute("delegator.verdict", at.word(what.verdict))
        opened.failed, opened.why = at.failure(what.outcome), what.problem
        self._closed(opened, self._metrics.agent)

    def _tool_started(self, event: Event, what: ToolStarted) -> None:
        outer = _innermost.get()
        agent = outer.agent if outer is not None else event.agent
        tool = at.word(what.tool)
        opened = self._opened(
            f"{at.EXECUTE_TOOL} {tool}",
            key=what.tool,
            agent=agent,
            attributes={
                at.OPERATION: at.EXECUTE_TOOL,
                at.TOOL_NAME: tool,
                at.TOOL_TYPE: "function",
                at.AGENT_NAME: agent,
                at.AGENT_ID: event.agent,
                at.CONVERSATION: event.run,
            },
        )
        if self._content:
            opened.span.set_attribute("delegator.tool.subject", at.word(what.subject))

    def _tool_finished(self, _event: Event, what: ToolFinished) -> None:
        opened = _found(what.tool)
        if opened is None:
            return
        opened.span.set_attributes(at.label(what.label))
        if what.removed:
            opened.span.set_attribute("delegator.removed_characters", what.removed)
        opened.failed, opened.why = ("tool_error" if what.problem else ""), what.problem
        self._closed(opened, self._metrics.tool)

    def _decided(self, _event: Event, what: Decided) -> None:
        decided: at.Attributes = {
            at.TOOL_NAME: at.word(what.tool),
            "delegator.decision": what.decision,
            "delegator.rule": what.rule,
            **at.label(what.label),
        }
        trace.get_current_span().add_event("delegator.decided", decided)

    def _reminded(self, _event: Event, what: Reminded) -> None:
        why = {"delegator.why": at.word(what.why)}
        trace.get_current_span().add_event("delegator.reminded", why)

    def _say(self, span: Span, name: str, role: str, words: str) -> None:
        """Some words as an attribute, if content is wanted."""
        if self._content:
            span.set_attribute(name, at.content(at.spoken(role, words)))

    def _opened(
        self,
        name: str,
        *,
        agent: str,
        attributes: at.Attributes,
        key: str = "",
        links: tuple[Link, ...] = (),
    ) -> _Open:
        """A span inside of what is open in this task, and the current one from now on."""
        span = self._tracer.start_span(name, attributes=attributes, links=links)
        about = {
            name: attributes[name]
            for name in (at.OPERATION, at.AGENT_NAME, at.TOOL_NAME, at.TOOL_TYPE)
            if name in attributes
        }
        outer = _innermost.get()
        opened = _Open(key=key, agent=agent, span=span, about=about, outer=outer)
        if outer is not None:
            outer.inside.add(opened)
        opened.attached = context.attach(trace.set_span_in_context(span))
        opened.entered = _innermost.set(opened)
        return opened

    def _closed(
        self, opened: _Open, measured: Callable[[float, at.Attributes, Context | None], None]
    ) -> None:
        """End a span in the task that opened it, and what cancelled tasks left open inside of it."""
        _end(opened)
        if opened.failed:
            opened.about[at.ERROR_TYPE] = opened.failed
        measured(time.perf_counter() - opened.started, opened.about, context.get_current())
        if opened.attached is not None and opened.entered is not None:
            context.detach(opened.attached)
            _innermost.reset(opened.entered)
        if opened.outer is not None:
            opened.outer.inside.discard(opened)


def _found(key: str) -> _Open | None:
    """The innermost open span, if it is the one that is meant."""
    opened = _innermost.get()
    return opened if opened is not None and opened.key == key else None


def _end(opened: _Open) -> None:
    for left in opened.inside:
        left.failed = _CANCELLED
        _end(left)
    if opened.failed:
        opened.span.set_attribute(at.ERROR_TYPE, opened.failed)
        opened.span.set_status(Status(StatusCode.ERROR, at.word(opened.why) or None))
    opened.span.end()


def _links(earlier: str) -> tuple[Link, ...]:
    """A link to where a run was before."""
    found = trace.get_current_span(_W3C.extract({"traceparent": earlier}, Context()))
    where = found.get_span_context()
    return (Link(where, {"delegator.link": "earlier"}),) if where.is_valid else ()
