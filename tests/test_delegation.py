"""Delegations: references resolved by code, bounded revisions, verdicts that flag and open nothing."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import delegator
from delegator.answer import Answer
from delegator.budget import Limits
from delegator.events import DelegationFinished
from delegator.knowledge import Index
from delegator.models.scripted import Says, Scripted, Step, call, calls, results, say
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from requirements import requirement
from scripts import (
    ACCEPT,
    REVISE,
    ask,
    critic,
    delegate,
    finds,
    have_reviewed,
    researcher,
    search,
)


def _revise(task: str, id: str) -> tuple[str, dict[str, str]]:
    return ("delegate_to_researcher", {"task": task, "revises": id})


def test_every_agent_becomes_a_tool(docs: Path) -> None:
    helper = delegator.Agent(name="helper", description="Helps.", prompt="You help.")
    model = Scripted({"orchestrator": [say("Hi.")]})
    ask(model, docs, "Hello", agents=[helper])
    assert [tool.name for tool in model.requests[0].tools] == [
        "delegate_to_researcher",
        "delegate_to_critic",
        "delegate_to_helper",
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"finding_id": "D7"}, "no finding has this id; there are: D1"),
        ({"finding_id": "D2"}, "no finding has this id; there are: D1"),
        (
            {"finding_id": "1"},
            "the input does not fit the tool's schema: $.finding_id: pattern ^D[0-9]{1,6}$",
        ),
    ],
)
def test_a_reference_that_names_no_finding_is_refused_with_what_there_is(
    docs: Path, given: dict[str, str], problem: str
) -> None:
    model = Scripted(
        {
            "orchestrator": [
                delegate("a"),
                have_reviewed("D1"),
                call("delegate_to_critic", **given),
                say("Done [11]."),
            ],
            "D1": researcher(),
            "D2": critic(),
        }
    )
    ask(model, docs)
    assert results(model.shown("orchestrator")[3]) == [{"error": problem}]


def test_a_finding_is_revised_at_most_twice(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [
                delegate("a"),
                calls(_revise("a", "D1")),
                calls(_revise("a", "D2")),
                calls(_revise("a", "D3")),
                say("Done [31]."),
            ],
            "D1": researcher(),
            "D2": researcher(),
            "D3": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    assert len(answer.delegations) == 3
    assert "revised 2 times already" in results(model.shown("orchestrator")[4])[0]["error"]


def test_a_finding_is_revised_once_at_a_time_and_by_its_own_agent(docs: Path) -> None:
    helper = delegator.Agent(name="helper", description="Helps.", prompt="You help.")
    stranger = ("delegate_to_helper", {"task": "a", "revises": "D1"})
    model = Scripted(
        {
            "orchestrator": [
                delegate("a"),
                calls(stranger, _revise("a", "D1"), _revise("a", "D1")),
                say("Done."),
            ],
            "D1": researcher(),
            "D2": researcher(),
        }
    )
    ask(model, docs, agents=[helper])
    errors = [r.get("error", "") for r in results(model.shown("orchestrator")[2])]
    assert errors[0] == "a finding is revised by the agent that made it"
    assert errors[2] == "this finding is revised already, as D2"


def test_a_low_score_after_the_last_round_flags_the_finding(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("a"), have_reviewed("D1"), say("Done [11].")],
            "D1": researcher(),
            "D2": critic(REVISE),
        }
    )
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.NEEDS_REVIEW
    assert answer.flagged == ("D1",)
    assert answer.exit_status == 4


def test_a_revision_that_nobody_reviewed_does_not_clear_the_flag(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [
                delegate("a"),
                have_reviewed("D1"),
                calls(_revise("a", "D1")),
                say("Done [31]."),
            ],
            "D1": researcher(),
            "D2": critic(REVISE),
            "D3": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    assert answer.flagged == ("D3",)


def test_a_high_score_with_a_bad_verdict_stays_below_the_bar(docs: Path) -> None:
    odd = {"score": 5, "verdict": "reject", "feedback": "", "issues": []}
    model = Scripted(
        {
            "orchestrator": [delegate("a"), have_reviewed("D1"), say("Done [11].")],
            "D1": researcher(),
            "D2": critic(odd),
        }
    )
    assert ask(model, docs)[0].outcome is Outcome.NEEDS_REVIEW


@requirement("T6")
@pytest.mark.parametrize("score", [0, 6, 4.5, "5", True, None, float("nan")])
def test_an_unparseable_score_is_not_acceptance(docs: Path, score: object) -> None:
    bad = {"score": score, "verdict": "accept", "feedback": "", "issues": []}
    model = Scripted(
        {
            "orchestrator": [delegate("a"), have_reviewed("D1"), say("Done [11].")],
            "D1": researcher(),
            "D2": critic(bad) * 2,
        }
    )
    answer, _ = ask(model, docs)
    assert answer.delegations[0].review is None
    assert answer.delegations[1].outcome is Outcome.CONTRACT_FAILED


def test_material_goes_by_reference_and_arrives_whole(docs: Path) -> None:
    helper = delegator.Agent(name="helper", description="Helps.", prompt="You help.")
    using = ("delegate_to_helper", {"task": "sum up", "material": ["D1"]})
    model = Scripted(
        {
            "orchestrator": [delegate("a"), calls(using), say("Done [11].")],
            "D1": researcher(),
            "D2": [call("submit_report", answer="Summed up.")],
        }
    )
    ask(model, docs, agents=[helper])
    (brief,) = results(model.shown("D2")[0])
    assert brief["material"][0]["finding"]["claims"][0]["quote"] == "BM25 is a ranking function"


@requirement("B1")
def test_no_more_delegations_than_the_ceiling_allows(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("a", "b", "c"), say("Done [11][21].")],
            "D1": researcher(),
            "D2": researcher(),
        }
    )
    answer, _ = ask(model, docs, limits=Limits(delegations=2))
    assert len(answer.delegations) == 2
    refused = results(model.shown("orchestrator")[1])[2]
    assert refused == {"error": "the run reached its limit of 2 delegations"}


def test_no_more_subagents_at_once_than_allowed(docs: Path) -> None:
    slow: list[Step] = [replace(search(), delay=0.01), finds()]
    model = Scripted(
        {
            "orchestrator": [delegate("a", "b", "c", "d"), say("Done [11].")],
            **{f"D{n}": list(slow) for n in range(1, 5)},
        }
    )
    ask(model, docs, limits=Limits(parallel=2))
    assert model.peak == 2


@requirement("W5")
def test_a_crash_in_a_subagent_is_a_named_failure_and_its_siblings_go_on(docs: Path) -> None:
    def crash(_request: object) -> None:
        raise ZeroDivisionError("canary")

    model = Scripted(
        {
            "orchestrator": [delegate("a", "b"), say("Done [21].")],
            "D1": [crash],  # type: ignore[list-item]  # a model with a bug
            "D2": researcher(),
        }
    )
    answer, events = ask(model, docs)
    assert [d.outcome for d in answer.delegations] == [Outcome.FAILED, Outcome.COMPLETE]
    notices = [event.to_json()["text"] for event in events if event.kind == "noticed"]
    assert notices == ["D1 crashed: ZeroDivisionError"]
    assert "canary" not in str([event.to_json() for event in events])


def test_an_agent_that_names_a_missing_tool_is_a_configuration_error(docs: Path) -> None:
    wrong = delegator.Agent(name="wrong", description="x", prompt="x", tools=("fly",))
    with pytest.raises(delegator.ConfigError, match="wants the tool fly"):
        ask(Scripted({}), docs, agents=[wrong])


def test_references_made_before_there_is_any_finding_are_left_out(docs: Path) -> None:
    eager = {"task": "a", "material": ["D1"], "revises": "D12"}
    model = Scripted(
        {
            "orchestrator": [calls(("delegate_to_researcher", eager)), say("Done [11].")],
            "D1": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    assert answer.delegations[0].outcome is Outcome.COMPLETE
    assert len(model.shown("D1")[0].messages) == 1


def test_waiting_for_ones_turn_does_not_use_up_ones_time(docs: Path) -> None:
    hasty = replace(delegator.shipped("researcher"), limits=Limits(seconds=1.0))
    slow: list[Step] = [replace(search(), delay=0.6), finds()]
    model = Scripted(
        {
            "orchestrator": [delegate("a", "b", "c"), say("Done [31].")],
            **{f"D{n}": list(slow) for n in range(1, 4)},
        }
    )
    answer, _ = ask(model, docs, agents=[hasty], limits=Limits(parallel=1))
    assert [d.outcome for d in answer.delegations] == [Outcome.COMPLETE] * 3
    assert not any(request.last for request in model.shown("D3")[:1])


def reviewed(*tasks: str) -> Says:
    given = [("delegate_to_researcher", {"task": task, "reviewed": True}) for task in tasks]
    return calls(*given)


@requirement("parallel")
def test_a_reviewed_finding_goes_through_its_reviews_while_a_slow_one_is_still_being_found(
    docs: Path,
) -> None:
    async def asked() -> tuple[Answer, list[str]]:
        model = Scripted(
            {
                "orchestrator": [reviewed("quick", "slow"), say("Done [11][21].")],
                "D1": researcher(),
                "D2": [replace(search(), delay=0.5), finds()],
                "critic": lambda _r: call("submit_report", **ACCEPT),
            }
        )
        index = Index(None, [docs])
        index.refresh()
        async with Run("What is BM25?", Setup(model=model, library=index)) as run:
            whats = [event.what async for event in run]
            order = [what.id for what in whats if isinstance(what, DelegationFinished)]
            return await run.answer(), order

    answer, order = asyncio.run(asked())
    assert order == ["D1", "D3", "D2", "D4"]
    assert [d.review.by for d in answer.delegations[:2] if d.review] == ["D3", "D4"]


def test_a_reviewed_finding_that_is_weak_comes_back_improved(docs: Path) -> None:
    verdicts = [REVISE, ACCEPT]
    model = Scripted(
        {
            "orchestrator": [reviewed("What is BM25?"), say("Done [31].")],
            "D1": researcher(),
            "D3": researcher(text="Better."),
            "critic": lambda _r: call("submit_report", **verdicts.pop(0)),
        }
    )
    answer, _ = ask(model, docs)
    (data,) = results(model.shown("orchestrator")[1])
    assert data["finding_id"] == "D3"
    assert data["claimed"]["claims"][0]["text"] == "Better."
    assert data["review"]["verdict"] == "accept"
    assert [(d.id, d.agent.name, d.about) for d in answer.delegations] == [
        ("D1", "researcher", ""),
        ("D2", "critic", "D1"),
        ("D3", "researcher", "D1"),
        ("D4", "critic", "D3"),
    ]
    assert answer.flagged == ()


def test_a_reviewed_finding_is_revised_twice_at_most_and_then_flagged(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [reviewed("What is BM25?"), say("Done.")],
            "researcher": lambda r: (
                finds()(r) if any("hits" in d for d in results(r)) else search()
            ),
            "critic": lambda _r: call("submit_report", **REVISE),
        }
    )
    answer, _ = ask(model, docs)
    assert [d.revision for d in answer.delegations if not d.agent.reviews] == [0, 1, 2]
    assert answer.flagged == ("D5",)


def test_reviews_stop_where_no_further_delegation_is_allowed(docs: Path) -> None:
    model = Scripted(
        {"orchestrator": [reviewed("What is BM25?"), say("Done [11].")], "researcher": researcher()}
    )
    answer, events = ask(model, docs, limits=Limits(delegations=1))
    assert [d.id for d in answer.delegations] == ["D1"]
    assert any("left out" in getattr(event.what, "text", "") for event in events)
