"""A mock of the Messages API on loopback: scripted answers, exactly paced, and a record of every request.

A reply takes `ttft + tokens * tpt` seconds, counted from the arrival of its request; streamed, its blocks come one after another, five
tokens in an event. It ends when its standard input does, so it never outlives who started it.

    POST /v1/messages, POST /v1/messages/count_tokens, POST /reset (a `Settings` as JSON), GET /stats, GET /prompts
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop

from benchmarks import cache, script

DELTA = 5
"""Tokens of one event."""
now = time.monotonic


@dataclass(frozen=True, slots=True)
class Settings:
    """How the mock behaves until it is reset."""

    ttft: float = 0.0
    tpt: float = 0.0
    keep: bool = False
    """Whether it keeps every request, for what a cache could serve."""

    @property
    def pace(self) -> script.Pace:
        """How fast it speaks."""
        return script.Pace(self.ttft, self.tpt)


@dataclass(slots=True)
class State:
    """What the mock has seen since it was reset."""

    settings: Settings = field(default_factory=Settings)
    roles: Counter[str] = field(default_factory=Counter)
    live: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    """Seconds by which replies ended too late: what the mock itself adds."""
    kept: list[cache.Sent] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    prompts: dict[str, Any] = field(default_factory=dict)
    """System prompt and tools of each role, as first asked."""
    counted: int = 0
    connections: int = 0
    first_at: float = 0.0
    cpu: float = field(default_factory=time.process_time)

    def stats(self) -> dict[str, Any]:
        """All of it, as JSON data."""
        late = sorted(self.late) or [0.0]
        return {
            "calls": self.roles.total(),
            "roles": self.roles,
            "live": self.live.total() - self.live["orchestrator"],
            "late_p50": late[len(late) // 2],
            "late_max": late[-1],
            "errors": self.errors[:3],
            "counted": self.counted,
            "connections": self.connections,
            "first_at": self.first_at,
            "cpu": time.process_time() - self.cpu,
            "cache": cache.share(self.kept),
        }


class Connection(asyncio.Protocol):
    """One connection; it answers one request at a time."""

    state = State()

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._url = b""
        self._body: list[bytes] = []
        self._live: tuple[State, str, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        Connection.state.connections += 1

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        arrived, raw, state = now(), b"".join(self._body), Connection.state
        match self._url.partition(b"?")[0]:
            case b"/v1/messages":
                self._messages(arrived, raw)
            case b"/v1/messages/count_tokens":
                state.counted += 1
                self._json({"input_tokens": len(raw) // script.CHARACTERS})
            case b"/reset":
                Connection.state = State(Settings(**orjson.loads(raw)), prompts=state.prompts)
                self._json({})
            case b"/stats":
                self._json(state.stats())
            case b"/prompts":
                self._json(state.prompts)
            case other:
                self._error(f"no such path: {other.decode()}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()
        self._ended()

    def _messages(self, arrived: float, raw: bytes) -> None:
        state, body = Connection.state, orjson.loads(raw)
        try:
            reply = script.reply(raw, body)
        except Exception as error:  # noqa: BLE001 - whoever asked wrongly is told, and the run is not measured
            self._error(repr(error))
            return
        state.first_at = state.first_at or arrived
        state.roles[reply.role] += 1
        state.live[reply.role] += 1
        state.prompts.setdefault(reply.role, {k: body.get(k) for k in ("system", "tools")})
        pace = state.settings.pace
        if state.settings.keep:
            state.kept.append(cache.Sent(arrived, arrived + pace.ttft, raw))
        due = arrived + pace.call(sum(reply.tokens))
        self._live = (state, reply.role, due)
        if body.get("stream"):
            self._out.write(_STREAM)
            events = [(arrived + after, event) for after, event in events_of(pace, reply, raw)]
            self._pump(events, 0)
        else:
            whole = {**_head(reply, raw), "content": reply.blocks, "stop_reason": reply.stop_reason}
            whole["usage"]["output_tokens"] = sum(reply.tokens)
            self._at(due, lambda: self._finish(whole))

    def _finish(self, whole: dict[str, Any]) -> None:
        self._ended()
        self._json(whole)

    def _pump(self, events: list[tuple[float, bytes]], k: int) -> None:
        """Write what is due, and come back for the rest."""
        moment, out = now(), []
        while k < len(events) and events[k][0] <= moment:
            out.append(events[k][1])
            k += 1
        if k == len(events):
            self._ended()
        if out:
            self._out.write(b"".join(out))
        if k < len(events):
            self._at(events[k][0], lambda: self._pump(events, k))

    def _at(self, moment: float, act: Callable[[], None]) -> None:
        delay = moment - now()
        if delay <= 0:
            act()
        else:
            self._timer = asyncio.get_running_loop().call_later(delay, act)

    def _ended(self) -> None:
        if self._live is not None:
            state, role, due = self._live
            state.live[role] -= 1
            state.late.append(now() - due)
            self._live = None

    def _error(self, text: str) -> None:
        Connection.state.errors.append(text)
        error = {"type": "invalid_request_error", "message": text}
        self._json({"type": "error", "error": error}, b"400 Bad Request")

    def _json(self, value: object, status: bytes = b"200 OK") -> None:
        body = orjson.dumps(value)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nrequest-id: req_0\r\n" % status
        self._out.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))


_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nrequest-id: req_0\r\n\r\n"
)


def _head(reply: script.Reply, raw: bytes) -> dict[str, Any]:
    usage = {
        "input_tokens": len(raw) // script.CHARACTERS,
        "output_tokens": 1,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    return {
        "id": f"msg_{reply.role}",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(kind: str, **data: object) -> bytes:
    event = b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **data}))
    return b"%x\r\n%b\r\n" % (len(event), event)


def events_of(pace: script.Pace, reply: script.Reply, raw: bytes) -> Iterator[tuple[float, bytes]]:
    """What a streamed reply is made of: seconds after the request's arrival, and the bytes."""
    at = pace.ttft
    yield at, _event("message_start", message=_head(reply, raw))
    yield at, _event("ping")
    for i, (block, tokens) in enumerate(zip(reply.blocks, reply.tokens, strict=True)):
        yield from _block(pace, i, block, tokens, at)
        at += pace.tpt * tokens
        yield at, _event("content_block_stop", index=i)
    stop = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield at, _event("message_delta", delta=stop, usage={"output_tokens": sum(reply.tokens)})
    yield at, _event("message_stop") + b"0\r\n\r\n"


def _block(
    pace: script.Pace, i: int, block: script.Block, tokens: int, at: float
) -> Iterator[tuple[float, bytes]]:
    tool = block["type"] == "tool_use"
    text = orjson.dumps(block["input"]).decode() if tool else block["text"]
    kind, name = ("input_json_delta", "partial_json") if tool else ("text_delta", "text")
    empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
    yield at, _event("content_block_start", index=i, content_block=empty)
    steps = -(-tokens // DELTA)
    size = -(-len(text) // steps)
    for k in range(steps):
        part = text[k * size : (k + 1) * size]
        after = pace.tpt * min(tokens, (k + 1) * DELTA)
        delta = {"type": kind, name: part}
        yield at + after, _event("content_block_delta", index=i, delta=delta)


async def serve() -> None:
    """Serve on a free port, say which, and end with standard input."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await over.wait()


if __name__ == "__main__":
    uvloop.run(serve())
