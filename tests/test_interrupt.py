"""Ctrl-C and SIGTERM: the first cancels, the second raises, and afterwards everything is as it was."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from delegator.interrupt import cancelling, interrupt_on_termination
from programs import MANY_SECONDS, interruptible
from requirements import requirement

__all__ = ["interruptible"]

T = TypeVar("T")
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _begun(interruptible: None) -> None:  # noqa: ARG001 - undoes this
    """What the program does at its start."""
    interrupt_on_termination()


def interrupt(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, which must come."""

    async def bounded() -> T:
        async with asyncio.timeout(MANY_SECONDS):
            return await coroutine

    return asyncio.run(bounded())


@requirement("W3")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_interrupt_cancels_and_does_not_raise(number: signal.Signals) -> None:
    async def go() -> int:
        cancelled = asyncio.Event()
        with cancelling(cancelled.set):
            interrupt(number)
            await cancelled.wait()
        return 7

    assert run(go()) == 7


@requirement("W3")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_interrupt_leaves_even_if_the_run_does_not_end(number: signal.Signals) -> None:
    async def go() -> None:
        cancelled = asyncio.Event()
        with cancelling(cancelled.set):
            interrupt(number)
            await cancelled.wait()
            interrupt(number)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run(go())


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_interrupt_lets_the_program_clean_up(number: signal.Signals) -> None:
    seen: list[str] = []

    async def go() -> None:
        cancelled = asyncio.Event()
        with cancelling(cancelled.set):
            interrupt(number)
            await cancelled.wait()
            try:
                interrupt(number)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cleaned up")
                raise

    with pytest.raises(KeyboardInterrupt):
        run(go())
    assert seen == ["cleaned up"]


@pytest.mark.parametrize("number", SIGNALS)
def test_after_the_block_the_handlers_are_those_of_before(number: signal.Signals) -> None:
    async def go() -> None:
        before = signal.getsignal(number)
        with cancelling(lambda: None):
            assert signal.getsignal(number) is not before
        assert signal.getsignal(number) is before

    run(go())


@pytest.mark.parametrize("number", SIGNALS)
def test_after_a_cancelled_run_an_interrupt_raises_again(number: signal.Signals) -> None:
    async def go() -> None:
        cancelled = asyncio.Event()
        with cancelling(cancelled.set):
            interrupt(number)
            await cancelled.wait()
        interrupt(number)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run(go())


def test_termination_raises_outside_a_run_as_well() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGTERM)


def test_in_another_thread_the_block_runs_without_handlers() -> None:
    async def go() -> bool:
        with cancelling(lambda: None):
            return True

    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(run(go())))
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    async def go() -> None:
        with cancelling(lambda: None):
            assert signal.getsignal(number) is signal.SIG_IGN

    signal.signal(number, signal.SIG_IGN)
    interrupt_on_termination()
    run(go())
    assert signal.getsignal(number) is signal.SIG_IGN
