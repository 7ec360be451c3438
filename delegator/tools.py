"""Tools: what an agent can run. A tool is a value, chosen by the operator before the run.

What a tool returns is data: it carries a label, and reaches a model only through the envelope.
"""

import asyncio
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from delegator.errors import ConfigError, ToolRejected
from delegator.knowledge import Library, Passage
from delegator.messages import ToolSpec
from delegator.outcome import SourceSeen
from delegator.schema import Schema
from delegator.trust import Label, untrusted

MAX_RESULT_CHARACTERS = 24_000
"""The strings of a tool's result hold this many characters at most, all together."""
MAX_RESULT_ITEMS = 500
READ_CHARACTERS = 6_000
MAX_HITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """What a tool found, what it is worth, and the passages it put in front of the agent."""

    data: Mapping[str, Any]
    label: Label
    sources: tuple[SourceSeen, ...] = ()
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call whose input fits the tool's schema, and what its author is worth."""

    input: Mapping[str, Any]
    label: Label


Runner = Callable[[Call], Awaitable[ToolOutput]]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool: its face to the model, and the code behind it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    run: Runner
    """`ToolRejected` lets the model try again; any other error is a failure."""
    seconds: float | None = 60.0
    """How long a call may take; `None` where the tool keeps its own deadline."""

    @cached_property
    def schema(self) -> Schema:
        """The compiled input schema."""
        return Schema(self.input_schema, name=f"tool {self.name}")

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(
            name=self.name, description=self.description, input_schema=self.input_schema
        )


def search_tool(library: Library) -> Tool:
    """`search(query, limit)`: the passages that match some words best."""

    async def run(call: Call) -> ToolOutput:
        hits = library.search(call.input["query"], call.input.get("limit", 5))
        return _passages([hit.passage for hit in hits], "hits")

    return Tool(
        name="search",
        description=(
            "Search the documents for words. Returns the best passages, each with its id, title, place and text. "
            "Use a few telling words, not a sentence; search again with other words if the first try misses."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 400},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_HITS},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        run=run,
    )


def read_tool(library: Library) -> Tool:
    """`read(id)`: a passage and what follows it in its document."""

    async def run(call: Call) -> ToolOutput:
        found = library.following(call.input["id"], 16)
        if not found:
            raise ToolRejected("no passage has this id; use an id exactly as search returned it")
        shown: list[Passage] = []
        size = 0
        for passage in found:
            size += len(passage.text)
            if shown and size > READ_CHARACTERS:
                return _passages(shown, "passages", next=passage.id)
            shown.append(passage)
        return _passages(shown, "passages")

    return Tool(
        name="read",
        description=(
            "Read on from a passage: returns it and the passages after it in the same document, up to about 6,000 "
            "characters, and the id of the next one if there is more."
        ),
        input_schema={
            "type": "object",
            "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 40}},
            "required": ["id"],
            "additionalProperties": False,
        },
        run=run,
    )


def _passages(passages: list[Passage], key: str, **more: str) -> ToolOutput:
    shown = [
        {"id": p.id, "title": p.title, "section": p.heading, "place": p.where, "text": p.text}
        for p in passages
    ]
    return ToolOutput(
        data={key: shown, **more},
        label=untrusted(*(p.id for p in passages)),
        sources=tuple(SourceSeen(id=p.id, sha256=p.sha256) for p in passages),
    )


def capped(value: object, room: list[int] | None = None, depth: int = 12) -> object:
    """`value` as JSON data of bounded size: long strings and lists are cut and say so."""
    room = [MAX_RESULT_CHARACTERS] if room is None else room
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping() if depth:
            items = list(value.items())[:MAX_RESULT_ITEMS]
            return {capped_text(str(k), room): capped(v, room, depth - 1) for k, v in items}
        case list() | tuple() | set() | frozenset() if depth:
            items = list(value)
            kept = [capped(v, room, depth - 1) for v in items[:MAX_RESULT_ITEMS] if room[0] > 0]
            cut = len(items) - len(kept)
            return [*kept, f"[{cut} more left out]"] if cut else kept
        case _:
            return capped_text(value if isinstance(value, str) else str(value), room)


def capped_text(text: str, room: list[int]) -> str:
    """The part of `text` that fits into `room`, which shrinks by it."""
    allowed = max(room[0], 0)
    room[0] -= min(len(text), allowed) + 1
    if len(text) <= allowed:
        return text
    return f"{text[:allowed]}[{len(text) - allowed} more characters left out]"


def library_tools(library: Library) -> dict[str, Tool]:
    """The tools over a knowledge base, by name."""
    return {tool.name: tool for tool in (search_tool(library), read_tool(library))}


def tool(function: Callable[..., Any]) -> Tool:
    """A tool from a function with type hints and a docstring; sync functions run in a thread.

    Parameters may be `str`, `int`, `float`, `bool`, `list` of these, a `Literal`, or optional. What it returns
    reaches the model as data, labelled untrusted.

    Raises:
        ConfigError: It has no docstring, or a parameter without a usable type.
    """
    name = function.__name__
    doc = inspect.getdoc(function)
    if not doc:
        raise ConfigError(
            f"tool {name} has no docstring",
            hint="Say in it what the tool does: the model reads it.",
        )

    async def run(call: Call) -> ToolOutput:
        if inspect.iscoroutinefunction(function):
            result = await function(**call.input)
        else:
            result = await asyncio.to_thread(function, **call.input)
        return ToolOutput(data={"result": result}, label=untrusted(f"tool:{name}"))

    return Tool(name=name, description=doc, input_schema=_input_schema(function), run=run)


def _input_schema(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"tool {function.__name__} takes *args or **kwargs")
        properties[parameter.name] = _type_schema(
            hints.get(parameter.name), f"{function.__name__}.{parameter.name}"
        )
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_SCALARS: dict[object, dict[str, Any]] = {
    str: {"type": "string", "maxLength": 8_000},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def _type_schema(hint: object, place: str) -> dict[str, Any]:
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin is list and args:
        return {"type": "array", "maxItems": 100, "items": _type_schema(args[0], place)}
    if origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:  # noqa: PLR2004
        inner = next(arg for arg in args if arg is not type(None))
        return {"anyOf": [_type_schema(inner, place), {"type": "null"}]}
    raise ConfigError(
        f"tool parameter {place} has no usable type",
        hint="Use str, int, float, bool, list[...], Literal[...] or an optional of these.",
    )
