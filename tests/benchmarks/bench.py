"""Processes: the mock on one core, a contender on the other, both ended by whoever started them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.client import Plan, call
from benchmarks.script import Question

_TESTS = Path(__file__).resolve().parents[1]
LONGEST_SECONDS = 600
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LATE = 0.02
"""Seconds by which replies may be late before the mock is named as the bottleneck."""


def environment(home: str = "") -> dict[str, str]:
    """The environment of every process: no proxy, no key, nothing of the person's own."""
    left_out = ("ANTHROPIC_", "DELEGATOR_", "CLAUDE_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in _PROXIES and not name.startswith(left_out)
    }
    own = {"DELEGATOR_HOME": home} if home else {}
    return {**kept, **own, "PYTHONPATH": str(_TESTS)}


def cores() -> tuple[set[int], set[int]]:
    """The core of the mock, and the core of whoever is measured; the same if there is but one."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[0]}, {mine[-1]}


@contextmanager
def process(
    arguments: Sequence[str], core: set[int], **more: Any
) -> Iterator["subprocess.Popen[str]"]:
    """A process on a core of its own, ended by its id when the block ends, however that is."""
    started = subprocess.Popen(arguments, text=True, **more)
    try:
        os.sched_setaffinity(started.pid, core)
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def run(arguments: Sequence[str], *, given: str = "", home: str = "") -> str:
    """What a program prints, run on the core of whoever is measured."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with process(arguments, cores()[1], env=environment(home), **pipes) as started:
        out, errors = started.communicate(given, timeout=LONGEST_SECONDS)
        if started.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {started.returncode}:\n{errors}")
    return out


@contextmanager
def mock() -> Iterator[str]:
    """The address of a mock that serves until the block ends."""
    arguments = [sys.executable, "-m", "benchmarks.mock"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with process(arguments, cores()[0], env=environment(), **pipes) as started:
        assert started.stdout is not None
        yield started.stdout.readline().strip()


@dataclass(frozen=True, slots=True)
class Measured:
    """What one contender took for one plan."""

    plan: Plan
    wall: float
    cpu: float
    sizes: Sequence[int]
    memory: Mapping[str, int]
    stats: Mapping[str, Any]

    @property
    def cpu_per_call(self) -> float:
        """Seconds of processor time for one model call."""
        return self.cpu / float(self.stats["calls"])


@dataclass(frozen=True, slots=True)
class Bench:
    """What all scenarios share."""

    url: str
    rounds: int
    quick: bool
    say: Callable[[str], None]
    home: Path
    prompts: dict[str, Any] = field(default_factory=dict)

    def measure(self, contender: str, **what: Any) -> Measured:
        """One contender, once."""
        plan = Plan(contender=contender, url=self.url, prompts=self._prompts(contender), **what)
        out = run([sys.executable, "-m", "benchmarks.client"], given=json.dumps(asdict(plan)))
        measured = Measured(plan, **json.loads(out.splitlines()[-1]))
        late, used = measured.stats["late_p50"], measured.stats["cpu"] / measured.wall
        self.say(
            f"  {contender:<10} {measured.wall:8.3f} s  {measured.cpu_per_call * 1e3:6.2f} ms CPU a call"
            f"  (mock: {used:4.0%} busy, {late * 1e3:.1f} ms late)"
        )
        if what.get("tpt") and late > _LATE:
            self.say("  the mock was late: it is the bottleneck, and this figure is worth little")
        return measured

    def rounds_of(
        self, contenders: Sequence[str], times: int = 1, **what: Any
    ) -> list[list[Measured]]:
        """Every contender in every round, in turns; each round asks other questions."""
        return [
            [self.measure(name, **{"first": 10_000 * n, **what}) for name in contenders]
            for n in range(times * self.rounds)
        ]

    def _prompts(self, contender: str) -> dict[str, Any]:
        """What the floor shows the model: what delegator was seen to show it, without what the floor can not do."""
        if contender == "delegator":
            return {}
        if not self.prompts:
            plan = Plan(contender="delegator", url=self.url, n=1, warm_up=0)
            run([sys.executable, "-m", "benchmarks.client"], given=json.dumps(asdict(plan)))
            self.prompts.update(call(self.url, "/prompts"))
            for tool in self.prompts["orchestrator"]["tools"]:
                tool["input_schema"]["properties"].pop("reviewed", None)
        return self.prompts


def of_rounds(rounds: Sequence[Sequence[Measured]], ratio: Callable[..., float]) -> float:
    """The median of a figure that is made from each round's contenders."""
    return median(ratio(*contenders) for contenders in rounds)


@contextmanager
def bench(rounds: int, quick: bool, say: Callable[[str], None]) -> Iterator[Bench]:
    """Everything ready to measure, and put away again."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as home, mock() as url:
        yield Bench(url, rounds, quick, say, Path(home))


def once(plan: Plan) -> Question:
    """The question of a plan that asks one."""
    (question,) = plan.asked
    return question
