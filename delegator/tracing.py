"""The seam to telemetry: who follows a run hears each event where it happens, and stands around every model call.

Nothing follows a run unless it is asked to, and this module knows of no telemetry: `delegator.telemetry` does.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from delegator.budget import Price, Reservation
from delegator.events import Event
from delegator.model import Model, ModelEvent, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model call that is about to be made, and what is held for it."""

    model: Model
    request: Request
    reservation: Reservation
    price: Price | None


class Tracing(Protocol):
    """Follows runs. It never raises, and changes nothing about what it follows."""

    def run(self, run: str, agent: str, earlier: str) -> AbstractContextManager[str]:
        """Follow a run, led by `agent`, until the block ends; `earlier` is what this gave for it before, if it goes on.

        Gives the place of the run in its trace, as a W3C `traceparent`, or nothing.
        """

    def heard(self, event: Event) -> None:
        """Take note of an event. Called in the task in which it happens."""

    def asked(self, call: ModelCall) -> AsyncIterator[ModelEvent]:
        """Make a model call: what `call.model.stream(call.request)` gives."""


class Untraced:
    """Follows nothing."""

    def run(self, run: str, agent: str, earlier: str) -> AbstractContextManager[str]:  # noqa: ARG002
        """Nothing to follow."""
        return nullcontext("")

    def heard(self, event: Event) -> None:
        """Let it pass."""

    def asked(self, call: ModelCall) -> AsyncIterator[ModelEvent]:
        """Make the call."""
        return call.model.stream(call.request)


_following: Tracing = Untraced()


def following() -> Tracing:
    """Who follows the runs of this process."""
    return _following


def follow(tracing: Tracing) -> Tracing:
    """Have `tracing` follow every run that is set up from now on, in the whole process; who did before."""
    global _following  # one for the process, as OpenTelemetry's own providers are
    before, _following = _following, tracing
    return before
