"""Requests over aiohttp, with the SDK's headers and without its machinery, which costs as much as all the rest of a call."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from delegator.errors import Fault, ModelError
from delegator.models import sse
from delegator.models.faults import refused
from delegator.models.sending import CONNECT_SECONDS, READ_SECONDS, Response, encoded, lowered

MOST_CONNECTIONS = 1_000
KEPT_SECONDS = 60.0
"""How long an idle connection is kept for the next call."""
MOST_ERROR_BYTES = 100_000
_CREDENTIALS = frozenset({"authorization", "x-api-key"})


class Direct:
    """Sends requests to one address. Use it in one event loop."""

    def __init__(
        self, url: str, headers: Mapping[str, str], *, tls: SSLContext, proxies: bool
    ) -> None:
        self._url = url
        self._headers = headers
        self._tls = tls
        self._proxies = proxies
        self.read_seconds = READ_SECONDS
        """The longest silence between two bytes."""
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def sent(self, body: dict[str, Any]) -> AsyncIterator[Response]:
        """The response to a request, its body still unread.

        Raises:
            ModelError: There is none, or it breaks off.
        """
        if not _CREDENTIALS & {name.lower() for name in self._headers}:
            raise ModelError(Fault.AUTH)
        response = await self._posted(body)
        try:
            headers = lowered(response.raw_headers)
            if not response.ok:
                raise refused(response.status, headers, await _told(response))
            yield Response(headers=headers, events=_events(response, headers))
        finally:
            response.release()  # closes the connection of a body that was not read to its end

    async def _posted(self, body: dict[str, Any]) -> aiohttp.ClientResponse:
        try:
            data = encoded(body)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(Fault.BAD_REQUEST) from error
        with _named(Fault.UNREACHABLE):
            try:
                return await self._open().post(self._url, data=data, headers=self._headers)
            except ValueError as error:  # a key that fits into no header; the words would show it
                raise ModelError(Fault.AUTH) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_SECONDS, ssl=self._tls
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=self.read_seconds
                ),
                trust_env=self._proxies,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


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
