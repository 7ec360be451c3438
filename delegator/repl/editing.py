"""Editing at the prompt: what was typed before, what could be typed now, and a key for a new line."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from delegator.repl.commands import COMMANDS
from delegator.trust import Level

HISTORY = "chat_history"


def history(home: Path) -> History:
    """What was typed in earlier chats, in a file that only its owner may read; in memory where that cannot be written."""
    path = home / HISTORY
    try:
        home.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if os.access(path, os.R_OK | os.W_OK):
            return FileHistory(str(path))
    except OSError:
        pass
    return InMemoryHistory()


class _Completer(Completer):
    """Commands, and what they take: levels, paths."""

    def __init__(self, at_work: Callable[[], Iterable[str]]) -> None:
        self._paths = PathCompleter(expanduser=True)
        self._at_work = at_work

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What the line could become."""
        text = document.text_before_cursor
        name, space, given = text.partition(" ")
        if not text.startswith("/"):
            return
        if not space:
            for command in COMMANDS:
                if command.startswith(name):
                    yield Completion(command, start_position=-len(name))
        elif name in ("/trust", "/cancel"):
            known = [level.value for level in Level] if name == "/trust" else self._at_work()
            for word in known:
                if word.lower().startswith(given.lower()):
                    yield Completion(word, start_position=-len(given))
        elif name in ("/docs", "/save"):
            yield from self._paths.get_completions(Document(given), complete_event)


def completer(at_work: Callable[[], Iterable[str]]) -> Completer:
    """Completes commands, paths, and the ids of subagents that are at work."""
    return _Completer(at_work)


def keys() -> KeyBindings:
    """Alt-Enter begins a new line; Enter asks."""
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
