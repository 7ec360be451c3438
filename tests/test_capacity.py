"""The capacity of a schema is the number of values that fit it, as a power of two."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegator.capacity import ALPHABET, bits, text
from delegator.schema import Schema

UNTIMED = settings(deadline=None)
small = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda n: {"enum": [f"v{i}" for i in range(n)]}, st.integers(1, 4)),
    st.builds(
        lambda low, n: {"type": "integer", "minimum": low, "maximum": low + n},
        st.integers(-3, 3),
        st.integers(0, 3),
    ),
)


def listed(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "maxItems": most}


def closed(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def values(schema: dict[str, Any]) -> list[Any]:
    """Every value of a small schema, spelled out."""
    if "enum" in schema:
        return list(schema["enum"])
    match schema["type"]:
        case "boolean":
            return [True, False]
        case "null":
            return [None]
        case "integer":
            return list(range(schema["minimum"], schema["maximum"] + 1))
        case "array":
            own = values(schema["items"])
            lengths = range(schema["maxItems"] + 1)
            return [list(p) for n in lengths for p in itertools.product(own, repeat=n)]
        case _:
            absent = object()
            choices = [
                values(sub) + ([] if name in schema["required"] else [absent])
                for name, sub in schema["properties"].items()
            ]
            names = list(schema["properties"])
            return [
                {n: v for n, v in zip(names, p, strict=True) if v is not absent}
                for p in itertools.product(*choices)
            ]


@UNTIMED
@given(small, small, st.integers(0, 3), st.booleans())
def test_the_bits_of_a_schema_count_its_values(
    one: dict[str, Any], two: dict[str, Any], most: int, required: bool
) -> None:
    schema = listed(closed({"a": one, "b": two}, *(["a"] if required else [])), min(most, 2))
    every = values(schema)
    assert bits(schema) == pytest.approx(math.log2(len(every)))
    assert all(Schema(schema, name="s").problems(value) == () for value in every[:50])


def test_a_text_has_as_many_values_as_there_are_sequences_of_characters() -> None:
    assert text(0) == 0
    assert text(1) == pytest.approx(math.log2(ALPHABET + 1))
    assert text(2) == pytest.approx(math.log2(ALPHABET**2 + ALPHABET + 1))
    assert bits({"type": "string", "maxLength": 2}) == text(2)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "integer", "minimum": 1},
        {"type": "number"},
        {},
        listed({"type": "string"}, 1),
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "array", "maxItems": 3},
        closed({"a": {"type": "string"}}),
    ],
)
def test_what_has_no_bound_has_no_finite_capacity(schema: dict[str, Any]) -> None:
    assert math.isinf(bits(schema))


def test_a_choice_has_the_values_of_all_its_options() -> None:
    options = [{"enum": ["a", "b", "c"]}, {"type": "boolean"}, {"const": "x"}]
    assert bits({"anyOf": options}) == pytest.approx(math.log2(6))
