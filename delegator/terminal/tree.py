"""The live tree: who works on what, redrawn in place.

    ⠹ orchestrator  waiting for 2 subagents · 4 calls · 1.2k tokens · 5 s
    ├─ ✓ D1 researcher  What is RLHF?
    │  │ 2 calls · 400 tokens · 3.1 s
    │  └─ ⠹ D3 critic  thinking · 1 s
    └─ ⠹ D2 researcher  How does RLHF compare with DPO?
         thinking over “RLHF DPO” · 1 call · 300 tokens · 4 s

No line is ever wider than the terminal, and while agents work there are never more lines than it has.
"""

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from delegator.events import Event, Noticed
from delegator.outcome import Outcome
from delegator.sanitize import one_line
from delegator.terminal import streams
from delegator.terminal.board import TOP, Board, Row

REFRESH_SECONDS = 0.1
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {
    Outcome.COMPLETE: ("✓", "green"),
    Outcome.CANCELLED: ("–", "yellow"),
    Outcome.PARTIAL: ("~", "yellow"),
    Outcome.BUDGET: ("~", "yellow"),
    Outcome.TIMEOUT: ("~", "yellow"),
    Outcome.NEEDS_REVIEW: ("?", "yellow"),
}
_BAD = ("✗", "red")


def frame(board: Board, width: int, height: int | None = None) -> list[Text]:
    """The tree as lines of at most `width` columns, and at most `height` of them."""
    groups = [list(_group(board, row, width)) for row in board.about("")]
    ended = [_ended(board, row) for row in board.about("")]
    hidden = 0
    while height is not None and sum(map(len, groups)) + 1 + (hidden > 0) > height and groups:
        gone = ended.index(True) if True in ended else len(ended) - 1
        del groups[gone], ended[gone]
        hidden += 1
    top = board.total
    lines = [_fitted(_head(top), top.note, board.figures(top), width)]
    if hidden:
        groups.append([_clipped(Text(f"{hidden} more", style="dim"), width - 3)])
    for i, group in enumerate(groups):
        first, rest = ("└─ ", "   ") if i == len(groups) - 1 else ("├─ ", "│  ")
        lines += [
            Text.assemble((rest if j else first, "dim"), line) for j, line in enumerate(group)
        ]
    return lines


def _group(board: Board, row: Row, width: int) -> Iterator[Text]:
    """A finding in two lines, and one line for each review or revision of it."""
    room = width - 3
    children = list(board.about(row.id))
    head = _head(row)
    head.append("  " + one_line(row.task, 200))
    yield _clipped(head, room)
    guide = ("│ " if children else "  ", "dim")
    yield Text.assemble(guide, _fitted(Text(), row.note, board.figures(row), room - 2))
    for i, child in enumerate(children):
        yield from _descendants(board, child, room, last=i == len(children) - 1)


def _descendants(board: Board, row: Row, width: int, *, last: bool) -> Iterator[Text]:
    room = width - 3
    line = _fitted(_head(row), row.note, board.figures(row), room)
    yield Text.assemble(("└─ " if last else "├─ ", "dim"), line)
    children = list(board.about(row.id))
    for i, child in enumerate(children):
        for below in _descendants(board, child, room, last=i == len(children) - 1):
            yield Text.assemble(("   " if last else "│  ", "dim"), below)


def _ended(board: Board, row: Row) -> bool:
    return row.outcome is not None and all(_ended(board, child) for child in board.about(row.id))


def _head(row: Row) -> Text:
    mark, style = _mark(row)
    name = TOP if row.id == TOP else one_line(f"{row.id} {row.name}", 40)
    return Text.assemble((mark, style), " ", (name, "bold"))


def _mark(row: Row) -> tuple[str, str]:
    if row.outcome is None:
        return _SPINNER[int(time.monotonic() / REFRESH_SECONDS) % len(_SPINNER)], "cyan"
    return _MARKS.get(row.outcome, _BAD)


def _fitted(head: Text, note: str, figures: list[str], width: int) -> Text:
    """Head, note and figures in one line. What does not fit: first some figures go, then the end of the note."""
    note, gap = one_line(note, 200), "  " if head.plain else ""
    room = width - cell_len(head.plain) - len(gap)
    while len(figures) > 1 and cell_len(_joined(note, figures)) > room:
        figures = figures[1:]
    if note:
        note = _shortened(note, room - len(_joined("", figures)) - len(" · "))
    line = Text.assemble(head, gap, note, " · " if note else "", (_joined("", figures), "dim"))
    return _clipped(line, width)


def _joined(note: str, figures: list[str]) -> str:
    return " · ".join([*([note] if note else []), *figures])


def _shortened(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, max(cells - 1, 0)) + "…"


def _clipped(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


class Painter:
    """Lines at the end of a terminal that are drawn over and over in the same place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn: list[int] = []
        """The width of every line that stands there."""

    def draw(self, lines: list[Text], width: int) -> None:
        """Put `lines` where the last ones were."""
        text = ansi(lines, width).replace("\n", "\x1b[K\n")
        self._write(self._up(width) + text + "\x1b[J")
        self._drawn = [cell_len(line.plain) for line in lines]

    def above(self, line: Text, width: int) -> None:
        """Print a line that stays, and make room for the next drawing below it."""
        self._write(self._up(width) + "\x1b[J" + ansi([line], width))
        self._drawn = []

    def forget(self) -> None:
        """What was drawn stays; the next drawing begins below."""
        self._drawn = []

    def _up(self, width: int) -> str:
        """Back to the first line. In a terminal made narrower since, the old lines take more rows."""
        rows = sum(max(-(-cells // width), 1) for cells in self._drawn)
        return f"\x1b[{rows}A\r" if rows else ""

    def _write(self, text: str) -> None:
        self._stream.write(f"\x1b[?25l{text}\x1b[?25h")
        self._stream.flush()


def ansi(lines: list[Text], width: int) -> str:
    """Lines as they go to a terminal of so many columns."""
    console = Console(
        file=io.StringIO(), width=width, height=100, force_terminal=True, color_system="standard",
        legacy_windows=False, highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    with console.capture() as captured:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    return captured.get()


class LiveView:
    """The tree of agents on a terminal, redrawn while they work; its last state stays."""

    def __init__(self, stream: TextIO) -> None:
        self.board = Board()
        self._stream = stream
        self._painter = Painter(stream)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state standing, whole, with an empty line below; nothing, if nothing has begun."""
        if self._timer is not None:
            self._timer.cancel()
        width, _height = streams.size(self._stream)
        last = [*frame(self.board, width), Text()] if self.board.rows else []
        self._painter.draw(last, width)

    def __call__(self, event: Event) -> None:
        """Follow one event; drawing happens at its own pace."""
        self.board.take(event)
        if isinstance(event.what, Noticed):
            width, _height = streams.size(self._stream)
            self._painter.above(Text(one_line(event.what.text), style="yellow"), width)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the screen to a question; draw on below it."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield
        finally:
            self._painter.forget()
            self._tick()

    def _tick(self) -> None:
        width, height = streams.size(self._stream)
        self._painter.draw(frame(self.board, width, height - 1), width)
        self._timer = asyncio.get_running_loop().call_later(REFRESH_SECONDS, self._tick)
