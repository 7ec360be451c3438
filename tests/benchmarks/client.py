"""One contender, one plan, one process: asks the questions, checks the answers, and prints what it took as a line of JSON."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.script import Question

Ask = Callable[[str], Awaitable[str]]
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a contender has to do."""

    contender: str
    url: str
    n: int
    questions: int = 1
    first: int = 0
    """The id of the first question: it decides how long everything takes."""
    warm_up: int = 5
    at_once: bool = False
    revising: bool = False
    ttft: float = 0.0
    tpt: float = 0.0
    keep: bool = False
    watch_memory: bool = False
    """Whether memory is measured while all subagents are alive."""
    trace: bool = False
    """Whether Python's own allocations are measured, too; that takes time."""
    prompts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> list[Question]:
        """The questions that are measured."""
        ids = range(self.first, self.first + self.questions)
        return [Question(id, self.n, self.revising) for id in ids]


@asynccontextmanager
async def _floor(plan: Plan) -> AsyncIterator[Ask]:
    from benchmarks.floor import Floor  # noqa: PLC0415 - each process loads its own contender

    hits = [
        {"id": id, "title": "t", "section": "", "place": id, "text": text}
        for id, text in script.passages()
    ]
    floor = Floor(plan.url, plan.prompts, {"hits": hits})
    try:
        yield floor.ask
    finally:
        await floor.close()


@asynccontextmanager
async def _delegator(plan: Plan) -> AsyncIterator[Ask]:
    from benchmarks.product import asking  # noqa: PLC0415 - each process loads its own contender

    async with asking(plan.url, plan.n) as ask:
        yield ask


CONTENDERS = {"floor": _floor, "delegator": _delegator}


def call(url: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask the mock about itself."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{url}{path}", data) as response:  # noqa: S310 - loopback
        answer: dict[str, Any] = json.load(response)
    return answer


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


class Memory(threading.Thread):
    """Watches memory from beside, and keeps what it was while all subagents were alive."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(daemon=True)
        self._plan = plan
        self._over = threading.Event()
        self._before = (resident(), tracemalloc.get_traced_memory()[0])
        self.resident = self.traced = 0

    def run(self) -> None:
        """Look again and again."""
        while not self._over.wait(_EVERY_SECONDS):
            if call(self._plan.url, "/stats")["live"] < self._plan.n:
                continue
            self.resident = max(self.resident, resident() - self._before[0])
            traced = tracemalloc.get_traced_memory()[0] - self._before[1]
            self.traced = max(self.traced, traced)

    def stop(self) -> dict[str, int]:
        """What was seen."""
        self._over.set()
        self.join()
        if not self.resident:
            raise RuntimeError("the subagents were never alive all at once")
        return {"resident": self.resident, "traced": self.traced}


async def measure(plan: Plan) -> dict[str, Any]:
    """Warm up, reset the mock, ask, and check that all was done as it should be."""
    call(plan.url, "/reset", {})
    async with CONTENDERS[plan.contender](plan) as ask:
        for i in range(plan.warm_up):
            await ask(Question(1_000_000 + i, min(plan.n, 3)).text)
        gc.collect()
        call(plan.url, "/reset", {"ttft": plan.ttft, "tpt": plan.tpt, "keep": plan.keep})
        memory = Memory(plan) if plan.watch_memory else None
        if memory:
            memory.start()
        wall, cpu, sizes = time.perf_counter(), time.process_time(), []
        if plan.at_once:
            await asyncio.gather(*(ask(question.text) for question in plan.asked))
        else:
            for question in plan.asked:
                await ask(question.text)
                sizes.append(resident())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        seen = memory.stop() if memory else {}
    stats = call(plan.url, "/stats")
    _require_all(plan, stats)
    return {"wall": wall, "cpu": cpu, "sizes": sizes, "memory": seen, "stats": stats}


def _require_all(plan: Plan, stats: Mapping[str, Any]) -> None:
    pipelined = plan.contender == "delegator"
    wanted = sum(script.calls(question, pipelined=pipelined) for question in plan.asked)
    if stats["errors"] or stats["calls"] != wanted:
        raise RuntimeError(f"{stats['calls']} calls instead of {wanted}; {stats}")


def main() -> None:
    """Carry out the plan on standard input."""
    plan = Plan(**json.load(sys.stdin))
    if plan.trace:
        tracemalloc.start()
    print(json.dumps(asyncio.run(measure(plan))))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
