"""Runs in real processes, killed with -9 at random moments, once, twice, and while they go on from the last kill.

    python tests/chaos.py --runs 200 --seed 1

One server plays all models and counts what it is asked. After every kill the journal says which calls were answered: none of them may
arrive again. In the end each run has the answer of the run that nobody killed, and its ledger is what its journal adds up to.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import delegator
from delegator.budget import Usage
from delegator.errors import ConfigError
from delegator.journal import FILE, Journal, Past
from delegator.model import Request
from delegator.models.claude import Claude
from delegator.recording import Recording, resumed
from messages_api import Answer, Exchange
from serving import serving
from test_claude_flow import QUESTION, critic, orchestrator, researcher

SECONDS = 60.0
"""No life takes so long: one that does hangs."""
LONGEST_REPLY = 0.08
DOCS = {
    "bm25.md": (
        "# BM25\n\nBM25 is a ranking function that scores a document by the query terms it contains.\n"
        "It was developed by Stephen Robertson for the Okapi system in the 1990s.\n\n"
        "## Saturation\n\nThe parameter k1 of BM25 limits how much repeated terms add to the score.\n"
    ),
    "tea.txt": (
        "Tea\n===\n\nGreen tea is brewed at 80 degrees for two minutes.\n\n"
        "Black tea is brewed at 95 degrees.\n"
    ),
}

# --- what is compared

_PAID = frozenset({"usage", "seconds", "model_calls"})


def unpaid(value: Any) -> Any:
    """JSON without what it cost."""
    if isinstance(value, dict):
        return {name: unpaid(v) for name, v in value.items() if name not in _PAID}
    return [unpaid(v) for v in value] if isinstance(value, list) else value


def rows(home: Path, table: str) -> list[dict[str, Any]]:
    """Everything in a table of a journal."""
    with closing(sqlite3.connect(home / FILE)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"select * from {table}")]  # noqa: S608


def events(home: Path) -> list[Mapping[str, Any]]:
    """Every event of every run."""
    with Past(home) as past:
        return [event for run in past.runs(99) for event in past.events(run["id"])]


def made_calls(home: Path) -> list[Mapping[str, Any]]:
    """Every model call of every run."""
    with Past(home) as past:
        return [call for run in past.runs(99) for call in past.calls(run["id"])]


def told(home: Path) -> Counter[str]:
    """Every event on record, without what lost calls and clocks change in it."""
    return Counter(
        f"{e['agent']} {e['kind']} {json.dumps(unpaid(json.loads(e['data'])), sort_keys=True)}"
        for e in events(home)
    )


def paid(home: Path) -> Usage:
    """What all calls on record cost: the worst of those nobody knows the end of."""
    whole = Usage()
    for call in made_calls(home):
        whole += Usage(**(call["usage"] or call["worst"]))
    return whole


# --- one life of a run


class Named(Claude):
    """Says with each request which call of which run it is."""

    def _body(self, request: Request) -> dict[str, Any]:
        return {**super()._body(request), "metadata": {"user_id": f"{request.run} {request.key}"}}


async def live(home: Path, url: str, docs: Path) -> None:
    """Begin the run that has this home, or go on with it, and leave its answer there."""
    run = home.name
    with Journal(home) as journal:
        with Past(home) as past:
            known = bool(past.runs(1))
        own = nullcontext(Recording(run=run, journal=journal, seed=bytes(16)))
        held: AbstractContextManager[Recording] = resumed(run, home, journal) if known else own
        with held as recording:
            async with (
                asyncio.timeout(SECONDS),
                Named(base_url=url) as model,
                delegator.start(
                    QUESTION, docs=[docs], model=model, journal=journal, recording=recording
                ) as started,
            ):
                answer = await started.answer()
    leave(home, "answer", json.dumps(answer.to_json()))


def leave(home: Path, name: str, text: str) -> None:
    """Put a file there whole."""
    part = home / f"part-{os.getpid()}"
    part.write_text(text)
    part.rename(home / f"{name}-{os.getpid()}")


def nursery() -> None:
    """Start a life for each line that comes in, in a process of its own, and say which: what they import is there already."""
    import aiohttp  # noqa: F401, PLC0415 - so that no child has to

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are nobody's to collect
    for line in sys.stdin:
        home, url, docs = json.loads(line)
        child = os.fork()
        if child:
            sys.stdout.write(f"{child}\n")
            sys.stdout.flush()
            continue
        try:
            asyncio.run(live(Path(home), url, Path(docs)))
        except ConfigError as error:
            leave(Path(home), "refused", str(error))
        except BaseException as error:  # noqa: BLE001 - the parent is to know
            leave(Path(home), "crashed", repr(error))
        os._exit(0)


# --- many lives


@dataclass(slots=True)
class Figures:
    """What came of it."""

    runs: int = 0
    lives: int = 0
    kills: int = 0
    died_again_going_on: int = 0
    """Kills of a life that went on from an earlier kill."""
    refused: int = 0
    """Lives that were told that another has the run."""
    calls: int = 0
    lost_in_flight: int = 0
    """Calls that had been opened and were not answered on record when their process was killed."""
    repeated_answered_calls: int = 0
    wrong_answers: int = 0
    wrong_events: int = 0
    broken_chains: int = 0
    ledger_mismatches: int = 0
    crashes: int = 0
    seconds: float = 0.0
    what: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How much is off."""
        counts = (self.repeated_answered_calls, self.wrong_answers, self.wrong_events)
        return sum(counts) + self.broken_chains + self.ledger_mismatches + self.crashes


class Server:
    """Plays every model from the request alone, and counts."""

    def __init__(self, seed: int) -> None:
        self.arrived: defaultdict[str, list[str]] = defaultdict(list)
        """The calls of each run, as they came."""
        self._random = random.Random(seed)  # noqa: S311 - chaos, not secrets

    async def __call__(self, asked: Exchange) -> Answer:
        """The reply; the same request always gets the same one, ids and all."""
        run, _, key = asked.body["metadata"]["user_id"].partition(" ")
        self.arrived[run].append(key)
        tools = {tool["name"]: tool for tool in asked.body["tools"]}
        if "delegate_to_researcher" in tools:
            _, content = orchestrator(asked)
        elif "score" in tools["submit_report"]["input_schema"]["properties"]:
            _, content = critic(asked)
        else:
            _, content = researcher(asked)
        await asyncio.sleep(self._random.uniform(0, LONGEST_REPLY))
        return Answer(content=tuple(_named(block, key, i) for i, block in enumerate(content)))


def _named(block: dict[str, Any], key: str, i: int) -> dict[str, Any]:
    if "id" not in block:
        return block
    return block | {"id": f"toolu_{hashlib.sha256(f'{key} {i}'.encode()).hexdigest()[:12]}"}


class Chaos:
    """The killer: starts lives, ends them, and looks at what they leave."""

    def __init__(self, folder: Path, url: str, server: Server, children: Any) -> None:
        self.figures = Figures()
        self._folder, self._url, self._server = folder, url, server
        self._children = children
        self._lock = threading.Lock()
        self._docs = folder / "docs"
        self._docs.mkdir()
        for name, text in DOCS.items():
            (self._docs / name).write_text(text)
        self._ended(self._start(self._home("first")), SECONDS)  # the nursery is ready then
        started, home = time.monotonic(), self._home("undisturbed")
        self._ended(self._start(home), SECONDS)
        self._whole = time.monotonic() - started
        """How long a life lasts that nobody ends."""
        self._answer, self._events = self._left(home), told(home)

    def run(self, number: int, seed: int) -> None:
        """One run, through all its deaths, to its end."""
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        home = self._home(f"run-{number}")
        figures = Figures(runs=1)
        known: Counter[str] = Counter()
        done: set[str] = set()
        for n in range(chance.choice((1, 1, 2, 2, 3, 4)) + 1):
            twice = bool(calls_or_none(home)) and chance.random() < 0.2
            pids = [self._start(home) for _ in range(1 + twice)]
            figures.lives += len(pids)
            killed = [
                pid for pid in pids if not self._ended(pid, chance.uniform(0, 1.2 * self._whole))
            ]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
                self._ended(pid, SECONDS)
            figures.kills += len(killed)
            figures.died_again_going_on += len(killed) if n else 0
            self._look(home, done, known, figures)
        figures.lives += 1
        if not self._ended(last := self._start(home), SECONDS):
            os.kill(last, signal.SIGKILL)
            figures.crashes += 1
            figures.what.append(f"{home.name} hangs")
        self._look(home, done, known, figures)
        self._judge(home, figures)
        with self._lock:
            for name, value in asdict(figures).items():
                setattr(self.figures, name, getattr(self.figures, name) + value)

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir()
        return home

    def _start(self, home: Path) -> int:
        with self._lock:
            return int(self._children(json.dumps([str(home), self._url, str(self._docs)])))

    @staticmethod
    def _ended(pid: int, seconds: float) -> bool:
        """Whether a process ends in so many seconds."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([handle], [], [], seconds)[0])
        finally:
            os.close(handle)

    def _look(self, home: Path, done: set[str], known: Counter[str], figures: Figures) -> None:
        """What was answered before the last life must not have come again in it."""
        arrived = Counter(self._server.arrived[home.name])
        again = [key for key in done if arrived[key] > known[key]]
        figures.repeated_answered_calls += len(again)
        figures.what += [f"{home.name} asked {key} again" for key in again]
        known.update(arrived - known)
        done |= {c["key"] for c in calls_or_none(home) if c["state"] == "answered"}

    def _left(self, home: Path) -> dict[str, Any]:
        """The answer that a run left; every life that came to its end left the same one."""
        left = [json.loads(path.read_text()) for path in home.glob("answer-*")]
        assert left, f"{home.name} left no answer: {list(home.iterdir())}"
        return {**max(left, key=lambda a: int(a["usage"]["model_calls"])), "run_id": ""}

    def _judge(self, home: Path, figures: Figures) -> None:
        """Whether it is the run that nobody killed."""
        crashes = [path.read_text() for path in home.glob("crashed-*")]
        figures.crashes += len(crashes)
        figures.what += [f"{home.name} {crash}" for crash in crashes]
        figures.refused += len(list(home.glob("refused-*")))
        made = made_calls(home)
        figures.calls += len(made)
        figures.lost_in_flight += sum(call["state"] == "open" for call in made)
        answer = self._left(home)
        for path in home.glob("answer-*"):
            same = unpaid({**json.loads(path.read_text()), "run_id": ""}) == unpaid(self._answer)
            figures.wrong_answers += not same
        if told(home) != self._events:
            figures.wrong_events += 1
            figures.what.append(
                f"{home.name} events: {(told(home) - self._events)} {self._events - told(home)}"
            )
        with Past(home) as past:
            figures.broken_chains += past.broken_link(home.name) is not None
        usage = {name: answer["usage"][name] for name in paid(home).to_json()}
        attempts = Counter(call["key"] for call in made)
        arrived = Counter(self._server.arrived[home.name])
        exact = usage == paid(home).to_json() and answer["usage"]["model_calls"] == len(made)
        if not exact or arrived - attempts:
            figures.ledger_mismatches += 1
            figures.what.append(f"{home.name} ledger: {usage} {paid(home)} {arrived - attempts}")


def calls_or_none(home: Path) -> list[Mapping[str, Any]]:
    """The calls of a run that may not have got so far as to have a file."""
    try:
        return made_calls(home) if (home / FILE).exists() else []
    except ConfigError:  # killed before the tables were made
        return []


@contextmanager
def children(folder: Path) -> Iterator[Any]:
    """A nursery: give it a line, get the id of a process."""
    environment = {**os.environ, "ANTHROPIC_API_KEY": "no-key", "DELEGATOR_HOME": str(folder)}
    command = [sys.executable, __file__, "--nursery"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def start(line: str) -> str:
            stdin.write(f"{line}\n")
            stdin.flush()
            return stdout.readline()

        yield start
        stdin.close()


def chaos(runs: int, seed: int, workers: int = 3) -> Figures:
    """So many runs, killed and gone on with until they are over."""
    started = time.monotonic()
    server = Server(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(server) as served,
        children(Path(folder)) as start,
        ThreadPoolExecutor(workers) as pool,
    ):
        made = Chaos(Path(folder), served.url, server, start)
        for _ in pool.map(lambda number: made.run(number, seed), range(runs)):
            pass
    made.figures.seconds = round(time.monotonic() - started, 1)
    return made.figures


def main() -> int:
    """Print the figures; 1 if anything is off."""
    parser = argparse.ArgumentParser(description="Kill runs and go on with them.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.nursery:
        nursery()
        return 0
    figures = chaos(given.runs, given.seed)
    print(json.dumps(asdict(figures), indent=1))  # noqa: T201
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
