"""Wire shapes of messages, blocks and tools."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from inline_snapshot import snapshot

from delegator import messages
from delegator.messages import (
    Message,
    Opaque,
    Stop,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    block_to_wire,
    message_to_wire,
    text_of,
    tool_to_wire,
)
from delegator.trust import untrusted
from requirements import requirement
from texts import json_values

UNTIMED = settings(deadline=None)
NAMED_STOPS = [stop for stop in Stop if stop is not Stop.UNKNOWN]


@requirement("T4")
def test_a_message_without_a_label_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="label"):
        Message(role="user", content=())  # type: ignore[call-arg]  # what this test is about


def test_every_value_of_the_module_takes_its_fields_by_name() -> None:
    values = [value for value in vars(messages).values() if dataclasses.is_dataclass(value)]
    own = [value for value in values if value.__module__ == messages.__name__]
    assert len(own) == 6
    for value in own:
        assert all(field.kw_only for field in dataclasses.fields(value))


@pytest.mark.parametrize("stop", NAMED_STOPS)
def test_a_stop_reason_reads_as_itself(stop: Stop) -> None:
    assert Stop.of(stop.value) is stop


@UNTIMED
@given(json_values().filter(lambda value: value not in list(Stop)))
def test_any_other_stop_reason_reads_as_unknown(value: Any) -> None:
    assert Stop.of(value) is Stop.UNKNOWN


def test_a_server_cannot_name_the_stop_reason_that_means_not_known() -> None:
    assert Stop.of("unknown") is Stop.UNKNOWN


def test_a_message_on_the_wire_has_blocks_in_order_and_no_label() -> None:
    message = Message(
        role="user",
        content=(
            Text(text="words"),
            ToolUse(id="t1", name="search", input={"query": "q"}),
            ToolResult(tool_use_id="t1", text="{}"),
            ToolResult(tool_use_id="t2", text="{}", is_error=True),
            Opaque(data={"type": "thinking", "thinking": "…", "signature": "s"}),
        ),
        label=untrusted("secret-source"),
    )
    assert message_to_wire(message) == snapshot(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "words"},
                {"type": "tool_use", "id": "t1", "name": "search", "input": {"query": "q"}},
                {"type": "tool_result", "tool_use_id": "t1", "content": "{}"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "{}", "is_error": True},
                {"type": "thinking", "thinking": "…", "signature": "s"},
            ],
        }
    )


def test_an_opaque_block_goes_back_untouched() -> None:
    data = {"type": "thinking", "thinking": "a\u200bb", "signature": "x==", "new": [None]}
    assert block_to_wire(Opaque(data=data)) == data


def test_a_tool_on_the_wire_has_name_description_and_schema() -> None:
    tool = ToolSpec(name="read", description="Reads.", input_schema={"type": "object"})
    assert tool_to_wire(tool) == snapshot(
        {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}}
    )


def test_the_words_of_a_turn_leave_out_everything_else() -> None:
    content = (
        Text(text="one "),
        ToolUse(id="t1", name="search", input={"query": "not this"}),
        Opaque(data={"type": "thinking", "thinking": "nor this"}),
        ToolResult(tool_use_id="t1", text="nor that"),
        Text(text="two"),
    )
    assert text_of(content) == "one two"
