"""Where a chat's lines come from: a person with editing and history, or a pipe."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Protocol, TextIO

PROMPT = "› "
_CHUNK = 65_536


class Reader(Protocol):
    """Someone who gives lines."""

    @property
    def answers(self) -> bool:
        """Whether it is a person, who can be asked something."""

    async def __call__(self, prompt: str, /) -> str:
        """The next line.

        Raises:
            EOFError: There is none.
            KeyboardInterrupt: Ctrl-C, while a person was typing.
        """


def reader(home: Path | None = None) -> Reader:
    """The reader that fits: with editing if a person types, and with what was typed in earlier chats; plain otherwise."""
    screen = next((s for s in (sys.stdout, sys.stderr) if s.isatty()), None)
    if sys.stdin.isatty() and screen is not None:
        return _Person(screen, home)
    return _Pipe(sys.stdin.fileno())


class _Person:
    """A person at a terminal, with editing and history."""

    answers = True

    def __init__(self, screen: TextIO, home: Path | None) -> None:
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - only on a terminal
        from prompt_toolkit.output import create_output  # noqa: PLC0415

        from delegator.repl.editing import completer, history, keys  # noqa: PLC0415

        self._session: PromptSession[str] = PromptSession(
            output=create_output(screen),
            history=history(home) if home else None,
            completer=completer() if home else None,
            key_bindings=keys(),
            complete_while_typing=False,
        )

    async def __call__(self, prompt: str) -> str:
        return str(await self._session.prompt_async(prompt))


class _Pipe:
    """Lines of a file descriptor. A thread reads ahead of nothing, and nobody waits for it at the end of the program."""

    answers = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._ended = False

    async def __call__(self, _prompt: str) -> str:
        while b"\n" not in self._buffer and not self._ended:
            chunk = await self._chunk()
            self._buffer += chunk
            self._ended = not chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        if self._ended and not line and not self._buffer:
            raise EOFError
        return line.decode("utf-8", errors="replace")

    async def _chunk(self) -> bytes:
        """Some bytes, read in a thread of its own: one of asyncio's would keep Ctrl-C waiting for the next line."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[bytes] = loop.create_future()

        def give(chunk: bytes) -> None:
            if not arrived.done():
                arrived.set_result(chunk)

        def read() -> None:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            loop.call_soon_threadsafe(give, chunk)

        threading.Thread(target=read, daemon=True, name="stdin").start()
        return await arrived
