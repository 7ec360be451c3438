"""Attack cases as data: what a suite may say, how it is refused, and that values are drawn afresh."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegator.errors import ConfigError
from delegator.lab.cases import NEEDS, SUITES, case_of, load, schema, shipped_cases
from delegator.lab.judges import JUDGES
from delegator.lab.words import ENCODINGS, Words, fill
from delegator.models.worst_case import readings
from delegator.trust import Level

CASE: dict[str, Any] = {
    "id": "mine", "name": "mine", "family": "mine", "category": 1, "boundary": "answer->reader",
    "stops_at": "raw", "succeeds": [{"check": "control_bytes"}],
}  # fmt: skip
WORDS = Words.drawn("a test")


def suite(folder: Path, *lines: str) -> Path:
    (folder / "mine.jsonl").write_text("\n".join(lines))
    return folder


def refused(folder: Path, *lines: str) -> str:
    with pytest.raises(ConfigError) as error:
        load([suite(folder, *lines)])
    assert "--schema" in error.value.hint
    return str(error.value)


def test_a_suite_of_ones_own_joins_the_shipped_cases(tmp_path: Path) -> None:
    cases = load([SUITES, suite(tmp_path, json.dumps(CASE), "")])
    assert len(cases) == len(shipped_cases()) + 1
    assert cases[-1].stops_at is Level.RAW or any(case.id == "mine" for case in cases)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"boundary": "here->there"}, "line 1: $.boundary: one of source->researcher"),
        ({"category": 20}, "line 1: $.category: maximum 19"),
        ({"more": 1}, "line 1: $: no fields beyond the schema's"),
        ({"succeeds": []}, "line 1: $.succeeds: minItems 1"),
        ({"stops_at": None}, "line 1: $.declared: required where a case works at guarded"),
        ({"succeeds": [{"check": "system_says"}]}, "$.succeeds[0].text: required by system_says"),
        ({"question": "<<nobody>>"}, "<<…>> takes first, second"),
        ({"question": "<<order|morse>>"}, "<<…|…>> takes base32"),
        ({"documents": [{"name": "../x", "text": ""}]}, "$.documents[0].name: pattern"),
        ({"documents": [{"name": "/x", "text": ""}]}, "$.documents[0].name: pattern"),
        ({"documents": [{"name": "x", "text": {"$exec": "x"}}]}, "a key that begins with $"),
        (
            {"agents": [{"agent": "critic", "steps": [{"say": "x", "report": {}}]}]},
            "$.agents[0].steps[0]: one of say, call, report, together",
        ),
        (
            {"agents": [{"agent": "critic", "steps": [{"call": "x", "input": "y"}]}]},
            "$.agents[0].steps[0].input: type 'object'",
        ),
    ],
)
def test_what_is_no_case_is_refused_by_file_line_place_and_rule(
    tmp_path: Path, changed: dict[str, Any], rule: str
) -> None:
    message = refused(tmp_path, json.dumps({**CASE, **changed}))
    assert message.startswith(str(tmp_path / "mine.jsonl"))
    assert rule in message


@pytest.mark.parametrize("line", ["{", "[]", "7", '"x"', "[" * 10_000, "x" * 300_000])
def test_what_is_no_json_object_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    assert "line 2: " in refused(tmp_path, json.dumps(CASE), line)


def test_two_cases_of_one_id_are_refused(tmp_path: Path) -> None:
    assert "there is another case of this id" in refused(tmp_path, *[json.dumps(CASE)] * 2)


def test_a_folder_without_a_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no suite"):
        load([tmp_path])


def test_a_suite_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load([tmp_path])


def test_every_check_of_the_schema_has_a_judge_that_knows_what_it_needs() -> None:
    named = schema().document["properties"]["succeeds"]["items"]["properties"]["check"]["enum"]
    assert set(named) == JUDGES.keys() == NEEDS.keys()
    used = {check.kind for case in shipped_cases() for check in case.succeeds}
    assert used == set(named)


@given(st.text(), st.text())
def test_the_same_seed_draws_the_same_words_and_another_one_others(one: str, two: str) -> None:
    assert Words.drawn("seed", one) == Words.drawn("seed", one)
    assert (Words.drawn("seed", one) == Words.drawn("seed", two)) == (one == two)


def test_a_text_is_filled_in_wherever_it_stands() -> None:
    filled = fill({"<<first>>": ["<<order|base64>>", 7, {"$repeat": "ab", "times": 2}]}, WORDS)
    assert filled == {
        WORDS.first: [base64.b64encode(WORDS.named("order").encode()).decode(), 7, "abab"]
    }


def test_texts_that_look_like_braces_or_arrows_stay_as_they_are() -> None:
    assert fill("{order} {{f-1}} <a> << order >>", WORDS) == "{order} {{f-1}} <a> << order >>"


@pytest.mark.parametrize("way", sorted(ENCODINGS))
def test_the_worst_case_reads_every_encoding_but_the_two_that_it_is_said_not_to(way: str) -> None:
    written = fill(f"<<order|{way}>>", WORDS)
    found = all(any(word in reading for reading in readings(written)) for word in WORDS.parts)
    assert found == (way not in ("base32", "shifted"))


def test_a_case_says_at_which_levels_it_works() -> None:
    case = case_of({**CASE, "stops_at": "sealed"})
    assert [level.value for level in Level if case.works_at(level)] == [
        "raw", "marked", "clean", "typed",
    ]  # fmt: skip
