"""How a request gets to a server: what the two ways have in common."""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
"""The longest silence between two bytes. A run's own deadline usually ends it sooner."""

COUNT_SECONDS = 20.0
"""How long the count of a prompt may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a server answers, its body still unread."""

    headers: Mapping[str, str]
    """Names in lower case."""
    events: AsyncGenerator[dict[str, Any], None]
    """What it sends, event by event; a server that does not stream sends one."""


class Sender(Protocol):
    """A way to a server."""

    @property
    def address(self) -> str:
        """Where the server is."""

    @property
    def traces(self) -> bool:
        """Whether it makes a span of its own for each call, with all that the call used."""

    def sent(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Response]:
        """The response to a request.

        Raises:
            ModelError: There is none, or, while it is read, it breaks off.
        """

    async def count_tokens(self, body: dict[str, Any]) -> int | None:
        """Tokens of a prompt, by the server's count; `None` from a server that can not say."""

    async def close(self) -> None:
        """Close the connections."""


def encoded(body: dict[str, Any]) -> bytes:
    """A request as it goes over the wire.

    Raises:
        ValueError, TypeError, RecursionError: It is no JSON.
    """
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def lowered(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Raw headers as a plain mapping: every look into the SDK's own costs ten times as much."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def loopback(host: str) -> bool:
    """Whether a host is this machine: no proxy leads back to it."""
    return host in ("localhost", "::1") or host.startswith("127.")
