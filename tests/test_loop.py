"""The loop, driven through whole runs: every path ends in an outcome, every call gets a result."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import delegator
from delegator.budget import SMALLEST_REPLY, Limits, Usage
from delegator.envelope import unseal
from delegator.errors import Fault
from delegator.messages import Stop, ToolResult, ToolUse
from delegator.model import Begun, ModelEvent, Request
from delegator.models.scripted import Says, Scripted, call, calls, fail, results, say
from delegator.outcome import Outcome
from delegator.tools import tool
from requirements import requirement
from scripts import ask, delegate, finds, one_delegation, report, researcher, search


def _unanswered(requests: list[Request]) -> list[str]:
    """Tool calls that were sent back to a model without a result."""
    missing = []
    for request in requests:
        uses = [b.id for m in request.messages for b in m.content if isinstance(b, ToolUse)]
        done = {
            b.tool_use_id for m in request.messages for b in m.content if isinstance(b, ToolResult)
        }
        missing += [id for id in uses if id not in done]
    return missing


@requirement("W5")
@pytest.mark.parametrize(
    ("stop", "outcome"),
    [
        (Stop.REFUSAL, Outcome.REFUSED),
        (Stop.CONTEXT_FULL, Outcome.PARTIAL),
        (Stop.UNKNOWN, Outcome.PARTIAL),
        (Stop.MAX_TOKENS, Outcome.PARTIAL),
        (Stop.STOP_SEQUENCE, Outcome.COMPLETE),
        (Stop.END_TURN, Outcome.COMPLETE),
    ],
)
def test_every_stop_reason_ends_in_its_outcome(docs: Path, stop: Stop, outcome: Outcome) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("What is BM25?"), say("It ranks [11].", stop=stop)],
            "D1": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    assert answer.outcome is outcome


def test_a_paused_turn_is_sent_back_and_goes_on(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [
                delegate("What is BM25?"),
                say("Let me think. ", stop=Stop.PAUSE_TURN),
                say("It ranks [11]."),
            ],
            "D1": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.COMPLETE
    assert model.requests[-1].messages[-1].role == "assistant"


def test_a_refusal_cancels_what_the_same_reply_started(docs: Path) -> None:
    refusing = calls(("delegate_to_researcher", {"task": "a"}), stop=Stop.REFUSAL)
    model = Scripted({"orchestrator": [refusing], "D1": [replace(search(), delay=60)]})
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.REFUSED
    assert [d.outcome for d in answer.delegations] in ([], [Outcome.CANCELLED])


@requirement("W5")
@given(
    steps=st.lists(
        st.one_of(
            st.builds(say, st.text(max_size=20), stop=st.sampled_from([None, *Stop])),
            st.builds(
                lambda names, stop: calls(*((name, {}) for name in names), stop=stop),
                st.lists(
                    st.sampled_from(["search", "brief", "submit_report", "nonsense"]), max_size=3
                ),
                st.sampled_from([None, *Stop]),
            ),
            st.builds(fail, st.sampled_from(Fault)),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_subagent_says_its_loop_ends_in_an_outcome(steps: list[Says]) -> None:
    spoken = iter([*steps, *([say("")] * 20)])
    model = Scripted(
        {
            "orchestrator": [delegate("task"), say("Done.")],
            "researcher": lambda _request: next(spoken),
        }
    )
    answer, _ = ask(model)
    assert answer.outcome is Outcome.COMPLETE
    assert answer.delegations[0].outcome in set(Outcome)
    assert _unanswered(model.shown("D1")) == []


@requirement("W5")
def test_calls_of_unknown_tools_get_an_error_and_the_run_goes_on(docs: Path) -> None:
    model = one_delegation([call("launch_missiles", at="noon"), search(), finds()])
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.COMPLETE
    assert results(model.shown("D1")[1]) == [{"error": "there is no tool of this name"}]


def test_invalid_input_gets_a_precise_error_and_one_more_try(docs: Path) -> None:
    model = one_delegation([call("search", query=7, limit=99), search(), finds()])
    answer, _ = ask(model, docs)
    assert answer.delegations[0].outcome is Outcome.COMPLETE
    assert "$.query: type string" in results(model.shown("D1")[1])[0]["error"]
    assert "$.limit: maximum 8" in results(model.shown("D1")[1])[0]["error"]


def test_invalid_input_twice_in_a_row_ends_the_loop(docs: Path) -> None:
    model = one_delegation([call("search", query=7), call("search", query=7)], "Nothing.")
    answer, _ = ask(model, docs)
    assert answer.delegations[0].outcome is Outcome.CONTRACT_FAILED
    model.assert_spent()


def test_a_refused_call_repeated_word_for_word_ends_the_loop(docs: Path) -> None:
    stubborn = call("delegate_to_critic", finding_id="D9")
    model = Scripted({"orchestrator": [stubborn, stubborn, stubborn]})
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.CONTRACT_FAILED
    model.assert_spent()


def _own_agent(*tools: Any) -> delegator.Agent:
    return delegator.Agent(
        name="worker", description="Works.", prompt="You work.", tools=tuple(tools)
    )


def _with_tool(function: Any, name: str, **given: Any) -> tuple[Scripted, delegator.Agent]:
    submit = call("submit_report", answer="done")
    model = Scripted(
        {
            "orchestrator": [call("delegate_to_worker", task="work"), say("Done.")],
            "D1": [call(name, **given), submit],
        }
    )
    return model, _own_agent(function)


@requirement("T7")
def test_a_tool_that_raises_is_an_error_result_that_quotes_nothing() -> None:
    @tool
    def explode() -> str:
        """Explodes."""
        raise ValueError("SECRET canary")

    model, agent = _with_tool(explode, "explode")
    answer, _ = ask(model, agents=[agent])
    assert answer.delegations[0].outcome is Outcome.COMPLETE
    assert results(model.shown("D1")[1]) == [{"error": "the tool failed (ValueError)"}]


@requirement("W5")
def test_a_tool_that_hangs_is_given_up_and_the_run_goes_on() -> None:
    @tool
    async def hang() -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return ""

    model, agent = _with_tool(replace(hang, seconds=0.01), "hang")
    answer, _ = ask(model, agents=[agent])
    assert answer.outcome is Outcome.COMPLETE
    assert results(model.shown("D1")[1]) == [{"error": "the tool did not answer in time"}]


def test_a_tool_that_returns_ten_megabytes_is_cut() -> None:
    @tool
    def flood() -> str:
        """Floods."""
        return "x" * 10_000_000

    model, agent = _with_tool(flood, "flood")
    ask(model, agents=[agent])
    block = model.shown("D1")[1].messages[-1].content[0]
    assert isinstance(block, ToolResult)
    assert len(block.text) < 30_000
    assert "more characters left out" in block.text


@requirement("B1")
def test_a_model_that_calls_tools_for_ever_ends_at_its_limit(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("What is BM25?"), say("Nothing.")],
            "researcher": lambda request: search(f"BM25 {request.key}"),
        }
    )
    answer, _ = ask(model, docs)
    record = answer.delegations[0]
    assert record.outcome is Outcome.BUDGET
    assert record.receipt is not None
    assert record.receipt.model_calls == 10


@requirement("B1")
def test_the_runs_token_ceiling_stops_every_agent(docs: Path) -> None:
    heavy = Usage(input_tokens=600, output_tokens=100)
    model = Scripted(
        {
            "orchestrator": lambda _r: replace(delegate("again"), usage=heavy),
            "researcher": lambda r: replace(search(r.key), usage=heavy),
        }
    )
    answer, _ = ask(model, docs, limits=Limits(tokens=5_000, reply_tokens=200))
    assert answer.outcome is Outcome.BUDGET
    assert answer.exit_status == 3


def test_the_reply_limit_shrinks_to_what_is_left(docs: Path) -> None:
    model = one_delegation(researcher())
    ask(model, docs, limits=Limits(tokens=14_000))
    assert SMALLEST_REPLY < model.requests[0].max_tokens < 8_000


@requirement("W5")
def test_silence_of_the_model_ends_at_the_deadline(docs: Path) -> None:
    model = Scripted({"orchestrator": [say("late", delay=60)]})
    answer, _ = ask(model, docs, limits=Limits(seconds=0.05))
    assert answer.outcome is Outcome.TIMEOUT
    assert answer.exit_status == 3


@requirement("W5")
def test_a_late_subagent_does_not_stop_its_siblings(docs: Path) -> None:
    hasty = replace(delegator.shipped("researcher"), limits=Limits(seconds=0.05))
    model = Scripted(
        {
            "orchestrator": [delegate("slow", "quick"), say("It ranks [21].")],
            "D1": [replace(search(), delay=60)],
            "D2": researcher(),
        }
    )
    answer, _ = ask(model, docs, agents=[hasty])
    assert [d.outcome for d in answer.delegations] == [Outcome.TIMEOUT, Outcome.COMPLETE]
    assert answer.outcome is Outcome.COMPLETE


@requirement("W5")
@pytest.mark.parametrize("fault", list(Fault))
def test_a_failing_subagent_is_named_and_its_siblings_go_on(docs: Path, fault: Fault) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("fails", "works"), say("It ranks [21].")],
            "D1": [fail(fault)],
            "D2": researcher(),
        }
    )
    answer, _ = ask(model, docs)
    failed, worked = answer.delegations
    assert failed.outcome in (Outcome.FAILED, Outcome.TIMEOUT)
    assert failed.receipt is not None
    assert failed.receipt.stop == fault.value
    assert worked.outcome is Outcome.COMPLETE
    assert answer.outcome is Outcome.COMPLETE


def test_what_is_ready_starts_while_the_reply_still_streams(docs: Path) -> None:
    """The first delegation has begun before the reply that holds it has ended."""
    model = one_delegation(researcher())
    _, events = ask(model, docs)
    kinds = [(event.agent, event.kind) for event in events]
    assert kinds.index(("orchestrator", "tool_started")) > kinds.index(
        ("orchestrator", "model_call_started")
    )


def test_an_interrupted_reply_cancels_what_it_started(docs: Path) -> None:
    cut = Says(calls=(("delegate_to_researcher", {"task": "a"}),), fault=Fault.CUT)
    model = Scripted({"orchestrator": [cut], "D1": [replace(search(), delay=60)]})
    answer, _ = ask(model, docs)
    assert answer.outcome is Outcome.FAILED
    assert answer.exit_status == 1


def test_a_final_tool_is_called_once(docs: Path) -> None:
    def twice(request: Request) -> Says:
        good = finds()(request).calls[0]
        return calls(("submit_report", {"answer": ""}), good)

    model = one_delegation([search(), twice, finds_again])
    answer, _ = ask(model, docs)
    errors = [r.get("error", "") for r in results(model.shown("D1")[2])]
    assert errors[1] == (
        "call this tool once, by itself, when you have seen the results of the others"
    )
    assert answer.delegations[0].outcome is Outcome.COMPLETE


def finds_again(request: Request) -> Says:
    """A report that quotes the search of the turn before."""
    for message in request.messages:
        for block in message.content:
            if isinstance(block, ToolResult) and "hits" in unseal(block.text).data:
                hit = unseal(block.text).data["hits"][0]
                claim = {"text": "x", "source": hit["id"], "quote": "BM25 is a ranking function"}
                return report([claim])
    raise AssertionError


def test_the_last_call_an_agent_may_make_has_to_hand_in_the_report(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("What is BM25?"), say("It ranks [11].")],
            "D1": [*[search(f"BM25 {n}") for n in range(9)], finds()],
        }
    )
    answer, _ = ask(model, docs)
    assert [r.last for r in model.shown("D1")] == [False] * 9 + [True]
    assert model.shown("D1")[-1].final_tool == "submit_report"
    assert answer.delegations[0].outcome is Outcome.COMPLETE


@requirement("W1")
def test_a_malformed_report_in_the_last_call_still_leaves_its_good_part(docs: Path) -> None:
    model = Scripted(
        {
            "orchestrator": [delegate("What is BM25?"), say("Nothing.")],
            "D1": [*[search(f"BM25 {n}") for n in range(9)], call("submit_report", answer="Half.")],
        }
    )
    answer, _ = ask(model, docs)
    record = answer.delegations[0]
    assert record.outcome is Outcome.CONTRACT_FAILED
    assert record.report is not None
    assert record.report.value == {"answer": "Half."}


@requirement("B1")
def test_what_a_server_has_begun_to_answer_is_paid_even_if_the_reply_is_cut(docs: Path) -> None:
    class CutShort(Scripted):
        async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
            yield Begun(usage=Usage(input_tokens=777))
            async for event in super().stream(request):
                yield event

    answer, _ = ask(CutShort({"orchestrator": [fail(Fault.CUT)]}), docs)
    assert answer.outcome is Outcome.FAILED
    assert answer.usage == Usage(input_tokens=777)
