"""OpenTelemetry: a span for each agent, model call and tool call of a run, and metrics, by the GenAI semantic conventions.

    from delegator import telemetry

    telemetry.instrument()                # every run of this process from now on, to the providers that the process has
    answer = delegator.ask("What is RLHF?")

What anybody wrote (questions, prompts, replies, findings, names of documents) is left out unless it is asked for. This is the only
package that imports `opentelemetry`; it needs the extra `otel`.
"""

import os
from types import TracebackType
from typing import Self

from delegator.errors import ConfigError
from delegator.tracing import Tracing, follow

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PROPAGATE_VARIABLE = "DELEGATOR_OTEL_PROPAGATE"
_ON = frozenset({"true", "1", "span_only", "span_and_event"})
MISSING = "telemetry needs the extra otel, which is not installed"
INSTALL = "pip install 'delegator[otel]'"

__all__ = ["Instrumented", "instrument"]


class Instrumented:
    """Telemetry that is on, until `stop()` or the end of a `with` block."""

    def __init__(self, before: Tracing) -> None:
        self._before: Tracing | None = before

    def stop(self) -> None:
        """Runs that are set up from now on are followed by whoever followed them before."""
        if self._before is not None:
            follow(self._before)
            self._before = None

    def __enter__(self) -> Self:
        """It is on already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def instrument(
    *,
    tracer_provider: object = None,
    meter_provider: object = None,
    content: bool | None = None,
    chat: bool | None = None,
    propagate: bool | None = None,
) -> Instrumented:
    """Follow every run that this process sets up from now on.

    Args:
        tracer_provider: Where spans go; the process's own provider if none is given.
        meter_provider: Where metrics go; likewise.
        content: Whether spans hold what was said. By default what OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says.
        chat: Whether model calls get spans and metrics of ours. By default they do, except where the SDK makes the span; say no
            where other instrumentation of the SDK makes both.
        propagate: Whether the model server is told which trace a call is part of (`traceparent`). By default what
            DELEGATOR_OTEL_PROPAGATE says, and if that says nothing, no.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        from delegator.telemetry.spans import Spans  # noqa: PLC0415 - only when used
    except ImportError as error:
        raise ConfigError(MISSING, hint=INSTALL) from error
    return Instrumented(
        follow(
            Spans(
                tracer_provider,
                meter_provider,
                content=_said(CONTENT_VARIABLE) if content is None else content,
                chat=chat,
                propagate=_said(PROPAGATE_VARIABLE) if propagate is None else propagate,
            )
        )
    )


def _said(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in _ON
