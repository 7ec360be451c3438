"""Requests over aiohttp, without the SDK: its machinery costs as much as all the rest of a call, and to import it takes over a second.

Only for what a key or a token is enough for. The headers are those that the SDK would send.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from delegator.errors import ConfigError, Fault, ModelError
from delegator.models import sse
from delegator.models.faults import refused
from delegator.models.sending import (
    CONNECT_SECONDS,
    COUNT_SECONDS,
    READ_SECONDS,
    Response,
    encoded,
    loopback,
    lowered,
)

API_VERSION = "2026-10-21"
API = "https://api.anthropic.com"
MOST_CONNECTIONS = 1_000
KEPT_SECONDS = 60.0
"""How long an idle connection is kept for the next call."""
MOST_ERROR_BYTES = 100_000


def direct(base_url: str) -> "Direct | None":
    """The straight way to a server, by an address that is given or the environment's; `None` where it takes the SDK to get there.

    Raises:
        ConfigError: The address is no URL.
    """
    address = base_url or os.environ.get("ANTHROPIC_BASE_URL", "")
    key = os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN")
    plain = all(urlsplit(proxy).scheme in ("http", "https") for proxy in getproxies().values())
    if not (key or address) or not plain or "ANTHROPIC_CUSTOM_HEADERS" in os.environ:
        return None
    root = (address or API).rstrip("/").removesuffix("/v1")
    return Direct(f"{root}/v1/messages", key or "none", proxies=not loopback(_host(root)))


def _host(address: str) -> str:
    """The host of an address.

    Raises:
        ConfigError: It is no URL.
    """
    host = None
    with suppress(ValueError):
        parts = urlsplit(address)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    if not host or not address.isprintable() or " " in address:
        raise ConfigError(
            "the model server's address is not a URL",
            hint="Check --base-url and ANTHROPIC_BASE_URL.",
        )
    return host


class Direct:
    """Sends requests to one address. Use it in one event loop."""

    def __init__(self, url: str, key: str, *, proxies: bool) -> None:
        self.address = url
        self.traces = False
        """No spans are made here."""
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "delegator",
            "anthropic-version": API_VERSION,
        }
        self._proxies = proxies
        self.read_seconds = READ_SECONDS
        """The longest silence between two bytes."""
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def count_tokens(self, body: dict[str, Any]) -> int | None:
        """Tokens of a prompt, by the server's count; `None` from a server that can not say."""
        try:
            with _named(Fault.UNREACHABLE):
                async with (
                    asyncio.timeout(COUNT_SECONDS),
                    self._open().post(
                        f"{self.address}/count_tokens", data=encoded(body), headers=self._headers
                    ) as response,
                ):
                    told = sse.parse_object(await response.read()) if response.ok else {}
        except (ModelError, ValueError, TypeError, RecursionError):
            return None
        counted = told.get("input_tokens")
        return counted if isinstance(counted, int) else None

    @asynccontextmanager
    async def sent(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[Response]:
        """The response to a request, its body still unread.

        Raises:
            ModelError: There is none, or it breaks off.
        """
        response = await self._posted(body, {**self._headers, **headers})
        try:
            told = lowered(response.raw_headers)
            if not response.ok:
                raise refused(response.status, told, await _told(response))
            yield Response(headers=told, events=_events(response, told))
        finally:
            response.release()  # closes the connection of a body that was not read to its end

    async def _posted(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        try:
            data = encoded(body)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(Fault.BAD_REQUEST) from error
        with _named(Fault.UNREACHABLE):
            try:
                return await self._open().post(self.address, data=data, headers=headers)
            except ValueError as error:  # a key that fits into no header; the words would show it
                raise ModelError(Fault.AUTH) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_SECONDS, ssl=_tls()
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=self.read_seconds
                ),
                trust_env=self._proxies,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _tls() -> ssl.SSLContext:
    """The system's own judgement of certificates, as the SDK has it, unless a person names a file of them."""
    if {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ):
        return ssl.create_default_context()
    try:
        import truststore  # noqa: PLC0415 - it comes with the SDK
    except ImportError:  # pragma: no cover - with another SDK
        return ssl.create_default_context()
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _told(response: aiohttp.ClientResponse) -> object:
    """What a server says about an error: JSON, or whatever it is."""
    with _named(Fault.CUT):
        words = (await response.content.read(MOST_ERROR_BYTES)).decode(errors="replace")
    try:
        return json.loads(words)
    except (ValueError, RecursionError):
        return words


async def _events(
    response: aiohttp.ClientResponse, headers: Mapping[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    with _named(Fault.CUT):
        if headers.get("content-type", "").startswith("application/json"):
            yield sse.parse_object(await response.read())
            return
        async with aclosing(sse.parse(response.content.iter_any())) as events:
            async for event in events:
                yield event


@contextmanager
def _named(broken: Fault) -> Iterator[None]:
    """Every way in which a connection may fail, as a `ModelError`."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise ModelError(Fault.UNREACHABLE) from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise ModelError(Fault.SILENT) from error
    except aiohttp.ClientPayloadError as error:
        encoding = isinstance(error.__cause__, ContentEncodingError)
        raise ModelError(Fault.MALFORMED if encoding else broken) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ModelError(broken, detail=str(error)) from error
