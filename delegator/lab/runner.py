"""Runs a plan: in parallel, resumable, within a ceiling. What is done is in the file before the next is looked at."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from delegator.lab.jobs import Plan, perform
from delegator.lab.results import ERROR, Folder, Job, Result

_AHEAD = 4
"""Jobs that wait for each worker, so that none is idle."""
Told = Callable[[Result], None]


@dataclass(slots=True, kw_only=True)
class Purse:
    """What all runs of a plan together may use; a run starts only if its worst case fits."""

    tokens: int | None = None
    usd: float | None = None
    each_tokens: int = 0
    each_usd: float | None = None
    spent_tokens: int = 0
    spent_usd: float = 0.0
    open: int = 0

    def takes_one_more(self) -> bool:
        """Reserve the worst case of one more run, if it fits."""
        held = self.open + 1
        if self.tokens is not None and self.spent_tokens + held * self.each_tokens > self.tokens:
            return False
        each = self.each_usd or 0.0
        if self.usd is not None and self.spent_usd + held * each > self.usd:
            return False
        self.open = held
        return True

    def settle(self, result: Result) -> None:
        """Count what a run has used instead of what was reserved for it."""
        self.open = max(self.open - 1, 0)
        self.count(result)

    def count(self, result: Result) -> None:
        """Count a run that is done."""
        self.spent_tokens += result.tokens
        self.spent_usd += result.usd or 0.0


class Pool(Protocol):
    """Somewhere to run jobs."""

    def submit(self, job: Job, /) -> "Future[Result]":
        """Start a job."""


def run(plan: Plan, folder: Folder, *, jobs: int, tell: Told, purse: Purse | None = None) -> bool:
    """Run what is not done yet of a plan. Whether all of it is done now; if not, the purse was too small.

    Raises:
        ConfigError: The folder holds another plan's results.
    """
    purse = purse or Purse()
    folder.claim(plan.to_json())
    done = {result.job: result for result in folder.results() if result.outcome != ERROR}
    for result in done.values():
        purse.count(result)
        tell(result)
    left = [job for job in plan.jobs() if job not in done]
    with folder.opened() as file, _pool(plan, min(jobs, len(left))) as pool:
        for result in _worked(pool, left, jobs, purse):
            file.write(f"{result.to_line()}\n")
            file.flush()
            done[result.job] = result
            tell(result)
    in_order = [done[job] for job in plan.jobs() if job in done]
    folder.settle(in_order)
    return len(in_order) == len(list(plan.jobs()))


def _worked(pool: Pool, left: Sequence[Job], jobs: int, purse: Purse) -> Iterator[Result]:
    """Results as they come, with a few jobs under way at any time; without other processes one, so that each is kept."""
    most = jobs * _AHEAD if jobs > 1 else 1
    under_way: set[Future[Result]] = set()
    waiting = iter(left)
    more = True
    while more or under_way:
        while more and len(under_way) < most and purse.takes_one_more():
            job = next(waiting, None)
            more = job is not None
            if job is not None:
                under_way.add(pool.submit(job))
            else:
                purse.open -= 1
        if not under_way:
            return  # what is left does not fit
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            result = future.result()
            purse.settle(result)
            yield result


@contextmanager
def _pool(plan: Plan, jobs: int) -> Iterator[Pool]:
    """Processes of their own, or this one if one is enough. Leaving early ends them at once."""
    if jobs <= 1:
        yield _Here(plan)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield _There(executor, plan)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    executor.shutdown()


def _ignore_interrupts() -> None:
    """Ctrl-C goes to the whole group; only the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class _There:
    executor: ProcessPoolExecutor
    plan: Plan

    def submit(self, job: Job) -> "Future[Result]":
        return self.executor.submit(partial(perform, self.plan), job)


@dataclass(frozen=True, slots=True)
class _Here:
    plan: Plan

    def submit(self, job: Job) -> "Future[Result]":
        future: Future[Result] = Future()
        future.set_result(perform(self.plan, job))
        return future
