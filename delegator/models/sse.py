"""Server-sent events: bytes in, JSON objects out. Only what the Messages API uses of the format."""

import json
from collections.abc import AsyncIterator
from typing import Any

from delegator.errors import Fault, ModelError

MAX_EVENT_BYTES = 32_000_000
"""A server that sends more than this without ending an event is not speaking the protocol."""


async def parse(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The `data` of every event, in order. An unfinished last event is dropped.

    Raises:
        ModelError: `malformed`: an event does not hold a JSON object.
    """
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        if b"\r" in buffer:
            # a carriage return at the very end may be half of a line end
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer.removesuffix(b"\r").replace(b"\r\n", b"\n") + held
        *events, buffer = buffer.split(b"\n\n")
        if len(buffer) > MAX_EVENT_BYTES:
            raise ModelError(Fault.MALFORMED)
        for event in events:
            value = _data(event)
            if value is not None:
                yield value


def _data(event: bytes) -> dict[str, Any] | None:
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    data = b"\n".join(lines).strip()
    if not data or data == b"[DONE]":
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ModelError(Fault.MALFORMED) from None
    if not isinstance(value, dict):
        raise ModelError(Fault.MALFORMED)
    return value
