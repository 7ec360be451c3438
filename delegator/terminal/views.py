"""Views: who watches a run. A live tree on a terminal, plain lines elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol, Self

from delegator.events import (
    Decided,
    DelegationFinished,
    DelegationStarted,
    Event,
    ModelCallFinished,
    ModelCallRetried,
    Noticed,
    Reminded,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from delegator.sanitize import one_line
from delegator.terminal import streams
from delegator.terminal.board import counted, retried, short

LONGEST_LINE = 200
PATIENCE_SECONDS = 1.0


class View(Protocol):
    """Someone who watches a run."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""

    def paused(self) -> AbstractContextManager[None]:
        """Keep off the screen while a person is asked something."""


class QuietView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def __call__(self, event: Event) -> None:
        """Let it pass."""

    def paused(self) -> AbstractContextManager[None]:
        """Nothing to keep off."""
        return nullcontext()


class LineView(QuietView):
    """One plain line for what matters, for logs and pipes."""

    def __init__(self, *, verbose: bool = False, say: Callable[[str], None] = streams.say) -> None:
        self._verbose = verbose
        self._say = say

    def __exit__(self, *_: object) -> None:
        """Set the lines apart from the answer, where both are seen together."""
        if sys.stderr.isatty():
            self._say("")

    def __call__(self, event: Event) -> None:
        """Print the line of an event, if it has one."""
        line = _line(event) or (_verbose_line(event) if self._verbose else "")
        if line:
            width = streams.size(sys.stderr)[0] if sys.stderr.isatty() else LONGEST_LINE
            head = f"{event.at:7.2f}s  "
            self._say(head + one_line(line, width - len(head)))


def _line(event: Event) -> str:
    match event.what:
        case DelegationStarted(id=id, name=name, task=task, about=about, source=source):
            on = f" (on {about})" if about else f" (reads {source})" if source else ""
            return f"{id} {name}{on}: {task}"
        case DelegationFinished(id=id, outcome=outcome, verdict=verdict, receipt=receipt):
            return f"{id} {outcome}{f', {verdict}' if verdict else ''} ({receipt.seconds:.1f} s)"
        case Noticed(text=text):
            return text
        case _:
            trouble = _trouble(event)
            return f"{event.agent} {trouble}" if trouble else ""


def _trouble(event: Event) -> str:
    """What an agent had to put up with."""
    match event.what:
        case ModelCallRetried(fault=fault, seconds=seconds):
            return retried(fault, seconds)
        case Reminded(why=why):
            return f"asked to mend: {why}"
        case Decided(tool=tool, decision=decision, rule=rule) if decision != "allowed":
            return f"{tool}: {decision} ({rule})"
        case _:
            return ""


def _verbose_line(event: Event) -> str:
    match event.what:
        case RunStarted(model=model, level=level):
            return f"run {event.run} with {model} at level {level}"
        case ModelCallFinished(n=n, stop=stop, usage=usage, seconds=seconds):
            tokens = f", {short(usage.total)} tokens" if usage.total else ""
            return f"{event.agent} call {n}: {stop}{tokens} ({seconds:.1f} s)"
        case ToolStarted(tool=tool, subject=subject):
            return f"{event.agent} {tool} {subject}"
        case ToolFinished(tool=tool, problem=problem, removed=removed) if problem or removed:
            said = problem or f"{counted(removed, 'invisible character')} taken out"
            return f"{event.agent} {tool}: {said}"
        case _:
            return ""


def view(*, quiet: bool = False, verbose: bool = False) -> View:
    """The view that fits: nothing when quiet, a live tree on a terminal, and lines elsewhere or when every step is wanted."""
    if quiet:
        return QuietView()
    if verbose or not streams.is_styled(sys.stderr):
        return LineView(verbose=verbose)
    from delegator.terminal.tree import LiveView  # noqa: PLC0415 - imports rich

    return LiveView(sys.stderr)


class Progress:
    """A counter of files for indexing, on a terminal, once it takes longer than a moment."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = ""
        self._quiet = quiet or not sys.stderr.isatty()
        self._started = time.monotonic()

    def __call__(self, done: int) -> None:
        """So many files have been looked at."""
        if not self._quiet and time.monotonic() - self._started > PATIENCE_SECONDS:
            self._write(f"indexing … {done:,} files")

    def end(self) -> None:
        """Take the counter away."""
        if self._shown:
            self._write(" " * len(self._shown))
            self._write("")

    def _write(self, text: str) -> None:
        self._shown = text
        print(f"\r{text}", end="", file=sys.stderr, flush=True)  # noqa: T201 - over itself
