"""A stream of Messages API events into model events: text as it comes, tool calls when they are sure, the reply at the end.

The end of a tool call's block does not prove that the call is complete: a reply cut by `max_tokens` closes its last block too.
A call counts as made when another block starts, or when the model stopped by itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from delegator.budget import Usage
from delegator.errors import Fault, ModelError
from delegator.messages import Block, Opaque, Stop, Text, ToolUse
from delegator.model import Begun, ModelEvent, Reply, TextDelta, ToolUseReady
from delegator.models.faults import fault_of
from delegator.models.sse import load

_GROWING = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_STOP_NAME = re.compile(r"[a-z_]{1,48}")
_BY_ITSELF = ("tool_use", "end_turn")
"""Some servers (vLLM and LiteLLM among them) say `end_turn` after a call: it is as complete as one that ends in `tool_use`."""
_CHARACTERS_PER_TOKEN = 3
"""A cautious guess, used only where a server reports no usable number."""


@dataclass(slots=True)
class _Open:
    """A block that is still arriving."""

    start: dict[str, Any]
    parts: dict[str, list[str]] = field(default_factory=dict)

    def grown(self, name: str) -> str:
        return str(self.start.get(name) or "") + "".join(self.parts.get(name, ()))


@dataclass(slots=True)
class Accumulator:
    """Builds one reply. Feed it every event, then ask for the reply."""

    prompt_characters: Callable[[], int]
    """How long the prompt is; asked only where the server does not say."""
    ended: bool = False
    """Whether the server has said that nothing more will come."""
    begun: bool = False
    """Whether the server has begun to answer."""
    _open: dict[int, _Open] = field(default_factory=dict)
    _blocks: list[Block] = field(default_factory=list)
    _unsure: ToolUse | None = None
    _said: Mapping[str, Any] = field(default_factory=dict)
    """What the server said of the reply when it began."""
    _usage: dict[str, Any] = field(default_factory=dict)
    _stop: object = None
    _ids: set[str] = field(default_factory=set)
    _characters: int = 0

    def feed(self, event: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """Take one event in.

        Raises:
            ModelError: The server reported a fault, or the event makes no sense.
        """
        try:
            yield from self._take(event)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ModelError(Fault.MALFORMED) from None

    def reply(self) -> Reply:
        """The whole reply.

        Raises:
            ModelError: `cut`: the stream ended before the server said why it stopped. `malformed`: there was no message.
        """
        if not isinstance(self._stop, str):
            raise ModelError(Fault.CUT if self.begun else Fault.MALFORMED)
        if self._unsure is not None:
            self._blocks.remove(self._unsure)
        stop = Stop.of(self._stop)
        named = self._stop if stop is Stop.UNKNOWN and _STOP_NAME.fullmatch(self._stop) else ""
        return Reply(
            content=tuple(block for block in self._blocks if not _blank(block)),
            stop=stop,
            stop_named=named,
            usage=self.usage,
        )

    def _sure(self) -> Iterator[ModelEvent]:
        if self._unsure is not None:
            yield ToolUseReady(call=self._unsure)
            self._unsure = None

    def _take(self, event: Mapping[str, Any]) -> Iterator[ModelEvent]:
        match event.get("type"):
            case "message_start":
                self.begun = True
                self._take_usage(event["message"].get("usage"))
                self._said = event["message"]
                self._usage.pop("output_tokens", None)  # a placeholder: the count comes last
                if self._usage:
                    yield self.owed
            case "content_block_start":
                yield from self._start(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._grow(self._open[event["index"]], event["delta"])
            case "content_block_stop":
                self._close(event["index"])
            case "message_delta":
                yield from self._finish(event["delta"].get("stop_reason"), event.get("usage"))
            case "message_stop":
                self.ended = True
            case "message":
                yield from self._take_whole(event)
            case "error":
                error = event["error"]
                raise ModelError(fault_of(error.get("type")), detail=str(error.get("message")))
            case _:
                pass  # a ping, or something newer than this program

    def _take_whole(self, message: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """A reply in one piece, from a server that does not stream."""
        for index, block in enumerate(message["content"]):
            yield from self._start(index, block)
            self._close(index)
        yield from self._finish(message.get("stop_reason"), message.get("usage"))

    def _start(self, index: int, block: Mapping[str, Any]) -> Iterator[ModelEvent]:
        yield from self._sure()
        self._open[index] = _Open(dict(block))
        if block["type"] == "text" and block.get("text"):
            yield TextDelta(text=self._counted(block["text"]))

    def _finish(self, stop: object, usage: object) -> Iterator[ModelEvent]:
        for index in list(self._open):  # some servers leave the ends of blocks out
            yield from self._sure()
            self._close(index)
        self._stop = stop or self._stop
        self._take_usage(usage)
        if self._stop in _BY_ITSELF:
            yield from self._sure()

    def _counted(self, part: object) -> str:
        if not isinstance(part, str):
            raise ModelError(Fault.MALFORMED)
        self._characters += len(part)
        return part

    def _grow(self, block: _Open, delta: Mapping[str, Any]) -> Iterator[ModelEvent]:
        name = _GROWING.get(delta.get("type", ""))
        if name is None:
            return
        part = self._counted(delta[name])
        block.parts.setdefault(name, []).append(part)
        if name == "text":
            yield TextDelta(text=part)

    def _close(self, index: int) -> None:
        block = self._open.pop(index)
        match block.start["type"]:
            case "text":
                self._blocks.append(Text(text=block.grown("text")))
            case "tool_use":
                call = ToolUse(
                    id=self._unique(block.start.get("id")),
                    name=str(block.start["name"]),
                    input=_tool_input(block),
                )
                self._blocks.append(call)
                self._unsure = call
            case _:
                grown = {name: block.grown(name) for name in block.parts if name != "partial_json"}
                if "partial_json" in block.parts:
                    grown["input"] = _tool_input(block)  # type: ignore[assignment]  # a JSON object
                self._blocks.append(Opaque(data={**block.start, **grown}))

    def _unique(self, id: object) -> str:
        """The server's id, or one of ours where it gave none or gave it twice."""
        name = id if isinstance(id, str) else ""
        numbers = count(len(self._ids))
        while not name or name in self._ids:
            name = f"toolu_{next(numbers)}"
        self._ids.add(name)
        return name

    def _take_usage(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self._usage.update({k: v for k, v in usage.items() if _is_count(v)})

    @property
    def owed(self) -> Begun:
        """What is paid for already, and keeps growing."""
        id, model = (str(self._said.get(name) or "") for name in ("id", "model"))
        return Begun(usage=self.usage, so_far=lambda: self.usage, id=id, model=model)

    @property
    def usage(self) -> Usage:
        """Tokens so far, as counted by the server; guessed where it does not say."""
        taken = self._usage
        if (prompt := taken.get("input_tokens")) is None:
            prompt = self.prompt_characters() // _CHARACTERS_PER_TOKEN
        return Usage(
            input_tokens=prompt,
            output_tokens=taken.get("output_tokens", self._characters // _CHARACTERS_PER_TOKEN + 1),
            cache_read_tokens=taken.get("cache_read_input_tokens", 0),
            cache_write_tokens=taken.get("cache_creation_input_tokens", 0),
        )


def _blank(block: Block) -> bool:
    """Whether it is a text without words, which servers send but do not take back."""
    return isinstance(block, Text) and not block.text.strip()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tool_input(block: _Open) -> dict[str, Any]:
    """The input of a call. What is no JSON object becomes an empty one, which the tool's schema then refuses."""
    text = "".join(block.parts.get("partial_json", ()))
    if not text.strip():
        given = block.start.get("input")
        return dict(given) if isinstance(given, Mapping) else {}
    try:
        value = load(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
