"""The guard: no request leaves that breaks T1 or T2."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegator.answer import Answer
from delegator.envelope import Fence
from delegator.errors import GuardTripped
from delegator.knowledge import Index
from delegator.messages import Block, Message, Opaque, Text, ToolResult, ToolUse
from delegator.model import Guard, Request
from delegator.models.scripted import Scripted, say
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from delegator.trust import OPERATOR, UNTRUSTED, USER, Label, untrusted
from requirements import requirement
from scripts import delegate, report
from texts import hostile_texts

UNTIMED = settings(deadline=None)
SYSTEM = "You research.\n"
FENCE = Fence()
SEALED = FENCE.seal({"hits": []}, label=untrusted("doc.1"), origin="search")


def request(*messages: Message, system: str = SYSTEM) -> Request:
    return Request(
        key="D1/1",
        agent="researcher",
        model="",
        system=system,
        messages=messages,
        tools=(),
        max_tokens=100,
    )


def user(*content: Block, label: Label = USER) -> Message:
    return Message(role="user", content=content, label=label)


def assistant(*content: Block) -> Message:
    return Message(role="assistant", content=content, label=UNTRUSTED)


def guard(asked: Request) -> None:
    Guard(prompts=frozenset({SYSTEM}), fence=FENCE)(asked)


def tripped(asked: Request) -> GuardTripped:
    with pytest.raises(GuardTripped) as caught:
        guard(asked)
    return caught.value


def result(text: str) -> ToolResult:
    return ToolResult(tool_use_id="t1", text=text)


@requirement("T2")
def test_words_of_people_replies_and_sealed_results_may_pass() -> None:
    guard(
        request(
            user(Text(text="What is BM25?")),
            assistant(
                Text(text="I search."),
                Opaque(data={"type": "thinking"}),
                ToolUse(id="t1", name="search", input={}),
            ),
            user(result(SEALED), label=untrusted("doc.1")),
            assistant(Text(text="Done.")),
            user(Text(text="Mend your report."), label=OPERATOR),
        )
    )


@requirement("T1")
@pytest.mark.parametrize("system", ["", "You research.", SYSTEM + " ", SYSTEM + "Trust D1."])
def test_a_system_text_that_differs_in_a_byte_trips_the_guard(system: str) -> None:
    error = tripped(request(user(Text(text="hello")), system=system))
    assert (error.rule, error.place) == ("T1", "system")


@requirement("T2")
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(Text(text="hello"), id="untrusted words in the open"),
        pytest.param(result("plain"), id="a result in no envelope"),
        pytest.param(result(""), id="an empty result"),
        pytest.param(result(" " + SEALED), id="an envelope with something before it"),
        pytest.param(
            result(Fence().seal({}, label=UNTRUSTED, origin="search")), id="another run's envelope"
        ),
        pytest.param(Opaque(data={"type": "document"}), id="an opaque block"),
        pytest.param(ToolUse(id="t", name="search", input={}), id="a tool call"),
    ],
)
def test_what_stands_where_only_sealed_results_may_trips_the_guard(block: Block) -> None:
    asked = request(user(Text(text="hi")), assistant(), user(block, label=untrusted("doc.1")))
    error = tripped(asked)
    assert (error.rule, error.place) == ("T2", "message 2")


@requirement("T2")
@pytest.mark.parametrize("block", [result("plain"), Opaque(data={"type": "document"})])
def test_a_trusted_label_opens_the_guard_for_words_only(block: Block) -> None:
    assert tripped(request(user(block, label=OPERATOR))).rule == "T2"


@requirement("T2")
@pytest.mark.parametrize("at", [0, 1, 2])
def test_every_block_of_a_message_is_looked_at(at: int) -> None:
    blocks: list[Block] = [result(SEALED), result(SEALED)]
    blocks.insert(at, result("plain"))
    assert tripped(request(user(*blocks, label=UNTRUSTED))).rule == "T2"


@requirement("T7")
@UNTIMED
@given(hostile_texts().filter(lambda text: len(text) > 9))
def test_the_guard_does_not_quote_what_it_stopped(text: str) -> None:
    error = tripped(request(user(Text(text=text), label=UNTRUSTED)))
    assert text not in str(error)


@requirement("T2")
@UNTIMED
@given(st.lists(st.sampled_from([OPERATOR, USER, untrusted("doc.1")]), min_size=1))
def test_words_joined_with_anything_untrusted_do_not_pass(labels: list[Label]) -> None:
    joined = OPERATOR
    for label in labels:
        joined &= label
    asked = request(user(Text(text="words"), label=joined))
    if untrusted("doc.1") in labels:
        assert tripped(asked).rule == "T2"
    else:
        guard(asked)


def test_a_request_cannot_be_changed_after_the_guard_saw_it() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        request().system = "other"  # type: ignore[misc]  # what this test is about


@requirement("T1")
def test_a_guard_that_was_tripped_lets_nothing_pass_any_more() -> None:
    strict = Guard(prompts=frozenset({SYSTEM}), fence=FENCE)
    for asked in (request(user(Text(text="hi")), system="other"), request(user(Text(text="hi")))):
        with pytest.raises(GuardTripped) as caught:
            strict(asked)
        assert (caught.value.rule, caught.value.place) == ("T1", "system")


@requirement("T1")
def test_a_broken_rule_in_a_subagent_stops_the_whole_run_by_name(docs: Path) -> None:
    model = Scripted(
        {"orchestrator": [delegate("a", "b"), say("Done.")], "researcher": lambda _r: report([])}
    )

    async def asked() -> Answer:
        index = Index(None, [docs])
        index.refresh()
        run = Run("What is BM25?", Setup(model=model, library=index))
        guard = run._staff.around.guard  # as if an agent's prompt had been changed after the start
        guard.prompts = frozenset(
            p for p in guard.prompts if "orchestrat" in p or "delegating" in p
        )
        return await run.answer()

    answer = asyncio.run(asked())
    assert answer.outcome is Outcome.QUARANTINED
    assert [d.outcome for d in answer.delegations] == [Outcome.QUARANTINED] * 2
    assert model.shown("researcher") == []
    assert "T1" in str(answer.error)
