"""Where a chat's lines come from: a person with editing and history, a person at a plain terminal, or a pipe."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from delegator.interrupt import cancelling
from delegator.terminal import streams
from delegator.terminal.views import View, view

PROMPT = "› "
_CHUNK = 65_536


class Reader:
    """Someone who gives lines."""

    answers = False
    """Whether it is a person, who can be asked something."""
    interjects = False
    """Whether lines can come while a run goes on."""
    at_work: Callable[[], Iterable[str]] = staticmethod(tuple)
    """The subagents that could be named just now."""

    async def __call__(self, prompt: str, /) -> str:
        """The next line.

        Raises:
            EOFError: There is none.
            KeyboardInterrupt: Ctrl-C, while a person was typing.
        """
        raise NotImplementedError

    async def meanwhile(self, prompt: Callable[[], str], /) -> str:
        """The next line while a run goes on; `prompt` may change while it is typed. Raises what a call does."""
        raise NotImplementedError

    def view(self, *, quiet: bool, verbose: bool) -> View:
        """How a run is shown beside what is typed."""
        return view(quiet=quiet, verbose=verbose)

    def say(self, text: str) -> None:
        """Tell the person something while a run goes on."""
        streams.say(text)


def reader(home: Path | None = None) -> Reader:
    """The reader that fits: with editing if a person types, and with what was typed in earlier chats; plain otherwise."""
    screen = next((s for s in (sys.stdout, sys.stderr) if s.isatty()), None)
    if not sys.stdin.isatty() or screen is None:
        return Pipe(sys.stdin.fileno())
    if streams.is_dumb():
        return Plain(sys.stdin.fileno(), screen)
    from delegator.repl.person import Person  # noqa: PLC0415 - imports prompt_toolkit

    return Person(screen, home)


class Pipe(Reader):
    """Lines of a file descriptor. A thread reads them, and nobody waits for it at the end of the program."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._ended = False
        self._arriving: asyncio.Future[bytes] | None = None

    async def __call__(self, _prompt: str, /) -> str:
        """The next line."""
        while b"\n" not in self._buffer and not self._ended:
            chunk = await self._chunk()
            self._buffer += chunk
            self._ended = not chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        if self._ended and not line and not self._buffer:
            raise EOFError
        return line.decode("utf-8", errors="replace")

    async def _chunk(self) -> bytes:
        """Some bytes. Who stops waiting for them loses none: they are there for the next one who asks."""
        if self._arriving is None:
            self._arriving = self._read()
        chunk = await asyncio.shield(self._arriving)
        self._arriving = None
        return chunk

    def _read(self) -> asyncio.Future[bytes]:
        """Read in a thread of its own: one of asyncio's would keep Ctrl-C waiting for the next line."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[bytes] = loop.create_future()

        def read() -> None:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            loop.call_soon_threadsafe(arrived.set_result, chunk)

        threading.Thread(target=read, daemon=True, name="stdin").start()
        return arrived


class Plain(Pipe):
    """A person at a terminal that knows no escape sequences: the terminal's own line editing, and nothing is redrawn."""

    answers = interjects = True

    def __init__(self, descriptor: int, screen: TextIO) -> None:
        super().__init__(descriptor)
        self._screen = screen

    async def __call__(self, prompt: str, /) -> str:
        """The next line; Ctrl-C raises, as it does where there is editing."""
        print(prompt, end="", file=self._screen, flush=True)
        line = asyncio.ensure_future(super().__call__(prompt))

        def stop() -> None:
            line.cancel()

        with cancelling(stop):
            await asyncio.wait([line])
        if line.cancelled():
            print(file=self._screen)
            raise KeyboardInterrupt
        return line.result()

    async def meanwhile(self, _prompt: Callable[[], str], /) -> str:
        """The next line: the prompt is not repeated among the lines of the run. After Ctrl-D there is none until it is over."""
        try:
            return await super().__call__("")
        except EOFError:
            await asyncio.Event().wait()
            raise
