"""The terminal: a live tree of agents on stderr, plain progress lines where there is no terminal, answers as text.

Everything that did not come from this program is made printable before it is shown.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from delegator.answer import Answer, source_line
from delegator.budget import Usage
from delegator.events import (
    AgentStarted,
    DelegationFinished,
    DelegationStarted,
    Event,
    ModelCallFinished,
    ModelCallStarted,
    Noticed,
    Reminded,
    RunFinished,
    RunStarted,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from delegator.outcome import Outcome
from delegator.sanitize import for_terminal, one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_MARKS = {
    Outcome.COMPLETE: ("✓", "green"),
    Outcome.CANCELLED: ("–", "yellow"),
    Outcome.PARTIAL: ("~", "yellow"),
    Outcome.BUDGET: ("~", "yellow"),
    Outcome.TIMEOUT: ("~", "yellow"),
    Outcome.NEEDS_REVIEW: ("?", "yellow"),
}
_BAD = ("✗", "red")
REFRESH_SECONDS = 0.1


@dataclass(slots=True)
class Row:
    """An agent in the tree."""

    id: str
    name: str
    task: str = ""
    about: str = ""
    doing: str = "waiting"
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    outcome: Outcome | None = None
    verdict: str = ""

    @property
    def figures(self) -> str:
        """`3 calls · 2.1k tokens · 1.4 s`."""
        spent = self.seconds if self.seconds is not None else time.monotonic() - self.started
        parts = [f"{self.calls} call{'s' * (self.calls != 1)}"]
        if self.usage.total:
            parts.append(f"{count(self.usage.total)} tokens")
        return " · ".join([*parts, f"{spent:.1f} s"])


@dataclass(slots=True)
class Board:
    """What every agent is doing, kept up to date by events."""

    rows: dict[str, Row] = field(default_factory=dict)

    def take(self, event: Event) -> None:  # noqa: C901 - one flat match over what can happen
        """Follow one event."""
        row = self.rows.setdefault(event.agent, Row(event.agent, event.agent))
        match event.what:
            case AgentStarted():
                row.name, row.doing = event.what.name, "starting"
            case ModelCallStarted():
                row.doing = "thinking"
            case TextStreamed():
                row.doing = "writing"
            case ModelCallFinished():
                row.calls += 1
                row.usage += event.what.usage
            case ToolStarted():
                row.doing = _doing(event.what)
            case ToolFinished() if event.what.problem:
                row.doing = event.what.problem
            case Reminded():
                row.doing = f"asked to mend: {event.what.why}"
            case DelegationStarted():
                what = event.what
                self.rows[what.id] = Row(what.id, what.name, task=what.task, about=what.about)
            case DelegationFinished():
                self._finish(event.what)
            case RunFinished():
                row.outcome, row.doing = event.what.outcome, ""
                row.seconds = time.monotonic() - row.started
            case _:
                pass

    def _finish(self, what: DelegationFinished) -> None:
        row = self.rows[what.id]
        row.outcome, row.verdict, row.doing = what.outcome, what.verdict, ""
        row.seconds = what.receipt.seconds


def _doing(what: ToolStarted) -> str:
    if what.tool.startswith("delegate_to_"):
        return "waiting for subagents"
    words = {"search": "searching", "read": "reading"}.get(what.tool, what.tool)
    return f"{words} “{what.subject}”" if what.subject and what.tool != "read" else words


def count(number: int) -> str:
    """`950`, `12.3k`, `4.5M`."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


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
        """Leave the screen as it should stay."""

    def __call__(self, event: Event) -> None:
        """Show one event."""


class _Still:
    """A view with nothing to set up or to tidy away."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class QuietView(_Still):
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Let it pass."""


class LineView(_Still):
    """One plain line for what matters, for logs and pipes."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._verbose = verbose

    def __call__(self, event: Event) -> None:
        """Print the line of an event, if it has one."""
        line = _line(event) or (self._verbose and _verbose_line(event)) or ""
        if line:
            print(f"{event.at:7.2f}s  {line}", file=self._stream, flush=True)


def _line(event: Event) -> str:
    match event.what:
        case DelegationStarted(id=id, name=name, task=task, about=about):
            return f"{id} {name}{f' (on {about})' if about else ''}: {one_line(task)}"
        case DelegationFinished(id=id, outcome=outcome, verdict=verdict, receipt=receipt):
            return f"{id} {outcome}{f', {verdict}' if verdict else ''} ({receipt.seconds:.1f} s)"
        case Reminded(why=why):
            return f"{event.agent} asked to mend: {one_line(why)}"
        case Noticed(text=text):
            return one_line(text)
        case _:
            return ""


def _verbose_line(event: Event) -> str:
    match event.what:
        case RunStarted():
            return f"run {event.run} with {one_line(event.what.model)}"
        case ModelCallFinished():
            what = event.what
            tokens = f", {count(what.usage.total)} tokens" if what.usage.total else ""
            return f"{event.agent} call {what.n}: {what.stop}{tokens} ({what.seconds:.1f} s)"
        case ToolStarted():
            return f"{event.agent} {event.what.tool} {one_line(event.what.subject)}"
        case ToolFinished() if event.what.problem:
            return f"{event.agent} {event.what.tool}: {event.what.problem}"
        case _:
            return ""


class LiveView:
    """A tree of agents that is redrawn while they work."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live  # noqa: PLC0415 - only on a terminal

        self._board = Board()
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=1 / REFRESH_SECONDS,
            transient=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state standing."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Follow one event; drawing happens at its own pace."""
        self._board.take(event)

    def _render(self) -> "RenderableType":
        from rich.text import Text  # noqa: PLC0415 - only on a terminal
        from rich.tree import Tree  # noqa: PLC0415

        rows = dict(self._board.rows)
        top = rows.pop("orchestrator", None)
        tree = Tree(self._row(top) if top else Text("starting"), guide_style="dim")
        room = max(self._console.size.height - 4, 3)
        shown = list(rows.values())
        hidden = max(len(shown) - room, 0)
        if hidden:  # the newest are the ones at work
            shown = [row for row in shown if row.outcome is None][-room:] or shown[-room:]
            tree.add(Text(f"{len(rows) - len(shown)} more", style="dim"))
        for row in shown:
            tree.add(self._row(row))
        return tree

    def _row(self, row: Row) -> "RenderableType":
        from rich.text import Text  # noqa: PLC0415 - only on a terminal

        mark, style = ("·", "cyan") if row.outcome is None else _MARKS.get(row.outcome, _BAD)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{mark} ", style=style)
        name = row.name if row.id == row.name else f"{row.id} {row.name}"
        text.append(name, style="bold")
        text.append(f"  {row.figures}", style="dim")
        note = (
            row.doing
            or row.verdict
            or ("" if row.outcome is Outcome.COMPLETE else row.outcome or "")
        )
        if note:
            text.append(f"  {one_line(note, 80)}", style=style)
        if row.task and not row.about:
            text.append(f"  {one_line(row.task, 160)}", style="default")
        elif row.about and row.outcome is None:
            text.append(f"  on {row.about}", style="dim")
        return text


def view(*, quiet: bool = False, verbose: bool = False) -> View:
    """The view that fits stderr: a live tree on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return QuietView()
    if not live(sys.stderr):
        return LineView(sys.stderr, verbose=verbose)
    from rich.console import Console  # noqa: PLC0415 - only on a terminal

    return LiveView(Console(stderr=True, highlight=False, markup=False))


def live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can redraw."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def cost_line(answer: Answer) -> str:
    """`complete · 9 calls · 12.3k tokens · 4.2 s · 4 delegations`."""
    done = len(answer.delegations)
    parts = [answer.outcome.value.replace("_", " "), f"{answer.model_calls} calls"]
    if answer.usage.total:
        parts.append(f"{count(answer.usage.total)} tokens")
    return " · ".join([*parts, f"{answer.seconds:.1f} s", f"{done} delegation{'s' * (done != 1)}"])


def answer_text(answer: Answer) -> str:
    """The answer as it is printed: text, numbered sources, and what needs review, safe for a terminal."""
    blocks = [for_terminal(answer.text)]
    if answer.citations:
        blocks.append(
            "Sources\n" + "\n".join(for_terminal(source_line(c)) for c in answer.citations)
        )
    notes = [_flag(answer, id) for id in answer.flagged]
    if notes:
        blocks.append("Needs review\n" + "\n".join(notes))
    return "\n\n".join(blocks)


def _flag(answer: Answer, id: str) -> str:
    record = next(d for d in answer.delegations if d.id == id)
    review = record.review
    said = f" ({review.verdict}, {review.score}/5): {review.feedback}" if review else ""
    return one_line(f"{id} {record.task}{said}", 300)


def progress(stream: TextIO, *, quiet: bool) -> Callable[[int], Any]:
    """A counter of files for indexing, shown once it takes longer than a moment."""
    started = time.monotonic()

    def show(done: int) -> None:
        if not quiet and stream.isatty() and time.monotonic() - started > 1:
            print(f"\rindexing … {done:,} files", end="", file=stream, flush=True)

    return show
