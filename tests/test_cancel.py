"""One subagent is cancelled by a person, and a person raises ceilings: the run goes on, and what is on record says so."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from delegator.answer import Answer
from delegator.api import open_index
from delegator.budget import NO_LIMITS, Budget, Limits, Worst
from delegator.errors import SESSION
from delegator.events import DelegationFinished, DelegationStarted, ModelCallStarted, Noticed
from delegator.history import differences
from delegator.home import data_home
from delegator.journal import Journal, Past
from delegator.model import Model
from delegator.models.recorded import Recorded
from delegator.models.scripted import Scripted, say
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from delegator.recording import Recording, resumed
from programs import MANY_SECONDS
from requirements import requirement
from scripts import delegate, have_reviewed, researcher, search

QUESTION = "What is BM25?"
LONG = say("never said", delay=3_600)


def script(*last: Any) -> Scripted:
    """Two researchers: the first one reports, the second one searches and is not answered again."""
    steps = [delegate("ranking", "tea"), *(last or [say("BM25 ranks [11].")])]
    return Scripted({"orchestrator": steps, "D1": researcher(), "D2": [search(), LONG]})


def play(
    docs: Path,
    model: Model,
    *,
    cancel: Sequence[str] = ("D2",),
    journal: Journal | None = None,
    recording: Recording | None = None,
    setup: dict[str, Any] | None = None,
) -> tuple[Answer, list[Any], Setup]:
    """A run in which a person cancels subagents as soon as the first researcher is done."""

    async def go() -> tuple[Answer, list[Any], Setup]:
        with closing(open_index([docs])) as index:
            made = Setup(model=model, library=index, journal=journal, **(setup or {}))
            happened = []
            async with (
                asyncio.timeout(MANY_SECONDS),
                Run(QUESTION, made, recording=recording) as run,
            ):
                async for event in run:
                    happened.append(event.what)
                    if isinstance(event.what, DelegationFinished) and event.what.id == "D1":
                        for id in cancel:
                            assert run.cancel_delegation(id)
                            assert not run.cancel_delegation(id)
                return await run.answer(), happened, made

    return asyncio.run(go())


def ends(happened: list[Any]) -> dict[str, Outcome]:
    return {what.id: what.outcome for what in happened if isinstance(what, DelegationFinished)}


@requirement("W3")
def test_a_person_cancels_one_subagent_and_nothing_else_ends(docs: Path) -> None:
    answer, happened, _ = play(docs, script())
    assert answer.outcome is Outcome.COMPLETE
    assert ends(happened) == {"D1": Outcome.COMPLETE, "D2": Outcome.CANCELLED}
    (_, cancelled) = answer.delegations
    assert cancelled.receipt is not None
    assert (cancelled.receipt.stop, cancelled.receipt.model_calls) == ("cancelled", 2)
    assert cancelled.problem == "a person cancelled it"
    assert answer.text == "BM25 ranks [1]."


@requirement("B1")
def test_what_a_cancelled_subagent_held_of_the_budget_is_given_back(docs: Path) -> None:
    answer, _, setup = play(docs, script())
    assert (setup.session.held_tokens, setup.session.held_nano) == (0, 0)
    assert setup.session.spent.total == answer.usage.total == 5 * 120


def test_a_subagent_that_is_not_at_work_cannot_be_cancelled(docs: Path) -> None:
    async def go() -> list[bool]:
        with closing(open_index([docs])) as index:
            run = Run(QUESTION, Setup(model=script(), library=index))
            return [run.cancel_delegation(id) for id in ("D1", "D9", "orchestrator", "")]

    assert asyncio.run(go()) == [False] * 4


def test_a_review_that_a_person_cancelled_is_no_acceptance(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("ranking"), have_reviewed("D1"), say("BM25 ranks [11].")],
            "D1": researcher(),
            "D2": [LONG],
        }
    )

    async def go() -> Answer:
        with closing(open_index([docs])) as index:
            async with (
                asyncio.timeout(MANY_SECONDS),
                Run(QUESTION, Setup(model=model, library=index)) as run,
            ):
                async for event in run:
                    if isinstance(event.what, DelegationStarted) and event.what.id == "D2":
                        run.cancel_delegation("D2")
                return await run.answer()

    answer = asyncio.run(go())
    assert (answer.outcome, answer.flagged) == (Outcome.NEEDS_REVIEW, ("D1",))


@pytest.fixture
def recorded(docs: Path) -> Answer:
    """A run on record whose second subagent was cancelled."""
    with Journal(data_home()) as journal:
        answer, _, _ = play(docs, script(), journal=journal)
    return answer


@requirement("W2")
def test_who_was_cancelled_stays_so_when_the_run_is_gone_through_again(
    docs: Path, recorded: Answer
) -> None:
    with Past(data_home()) as past:
        again = Recording.of_past(past, recorded.run_id, None)
    answer, happened, _ = play(docs, Recorded("", again.said), cancel=(), recording=again)
    assert ends(happened)["D2"] is Outcome.CANCELLED
    before, after = (json.loads(json.dumps(one.to_json())) for one in (recorded, answer))
    assert differences(before, after) == []
    assert answer.usage == recorded.usage


@requirement("W2")
def test_a_run_that_died_after_a_subagent_was_cancelled_does_not_ask_it_again(docs: Path) -> None:
    lost = script(say("never said", delay=3_600))
    with Journal(data_home()) as journal:

        async def die() -> str:
            """As far as the orchestrator's second call, which nobody answers."""
            with closing(open_index([docs])) as index:
                setup = Setup(model=lost, library=index, journal=journal)
                async with asyncio.timeout(MANY_SECONDS), Run(QUESTION, setup) as run:
                    async for event in run:
                        if isinstance(event.what, DelegationFinished):
                            run.cancel_delegation("D2")
                        if event.agent == "orchestrator" and event.what == ModelCallStarted(n=2):
                            return run.id
            raise AssertionError

        id = asyncio.run(die())
    model = Scripted({"orchestrator": [say("BM25 ranks [11].")]})
    with Journal(data_home()) as journal, resumed(id, data_home(), journal) as recording:
        answer, happened, _ = play(docs, model, cancel=(), journal=journal, recording=recording)
    assert answer.outcome is Outcome.COMPLETE
    assert ends(happened) == {"D1": Outcome.COMPLETE, "D2": Outcome.CANCELLED}
    assert model.shown("D2") == []
    with Past(data_home()) as past:
        ended = [
            json.loads(e["data"]) for e in past.events(id) if e["kind"] == "delegation_finished"
        ]
    assert [(end["id"], end["outcome"]) for end in ended] == [
        ("D1", "complete"),
        ("D2", "cancelled"),
    ]


# Ceilings


@requirement("B1")
def test_a_person_raises_the_ceilings_that_are_set_here_and_above() -> None:
    session = Budget(owner=SESSION, limits=Limits(tokens=1_000, usd=1.0))
    run = session.child("run", Limits(tokens=500))
    run.extend(tokens=100, usd=0.5)
    assert (run.limits, session.limits) == (Limits(tokens=600), Limits(tokens=1_100, usd=1.5))
    run.child("D1", NO_LIMITS).extend(tokens=1)
    assert session.limits.tokens == 1_101


@requirement("B1")
def test_who_waits_for_room_gets_it_from_a_raised_ceiling() -> None:
    async def go() -> int:
        run = Budget(owner="run", limits=Limits(tokens=3_000))
        held = run.reserve(Worst(input_tokens=500, reply_tokens=2_000))
        waiting = asyncio.ensure_future(_called(run))
        await asyncio.sleep(0)
        assert not waiting.done()
        run.extend(tokens=5_000)
        reply_tokens = await waiting
        run.release(held)
        return reply_tokens

    async def _called(run: Budget) -> int:
        async with run.model_call(Worst(input_tokens=500, reply_tokens=2_000)) as call:
            return call.reply_tokens

    assert asyncio.run(go()) == 2_000


def test_a_run_says_and_puts_on_record_what_a_person_allowed(docs: Path) -> None:
    async def go() -> tuple[Limits, list[str]]:
        with closing(open_index([docs])) as index:
            setup = Setup(model=script(), library=index, limits=Limits(tokens=1_000_000))
            async with asyncio.timeout(MANY_SECONDS), Run(QUESTION, setup) as run:
                limits = run.extend(tokens=5, usd=1.0).limits
                run.cancel()
                said = [e.what.text async for e in run if isinstance(e.what, Noticed)]
            return limits, said

    limits, said = asyncio.run(go())
    assert (limits.tokens, limits.usd) == (1_000_005, None)
    assert said == ["a person allows 5 tokens and $1.00 more"]


@requirement("W2")
def test_ceilings_that_a_person_raised_are_on_record_and_nothing_is_after_the_end(
    docs: Path,
) -> None:
    async def go() -> str:
        with Journal(data_home()) as journal, closing(open_index([docs])) as index:
            limits = Limits(tokens=11_000)
            setup = Setup(model=script(), library=index, journal=journal, limits=limits)
            async with asyncio.timeout(MANY_SECONDS), Run(QUESTION, setup) as run:
                async for event in run:
                    if isinstance(event.what, DelegationFinished):
                        run.cancel_delegation("D2")
                        run.extend(tokens=7_000)
                answer = await run.answer()
                run.extend(tokens=1)  # too late: the run is over
            async with Run(QUESTION, replace(setup, model=script())) as again:
                async for event in again:
                    if isinstance(event.what, DelegationFinished):
                        again.cancel_delegation("D2")
                assert (await again.answer()).error is None
        return answer.run_id

    id = asyncio.run(go())
    with Past(data_home()) as past:
        kept = json.loads(past.run(id)["settings"])
        assert past.broken_link(id) is None
    assert kept["max_tokens"] == kept["limits"]["tokens"]
    assert kept["max_tokens"] in (18_000, 25_000)
