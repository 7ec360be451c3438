"""A loopback server that speaks the Anthropic Messages API, told by a script what to answer.

Every request is recorded before the script sees it, every reply is worked out before its first byte
goes out, and leaving the `async with` block leaves no connection and no task behind.

    async with MessagesApi(lambda asked: Answer(content=(text("hello"),))) as api:
        client = AsyncAnthropic(api_key="x", base_url=api.url, max_retries=0)

A fault that takes an answer does to it what it says; `after` and `at` count the SSE events as
sent, pings included, and negative numbers count from the end, as in a slice. Asked without
`"stream": true`, such a fault spoils the one JSON body in the same spirit (each class says how).
"""

import asyncio
import contextlib
import inspect
import itertools
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

Drop: TypeAlias = Literal["rst", "fin"]
"""How the server lets go of a connection: a reset, or an orderly end in the wrong place."""

USAGE: Final[Mapping[str, Any]] = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 20,
}
PING: Final[Mapping[str, Any]] = {"type": "ping"}
MISSING: Final = object()
"""For `WrongUsage`: leave the usage block out."""

_CUMULATIVE: Final = frozenset({*USAGE, "output_tokens_details", "server_tool_use"})
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_ids = itertools.count(1)


def text(words: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": words}


def tool_use(name: str, input: Mapping[str, Any] | str, id: str | None = None) -> dict[str, Any]:
    """A tool call, with an id of its own unless one is given.

    Input given as a string is sent as it is, so it need not be JSON. The empty input is streamed
    as empty deltas, which is what the API does; for the two characters pass `"{}"`.
    """
    given = input if isinstance(input, str) else dict(input)
    return {"type": "tool_use", "id": id or f"toolu_{next(_ids):06d}", "name": name, "input": given}


def thinking(words: str, signature: str) -> dict[str, Any]:
    """A thinking block; the signature is streamed as its last delta."""
    return {"type": "thinking", "thinking": words, "signature": signature}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request to `/v1/messages`, as it arrived."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    """Empty if the bytes were not a JSON object; the server then answers 400 by itself."""
    raw: bytes
    n: int
    """How many came before it."""

    @property
    def stream(self) -> bool:
        """Whether the client asked for events."""
        return self.body.get("stream") is True

    @property
    def request_id(self) -> str:
        """What the `request-id` header of the reply says."""
        return f"req_{self.n:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A reply ready to be written: its bytes piece by piece, and what becomes of the connection."""

    parts: tuple[bytes, ...] = ()
    ending: Literal["keep", "silence"] | Drop = "keep"
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A good reply."""

    content: tuple[dict[str, Any], ...]
    """Blocks of the Messages API. A type not known here is streamed whole, in its start event."""
    stop_reason: str | None = None
    """If None: "tool_use" when a tool_use block is there, else "end_turn"."""
    usage: Mapping[str, Any] = field(default_factory=lambda: dict(USAGE))
    final_usage: Mapping[str, Any] | None = None
    """What message_delta reports; if None, the counts of `usage` that are cumulative."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """For instance `anthropic-ratelimit-*`."""
    delay: float = 0.0
    """Seconds before the first byte."""
    pieces: int = 3
    """Deltas per block. Cuts fall inside an escape sequence where there is one."""
    extra_events: tuple[Mapping[str, Any], ...] = ()
    """Pings and unknown events: one follows each regular event but the last, over and over."""
    chunk_bytes: int = 0
    """HTTP chunks of this size, cutting through events and characters; 0: one chunk per event."""
    newline: str = "\n"

    def plan(self, asked: Exchange) -> Plan:
        """The whole answer, in the form asked for."""
        if asked.stream:
            return _streamed(self, asked, [self.sse(event) for event in self.events(asked)])
        body = _json(self.message(asked))
        return replace(_whole(asked, body, headers=self.headers), delay=self.delay)

    def message(self, asked: Exchange) -> dict[str, Any]:
        """The body of a reply that is not streamed."""
        calls = any(block.get("type") == "tool_use" for block in self.content)
        return {
            "id": f"msg_{asked.n:06d}",
            "type": "message",
            "role": "assistant",
            "model": asked.body.get("model", "unnamed"),
            "content": list(self.content),
            "stop_reason": self.stop_reason or ("tool_use" if calls else "end_turn"),
            "stop_sequence": None,
            "usage": dict(self.usage),
        }

    def events(self, asked: Exchange) -> list[dict[str, Any]]:
        """The data of every event of the streamed reply, in order."""
        whole = self.message(asked)
        usage = dict(self.usage) | ({"output_tokens": 1} if "output_tokens" in self.usage else {})
        start = whole | {"content": [], "stop_reason": None, "usage": usage}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(self.content):
            opening, deltas = _unfold(block, self.pieces)
            events.append({"type": "content_block_start", "index": index, "content_block": opening})
            events += [
                {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
            ]
            events.append({"type": "content_block_stop", "index": index})
        final = self.final_usage
        if final is None:
            final = {name: count for name, count in self.usage.items() if name in _CUMULATIVE}
        stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": stop, "usage": dict(final)})
        events.append({"type": "message_stop"})
        return self._sprinkled(events)

    def sse(self, event: Mapping[str, Any]) -> bytes:
        """One event as it goes over the wire."""
        return self.frame(str(event.get("type")), _json(event))

    def frame(self, name: str, data: bytes) -> bytes:
        """One event with data that need not be JSON."""
        end = self.newline.encode()
        return b"event: " + name.encode() + end + b"data: " + data + end + end

    def _sprinkled(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.extra_events:
            return events
        extras = map(dict, itertools.cycle(self.extra_events))
        mixed = itertools.chain.from_iterable(zip(events[:-1], extras, strict=False))
        return [*mixed, events[-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An HTTP error."""

    code: int
    error_type: str
    message: str = "told to fail"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is, as text/html unless `headers` has a content-type."""

    def plan(self, asked: Exchange) -> Plan:
        """The error, streamed or not."""
        if self.body is None:
            body = _json(_error(self.error_type, self.message, asked.request_id))
            return _whole(asked, body, code=self.code, headers=self.headers)
        headers = {"content-type": "text/html"} | _lowered(self.headers)
        return _whole(asked, self.body, code=self.code, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Html:
    """A page where a reply should be, with status 200: a proxy that answers for itself."""

    page: bytes = b"<!doctype html><html><body><h1>It works!</h1></body></html>\n"

    def plan(self, asked: Exchange) -> Plan:
        """The page, streamed or not."""
        return _whole(asked, self.page, headers={"content-type": "text/html; charset=utf-8"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonsense:
    """A 200 that means nothing: JSON that is no message, or an event stream that has no events."""

    kind: Literal["json", "stream"] = "json"
    garbage: bytes = b'{"a": 1}\n\ndata\n: \xff\xfe\x00\n\nevent event\r\rdata : ]]\n\n'
    """The stream's bytes."""

    def plan(self, asked: Exchange) -> Plan:
        """The nonsense, of the kind chosen, streamed or not."""
        if self.kind == "json":
            return _whole(asked, b'{"foo": 1}')
        return _streamed(Answer(content=()), asked, [self.garbage])


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetBefore:
    """The connection is gone before any byte of the response."""

    how: Drop = "rst"

    def plan(self, asked: Exchange) -> Plan:  # noqa: ARG002 - same shape as its siblings
        """No bytes at all."""
        return Plan(ending=self.how)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection is dropped after some events. Not streamed: after half of the body."""

    answer: Answer
    after: int
    how: Drop = "rst"
    tail: bytes = b""
    """The start of an event that never gets finished."""

    def plan(self, asked: Exchange) -> Plan:
        """The answer up to the cut."""
        if not asked.stream:
            return _half(self.answer, asked, ending=self.how)
        events = [*_first(self.answer, asked, self.after), self.tail]
        return _streamed(self.answer, asked, events, ending=self.how)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEarly:
    """HTTP ends as it should, the message does not. Not streamed: half of the JSON body."""

    answer: Answer
    after: int
    tail: bytes = b""
    """The start of an event that never gets finished."""

    def plan(self, asked: Exchange) -> Plan:
        """The answer up to its early end."""
        if not asked.stream:
            return _half(self.answer, asked)
        return _streamed(self.answer, asked, [*_first(self.answer, asked, self.after), self.tail])


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """After some events nothing more, until the client leaves.

    Not streamed: after half of the body.
    """

    answer: Answer
    after: int

    def plan(self, asked: Exchange) -> Plan:
        """The answer up to where the server falls silent."""
        if not asked.stream:
            return _half(self.answer, asked, ending="silence")
        events = _first(self.answer, asked, self.after)
        return _streamed(self.answer, asked, events, ending="silence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """One event has half of its JSON; the others are well. Not streamed: half of the JSON body."""

    answer: Answer
    at: int

    def plan(self, asked: Exchange) -> Plan:
        """The answer with its broken event."""
        if not asked.stream:
            return _half(self.answer, asked)
        events = self.answer.events(asked)
        frames = [self.answer.sse(event) for event in events]
        data = _json(events[self.at])
        frames[self.at] = self.answer.frame(events[self.at]["type"], data[: len(data) // 2])
        return _streamed(self.answer, asked, frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """An `error` event after some others, and the end. Not streamed: that error as a status."""

    answer: Answer
    after: int
    error_type: str = "overloaded_error"
    message: str = "told to fail"

    def plan(self, asked: Exchange) -> Plan:
        """The answer up to the error, and the error."""
        if not asked.stream:
            code = _STATUS_OF.get(self.error_type, 500)
            return Status(code=code, error_type=self.error_type, message=self.message).plan(asked)
        error = self.answer.sse(_error(self.error_type, self.message, asked.request_id))
        events = [*_first(self.answer, asked, self.after), error]
        return _streamed(self.answer, asked, events)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongUsage:
    """A good answer whose usage block is whatever is given here, or not there at all."""

    answer: Answer
    usage: object = MISSING
    places: tuple[Literal["message_start", "message_delta"], ...] = (
        "message_start",
        "message_delta",
    )
    """The events it is wrong in. Not streamed: there is one block only, and it is wrong."""

    def plan(self, asked: Exchange) -> Plan:
        """The answer with that usage."""
        if not asked.stream:
            body = _json(self._spoiled(self.answer.message(asked)))
            plan = _whole(asked, body, headers=self.answer.headers)
            return replace(plan, delay=self.answer.delay)
        frames = []
        for event in self.answer.events(asked):
            if event["type"] not in self.places:
                wrong = event
            elif "message" in event:
                wrong = event | {"message": self._spoiled(event["message"])}
            else:
                wrong = self._spoiled(event)
            frames.append(self.answer.sse(wrong))
        return _streamed(self.answer, asked, frames)

    def _spoiled(self, holder: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in holder.items() if name != "usage"}
        return rest if self.usage is MISSING else rest | {"usage": self.usage}


Fault: TypeAlias = (
    Status
    | Html
    | Nonsense
    | ResetBefore
    | Cut
    | EndEarly
    | Silence
    | Malformed
    | StreamError
    | WrongUsage
)
Reply: TypeAlias = Answer | Fault
Script: TypeAlias = Callable[[Exchange], Reply | Awaitable[Reply]]
"""A coroutine function may hold its reply back until the test lets it go: no clock is needed."""


class MessagesApi:
    """The server: an async context manager that listens on a free loopback port."""

    def __init__(self, script: Script) -> None:
        self.url = ""
        """Known once the block is entered. Any path may stand before `/v1/messages`."""
        self.exchanges: list[Exchange] = []
        """Everything received at `/v1/messages`, in order."""
        self.script_errors: list[Exception] = []
        """What the script raised; the client got a 500 api_error."""
        self.counted = 0
        """Requests to `count_tokens`."""
        self.connections = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.disconnects = 0
        """Requests whose client left before the reply was complete."""
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        for end in ends:
            if end is not None and not isinstance(end, asyncio.CancelledError):
                raise end  # a fault of this file, or pytest.fail() inside a script

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the counters say so: `await api.until(lambda: api.disconnects == 1)`."""
        while not holds():
            await self._changed.wait()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self.connections += 1
        self._notify()
        self._tasks.add(asyncio.create_task(self._connection(reader, writer)))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. Reading ahead is how it learns that a client left mid-reply."""
        writer.transport.set_write_buffer_limits(high=0)  # drain() is to wait for the last byte
        ahead = asyncio.create_task(_read_request(reader))
        try:
            while (request := await ahead) is not None:
                ahead = asyncio.create_task(_read_request(reader))
                await self._serve(request, ahead, writer)
        finally:
            ahead.cancel()
            writer.transport.abort()
            await asyncio.gather(ahead, return_exceptions=True)
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(
        self,
        request: "_Request",
        ahead: "asyncio.Task[_Request | None]",
        writer: asyncio.StreamWriter,
    ) -> None:
        """Reply in full, or until the client is gone."""
        reply = asyncio.create_task(self._reply(request, writer))
        try:
            await asyncio.wait({reply, ahead}, return_when=asyncio.FIRST_COMPLETED)
            if ahead.done() and ahead.result() is not None:
                await asyncio.wait({reply})
        finally:
            reply.cancel()
            await asyncio.wait({reply})
        if not reply.cancelled():
            reply.result()

    async def _reply(self, request: "_Request", writer: asyncio.StreamWriter) -> None:
        asked = request.exchange(len(self.exchanges))
        if request.method == "POST" and asked.path.endswith("/v1/messages"):
            await self._message(asked, writer)
            return
        if request.method == "POST" and asked.path.endswith("/v1/messages/count_tokens"):
            self.counted += 1
            plan = _whole(asked, _json({"input_tokens": len(asked.raw) // 4}))
        else:
            plan = Status(code=404, error_type="not_found_error", message=asked.path).plan(asked)
        self._notify()
        with contextlib.suppress(OSError):
            await _play(plan, writer)

    async def _message(self, asked: Exchange, writer: asyncio.StreamWriter) -> None:
        complete = False
        self.exchanges.append(asked)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._notify()
        try:
            with contextlib.suppress(OSError):
                await _play(await self._plan(asked), writer)
                complete = True
        finally:
            self.in_flight -= 1
            if not (complete or self._closing):
                self.disconnects += 1
            self._notify()

    async def _plan(self, asked: Exchange) -> Plan:
        if not asked.body:
            return Status(code=400, error_type="invalid_request_error").plan(asked)
        try:
            reply = self._script(asked)
            if inspect.isawaitable(reply):
                reply = await reply
            return reply.plan(asked)
        except Exception as error:  # noqa: BLE001 - kept for the test to look at
            self.script_errors.append(error)
            return Status(code=500, error_type="api_error", message="script failed").plan(asked)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    target: str
    headers: dict[str, str]
    raw: bytes

    def exchange(self, n: int) -> Exchange:
        try:
            body = json.loads(self.raw)
        except ValueError:
            body = None
        return Exchange(
            path=self.target.partition("?")[0],
            headers=self.headers,
            body=body if isinstance(body, dict) else {},
            raw=self.raw,
            n=n,
        )


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    """The next request of a connection, or None if the client left or does not speak HTTP."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
        return None
    return _Request(method=method, target=target, headers=headers, raw=raw)


async def _play(plan: Plan, writer: asyncio.StreamWriter) -> None:
    """Write the parts one by one, letting the client (often in the same loop) run in between.

    Raises:
        OSError: The client is gone.
    """
    if plan.delay:
        await asyncio.sleep(plan.delay)
    for number, part in enumerate(plan.parts):
        if number:
            await asyncio.sleep(0)
        writer.write(part)
        await writer.drain()
    if plan.ending == "silence":
        await asyncio.Event().wait()  # ends when the client leaves and this task is cancelled
    elif plan.ending == "fin":
        writer.close()
    elif plan.ending == "rst":
        linger_no_time = struct.pack("ii", 1, 0)  # closing then sends a reset
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time
        )
        writer.transport.abort()


def _head(asked: Exchange, headers: Mapping[str, str], code: int = 200) -> bytes:
    phrase = {status.value: status.phrase for status in HTTPStatus}.get(code, "Unnamed")
    named = {"request-id": asked.request_id} | _lowered(headers)
    lines = [f"HTTP/1.1 {code} {phrase}", *(f"{name}: {value}" for name, value in named.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _whole(
    asked: Exchange, body: bytes, *, code: int = 200, headers: Mapping[str, str] | None = None
) -> Plan:
    """A response with a length."""
    named = {"content-type": "application/json"} | _lowered(headers or {})
    named.setdefault("content-length", str(len(body)))
    return Plan(parts=(_head(asked, named, code) + body,))


def _half(
    answer: Answer, asked: Exchange, *, ending: Literal["keep", "silence"] | Drop = "keep"
) -> Plan:
    """Half of the JSON body; its length is that of the whole unless the connection goes on."""
    body = _json(answer.message(asked))
    half = body[: len(body) // 2]
    promised = half if ending == "keep" else body
    headers = {**answer.headers, "content-length": str(len(promised))}
    return replace(_whole(asked, half, headers=headers), ending=ending, delay=answer.delay)


def _streamed(
    answer: Answer,
    asked: Exchange,
    events: Sequence[bytes],
    *,
    ending: Literal["keep", "silence"] | Drop = "keep",
) -> Plan:
    """A chunked event stream. Only one that keeps the connection gets its last chunk."""
    named = {
        "content-type": "text/event-stream; charset=utf-8",
        "transfer-encoding": "chunked",
    } | _lowered(answer.headers)
    joined, size = b"".join(events), answer.chunk_bytes
    slices: Iterable[bytes] = events
    if size:
        slices = (joined[start : start + size] for start in range(0, len(joined), size))
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in slices if part]
    last = [b"0\r\n\r\n"] if ending == "keep" else []
    return Plan(parts=(_head(asked, named), *chunks, *last), ending=ending, delay=answer.delay)


def _first(answer: Answer, asked: Exchange, after: int) -> list[bytes]:
    """The first events, on the wire.

    Raises:
        IndexError: There are not so many: the fault would have passed unnoticed.
    """
    frames = [answer.sse(event) for event in answer.events(asked)]
    if abs(after) > len(frames):
        raise IndexError(f"after={after}, but the answer has {len(frames)} events")
    return frames[:after]


def _unfold(block: dict[str, Any], pieces: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a block looks like when it opens, and the deltas that complete it."""
    match block.get("type"):
        case "text":
            deltas = [{"type": "text_delta", "text": p} for p in _cut(block["text"], pieces)]
            quotes = block.get("citations") or []
            deltas += [{"type": "citations_delta", "citation": quote} for quote in quotes]
            return block | {"text": ""} | ({"citations": []} if quotes else {}), deltas
        case "thinking":
            parts = _cut(block["thinking"], pieces)
            deltas = [{"type": "thinking_delta", "thinking": part} for part in parts]
            deltas.append({"type": "signature_delta", "signature": block.get("signature", "")})
            return block | {"thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            given = block["input"]
            payload = given if isinstance(given, str) else json.dumps(given) if given else ""
            parts = _cut(payload, pieces)
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            return block | {"input": {}}, deltas
        case _:
            return block, []


def _cut(payload: str, pieces: int) -> list[str]:
    """So many parts of about one length, some empty if it is short; escapes attract the cuts."""
    inside = [(match.start() + 1 + match.end()) // 2 for match in _ESCAPE.finditer(payload)]
    points: set[int] = set()
    spare: list[int] = []
    for k in range(1, pieces):
        even = len(payload) * k // pieces
        nearest = min((abs(point - even), point) for point in inside)[1] if inside else even
        if nearest in points:
            spare.append(even)
        points.add(nearest)
    bounds = [0, *sorted([*points, *spare]), len(payload)]
    return [payload[start:end] for start, end in itertools.pairwise(bounds)]


def _json(value: object) -> bytes:
    """JSON in UTF-8, or in ASCII if a lone surrogate rules that out."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _error(error_type: str, message: str, request_id: str) -> dict[str, Any]:
    error = {"type": error_type, "message": message}
    return {"type": "error", "error": error, "request_id": request_id}


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
