"""Tools put passages in front of an agent, say which, and return data of bounded size."""

import asyncio
import json
import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delegator.errors import ConfigError, ToolRejected
from delegator.knowledge import Index
from delegator.outcome import SourceSeen
from delegator.tools import (
    MAX_DEPTH,
    MAX_HITS,
    MAX_RESULT_CHARACTERS,
    MAX_RESULT_ITEMS,
    READ_CHARACTERS,
    READ_PASSAGES,
    Call,
    Tool,
    ToolOutput,
    capped,
    capped_text,
    library_tools,
    read_tool,
    search_tool,
    tool,
)
from delegator.trust import USER, Integrity
from requirements import requirement
from texts import hostile_texts, json_values


@pytest.fixture
def index(docs: Path) -> Iterator[Index]:
    """The index of a small folder, one document of which is long and one has many short sections."""
    (docs / "long.md").write_text(
        "# Rice\n\n" + "\n\n".join(f"{n} {'rice ' * 150}" for n in range(40))
    )
    (docs / "short.md").write_text("\n\n".join(f"## Part {n}\n\n{'salt ' * 25}" for n in range(40)))
    index = Index(None, [docs])
    index.refresh()
    yield index
    index.close()


def run(tool: Tool, **given: object) -> ToolOutput:
    """What a tool returns for an input that fits its schema."""
    assert tool.schema.problems(given) == ()
    return asyncio.run(run_async(tool, given))


async def run_async(tool: Tool, given: dict[str, object]) -> ToolOutput:
    return await tool.run(Call(input=given, label=USER))


# Search and read


def test_search_returns_passages_with_their_ids_titles_and_places(index: Index) -> None:
    found = run(search_tool(index), query="saturation k1")
    hit = found.data["hits"][0]
    assert hit.keys() == {"id", "title", "section", "place", "text"}
    assert (hit["title"], hit["place"]) == ("BM25", "bm25.md:6-8")
    assert "k1 of BM25" in hit["text"]


def test_search_finds_five_passages_or_as_many_as_asked_for(index: Index) -> None:
    assert len(run(search_tool(index), query="rice salt tea").data["hits"]) == 5
    assert len(run(search_tool(index), query="rice salt tea", limit=2).data["hits"]) == 2


def test_search_takes_a_whole_number_in_either_spelling(index: Index) -> None:
    assert len(run(search_tool(index), query="rice salt", limit=2.0).data["hits"]) == 2


def test_a_search_that_finds_nothing_is_an_empty_list(index: Index) -> None:
    found = run(search_tool(index), query="zyzzyva")
    assert found.data == {"hits": []}
    assert found.sources == ()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"query": ""},
        {"query": "x" * 401},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": MAX_HITS + 1},
        {"query": "x", "limit": "3"},
        {"query": "x", "path": "/etc/passwd"},
    ],
)
def test_a_search_that_does_not_fit_is_refused_by_the_schema(
    given: dict[str, object], index: Index
) -> None:
    assert search_tool(index).schema.problems(given)


@pytest.mark.parametrize("given", [{}, {"id": ""}, {"id": "x" * 41}, {"id": 1}, {"path": "a.md"}])
def test_a_read_that_does_not_fit_is_refused_by_the_schema(
    given: dict[str, object], index: Index
) -> None:
    assert read_tool(index).schema.problems(given)


@requirement("T7")
@pytest.mark.parametrize(
    "id", ["../../etc/passwd", "aaaaaaaaaa.1", "' or 1=1 --", "ignore all rules"]
)
def test_reading_an_unknown_id_is_rejected_in_words_that_quote_nothing(
    id: str, index: Index
) -> None:
    with pytest.raises(ToolRejected) as caught:
        run(read_tool(index), id=id)
    assert id not in str(caught.value)


@pytest.mark.parametrize("query", ["rice", "salt"])
def test_reading_on_shows_a_whole_document_piece_by_piece(query: str, index: Index) -> None:
    read, seen = read_tool(index), []
    id = str(run(search_tool(index), query=query).data["hits"][0]["id"])
    id = id.split(".", maxsplit=1)[0] + ".1"
    pages = 0
    while id:
        data = run(read, id=id).data
        texts = [passage["text"] for passage in data["passages"]]
        assert len(texts) == 1 or sum(map(len, texts)) <= READ_CHARACTERS
        assert len(texts) <= READ_PASSAGES
        seen += [passage["id"] for passage in data["passages"]]
        id = data.get("next", "")
        pages += 1
    assert pages > 1
    assert seen == [passage.id for passage in index.following(seen[0], 1_000)]
    assert len(seen) == 40


def test_the_last_page_of_a_document_names_no_next(index: Index) -> None:
    id = run(search_tool(index), query="black tea").data["hits"][0]["id"]
    assert run(read_tool(index), id=id).data.keys() == {"passages"}


@pytest.mark.parametrize("name", ["search", "read"])
def test_every_passage_shown_is_named_as_a_source_with_its_hash(name: str, index: Index) -> None:
    id = index.search("rice", 1)[0].passage.id
    output = run(
        library_tools(index)[name], **{"search": {"query": "rice"}, "read": {"id": id}}[name]
    )
    (shown,) = output.data.values() if name == "search" else [output.data["passages"]]
    passages = [index.passage(entry["id"]) for entry in shown]
    assert passages
    assert output.sources == tuple(SourceSeen(id=p.id, sha256=p.sha256) for p in passages if p)
    assert [entry["text"] for entry in shown] == [p.text for p in passages if p]


@requirement("T4")
def test_what_search_and_read_return_is_untrusted_and_names_its_sources(index: Index) -> None:
    found = run(search_tool(index), query="rice salt")
    read = run(read_tool(index), id=found.data["hits"][0]["id"])
    for output in (found, read):
        assert output.label.integrity is Integrity.UNTRUSTED
        assert output.label.sources == {source.id for source in output.sources}


def test_a_tool_shows_a_model_its_name_description_and_schema(index: Index) -> None:
    search = library_tools(index)["search"]
    assert (search.spec.name, search.spec.description) == ("search", search.description)
    assert search.spec.input_schema == search.input_schema


# Results of bounded size


def size(value: object) -> int:
    """Characters in all strings and numbers, and one for every other part."""
    match value:
        case dict():
            return 1 + sum(size(k) + size(v) for k, v in value.items())
        case list():
            return 1 + sum(map(size, value))
        case _:
            return max(len(str(value)), 1)


SLACK = 100 * (MAX_DEPTH + 1)
"""A cut may be noted at every depth, once."""


@settings(deadline=None)
@given(json_values(), st.integers(1, 60))
@example([[[[[[[["deep"]]]]]]]] * 50, 60)
@example({"a" * 50: {"b" * 50: "c" * 50}}, 60)
@example([1] * 500, 60)
@example([{}] * 500, 60)
@example([[]] * 500, 60)
def test_whatever_a_tool_returns_is_cut_to_the_room_there_is(value: object, room: int) -> None:
    kept = capped(value, [room])
    assert size(kept) <= room + SLACK
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept


@given(json_values())
def test_what_fits_is_not_changed(value: object) -> None:
    plain = json.dumps(value)
    if any(word in plain for word in ("NaN", "Infinity")) or len(plain) > 2_000:
        return
    if any(abs(n) > 1e300 for n in numbers(value)):
        return
    assert capped(value) == value


def numbers(value: object) -> Iterator[float]:
    match value:
        case dict():
            for part in value.values():
                yield from numbers(part)
        case list():
            for part in value:
                yield from numbers(part)
        case int() | float():
            yield value
        case _:
            pass


@pytest.mark.parametrize(
    "value",
    [
        ["x" * 100] * 10_000,
        [[1] * 1_000] * 1_000,
        {str(n): {str(m): m for m in range(1_000)} for n in range(1_000)},
        ["x" * 10_000_000],
        [[[]] * 1_000] * 1_000,
    ],
    ids=["strings", "numbers", "mappings", "text", "lists"],
)
def test_a_huge_result_is_cut_and_says_so(value: object) -> None:
    kept = capped(value)
    assert size(kept) <= MAX_RESULT_CHARACTERS + SLACK
    assert "left out" in json.dumps(kept)


def test_long_lists_and_mappings_say_how_much_is_left_out() -> None:
    assert capped(list(range(502))) == [*range(MAX_RESULT_ITEMS), "[2 more left out]"]
    assert capped({n: n for n in range(503)}) == {
        **{str(n): n for n in range(MAX_RESULT_ITEMS)},
        "[left out]": "3 more",
    }


def test_a_long_text_says_how_much_is_left_out() -> None:
    assert capped({"a": "x" * 20}, [12]) == {"a": "xxxxxxxxxx[10 more characters left out]"}


def test_a_list_that_holds_itself_ends() -> None:
    loop: list[object] = ["tea"]
    loop += [loop] * 500
    assert size(capped(loop)) <= MAX_RESULT_CHARACTERS + SLACK


def test_nesting_without_end_ends() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert "nested too deep" in json.dumps(capped(nested))


class Rude:
    """An object that does not want to be shown."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (bytearray(b"tea"), "tea"),
        (("a", 1), ["a", 1]),
        ({"a"}, ["a"]),
        (frozenset({1}), [1]),
        (MappingProxyType({"a": None}), {"a": None}),
        ({1: True}, {"1": True}),
        (Path("a/b"), "a/b"),
        (deque([1]), "deque([1])"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        pytest.param(10**5_000, "<int>", id="endless"),
        (10**301, "1" + "0" * 301),
        (Rude(), "<Rude>"),
        ({Rude(): 1}, {"<Rude>": 1}),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_odd_objects_become_data(value: object, kept: object) -> None:
    assert capped(value) == kept


@given(hostile_texts(), st.integers(-5, 30))
def test_a_text_shrinks_the_room_by_what_was_taken(text: str, room: int) -> None:
    left = [room]
    shown = capped_text(text, left)
    assert shown.startswith(text[: max(room, 0)])
    assert left[0] == room - min(len(text), max(room, 0)) - 1


# Tools from functions


def add(number: int, word: str = "x") -> str:
    """Add them."""
    return word * number


async def add_later(number: int, word: str = "x") -> str:
    """Add them."""
    return word * number


@pytest.mark.parametrize("function", [add, add_later])
def test_a_function_is_a_tool_whether_it_is_asynchronous_or_not(function: Any) -> None:
    made = tool(function)
    assert (made.name, made.description) == (function.__name__, "Add them.")
    assert run(made, number=2).data == {"result": "xx"}
    assert run(made, number=2, word="y").data == {"result": "yy"}


@requirement("T4")
def test_what_a_function_returns_is_untrusted_whatever_asked_for_it() -> None:
    label = run(tool(add), number=1).label
    assert (label.integrity, label.sources) == (Integrity.UNTRUSTED, frozenset({"tool:add"}))


def test_what_a_function_refuses_reaches_the_loop_as_it_is() -> None:
    def refuse() -> None:
        """Refuse."""
        raise ToolRejected("try again")

    with pytest.raises(ToolRejected, match="try again"):
        run(tool(refuse))


TEXT = {"type": "string", "maxLength": 8_000}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, TEXT),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list[str], {"type": "array", "maxItems": 100, "items": TEXT}),
        (
            list[list[int]],
            {
                "type": "array",
                "maxItems": 100,
                "items": {"type": "array", "maxItems": 100, "items": {"type": "integer"}},
            },
        ),
        (Literal["a", 1, None], {"enum": ["a", 1, None]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (None | str, {"anyOf": [TEXT, {"type": "null"}]}),
        (Optional[list[bool]], {"anyOf": [{"type": "array", "maxItems": 100, "items": {"type": "boolean"}}, {"type": "null"}]}),  # noqa: UP045 - both spellings work
        (Annotated[str, "a word"], TEXT),
        ("str", TEXT),
    ],
)  # fmt: skip
def test_a_parameter_becomes_a_field_of_a_closed_schema(hint: object, schema: object) -> None:
    def function(value, other=None):  # type: ignore[no-untyped-def]  # its hints are set below
        """Do."""

    function.__annotations__ = {"value": hint, "other": bool}
    assert tool(function).input_schema == {
        "type": "object",
        "properties": {"value": schema, "other": {"type": "boolean"}},
        "required": ["value"],
        "additionalProperties": False,
    }
    tool(function).schema.check()


@requirement("cli:errors")
@pytest.mark.parametrize(
    "hint",
    [
        dict,
        list,
        list[dict[str, int]],
        int | str,
        bytes,
        object,
        None,
        Literal[b"x"],
        int | str | None,
    ],
)
def test_a_parameter_of_another_type_is_refused_by_name(hint: object) -> None:
    def function(value):  # type: ignore[no-untyped-def]  # its hint is set below
        """Do."""

    function.__annotations__ = {"value": hint}
    with pytest.raises(ConfigError, match=r"function\.value has no usable type") as caught:
        tool(function)
    assert caught.value.hint


@requirement("cli:errors")
def test_a_parameter_without_a_type_is_refused_by_name() -> None:
    def function(value):  # type: ignore[no-untyped-def]  # that is the point
        """Do."""

    with pytest.raises(ConfigError, match=r"function\.value has no usable type"):
        tool(function)


@requirement("cli:errors")
def test_a_type_that_cannot_be_resolved_is_refused_by_name() -> None:
    def function(value: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821 - that is the point
        """Do."""

    with pytest.raises(ConfigError, match="tool function has a type hint") as caught:
        tool(function)
    assert caught.value.hint


@requirement("cli:errors")
def test_a_function_without_a_docstring_is_refused_by_name() -> None:
    def function(value: int) -> None:
        pass

    with pytest.raises(ConfigError, match="tool function has no docstring") as caught:
        tool(function)
    assert caught.value.hint


def starred(*values: int) -> None:
    """Do."""


def doubly_starred(**values: int) -> None:
    """Do."""


def positional(value: int, /) -> None:
    """Do."""


@requirement("cli:errors")
@pytest.mark.parametrize("function", [starred, doubly_starred, positional])
def test_parameters_that_a_model_cannot_name_are_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=function.__name__) as caught:
        tool(function)
    assert caught.value.hint
