"""Ctrl-C for a run: the first one cancels it and keeps what is finished, the next one leaves. SIGTERM is treated alike."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_on_termination() -> None:
    """Let SIGTERM end the program as Ctrl-C does, wherever it is: with `KeyboardInterrupt`."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def cancelling(cancel: Callable[[], None]) -> Iterator[None]:
    """While this lasts, the first interrupt calls `cancel` instead of raising.

    The second one cancels the whole program, the third raises in its midst: both are asyncio's own ways. A signal that the
    program was started to ignore, as a shell's background jobs are, stays ignored.
    """
    import asyncio  # noqa: PLC0415 - `delegator --version` needs the rest of this module only

    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}

    def on_signal() -> None:
        for number in before:
            loop.remove_signal_handler(number)
            signal.signal(number, before.get(signal.SIGINT, signal.default_int_handler))
        cancel()

    try:
        for number in before:
            loop.add_signal_handler(number, on_signal)
    except (NotImplementedError, RuntimeError, ValueError):
        yield  # no signal handlers here (another thread, or Windows): asyncio's own way remains
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(
                number
            )  # which leaves the system's default, not what was there
            signal.signal(number, handler)
