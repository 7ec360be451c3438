"""Ctrl-C for a run: the first one cancels it, the next one leaves the program. SIGTERM is treated alike."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_on_termination() -> None:
    """Let SIGTERM end the program as Ctrl-C does, wherever it is: with `KeyboardInterrupt`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def cancelling(cancel: Callable[[], None]) -> Iterator[None]:
    """While this lasts, the first interrupt calls `cancel` instead of raising; the second one raises as usual."""
    import asyncio  # noqa: PLC0415 - `delegator --version` needs the rest of this module only

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(
                number
            ):  # which leaves the system's default, not what was there
                signal.signal(number, handler)

    def on_signal() -> None:
        restore()
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
        restore()
