"""Tools: what an agent can run. A tool is a value, chosen by the operator before the run.

What a tool returns is data: it carries a label, and reaches a model only through the envelope.
"""

import asyncio
import contextlib
import contextvars
import inspect
import threading
import types
import typing
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, overload
from weakref import WeakValueDictionary

from delegator.errors import ConfigError, LimitExceeded, ToolRejected
from delegator.knowledge import Library, Passage
from delegator.messages import ToolSpec
from delegator.outcome import SourceSeen
from delegator.policy import UNDECLARED, Effects
from delegator.schema import Schema, schema_of
from delegator.trust import Label, untrusted

MAX_RESULT_CHARACTERS = 24_000
"""The strings of a tool's result hold this many characters at most, all together."""
MAX_RESULT_ITEMS = 500
MAX_REFUSAL_CHARACTERS = 1_000
MAX_DEPTH = 12
_LARGEST_NUMBER = 1e300
READ_CHARACTERS = 6_000
READ_PASSAGES = 16
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
    key: str = ""
    """Its place in the run: `agent/turn/` and a hash of what is asked."""


Runner = Callable[[Call], Awaitable[ToolOutput]]


_specs: WeakValueDictionary[tuple[str, str, int], ToolSpec] = WeakValueDictionary()


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
    effects: Effects = UNDECLARED
    """What it does beyond answering. From `guarded` up, a tool that does not say so is held to do anything."""

    @cached_property
    def schema(self) -> Schema:
        """The compiled input schema."""
        return schema_of(self.input_schema, name=f"tool {self.name}")

    @cached_property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it: one and the same for tools that differ in nothing but their code."""
        key = (self.name, self.description, id(self.input_schema))
        spec = _specs.get(key)
        if spec is None:  # as long as it lives it keeps the schema, so no other has its number
            spec = _specs[key] = ToolSpec(
                name=self.name, description=self.description, input_schema=self.input_schema
            )
        return spec


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a tool call went: its output, or the problem in words that quote nothing."""

    output: ToolOutput | None
    problem: str = ""
    rejected: bool = False
    """Whether the tool refused the call rather than run it."""
    rule: str = ""
    """The rule by which a policy, or a person, forbade it; then it was not run."""


async def attempt(tool: Tool, call: Call) -> Attempt:
    """Run a tool within its deadline. Never raises: what goes wrong is a problem in words that quote nothing."""
    try:
        async with asyncio.timeout(tool.seconds):
            return Attempt(await tool.run(call))
    except ToolRejected as rejection:
        return Attempt(None, str(rejection)[:MAX_REFUSAL_CHARACTERS], rejected=True)
    except LimitExceeded as error:
        return Attempt(None, str(error))
    except TimeoutError:
        return Attempt(None, "the tool did not answer in time")
    except Exception as error:  # noqa: BLE001 - a tool is foreign code, and its words are not for the model
        return Attempt(None, f"the tool failed ({type(error).__name__})")


def search_tool(library: Library) -> Tool:
    """`search(query, limit)`: the passages that match some words best."""

    async def run(call: Call) -> ToolOutput:
        limit = int(call.input.get("limit", 5))  # JSON Schema takes 5.0 for an integer
        hits = library.search(call.input["query"], limit)
        return passages_output([hit.passage for hit in hits], "hits")

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
        effects=Effects(reads=True, private=library.private),
    )


def read_tool(library: Library) -> Tool:
    """`read(id)`: a passage and what follows it in its document."""

    async def run(call: Call) -> ToolOutput:
        found = library.following(call.input["id"], READ_PASSAGES + 1)
        if not found:
            raise ToolRejected("no passage has this id; use an id exactly as search returned it")
        shown: list[Passage] = []
        size = 0
        for passage in found:
            size += len(passage.text)
            if shown and (size > READ_CHARACTERS or len(shown) == READ_PASSAGES):
                return passages_output(shown, "passages", next=passage.id)
            shown.append(passage)
        return passages_output(shown, "passages")

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
        effects=Effects(reads=True, private=library.private),
    )


def passages_output(passages: Sequence[Passage], key: str, **more: str) -> ToolOutput:
    """Passages as a tool shows them, labelled with where they come from."""
    shown = [
        {"id": p.id, "title": p.title, "section": p.heading, "place": p.where, "text": p.text}
        for p in passages
    ]
    return ToolOutput(
        data={key: shown, **more},
        label=untrusted(*(p.id for p in passages), private=any(p.private for p in passages)),
        sources=tuple(SourceSeen(id=p.id, sha256=p.sha256) for p in passages),
    )


def capped(  # noqa: PLR0911 - one for each kind of value
    value: object, room: list[int] | None = None, depth: int = MAX_DEPTH
) -> object:
    """`value` as JSON data of bounded size: what is too long, too many or too deep is cut and says so."""
    room = [MAX_RESULT_CHARACTERS] if room is None else room
    match value:
        case str():
            return capped_text(value, room)
        case None | bool():
            room[0] -= 1
            return value
        case int() | float() if abs(value) <= _LARGEST_NUMBER:  # a NaN is not
            room[0] -= len(str(value))
            return value
        case dict() | list() | tuple() | set() | frozenset() | Mapping() if not depth:
            return capped_text("[nested too deep]", room)
        case dict() | Mapping():
            return _capped_items(value, room, depth - 1)
        case list() | tuple() | set() | frozenset():
            return _capped_list(value, room, depth - 1)
        case _:
            return capped_text(_said(value), room)


def _capped_items(value: Mapping[Any, object], room: list[int], depth: int) -> dict[str, object]:
    kept: dict[str, object] = {}
    for n, (key, item) in enumerate(value.items()):
        if n == MAX_RESULT_ITEMS or room[0] <= 0:
            kept["[left out]"] = f"{len(value) - n} more"
            break
        name = capped_text(_said(key), room)
        kept[name] = capped(item, room, depth)
    room[0] -= 1
    return kept


def _capped_list(value: Collection[object], room: list[int], depth: int) -> list[object]:
    kept: list[object] = []
    for n, item in enumerate(value):
        if n == MAX_RESULT_ITEMS or room[0] <= 0:
            kept.append(f"[{len(value) - n} more left out]")
            break
        kept.append(capped(item, room, depth))
    room[0] -= 1
    return kept


def _said(value: object) -> str:
    """Whatever it is as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", errors="replace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a tool is foreign code, and so is what it returns
        return f"<{type(value).__name__}>"


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


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, effects: Effects) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, effects: Effects = UNDECLARED
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """A tool from a function with type hints and a docstring; sync functions run in a thread.

    Parameters may be `str`, `int`, `float`, `bool`, `list` of these, a `Literal`, or optional. What it returns
    reaches the model as data, labelled untrusted, and as private if the tool reads what is private.

    Args:
        function: The function: `@tool`, or `@tool(effects=Effects(sends=True))`.
        effects: What a call does beyond answering. Levels from `guarded` up decide by it.

    Raises:
        ConfigError: It has no docstring, or a parameter without a usable type.
    """
    if function is None:
        return lambda given: _tool_from(given, effects)
    return _tool_from(function, effects)


def _tool_from(function: Callable[..., Any], effects: Effects) -> Tool:
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
            result = await _in_thread(function, call.input)
        label = untrusted(f"tool:{name}", private=effects.private and effects is not UNDECLARED)
        return ToolOutput(data={"result": result}, label=label)

    return Tool(
        name=name,
        description=doc,
        input_schema=_input_schema(function),
        run=run,
        effects=effects,
    )


async def _in_thread(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Call a function in a thread that nobody waits for: one that never returns can not hold up the end of a run."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)

    def work() -> None:
        result, failure = None, None
        try:
            result = function(**given)
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    work = partial(contextvars.copy_context().run, work)  # it acts for whoever called it
    threading.Thread(target=work, daemon=True, name=f"tool {function.__name__}").start()
    return await done


def _input_schema(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"tool {function.__name__} has a type hint that cannot be resolved",
            hint="Name types that can be imported from the tool's module.",
        ) from error
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"tool {function.__name__} takes *args, **kwargs or positional-only parameters",
                hint="Give each parameter a name that a model can use.",
            )
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
    if origin is Literal and all(arg is None or isinstance(arg, str | int) for arg in args):
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
