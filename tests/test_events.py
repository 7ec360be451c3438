"""What happens in a run is told in order, and every happening is plain JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from inline_snapshot import snapshot

from delegator import events
from delegator.budget import Usage
from delegator.events import (
    AgentStarted,
    Decided,
    DelegationFinished,
    DelegationStarted,
    Emitter,
    Event,
    Happening,
    ModelCallFinished,
    ModelCallRetried,
    ModelCallStarted,
    Noticed,
    Reminded,
    RunFinished,
    RunStarted,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from delegator.outcome import EXIT_STATUS, Outcome, SourceSeen, Watch
from delegator.trust import untrusted
from scripts import ask, finds, one_delegation, search

LABEL = untrusted("doc.1")
WATCH = Watch(
    model_calls=2,
    tool_calls=3,
    failed_tool_calls=1,
    sources={"doc.1": SourceSeen(id="doc.1", sha256="ab")},
    usage=Usage(input_tokens=5),
)
ONE_OF_EACH: list[Happening] = [
    RunStarted(question="q", model="m", level="typed"),
    AgentStarted(name="researcher"),
    ModelCallStarted(n=1),
    ModelCallRetried(fault="overloaded", seconds=0.5),
    TextStreamed(text="words"),
    ModelCallFinished(n=1, stop="end_turn", usage=Usage(output_tokens=7), seconds=0.25),
    ToolStarted(tool="search", subject="BM25"),
    ToolFinished(tool="search", problem="", label=LABEL),
    Decided(tool="mail", decision="denied", rule="P-T", digest="ab", label=LABEL),
    DelegationStarted(id="D1", name="researcher", task="t", about="", source="", label=LABEL),
    DelegationFinished(
        id="D1",
        outcome=Outcome.COMPLETE,
        receipt=WATCH.receipt(seconds=1.23456, stop="end"),
        verdict="accept 5/5",
        label=LABEL,
    ),
    Reminded(why="$.answer: required"),
    Noticed(text="a word to the person"),
    RunFinished(outcome=Outcome.PARTIAL, answer={"answer": "a"}),
]


def event(what: Happening) -> Event:
    return Event(run="r1", seq=4, at=0.123456, agent="D1", what=what)


def test_there_is_an_example_of_every_happening() -> None:
    assert [type(what) for what in ONE_OF_EACH] == list(get_args(Happening))


def test_every_happening_in_the_module_can_happen() -> None:
    values = [value for value in vars(events).values() if dataclasses.is_dataclass(value)]
    own = {value for value in values if value.__module__ == events.__name__}
    assert own - {Event} == set(get_args(Happening))


def test_the_names_of_events_are_these() -> None:
    assert [event(what).kind for what in ONE_OF_EACH] == snapshot(
        [
            "run_started",
            "agent_started",
            "model_call_started",
            "model_call_retried",
            "text_streamed",
            "model_call_finished",
            "tool_started",
            "tool_finished",
            "decided",
            "delegation_started",
            "delegation_finished",
            "reminded",
            "noticed",
            "run_finished",
        ]
    )


@pytest.mark.parametrize("what", ONE_OF_EACH, ids=lambda what: type(what).__name__)
def test_an_event_as_json_has_its_place_and_every_field(what: Happening) -> None:
    told = event(what).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    place = {"run": "r1", "seq": 4, "at": 0.1235, "agent": "D1", "event": event(what).kind}
    assert {key: told[key] for key in place} == place
    assert set(told) - set(place) == {field.name for field in dataclasses.fields(what)}


def test_a_finished_delegation_tells_what_was_seen() -> None:
    told = event(ONE_OF_EACH[9]).to_json()
    assert told == snapshot(
        {
            "run": "r1",
            "seq": 4,
            "at": 0.1235,
            "agent": "D1",
            "event": "delegation_started",
            "id": "D1",
            "name": "researcher",
            "task": "t",
            "about": "",
            "source": "",
            "label": {
                "integrity": "untrusted",
                "confidentiality": "conversation",
                "sources": ["doc.1"],
            },
        }
    )


def test_an_emitter_numbers_what_it_is_told_and_keeps_its_order() -> None:
    seen: list[Event] = []
    emit = Emitter("r7", seen.append)
    for what in ONE_OF_EACH:
        emit("orchestrator", what)
    assert [one.what for one in seen] == ONE_OF_EACH
    assert [one.seq for one in seen] == list(range(1, len(ONE_OF_EACH) + 1))
    assert {(one.run, one.agent) for one in seen} == {("r7", "orchestrator")}
    times = [one.at for one in seen]
    assert times == sorted(times)
    assert times[0] >= 0


def test_the_events_of_a_tool_call_name_its_place_in_the_run(docs: Path) -> None:
    _, told = ask(one_delegation([search(), finds()]), docs)
    started = [one.what for one in told if isinstance(one.what, ToolStarted)]
    finished = [one.what for one in told if isinstance(one.what, ToolFinished)]
    assert [what.tool for what in started] == ["delegate_to_researcher", "search"]
    assert {what.call for what in started} == {what.call for what in finished}
    assert [what.call.rpartition("/")[0] for what in started] == ["orchestrator/1", "D1/1"]


def test_a_receipt_does_not_change_with_what_is_seen_later() -> None:
    watch = Watch()
    receipt = watch.receipt(seconds=1.0, stop="end")
    watch.model_calls += 1
    watch.sources["doc.1"] = SourceSeen(id="doc.1", sha256="ab")
    watch.usage += Usage(input_tokens=1)
    assert receipt == Watch().receipt(seconds=1.0, stop="end")


def test_a_receipt_cannot_be_changed() -> None:
    receipt: Any = WATCH.receipt(seconds=1.0, stop="end")
    with pytest.raises(dataclasses.FrozenInstanceError):
        receipt.tool_calls = 99


def test_every_outcome_has_an_exit_status() -> None:
    assert {outcome.value: EXIT_STATUS[outcome] for outcome in Outcome} == snapshot(
        {
            "complete": 0,
            "partial": 3,
            "budget": 3,
            "timeout": 3,
            "refused": 1,
            "cancelled": 130,
            "contract_failed": 1,
            "failed": 1,
            "quarantined": 1,
            "needs_review": 4,
        }
    )
