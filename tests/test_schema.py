"""Closed schemas: what they refuse, and that a problem never quotes a value."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from delegator.errors import ConfigError, HandoffRejected
from delegator.schema import MAX_PROBLEMS, Schema
from requirements import requirement
from texts import canaries, json_objects, json_values

UNTIMED = settings(deadline=None)

FINDING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "minLength": 1, "maxLength": 40},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "kind": {"const": "finding"},
        "verdict": {"enum": ["accept", "revise"]},
        "either": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^a+$"}]},
        "claims": {
            "type": "array",
            "maxItems": 3,
            "uniqueItems": True,
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string", "maxLength": 9}, "n": {"type": "number"}},
                "required": ["text"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["answer", "verdict"],
    "additionalProperties": False,
}
FINDING_SCHEMA = Schema(FINDING, name="finding")
NOTHING_REQUIRED = Schema({**FINDING, "required": []}, name="finding")
NAMES = ["answer", "score", "kind", "verdict", "either", "claims", "text", "n"]


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def shaped(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Values that look enough like a finding to be wrong in every way, `texts` in values and keys."""
    keys = st.sampled_from(NAMES) | texts
    values = json_values(texts, keys)
    known = dict.fromkeys(NAMES[:5], values)
    claims = st.lists(st.dictionaries(keys, values, max_size=3), max_size=5)
    finding = st.fixed_dictionaries({}, optional={**known, "claims": claims})
    return values | finding | st.builds(dict.__or__, finding, st.dictionaries(keys, values))


@requirement("T7")
@UNTIMED
@given(st.data(), canaries())
def test_a_problem_never_holds_a_value_or_a_foreign_key(data: st.DataObject, canary: str) -> None:
    value = data.draw(shaped(st.sampled_from([canary, f"a\n{canary}", canary * 9])))
    problems = FINDING_SCHEMA.problems(value)
    assert not any(canary in problem for problem in problems)


@requirement("T7")
@UNTIMED
@given(canaries())
def test_a_refusal_holds_no_value(canary: str) -> None:
    with pytest.raises(HandoffRejected) as caught:
        FINDING_SCHEMA.require({canary: canary, "answer": [canary]})
    assert canary not in str(caught.value) + repr(caught.value) + caught.value.hint


def test_problems_name_the_place_and_the_rule() -> None:
    value = {
        "answer": 7,
        "score": 9,
        "kind": "x",
        "verdict": "x",
        "either": "x",
        "claims": [{"text": "fine"}, {"n": "1", "extra": 1}],
    }
    parts = Schema(closed(**FINDING["properties"]), name="parts")
    one_at_a_time = [problem for key in value for problem in parts.problems({key: value[key]})]
    assert one_at_a_time == snapshot(
        [
            "$.answer: type string",
            "$.score: maximum 5",
            "$.kind: one of finding",
            "$.verdict: one of accept, revise",
            "$.either: must match anyOf",
            "$.claims[1].n: type number",
            "$.claims[1].text: required",
            "$.claims[1]: no fields beyond the schema's",
        ]
    )


def test_every_missing_field_is_named_once() -> None:
    assert FINDING_SCHEMA.problems({}) == snapshot(("$.answer: required", "$.verdict: required"))


def test_only_the_first_few_problems_are_told() -> None:
    many = Schema(closed(list={"type": "array", "items": {"type": "string"}}), name="many")
    assert len(many.problems({"list": list(range(100))})) == MAX_PROBLEMS
    missing = Schema({**closed(), "required": list("abcdefgh")}, name="missing")
    assert len(missing.problems({})) == MAX_PROBLEMS


def test_a_value_that_fits_has_no_problems() -> None:
    finding = {"answer": "a", "verdict": "accept", "claims": [{"text": "t", "n": 1.5}]}
    assert FINDING_SCHEMA.problems(finding) == ()
    FINDING_SCHEMA.require(finding)


@requirement("W1")
@pytest.mark.parametrize("place", [(), ("claims", 0)])
def test_a_field_that_the_schema_does_not_know_is_refused(place: tuple[Any, ...]) -> None:
    finding: dict[str, Any] = {"answer": "a", "verdict": "accept", "claims": [{"text": "t"}]}
    inner: Any = finding
    for part in place:
        inner = inner[part]
    inner["extra"] = 1
    problems = FINDING_SCHEMA.problems(finding)
    assert len(problems) == 1
    assert "no fields beyond the schema's" in problems[0]


def test_a_schema_of_false_lets_nothing_through() -> None:
    assert Schema(closed(gone=False), name="t").problems({"gone": 1}) == ("$: not allowed",)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        pytest.param({"multipleOf": 0.5}, lambda: 10**400, id="a number that no float holds"),
        pytest.param({"uniqueItems": True}, lambda: [nested(5_000)] * 2, id="lists in lists"),
    ],
)
def test_what_cannot_be_checked_is_refused(rule: dict[str, Any], make: Any) -> None:
    schema = Schema(closed(field=rule), name="t")
    value = {"field": make()}
    assert schema.problems(value) == ("$: too deep or too large to be checked",)
    assert schema.salvage(value) == {}


@requirement("W1")
@pytest.mark.parametrize(
    "node",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": ["object", "null"]},
        {"properties": {}},
        {"additionalProperties": {"type": "string"}},
        {"propertyNames": {"maxLength": 3}},
        {"dependentSchemas": {"a": {"type": "string"}}},
    ],
)
@pytest.mark.parametrize(
    "inside",
    [
        lambda node: node,
        lambda node: closed(field=node),
        lambda node: closed(field={"type": "array", "items": node}),
        lambda node: closed(field={"type": "array", "prefixItems": [{"type": "string"}, node]}),
        lambda node: closed(field={"anyOf": [{"type": "null"}, node]}),
        lambda node: closed(properties=closed(enum=node)),
    ],
)
def test_an_open_object_anywhere_in_a_schema_is_a_configuration_error(
    node: dict[str, Any], inside: Any
) -> None:
    with pytest.raises(ConfigError, match="leaves an object open") as caught:
        Schema(inside(node), name="agent x")
    assert "additionalProperties" in caught.value.hint


@pytest.mark.parametrize(
    "keyword", ["$ref", "$dynamicRef", "patternProperties", "unevaluatedProperties"]
)
def test_a_keyword_that_could_open_an_object_is_refused_on_any_node(keyword: str) -> None:
    for node in ({keyword: "#"}, {"type": "array", "items": {keyword: "#"}}):
        with pytest.raises(ConfigError, match="not supported"):
            Schema(closed(field=node), name="agent x")


def test_a_refused_schema_says_where() -> None:
    nested = closed(claims={"type": "array", "items": closed(note={"type": "object"})})
    with pytest.raises(ConfigError, match=r"agent x leaves an object open at \$\.claims\.note"):
        Schema(nested, name="agent x")


@pytest.mark.parametrize("keyword", ["enum", "const", "default", "examples", "required"])
def test_what_only_looks_like_a_schema_is_not_read_as_one(keyword: str) -> None:
    Schema(closed(field={keyword: [{"type": "object"}]}), name="agent x")


@pytest.mark.parametrize(
    "wrong", [{"type": "strnig"}, {"minLength": -1}, {"pattern": "("}, {"enum": "abc"}]
)
def test_a_schema_that_is_none_is_a_configuration_error(wrong: dict[str, Any]) -> None:
    schema = Schema(closed(field=wrong), name="agent x")
    with pytest.raises(ConfigError, match=r"agent x is not valid at \$\.properties\.field"):
        schema.check()


def test_a_valid_schema_passes_its_check() -> None:
    FINDING_SCHEMA.check()


@UNTIMED
@given(shaped(st.text(max_size=5)))
def test_what_is_salvaged_fits_field_by_field(value: Any) -> None:
    kept = FINDING_SCHEMA.salvage(value)
    assert FINDING_SCHEMA.salvage(kept) == kept
    assert NOTHING_REQUIRED.problems(kept) == ()


@UNTIMED
@given(json_values() | json_objects())
def test_any_value_can_be_salvaged_from(value: Any) -> None:
    assert set(FINDING_SCHEMA.salvage(value)) <= set(NAMES)


def test_salvage_keeps_what_is_sound_and_drops_the_rest() -> None:
    value = {
        "answer": "x" * 99,
        "score": 3,
        "claims": [{"text": "one"}, {"text": 2}, "three", {"text": "four"}, {"text": "x" * 99}],
        "verdict": "accept",
        "extra": "no",
    }
    assert FINDING_SCHEMA.salvage(value) == snapshot(
        {"score": 3, "verdict": "accept", "claims": [{"text": "one"}, {"text": "four"}]}
    )


def test_salvage_cuts_a_list_that_is_too_long() -> None:
    claims = [{"text": str(n)} for n in range(9)]
    assert FINDING_SCHEMA.salvage({"claims": claims}) == {"claims": claims[:3]}


def test_salvage_leaves_out_a_list_with_nothing_sound_in_it() -> None:
    assert FINDING_SCHEMA.salvage({"claims": [1, 2], "score": 1}) == {"score": 1}


def test_salvage_minds_the_rules_of_a_list_as_a_whole() -> None:
    twice = [{"text": "same"}, {"text": "same"}]
    assert FINDING_SCHEMA.salvage({"claims": twice, "score": 1}) == {"score": 1}


@pytest.mark.parametrize("sub", [True, {"type": "array", "items": True}, {"type": "array"}])
def test_salvage_takes_any_list_where_the_schema_does(sub: Any) -> None:
    assert Schema(closed(list=sub), name="t").salvage({"list": [1, "a"]}) == {"list": [1, "a"]}
