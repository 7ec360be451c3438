"""Agents and indexes are listed as text that fits a terminal, and as valid JSON."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings

from delegator.agents import Agent
from delegator.errors import ConfigError
from delegator.knowledge import Refreshed
from delegator.listing import (
    NARROWEST,
    WIDEST,
    agents_json,
    agents_text,
    index_json,
    index_text,
)
from delegator.tools import tool
from requirements import requirement
from texts import hostile_texts


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def own(**more: object) -> Agent:
    """An agent of a person's own."""
    return Agent(**{"name": "mine", "description": "Does it.", "prompt": "You do it.", **more})  # type: ignore[arg-type]  # as given


MOVES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What moves the cursor or turns the line around, but for the end of a line."""


# Text


def test_every_agent_has_a_paragraph_the_orchestrator_first() -> None:
    names = [paragraph.split("\n")[0] for paragraph in agents_text([own()]).split("\n\n")]
    assert names == ["orchestrator", "researcher", "critic", "mine"]


def test_a_paragraph_says_what_an_agent_may_use_and_reports() -> None:
    @tool
    def add(a: int) -> int:
        """Add."""
        return a

    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
            "mood": {"enum": ["good", 1, None]},
            "points": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"x": {"type": "number"}, "y": True},
                    "additionalProperties": False,
                },
            },
            "place": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "additionalProperties": False,
            },
            "anything": True,
            "list": {"type": "array", "items": True},
        },
        "additionalProperties": False,
    }
    text = agents_text([own(tools=("search", add), model="local", output_schema=schema)])
    assert text.split("\n\n")[-1] == (
        "mine\n"
        "  Does it.\n"
        "  tools  search, add\n"
        "  model  local\n"
        "  limits tokens 300,000, model calls 10, seconds 300, reply tokens 4,000\n"
        "  report score 1..5, mood good|1|None, points [x, y], place [city], anything,\n"
        "         list"
    )


def test_an_agent_of_ones_own_takes_the_place_of_its_namesake() -> None:
    text = agents_text([own(name="critic", description="Mine now.")])
    assert text.count("\ncritic\n") == 1
    assert "Mine now." in text


@pytest.mark.parametrize("columns", [1, 20, 40, 80, 200])
def test_the_text_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    agent = own(description="Long words: " + "x" * 300 + " and many words" * 30, model="y" * 100)
    text = agents_text([agent])
    assert max(map(len, text.split("\n"))) <= min(WIDEST, max(NARROWEST, columns - 1))


@requirement("T8")
@settings(deadline=None, max_examples=30)
@given(hostile_texts())
def test_no_text_of_an_agent_can_move_the_cursor_or_pose_as_another_agent(text: str) -> None:
    listed = agents_text([own(description=text, model=text)])
    assert not MOVES.search(listed)
    assert listed.count("\n\n") == 3


@requirement("cli:errors")
def test_a_schema_that_is_not_valid_is_named_when_agents_are_listed() -> None:
    schema = {"type": "object", "properties": {"x": {"type": 5}}, "additionalProperties": False}
    for listed in (agents_text, agents_json):
        with pytest.raises(ConfigError, match="schema of agent mine is not valid"):
            listed([own(output_schema=schema)])


# JSON


def test_agents_are_listed_as_json() -> None:
    entries = json.loads(agents_json([own()]))
    assert [entry["name"] for entry in entries] == ["orchestrator", "researcher", "critic", "mine"]
    assert entries[0]["output_schema"] is None
    assert [entry["reviews"] for entry in entries] == [False, False, True, False]
    assert entries[3] == {
        "name": "mine",
        "description": "Does it.",
        "tools": [],
        "model": None,
        "reviews": False,
        "limits": {"tokens": 300_000, "model_calls": 10, "seconds": 300.0, "reply_tokens": 4_000},
        "output_schema": own().output_schema,
    }


@settings(deadline=None, max_examples=30)
@given(hostile_texts())
def test_any_description_is_valid_json_and_stays_itself(text: str) -> None:
    assert json.loads(agents_json([own(description=text)]))[3]["description"] == text


# Indexes

FOUND = Refreshed(
    documents=12_345,
    added=12_000,
    changed=3,
    removed=0,
    seconds=1.26,
    skipped=Counter({"empty": 1, "binary": 2_000}),
)


def test_what_a_refresh_found_is_a_line_and_a_line_of_what_was_skipped() -> None:
    assert index_text(FOUND, "docs") == (
        "12,345 documents in docs: 12,000 added, 3 changed, 0 removed (1.3 s)\n"
        "skipped: 2,000 binary, 1 empty"
    )


def test_nothing_skipped_is_not_mentioned() -> None:
    assert index_text(Refreshed(documents=1, added=1), "docs").count("\n") == 0


def test_what_a_refresh_found_is_json() -> None:
    assert json.loads(index_json(FOUND)) == {
        "documents": 12_345,
        "added": 12_000,
        "changed": 3,
        "removed": 0,
        "skipped": {"binary": 2_000, "empty": 1},
        "seconds": 1.26,
    }


@requirement("T8")
@given(hostile_texts())
def test_a_folder_of_any_name_stays_on_its_line(folder: str) -> None:
    text = index_text(FOUND, folder)
    assert text.count("\n") == 1
    assert not MOVES.search(text)
