"""Server-sent events: bytes in, JSON objects out. Only what the Messages API uses of the format."""

import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NoReturn

from delegator.errors import Fault, ModelError

MAX_EVENT_BYTES = 32_000_000
"""A server that sends more than this without ending an event is not speaking the protocol."""
_SPACE = " \t\n\r"
"""White space, as JSON has it."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How half of a character beyond the basic plane is written: a pair of them is well, one alone can not be sent on."""


async def parse(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """The `data` of every event, in order. An unfinished last event is dropped.

    Raises:
        ModelError: `malformed`: an event does not hold a JSON object.
    """
    buffer = b""
    async for chunk in chunks:
        buffer += chunk.replace(b"\r", b"")  # a line may end in CR LF, and a chunk between the two
        *events, buffer = buffer.split(b"\n\n")
        if len(buffer) > MAX_EVENT_BYTES:
            raise ModelError(Fault.MALFORMED)
        for event in events:
            value = _data(event)
            if value is not None:
                yield value


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` holds.

    Raises:
        ModelError: `malformed`: it holds none.
    """
    try:
        value = load(data.decode())
    except (ValueError, RecursionError):
        raise ModelError(Fault.MALFORMED) from None
    if not isinstance(value, dict):
        raise ModelError(Fault.MALFORMED)
    return value


def load(text: str) -> Any:
    """The JSON value in `text`, such that it can be sent on: without NaN, infinity and lone halves of characters.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    text = text.strip(_SPACE)
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        _refuse(text)
    if _HALF.search(text):
        again = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
        value = json.loads(again.decode("utf-16", "replace"))
    return value


def _data(event: bytes) -> dict[str, Any] | None:
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    data = b"\n".join(lines).strip()
    if not data or data == b"[DONE]":
        return None
    return parse_object(data)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        _refuse(digits)
    return value


def _refuse(_text: str) -> NoReturn:
    msg = "this can not be sent on"
    raise ValueError(msg)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
