"""A person at a terminal: a prompt with editing and history, and the live tree above it while a run goes on.

What is typed when a run ends stays at the next prompt. Nothing is printed past the prompt: it makes room first.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText
from prompt_toolkit.layout import ConditionalContainer, HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from delegator.events import Event, Noticed
from delegator.repl.editing import completer, history, keys
from delegator.repl.lines import PROMPT, Reader
from delegator.sanitize import one_line
from delegator.terminal import streams
from delegator.terminal.board import Board
from delegator.terminal.tree import REFRESH_SECONDS, ansi, frame
from delegator.terminal.views import LineView, QuietView, View, view

_ERASED = "\x1b[2K"
_LEAST_LINES = 3
"""Lines of the tree, however much is typed."""


class Person(Reader):
    """A person at a terminal."""

    answers = interjects = True

    def __init__(self, screen: TextIO, home: Path | None) -> None:
        self.board: Board | None = None
        """What is drawn above the prompt."""
        self._screen = screen
        self._draft = Document()
        self._session: PromptSession[str] = PromptSession(
            output=_output(screen),
            history=history(home) if home else None,
            completer=completer(self._known) if home else None,
            key_bindings=keys(),
            complete_while_typing=False,
        )
        app = self._session.app
        tree = Window(FormattedTextControl(self._tree), dont_extend_height=True)
        shown = ConditionalContainer(tree, Condition(lambda: self.board is not None))
        app.layout = Layout(
            HSplit([shown, self._session.layout.container]), self._session.default_buffer
        )
        _reflow(app)

    async def __call__(self, prompt: str, /) -> str:
        """The next line, begun with what was typed and not sent while a run went on."""
        self._session.app.erase_when_done = False
        draft, self._draft = self._draft, Document()
        begun = draft if prompt == PROMPT else Document()
        return await self._session.prompt_async(prompt, default=begun, refresh_interval=0)

    async def meanwhile(self, prompt: Callable[[], str], /) -> str:
        """The next line, below the tree."""
        self._session.app.erase_when_done = True
        draft, self._draft = self._draft, Document()
        line = None
        try:
            line = await self._session.prompt_async(
                prompt, default=draft, refresh_interval=REFRESH_SECONDS, handle_sigint=False
            )
        finally:
            if line is None:
                self._draft = self._session.default_buffer.document
        if line.strip():
            self.say(one_line(prompt() + line, streams.size(self._screen)[0]))
        return line

    def view(self, *, quiet: bool, verbose: bool) -> View:
        """The tree above the prompt; lines above it where every step is wanted or nobody looks at stderr."""
        plain = view(quiet=quiet, verbose=verbose)
        if isinstance(plain, LineView):
            return LineView(verbose=verbose, say=self.say)
        return plain if quiet else _Above(self)

    def say(self, text: str) -> None:
        """Print above the prompt."""
        if self._session.app.is_running:
            run_in_terminal(lambda: streams.say(text))
        else:
            streams.say(text)

    def _known(self) -> Iterable[str]:
        """Who is at work when it is asked."""
        return self.at_work()

    def _tree(self) -> AnyFormattedText:
        """The tree, in the room that the typed lines leave."""
        if self.board is None:
            return ""
        size = self._session.app.output.get_size()
        typed = self._session.default_buffer.document.line_count
        room = max(size.rows - typed - 1, _LEAST_LINES)
        width = max(size.columns, streams.NARROWEST)
        return ANSI(ansi(frame(self.board, width, room), width).removesuffix("\n"))


class _Above(QuietView):
    """The tree above a person's prompt; its last state stays."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._board = Board()

    def __enter__(self) -> Self:
        """Begin to draw, with the prompt."""
        self._person.board = self._board
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state standing, with an empty line below; nothing, if nothing has begun."""
        self._person.board = None
        if self._board.rows:
            width, _height = streams.size(sys.stderr)
            streams.say(ansi(frame(self._board, width), width))

    def __call__(self, event: Event) -> None:
        """Follow one event; the prompt draws at its own pace."""
        self._board.take(event)
        if isinstance(event.what, Noticed):
            self._person.say(one_line(event.what.text))


def _output(screen: TextIO) -> Output:
    """A terminal that is not asked where its cursor is: only the rows that are needed are drawn, not all down to its last one."""
    output = create_output(screen)
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output


def _reflow(app: Application[str]) -> None:
    """Have the whole drawing erased in a terminal made narrower, where its lines have come to take more rows."""
    redrawn, drawn_for = app._on_resize, 0

    def to_the_top(_app: object = None) -> None:
        nonlocal drawn_for
        drawn, columns = app.renderer.last_rendered_screen, app.output.get_size().columns
        if drawn is not None and 0 < columns < drawn_for:
            cursor = drawn.get_cursor_position(app.layout.current_window)
            above = (_cells(drawn.data_buffer[row]) for row in range(cursor.y))
            rows = sum(max(-(-cells // columns), 1) for cells in above) + cursor.x // columns
            for _ in range(
                rows
            ):  # line by line: tmux keeps what is cleared all at once from its first row
                app.output.write_raw(_ERASED)
                app.output.cursor_up(1)
            app.output.cursor_down(cursor.y)  # from where it goes up again by as many
        drawn_for = columns

    def resized() -> None:
        to_the_top()
        redrawn()

    app.before_render += to_the_top  # it may be drawn before anybody says that the size is another
    app._on_resize = resized  # type: ignore[method-assign]  # there is no other hook before it erases


def _cells(row: Mapping[int, Char]) -> int:
    """How many cells of a row are drawn."""
    return max((x for x, char in row.items() if char.char.strip()), default=-1) + 1
