"""Runs that die and go on: whatever moment they die at, nothing on record is paid for again, and the answer is the same."""

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chaos import chaos, events, made_calls, paid, rows, told, unpaid
from delegator.agents import Agent, shipped
from delegator.answer import Answer
from delegator.budget import RUN_LIMITS, Limits, Usage
from delegator.errors import ConfigError, Fault, ModelError
from delegator.journal import FILE, Journal, JournalError, Past, writer
from delegator.journal.writer import _Line
from delegator.knowledge import Index
from delegator.messages import Stop, ToolUse
from delegator.model import Model, ModelEvent, Reply, Request, ToolUseReady
from delegator.models.recorded import Recorded
from delegator.models.scripted import Says, Scripted, call, calls, fail, prompt_text, say
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from delegator.policy import ApprovalRequest, Approver, Effects, nobody
from delegator.recording import NotTheSame, Recording, resumed
from delegator.tools import tool
from delegator.trust import Level
from requirements import requirement
from scripts import ACCEPT, REVISE, claim, delegate, researcher
from scripts import report as reported
from scripts import search as searched
from test_worst_spenders import Counted

RUN = "20260101-000000-abcdef"
QUESTION = "What is BM25?"
SEED = bytes(range(16))
SECONDS = 60.0
"""Nothing here takes so long: a test that does hangs."""


class Dying(Journal):
    """The journal of a process that dies: after so many entries nothing gets into the file, and no flush comes back."""

    def __init__(self, home: Path, after: int) -> None:
        super().__init__(home)
        self.left = after
        self.died = asyncio.Event()
        self.buried = asyncio.Event()
        self._nowhere = _Line("")

    def begin(self, run: str, **what: Any) -> None:
        if self._lives():
            super().begin(run, **what)

    def end(self, run: str, **what: Any) -> None:
        if self._lives():
            super().end(run, **what)

    def _add(self, *what: Any) -> Any:
        return super()._add(*what) if self._lives() else self._nowhere

    def _lives(self) -> bool:
        """Whether one entry more gets into the file."""
        if not self.left:
            self.died.set()
            return False
        self.left -= 1
        return True

    async def flush(self) -> None:
        if self.died.is_set():
            await self.buried.wait()
            raise JournalError("died")
        await super().flush()


class Offline(Counted):
    """The offline model, as paid for by the token. It knows what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        self.asked.append(request.key)
        async for event in super().stream(request):
            yield event


class Script(Scripted):
    """A script that knows what it was asked, and what it was paid."""

    def __init__(self, *roles: Any, **named: Any) -> None:
        super().__init__(*roles, **named)
        self.asked: list[str] = []
        self.billed = Usage()

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        self.asked.append(request.key)
        async for event in super().stream(request):
            if isinstance(event, Reply):
                self.billed += event.usage
            yield event


@dataclass(kw_only=True)
class World:
    """Everything a run is given but its journal: each process makes its own model."""

    docs: Path
    home: Path
    model: Callable[[], Any] = Offline
    level: Level = Level.TYPED
    limits: Limits = RUN_LIMITS
    agents: tuple[Agent, ...] = field(
        default_factory=lambda: (shipped("researcher"), shipped("critic"))
    )
    approve: Approver = nobody
    question: str = QUESTION

    def setup(self, model: Model, journal: Journal | None) -> Setup:
        index = Index(None, [self.docs])
        index.refresh()
        return Setup(
            model=model,
            library=index,
            agents=self.agents,
            limits=self.limits,
            level=self.level,
            approve=self.approve,
            journal=journal,
        )

    def lives(self, after: int | None = None) -> tuple[Answer | None, Any]:
        """One process of the run: to its end, or until it dies. The answer, if it came to that, and the model."""
        model = self.model()
        return asyncio.run(self._lives(model, after)), model

    async def _lives(self, model: Any, after: int | None) -> Answer | None:
        async with asyncio.timeout(SECONDS):
            with (
                Dying(self.home, -1 if after is None else after) as journal,
                _recording(self.home, journal) as recording,
            ):
                run = Run(self.question, self.setup(model, journal), recording=recording)
                async with run:
                    return await _until_death(run, journal)

    def goes_on(self) -> tuple[Answer, Any]:
        answer, model = self.lives()
        assert answer is not None
        return answer, model

    def rows(self, table: str) -> list[dict[str, Any]]:
        return rows(self.home, table)

    def answered(self) -> set[str]:
        return {row["key"] for row in made_calls(self.home) if row["state"] == "answered"}


@contextmanager
def _recording(home: Path, journal: Journal) -> Iterator[Recording]:
    with Past(home) as past:
        known = bool(past.runs(1))
    if not known:
        yield Recording(run=RUN, journal=journal, seed=SEED)
        return
    with resumed(RUN, home, journal) as recording:
        yield recording


async def _until_death(run: Run, journal: Dying) -> Answer | None:
    over = asyncio.ensure_future(run.answer())
    death = asyncio.ensure_future(journal.died.wait())
    try:
        await asyncio.wait({over, death}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        died = journal.died.is_set()
        run.cancel()
        journal.buried.set()
        death.cancel()
    answer = await over
    return None if died else answer


def timeless(value: Any) -> Any:
    """JSON without seconds."""
    if isinstance(value, dict):
        return {name: timeless(v) for name, v in value.items() if name != "seconds"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def check(world: World, before: tuple[Answer, Counter[str]], answer: Answer) -> None:
    """A run that died and went on is the run that did not die."""
    undisturbed, events = before
    assert unpaid(answer.to_json()) == unpaid(undisturbed.to_json())
    assert answer.label == undisturbed.label
    assert [(d.id, d.ref, d.path, d.label) for d in answer.delegations] == [
        (d.id, d.ref, d.path, d.label) for d in undisturbed.delegations
    ]
    made = made_calls(world.home)
    if all(call["state"] == "answered" for call in made):
        assert timeless(answer.to_json()) == timeless(undisturbed.to_json())
    assert answer.usage == paid(world.home)
    assert answer.model_calls == len(made)
    assert told(world.home) == events
    with Past(world.home) as past:
        assert past.broken_link(RUN) is None
        assert len(past.events(RUN)) == events.total()
        row = past.run(RUN)
    assert (row["outcome"], json.loads(row["answer"])) == (answer.outcome, answer.to_json())


def reviewed() -> Script:
    """Two findings that code has reviewed, one of them revised once."""

    def orchestrator(request: Request) -> Says:
        if len(request.messages) == 1:
            return calls(
                ("delegate_to_researcher", {"task": "What is BM25?", "reviewed": True}),
                ("delegate_to_researcher", {"task": "Who made BM25?", "reviewed": True}),
            )
        return say("BM25 ranks [11], and somebody made it [21].")

    def finds(request: Request) -> Says:
        text = prompt_text(request)
        if '"hits"' not in text:
            return searched()
        if "Say who made it." in text:
            return reported(
                [claim(request, "developed by Stephen Robertson", "Robertson made it.")]
            )
        return reported([claim(request)])

    def reviews(request: Request) -> Says:
        text = prompt_text(request)
        weak = "Who made BM25?" in text and "Robertson made it." not in text
        return call("submit_report", **(REVISE if weak else ACCEPT))

    return Script({"orchestrator": orchestrator, "researcher": finds, "critic": reviews})


WORLDS: Mapping[str, Mapping[str, Any]] = {
    "typed": {},
    "raw": {"level": Level.RAW},
    "sealed": {"level": Level.SEALED},
    "guarded": {"level": Level.GUARDED},
    "planned": {"level": Level.PLANNED},
    "reviewed": {"model": reviewed},
    "reviewed and sealed": {"model": reviewed, "level": Level.SEALED},
}


def undisturbed(docs: Path, home: Path, name: str) -> tuple[Answer, Counter[str], int]:
    world = World(docs=docs, home=home, **WORLDS[name])
    answer, _ = world.goes_on()
    return answer, told(world.home), 2 + len(world.rows("entries"))


@pytest.fixture(autouse=True)
def _in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of steps that are on no record yet follow from who comes first, a matter of a millisecond: here it is always the same one."""
    monkeypatch.setattr(writer, "QUIET_SECONDS", 1e9)


@requirement("W2")
@pytest.mark.parametrize(
    ("name", "step"),
    [("typed", 1), ("sealed", 3), ("planned", 3), ("reviewed", 2), ("reviewed and sealed", 5)],
)
def test_a_run_that_dies_after_any_entry_goes_on_to_the_same_answer(
    name: str, step: int, docs: Path, tmp_path: Path
) -> None:
    answer, events, entries = undisturbed(docs, tmp_path / "undisturbed", name)
    assert answer.outcome is Outcome.COMPLETE
    assert len(answer.citations) >= 1
    died = 0
    for after in range(0, entries + 1, step):
        world = World(docs=docs, home=tmp_path / str(after), **WORLDS[name])
        first, model = world.lives(after)
        died += first is None
        known, billed = world.answered(), model.billed
        again, model = world.goes_on()
        assert not known & set(model.asked), after
        assert len(model.asked) == len(set(model.asked))
        check(world, (answer, events), again)
        spent = again.usage
        assert spent.total >= (billed + model.billed).total
    assert died == len(range(0, entries, step))


@requirement("W2")
@pytest.mark.parametrize("name", ["typed", "reviewed", "sealed"])
def test_a_run_that_dies_again_while_it_goes_on_goes_on_all_the_same(
    name: str, docs: Path, tmp_path: Path
) -> None:
    answer, events, entries = undisturbed(docs, tmp_path / "undisturbed", name)
    for first in range(2, entries, max(entries // 6, 1)):
        for second in (0, 1, 3, 8, 15):
            world = World(docs=docs, home=tmp_path / f"{first} {second}", **WORLDS[name])
            world.lives(first)
            once, (_, model) = world.answered(), world.lives(second)
            assert not once & set(model.asked)
            twice, (again, model) = world.answered(), world.goes_on()
            assert once <= twice
            assert not twice & set(model.asked)
            check(world, (answer, events), again)


@requirement("W2")
def test_a_finished_run_is_repeated_without_a_call_and_leaves_the_record_as_it_was(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    answer, _ = world.goes_on()
    tables = ("entries", "texts")
    before = {table: world.rows(table) for table in tables}
    again, model = world.goes_on()
    assert model.asked == []
    assert timeless(again.to_json()) == timeless(answer.to_json())
    assert {table: world.rows(table) for table in tables} == before


# --- calls that fail, and runs that stop


def playing(*orchestrator: Any, **more: Any) -> Callable[[], Script]:
    """A script anew for each process."""
    return lambda: Script({"orchestrator": list(orchestrator), **more})


@requirement("W2")
def test_a_failure_that_was_reported_stays_and_the_orchestrators_own_is_asked_again(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    world.model = playing(
        delegate("a", "b"),
        fail(Fault.OVERLOADED),
        D1=[searched(), fail(Fault.SERVER)],
        D2=researcher(),
    )
    answer, _ = world.goes_on()
    assert (answer.outcome, answer.stop) == (Outcome.FAILED, "overloaded")
    world.model = playing(say("BM25 ranks [21]."))
    answer, model = world.goes_on()
    assert answer.outcome is Outcome.COMPLETE
    assert [d.outcome for d in answer.delegations] == [Outcome.FAILED, Outcome.COMPLETE]
    assert model.asked == ["orchestrator/2"]
    assert sorted((c["key"], c["attempt"], c["state"]) for c in made_calls(world.home)) == [
        ("D1/1", 1, "answered"),
        ("D1/2", 1, "failed"),
        ("D2/1", 1, "answered"),
        ("D2/2", 1, "answered"),
        ("orchestrator/1", 1, "answered"),
        ("orchestrator/2", 1, "failed"),
        ("orchestrator/2", 2, "answered"),
    ]
    assert answer.usage == paid(world.home)
    assert answer.model_calls == 7
    again, model = world.goes_on()
    assert model.asked == []
    assert timeless(again.to_json()) == timeless(answer.to_json())


@requirement("W2")
def test_another_question_is_not_taken_for_the_one_on_record(docs: Path, tmp_path: Path) -> None:
    world = World(docs=docs, home=tmp_path)
    answer, _ = world.goes_on()
    world.question = "How is green tea brewed?"
    other, model = world.goes_on()
    assert (other.outcome, other.stop) == (Outcome.FAILED, "journal")
    assert isinstance(other.error, NotTheSame)
    assert "\n" not in str(other.error)
    assert other.error.hint
    assert model.asked == []
    (row,) = world.rows("runs")
    assert (row["outcome"], json.loads(row["answer"])) == ("complete", answer.to_json())
    world.question = QUESTION
    again, model = world.goes_on()
    assert model.asked == []
    assert timeless(again.to_json()) == timeless(answer.to_json())


@requirement("W2")
def test_a_run_that_was_tried_with_another_agent_goes_on_with_its_own(
    docs: Path, tmp_path: Path
) -> None:
    answer, _, entries = undisturbed(docs, tmp_path / "undisturbed", "typed")
    own = World(docs=docs, home=tmp_path).agents
    other = replace(own[0], prompt="Another prompt.")
    refused = 0
    for after in range(entries):
        world = World(docs=docs, home=tmp_path / str(after), agents=(other, own[1]))
        world.agents = own
        world.lives(after)
        under_way = "D1/1" in world.answered()
        world.agents = (other, own[1])
        if under_way:
            tried, model = world.goes_on()
            assert tried.stop == "journal"
            assert model.asked == []
            refused += 1
        world.agents = own
        again, _ = world.goes_on()
        assert unpaid(again.to_json()) == unpaid(answer.to_json())
    assert refused


@requirement("W2")
@requirement("W3")
def test_a_cancelled_run_goes_on_and_pays_for_the_call_that_was_broken_off(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    slow = playing(delegate("a"), D1=[searched(), say("late", delay=600)])

    async def cancelled() -> Answer:
        model = slow()
        async with asyncio.timeout(SECONDS):
            with Journal(tmp_path) as journal:
                recording = Recording(run=RUN, journal=journal, seed=SEED)
                async with Run(QUESTION, world.setup(model, journal), recording=recording) as run:
                    while "D1/2" not in model.asked:
                        await asyncio.sleep(0)
                    run.cancel()
                    return await run.answer()

    answer = asyncio.run(cancelled())
    assert answer.outcome is Outcome.CANCELLED
    assert world.rows("runs")[0]["outcome"] == "cancelled"
    assert world.answered() == {"orchestrator/1", "D1/1"}
    world.model = playing(say("BM25 ranks [11]."), D1=researcher()[1:])
    answer, model = world.goes_on()
    assert answer.outcome is Outcome.COMPLETE
    assert model.asked == ["D1/2", "orchestrator/2"]
    assert {c["key"]: c["state"] for c in made_calls(world.home) if c["attempt"] == 1} == {
        "D1/1": "answered",
        "D1/2": "broken",
        "orchestrator/1": "answered",
        "orchestrator/2": "answered",
    }
    assert answer.usage == paid(world.home)
    receipt = answer.delegations[0].receipt
    assert receipt is not None
    assert receipt.model_calls == 3  # the broken one counts


@requirement("W2")
@requirement("B3")
@pytest.mark.parametrize("most", range(1, 7))
def test_a_run_that_ran_out_goes_on_from_there_with_more(
    most: int, docs: Path, tmp_path: Path
) -> None:
    whole, _, _ = undisturbed(docs, tmp_path / "undisturbed", "typed")
    world = World(docs=docs, home=tmp_path, limits=Limits(model_calls=most))
    short, first = world.goes_on()
    assert short.outcome is Outcome.BUDGET
    assert len(first.asked) == most
    world.limits = RUN_LIMITS
    answer, model = world.goes_on()
    assert not set(first.asked) & set(model.asked)
    assert answer.usage == paid(world.home) == first.billed + model.billed
    assert answer.model_calls == len(first.asked) + len(model.asked)
    assert unpaid(answer.to_json()) == unpaid(whole.to_json())
    again, model = world.goes_on()
    assert model.asked == []
    assert timeless(again.to_json()) == timeless(answer.to_json())


@requirement("W2")
def test_a_delegation_that_a_limit_stopped_goes_on_only_if_nobody_has_gone_on_from_there(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    own = world.agents
    world.agents = (replace(own[0], limits=Limits(model_calls=1)), own[1])
    world.model = playing(
        delegate("a"), delegate("b"), fail(Fault.OVERLOADED), D1=[searched()], D2=[searched()]
    )
    answer, _ = world.goes_on()
    assert [d.outcome for d in answer.delegations] == [Outcome.BUDGET, Outcome.BUDGET]
    world.agents = own
    world.model = playing(say("BM25 ranks [21]."), D2=researcher()[1:])
    answer, model = world.goes_on()
    assert model.asked == ["D2/2", "orchestrator/3"]
    assert [d.outcome for d in answer.delegations] == [Outcome.BUDGET, Outcome.COMPLETE]


@requirement("W2")
@requirement("B1")
def test_what_was_paid_before_counts_against_the_limit_of_who_goes_on(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path, limits=Limits(model_calls=3))
    world.goes_on()
    again, model = world.goes_on()
    assert again.outcome is Outcome.BUDGET
    assert model.asked == []
    assert again.model_calls == 3


@requirement("B1")
def test_a_call_that_is_cancelled_while_it_is_put_on_record_costs_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        with Journal(tmp_path) as journal, closing(sqlite3.connect(tmp_path / FILE)) as other:
            recording = Recording(run=RUN, journal=journal)
            recording.begin("q", {"level": "typed"})
            other.execute("begin immediate")  # so that nothing can be written
            request = Request(
                key="D1/1", agent="a", model="m", system="s", messages=(), tools=(), max_tokens=9
            )
            opening = asyncio.ensure_future(recording.open(request, Usage(input_tokens=700)))
            for _ in range(3):  # until it waits
                await asyncio.sleep(0)
            assert not opening.done()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            other.rollback()

    asyncio.run(go())
    assert [(c["state"], Usage(**c["usage"]).total) for c in made_calls(tmp_path)] == [
        ("broken", 0)
    ]


# --- tools


def mailing(sent: list[str]) -> Agent:
    @tool(effects=Effects(sends=True))
    def mail(text: str) -> str:
        """Send a mail."""
        sent.append(text)
        return f"mail {len(sent)}"

    return Agent(name="clerk", description="d", prompt="p", tools=("search", mail))


def clerk(*steps: Any) -> Callable[[], Script]:
    return playing(
        call("delegate_to_clerk", task="Do it"),
        say("Done."),
        clerk=[*steps, call("submit_report", answer="Done.")],
    )


def stepwise(model: Callable[[], Script]) -> Callable[[], Script]:
    """The same script for every process, whatever was said before: each loop's n-th call is its n-th step."""

    def made() -> Script:
        script = model()._script

        def at(steps: Any) -> Callable[[Request], Says]:
            def said(request: Request) -> Says:
                step: Says = steps[int(request.key.split("/")[1]) - 1]
                return step

            return said

        return Script({who: at(steps) for who, steps in script.items()})

    return made


@requirement("W2")
def test_a_tool_with_effects_runs_at_most_once_and_says_where_nobody_knows_whether_it_did(
    docs: Path, tmp_path: Path
) -> None:
    sent: list[str] = []
    model = stepwise(clerk(call("mail", text="hello"), call("mail", text="again")))
    world = World(docs=docs, home=tmp_path / "whole", agents=(mailing(sent),), model=model)
    answer, _ = world.goes_on()
    assert sent == ["hello", "again"]
    entries = 2 + len(world.rows("entries"))
    unknown = 0
    for after in range(1, entries):
        world.home = tmp_path / str(after)
        sent.clear()
        world.lives(after)
        again, _ = world.goes_on()
        assert again.text == answer.text
        results = [tool["problem"] for _, tool in tools(world.home) if tool["problem"]]
        assert results == []
        assert sent == ["hello", "again"]  # in this life, or in the one before
        unknown += sum("not known" in event["data"] for event in events(world.home))
    assert unknown == 2  # killed with the word that it is about to run as the last on record


def tools(home: Path) -> list[tuple[str, Any]]:
    with Past(home) as past:
        return list(past.tools(RUN))


@requirement("W2")
def test_a_replay_runs_no_tool_with_effects_even_if_its_result_is_not_on_record(
    docs: Path, tmp_path: Path
) -> None:
    sent: list[str] = []
    world = World(
        docs=docs,
        home=tmp_path,
        agents=(mailing(sent),),
        model=stepwise(clerk(call("mail", text="hello"))),
    )
    world.goes_on()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("delete from entries where kind in ('effect', 'tool')")
        connection.commit()
    replayed(world, world.level)
    assert sent == ["hello"]


class Arriving:
    """A model whose replies go on arriving for a while after their first tool call."""

    def __init__(self, model: Script) -> None:
        self.id, self._model = model.id, model

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        async for event in self._model.stream(request):
            yield event
            if isinstance(event, ToolUseReady):
                for _ in range(100):
                    await asyncio.sleep(0)


@requirement("W2")
def test_a_tool_with_effects_starts_when_the_whole_reply_is_on_record(
    docs: Path, tmp_path: Path
) -> None:
    states: list[list[str]] = []

    @tool(effects=Effects(sends=True))
    def mail(text: str) -> str:
        """Send a mail."""
        states.append([c["state"] for c in made_calls(tmp_path)])
        return text

    script = clerk(call("mail", text="hello"))
    clerks = Agent(name="clerk", description="d", prompt="p", tools=("search", mail))
    world = World(docs=docs, home=tmp_path, agents=(clerks,), model=lambda: Arriving(script()))
    world.goes_on()
    assert states == [["answered", "answered"]]


@requirement("W2")
@requirement("policy")
def test_what_a_person_decided_is_not_asked_again(docs: Path, tmp_path: Path) -> None:
    sent: list[str] = []
    asked: list[str] = []

    async def approve(request: ApprovalRequest) -> str:
        asked.append(request.input["text"])
        return request.digest if request.input["text"] == "yes" else ""

    world = World(
        docs=docs,
        home=tmp_path,
        level=Level.GUARDED,
        agents=(mailing(sent),),
        approve=approve,
        model=playing(
            call("delegate_to_clerk", task="Do it"),
            fail(Fault.SERVER),
            clerk=[
                searched(),
                call("mail", text="yes"),
                call("mail", text="no"),
                fail(Fault.OVERLOADED),
            ],
        ),
    )
    world.goes_on()
    assert (asked, sent) == (["yes", "no"], ["yes"])
    world.model = playing(say("Done."))
    answer, model = world.goes_on()
    assert model.asked == ["orchestrator/2"]
    assert (asked, sent) == (["yes", "no"], ["yes"])
    decided = [json.loads(e["data"]) for e in events(world.home) if e["kind"] == "decided"]
    assert [d["decision"] for d in decided] == ["approved", "denied"]
    assert answer.outcome is Outcome.COMPLETE


# --- replay


def replayed(world: World, level: Level) -> Answer:
    async def go() -> Answer:
        async with asyncio.timeout(SECONDS):
            with Past(world.home) as past:
                recording = Recording.of_past(past, RUN, None)
            setup = world.setup(Recorded("", recording.said), None)
            world.level = level
            async with Run(world.question, setup, recording=recording) as run:
                return await run.answer()

    world.level, own = level, world.level
    answer = asyncio.run(go())
    world.level = own
    return answer


@requirement("W2")
@pytest.mark.parametrize("name", WORLDS)
def test_a_replay_asks_nobody_writes_nothing_and_says_the_same(
    name: str, docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path, **WORLDS[name])
    answer, _ = world.goes_on()
    tables = ("runs", "entries", "texts")
    before = {table: world.rows(table) for table in tables}
    again = replayed(world, world.level)
    assert unpaid(again.to_json()) == unpaid(answer.to_json())
    assert again.usage == answer.usage
    assert {table: world.rows(table) for table in tables} == before


@requirement("W2")
@requirement("W5")
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("level", list(Level))
def test_a_replay_at_another_level_is_an_ordinary_answer(
    level: Level, name: str, docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path, **WORLDS[name])
    world.goes_on()
    again = replayed(world, level)
    assert again.level is level
    assert again.stop != "crash"
    assert again.text


@requirement("W2")
@requirement("W5")
def test_a_replay_of_half_a_run_says_that_the_rest_is_not_on_record(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    assert world.lives(25)[0] is None
    answer = replayed(world, world.level)
    assert answer.outcome is Outcome.FAILED
    assert isinstance(answer.error, ModelError)
    assert answer.error.fault is Fault.NOT_RECORDED


# --- who holds a run


@requirement("W2")
def test_of_two_who_go_on_with_a_run_one_wins_and_the_other_is_told(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)
    world.lives(25)

    async def both() -> list[Any]:
        async def one() -> Any:
            model = Offline()
            with Journal(tmp_path) as journal:
                try:
                    with resumed(RUN, tmp_path, journal) as recording:
                        run = Run(QUESTION, world.setup(model, journal), recording=recording)
                        return await run.answer()
                except ConfigError as error:
                    return error

        async with asyncio.timeout(SECONDS):
            return list(await asyncio.gather(one(), one()))

    winner, loser = sorted(asyncio.run(both()), key=lambda r: isinstance(r, ConfigError))
    assert winner.outcome is Outcome.COMPLETE
    assert str(loser) == f"run {RUN} is at work in another process"
    assert loser.hint == "Wait for it, or stop it, then resume."


@requirement("W2")
def test_runs_that_are_killed_at_random_moments_go_on_to_the_same_answer() -> None:
    figures = chaos(runs=6, seed=int(os.environ.get("CHAOS_SEED", "1")))
    assert figures.what == []
    assert figures.wrong == 0
    assert figures.kills >= figures.runs


@requirement("W5")
def test_the_events_of_a_run_that_another_process_holds_come_to_an_end(
    docs: Path, tmp_path: Path
) -> None:
    world = World(docs=docs, home=tmp_path)

    async def watch() -> None:
        with Journal(tmp_path) as journal, journal.claimed(RUN):
            recording = Recording(run=RUN, journal=journal)
            async with (
                asyncio.timeout(1),
                Run(QUESTION, world.setup(Offline(), journal), recording=recording) as run,
            ):
                try:
                    async for _ in run:
                        pass
                finally:
                    with pytest.raises(ConfigError):
                        await run.answer()

    asyncio.run(watch())


class Eager(Offline):
    """A server whose tool calls come long before the end of the reply, with other ids each time, as real ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(request):
            if isinstance(event, ToolUseReady):
                use = event.call
                yield ToolUseReady(
                    call=ToolUse(id=f"{id(self)}{use.id}", name=use.name, input=use.input)
                )
                if self.stuck and request.key == "orchestrator/1":
                    await asyncio.sleep(600)
            elif isinstance(event, Reply) and event.stop is Stop.TOOL_USE:
                blocks = tuple(
                    ToolUse(id=f"{id(self)}{b.id}", name=b.name, input=b.input)
                    if isinstance(b, ToolUse)
                    else b
                    for b in event.content
                )
                yield Reply(content=blocks, stop=event.stop, usage=event.usage)
            else:
                yield event


@requirement("W2")
def test_what_a_lost_reply_had_begun_is_not_paid_for_again(docs: Path, tmp_path: Path) -> None:
    def stuck() -> Eager:
        model = Eager()
        model.stuck = True
        return model

    world = World(docs=docs, home=tmp_path, model=stuck)
    for after in range(10, 100):
        world.home = tmp_path / str(after)
        world.lives(after)
        if "D1/3" in world.answered():
            break
    world.model = Eager
    answer, model = world.goes_on()
    assert [d.agent.name for d in answer.delegations] == ["researcher", "critic"]
    assert model.asked == ["orchestrator/1", "orchestrator/2", "D2/1", "orchestrator/3"]
