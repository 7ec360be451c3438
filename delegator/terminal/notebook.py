"""The tree of agents below the cell of a notebook, kept up to date by events. Without a notebook there is nobody to show it to."""

import io
import sys
import time
from collections.abc import Callable
from importlib import import_module

from delegator.errors import ConfigError
from delegator.events import Event, RunFinished
from delegator.terminal.board import Board

REFRESH_SECONDS = 0.2
WIDTH = 100
"""Columns; a notebook scrolls what is wider than its page."""


def notebook() -> Callable[[Event], None]:
    """Something to watch a run with: `delegator.ask(question, on_event=delegator.notebook())`. Call it in the cell that shows it.

    Raises:
        ConfigError: This is no notebook.
    """
    if not _is_notebook():
        raise ConfigError(
            "this is no notebook", hint="Leave on_event=delegator.notebook() out elsewhere."
        )
    board = Board()
    shown = import_module("IPython.display").display(_drawn(board), display_id=True)
    drawn_at = time.monotonic()

    def watch(event: Event) -> None:
        nonlocal drawn_at
        board.take(event)
        now = time.monotonic()
        if isinstance(event.what, RunFinished) or now - drawn_at > REFRESH_SECONDS:
            drawn_at = now
            shown.update(_drawn(board))

    return watch


def _is_notebook() -> bool:
    """Whether a kernel runs this: then IPython has been imported."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _drawn(board: Board) -> object:
    """The tree as HTML, encoded by rich, and as text for what shows no HTML."""
    from rich.console import Console  # noqa: PLC0415
    from rich.jupyter import JupyterRenderable  # noqa: PLC0415

    from delegator.terminal.tree import frame  # noqa: PLC0415

    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, force_jupyter=False,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    for line in frame(board, WIDTH) if board.rows else ():
        console.print(line, no_wrap=True, crop=True)
    text = console.export_text(clear=False)
    html = console.export_html(inline_styles=True, code_format=_PAGE)
    return JupyterRenderable(html, text)


_PAGE = '<pre style="line-height:normal;font-family:monospace">{code}</pre>'
