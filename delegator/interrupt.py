"""Ctrl-C for a run: the first one cancels it, the next one leaves the program."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelling(cancel: Callable[[], None]) -> Iterator[None]:
    """While this lasts, an interrupt calls `cancel` instead of raising; a second one raises as usual."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        cancel()

    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
    except (NotImplementedError, RuntimeError, ValueError):
        yield  # no signal handlers here (another thread, or Windows): asyncio's own way remains
        return
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
