"""The standard streams: answers and data go to stdout, everything else to stderr.

Nothing here raises because stderr is gone: a run that is paid for goes on without its progress lines.
"""

import io
import os
import re
import sys
import textwrap
from contextlib import suppress
from typing import TextIO

from delegator.errors import ConfigError

NARROWEST = 20
LONGEST_NOTICE = 400
_NAME = "delegator: "
_NOT_ASCII = re.compile(r"[^\n -~]")
_HIGHEST_STANDARD = 2
"""Descriptors 0, 1 and 2 are the standard streams."""


def prepare() -> None:
    """Make the streams usable, whatever the parent process left of them. Letters that a stream lacks are escaped.

    Raises:
        ConfigError: stdout is closed, so there is nowhere to put an answer.
    """
    closed = sys.stdout is None
    while (free := os.open(os.devnull, os.O_RDWR)) <= _HIGHEST_STANDARD:
        pass  # a file opened later must not take the place of a standard stream
    os.close(free)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if closed:
        raise ConfigError("standard output is closed", hint="Send it to /dev/null to discard it.")


def put(text: str) -> None:
    """Write `text` and a line feed to stdout, now.

    Raises:
        OSError: stdout is full or its reader is gone.
    """
    print(text, file=sys.stdout, flush=True)  # noqa: T201 - the one place


def put_json(value: object, *, indent: int | None = None) -> None:
    """Write a value as JSON to stdout. What a terminal would obey or hide is escaped; letters stay letters.

    Raises:
        OSError: stdout is full or its reader is gone.
    """
    import json  # noqa: PLC0415 - as below

    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not readable, indent=indent)

    def escaped(match: re.Match[str]) -> str:
        return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]

    put(_NOT_ASCII.sub(escaped, text))


def say(text: str) -> None:
    """Write `text` and a line feed to stderr, if there still is one."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place


def notice(text: str, head: str = "") -> None:
    """Tell a person something in one line, whatever is in it. Only a terminal wraps it, with `head` left of it."""
    from delegator.sanitize import one_line  # noqa: PLC0415 - `delegator --version` has no use for it

    text = one_line(text, LONGEST_NOTICE)
    width = size(sys.stderr)[0] if sys.stderr.isatty() else len(head) + LONGEST_NOTICE
    indent = " " * len(head)
    say(textwrap.fill(text, width, initial_indent=head, subsequent_indent=indent))


def folded(text: str, width: int) -> str:
    """Text whose lines are at most so wide: longer ones go on below, as far in as they began."""
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip(" "))]
    if len(line) <= width or len(indent) >= width:
        return line
    return textwrap.fill(line, width, subsequent_indent=indent)


def problem(text: str, hint: str = "", *more: str) -> None:
    """An error: what is wrong, what to do, and on request more."""
    notice(text, _NAME)
    for line in (hint, *more):
        if line:
            notice(line, " " * len(_NAME))


def is_styled(stream: TextIO) -> bool:
    """Whether escape sequences are welcome: a terminal that knows them, and no wish against them."""
    return stream.isatty() and not is_dumb() and not os.environ.get("NO_COLOR")


def is_dumb() -> bool:
    """Whether the terminal knows no escape sequences, or is not known."""
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")


def size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal."""
    columns, lines = os.get_terminal_size(stream.fileno())
    return (max(columns, NARROWEST) if columns else 80), lines or 24
