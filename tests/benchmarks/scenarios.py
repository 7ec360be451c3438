"""What is measured: each scenario is a function that runs its contenders and says what it found, in rows of the table.

A row with a `must` is a promise; one without shows what the promise is held against. Ratios are medians over the rounds; each round asks
other questions, and its contenders take turns, so that a busy machine disturbs both alike.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Any

from benchmarks import corpus
from benchmarks.bench import Bench, Measured, of_rounds, once, run
from benchmarks.client import call
from benchmarks.script import LOW_SHARE, Pace, Question

BOTH = ("floor", "delegator")
REAL = Pace(ttft=0.3, tpt=0.004)
"""A model's real pace, with tokens five times as fast: so client time weighs more here than in life."""
WIDE = Pace(ttft=0.3, tpt=0.0005)
"""For many delegations, whose calls alone are thousands of tokens of the orchestrator's."""
KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    reached: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def must(self) -> str:
        """What must be reached, in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:,g}{self.unit}"
        return f"≥ {self.at_least:,g}{self.unit}" if self.at_least is not None else ""

    @property
    def holds(self) -> bool | None:
        """Whether it is; `None` where nothing must be."""
        if self.at_most is not None:
            return self.reached <= self.at_most
        return self.reached >= self.at_least if self.at_least is not None else None


Rows = Iterator[Row]


def cpu(bench: Bench) -> Rows:
    """One question after the other, at no latency: what a call costs the client.

    In many short rounds: how fast a core runs changes from one second to the next, and most of all beside others.
    """
    rounds = bench.rounds_of(BOTH, n=3, questions=10 if bench.quick else 20, times=3)
    yield Row(
        name="cpu",
        what="CPU a model call ÷ floor, no latency",
        reached=of_rounds(rounds, lambda f, d: d.cpu_per_call / f.cpu_per_call),
        at_most=1.0,
    )
    yield from _each("cpu", "CPU a model call", rounds, lambda m: m.cpu_per_call * 1e3, " ms")


def _each(
    name: str,
    what: str,
    rounds: Sequence[Sequence[Measured]],
    figure: Callable[[Measured], float],
    unit: str = "",
) -> Rows:
    """The figure behind a ratio, for each contender."""
    for i, contender in enumerate(BOTH):
        reached = median(figure(contenders[i]) for contenders in rounds)
        yield Row(name=name, what=f"  {what}, {contender}", reached=reached, unit=unit)


def wall3(bench: Bench) -> Rows:
    """One question of three delegations at real latency."""
    yield from _wall(bench, "wall3", 3, REAL, 0.99)


def wall64(bench: Bench) -> Rows:
    """One question of 64 delegations at once."""
    yield from _wall(bench, "wall64", 64, WIDE, None)


def wall256(bench: Bench) -> Rows:
    """One question of 256 delegations at once."""
    yield from _wall(bench, "wall256", 256, WIDE, 1.0)


def _wall(bench: Bench, name: str, n: int, pace: Pace, at_most: float | None) -> Rows:
    rounds = bench.rounds_of(BOTH, n=n, ttft=pace.ttft, tpt=pace.tpt)
    yield Row(
        name=name,
        what=f"wall ÷ critical path of waiting, {n} delegations",
        reached=of_rounds(rounds, lambda _f, d: d.wall / pace.waiting(once(d.plan))),
        at_most=at_most,
    )
    yield Row(
        name=name,
        what="  the same, floor",
        reached=of_rounds(rounds, lambda f, _d: f.wall / pace.waiting(once(f.plan))),
    )
    yield _limit(name, rounds, pace)
    yield Row(
        name=name,
        what="  CPU a model call ÷ floor, streamed in real steps",
        reached=of_rounds(rounds, lambda f, d: d.cpu_per_call / f.cpu_per_call),
    )


def _limit(name: str, rounds: Sequence[Sequence[Measured]], pace: Pace) -> Row:
    def limit(*contenders: Measured) -> float:
        question = once(contenders[0].plan)
        return pace.eager(question) / pace.waiting(question)

    return Row(name=name, what="  what nothing can beat", reached=of_rounds(rounds, limit))


def reviewed3(bench: Bench) -> Rows:
    """Three delegations, reviewed and revised, each on its own way."""
    yield from _reviewed(bench, "reviewed3", 3, REAL, 0.80)


def reviewed256(bench: Bench) -> Rows:
    """256 delegations, reviewed and revised, each on its own way."""
    yield from _reviewed(bench, "reviewed256", 256, WIDE, 0.70)


def _reviewed(bench: Bench, name: str, n: int, pace: Pace, at_most: float) -> Rows:
    """Against the path of the graph that goes on after the slowest, with the same revisions.

    Questions are those in which as many findings are sent back as is usual: one of three.
    """
    rounds = []
    for id in islice(_usual(n), bench.rounds):
        what: dict[str, Any] = {"n": n, "first": id, "ttft": pace.ttft, "tpt": pace.tpt}
        rounds.append([bench.measure(c, **what, revising=True) for c in BOTH])
    yield Row(
        name=name,
        what=f"wall ÷ path that reviews after the slowest, {n} delegations",
        reached=of_rounds(rounds, lambda _f, d: d.wall / pace.waiting(once(d.plan))),
        at_most=at_most,
    )
    yield Row(
        name=name,
        what="  the same, floor",
        reached=of_rounds(rounds, lambda f, _d: f.wall / pace.waiting(once(f.plan))),
    )
    yield _limit(name, rounds, pace)
    yield Row(
        name=name,
        what="  wall ÷ path on which code starts the steps",
        reached=of_rounds(rounds, lambda _f, d: d.wall / pace.by_code(once(d.plan))),
    )


def _usual(n: int) -> Iterator[int]:
    """Questions that send back the usual number of findings, or nearly."""
    usual, slack = max(1, round(n * LOW_SHARE)), n // 32
    return (id for id in count() if abs(len(Question(id, n, True).low) - usual) <= slack)


def many(bench: Bench) -> Rows:
    """Fifty questions at once in one process."""
    questions = 10 if bench.quick else 50
    rounds = bench.rounds_of(BOTH, n=3, questions=questions, at_once=True, ttft=0.05, tpt=0.0005)
    yield Row(
        name="many",
        what=f"{questions} questions at once, questions/s ÷ floor",
        reached=of_rounds(rounds, lambda f, d: f.wall / d.wall),
        at_least=1.5,
    )
    yield from _each("many", "questions/s", rounds, lambda m: questions / m.wall)


def memory(bench: Bench) -> Rows:
    """What a process grows by while 256 subagents wait for their answers, for each of them."""
    n = 64 if bench.quick else 256
    what: dict[str, Any] = {"n": n, "ttft": 3.0, "watch_memory": True}
    rounds = [[bench.measure(c, **what) for c in BOTH]]
    traced = [[bench.measure(c, **what, trace=True) for c in BOTH]]
    yield Row(
        name="memory",
        what=f"resident memory a live subagent, {n} at once",
        reached=rounds[0][1].memory["resident"] / n / KIB,
        unit=" KiB",
        at_most=64,
    )
    yield Row(
        name="memory",
        what="  the same, floor",
        reached=rounds[0][0].memory["resident"] / n / KIB,
        unit=" KiB",
    )
    yield from _each(
        "memory", "Python's own share", traced, lambda m: m.memory["traced"] / n / KIB, " KiB"
    )


def growth(bench: Bench) -> Rows:
    """By how much a process grows with each question, once it has warmed up."""
    questions = 60 if bench.quick else 200
    rounds = [[bench.measure(c, n=3, questions=questions) for c in BOTH]]
    yield Row(
        name="growth",
        what=f"growth a question over {questions} questions",
        reached=_slope(rounds[0][1].sizes) / KIB,
        unit=" KiB",
        at_most=5,
    )
    yield Row(
        name="growth",
        what="  the same, floor",
        reached=_slope(rounds[0][0].sizes) / KIB,
        unit=" KiB",
    )


def _slope(sizes: Sequence[int]) -> float:
    """Bytes a question, by least squares over the second half."""
    half = sizes[len(sizes) // 2 :]
    middle, mean = (len(half) - 1) / 2, sum(half) / len(half)
    above = sum((i - middle) * (size - mean) for i, size in enumerate(half))
    return above / sum((i - middle) ** 2 for i in range(len(half)))


def cache(bench: Bench) -> Rows:
    """How much of what a prompt cache could serve lies where it does serve it."""
    questions = 1 if bench.quick else 3
    plans: dict[str, dict[str, Any]] = {
        "3 delegations": {"n": 3, "questions": questions, "tpt": REAL.tpt},
        "3 delegations, reviewed": {
            "n": 3,
            "questions": questions,
            "tpt": REAL.tpt,
            "revising": True,
        },
        "64 delegations": {"n": 64, "tpt": WIDE.tpt},
    }
    for what, plan in plans.items():
        asked = bench.measure("delegator", ttft=REAL.ttft, keep=True, warm_up=0, **plan)
        seen = asked.stats["cache"]
        yield Row(
            name="cache",
            what=f"input that a cache could serve and does, {what}",
            reached=100 * seen["does"] / seen["could"],
            unit=" %",
            at_least=90,
        )
        sent = 100 * seen["could"] / seen["sent"]
        yield Row(name="cache", what="  input that it could serve", reached=sent, unit=" %")


def ready(bench: Bench) -> Rows:
    """From the start of a process to its first request at the server: the product's command, and a bare program."""
    question = Question(1, 1).text
    ask = ["ask", question, "--base-url", bench.url, "--model", "mock", "--quiet"]
    commands = {
        "floor": [sys.executable, "-m", "benchmarks.floor", bench.url, question],
        "delegator": [sys.executable, "-m", "delegator", *ask],
    }
    rounds = []
    for n in range(1 + 2 * bench.rounds):
        times = [_first_request(bench, commands[contender]) for contender in BOTH]
        bench.say("  " + "   ".join(f"{c} {t:.3f} s" for c, t in zip(BOTH, times, strict=True)))
        if n:  # the first one reads everything from disk, and builds the index
            rounds.append(times)
    yield Row(
        name="ready",
        what="ready to send the first request ÷ floor",
        reached=median(d / f for f, d in rounds),
        at_most=1.05,
    )
    for i, contender in enumerate(BOTH):
        reached = median(times[i] for times in rounds)
        yield Row(
            name="ready", what=f"  until the first request, {contender}", reached=reached, unit=" s"
        )


def _first_request(bench: Bench, command: Sequence[str]) -> float:
    call(bench.url, "/reset", {})
    started = time.monotonic()  # the mock's clock: one for all processes of a machine
    run(command, home=str(bench.home))
    return float(call(bench.url, "/stats")["first_at"]) - started


def version(bench: Bench) -> Rows:
    """The smallest thing the command does."""
    yield _whole(bench, "version", "delegator --version, whole process", ["--version"], 0.15)


def offline(bench: Bench) -> Rows:
    """A whole offline question on the shipped articles."""
    question = "How do modern LLM agents learn to follow instructions and use tools effectively?"
    arguments = ["ask", "--offline", question]
    yield _whole(bench, "offline", "offline ask on the articles, whole process", arguments, 1.0)


def _whole(bench: Bench, name: str, what: str, arguments: Sequence[str], at_most: float) -> Row:
    taken = []
    for _ in range(2 + 2 * bench.rounds):
        started = time.perf_counter()
        run([sys.executable, "-m", "delegator", *arguments], home=str(bench.home))
        taken.append(time.perf_counter() - started)
    bench.say("  " + "  ".join(f"{seconds:.3f} s" for seconds in taken))
    return Row(name=name, what=what, reached=median(taken[1:]), unit=" s", at_most=at_most)


def index(bench: Bench) -> Rows:
    """Documents of 2 kB into an index, and searches over it."""
    documents, large = (1_000, 5_000) if bench.quick else (5_000, 100_000)
    rates = [corpus.measure(bench.home / f"documents{n}", documents) for n in range(bench.rounds)]
    bench.say("  " + "  ".join(f"{found.rate:,.0f}/s" for found in rates))
    yield Row(
        name="index",
        what=f"{documents:,} documents of 2 kB, indexed a second",
        reached=median(found.rate for found in rates),
        at_least=2_000,
    )
    bench.say(f"  writing and indexing {large:,} documents")
    found = corpus.measure(bench.home / "large", large, searches=500)
    yield Row(name="index", what=f"  the same, {large:,} documents", reached=found.rate)
    for share, at_most in ((0.99, 20.0), (0.5, None)):
        yield Row(
            name="index",
            what=f"{'' if at_most else '  '}search in {large:,} documents, p{share * 100:.0f}",
            reached=found.search(share) * 1e3,
            unit=" ms",
            at_most=at_most,
        )


SCENARIOS: dict[str, Callable[[Bench], Rows]] = {
    scenario.__name__: scenario
    for scenario in (
        cpu,
        wall3,
        wall64,
        wall256,
        reviewed3,
        reviewed256,
        many,
        memory,
        growth,
        cache,
        ready,
        version,
        offline,
        index,
    )
}
