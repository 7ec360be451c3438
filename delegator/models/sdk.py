"""Requests through the `anthropic` SDK: its credentials, its clouds, its proxies.

This module imports the SDK, which takes over a second: import it only to use it.
"""

import importlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.request import getproxies

import anthropic
import httpx2

from delegator.errors import ConfigError, Fault, ModelError
from delegator.models import CLOUDS, CREDENTIALS, sse
from delegator.models.faults import fault_of, refused
from delegator.models.sending import (
    CONNECT_SECONDS,
    COUNT_SECONDS,
    READ_SECONDS,
    Response,
    encoded,
    loopback,
    lowered,
)

_TIMEOUT = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
_LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=256, keepalive_expiry=60.0)


Client = TypeVar("Client", bound=anthropic.AsyncAnthropic)


class Sdk:
    """Sends requests through one of the SDK's clients."""

    def __init__(self, client: Any, cloud: str = "") -> None:
        self.client = client
        self._cloud = cloud

    @property
    def address(self) -> str:
        """Where the server is."""
        return str(self.client.base_url)

    @property
    def traces(self) -> bool:
        """Whether the SDK's own spans say all of a call: only where it reads the reply itself do they know what was used."""
        return self._cloud == "bedrock" and bool(self.client.open_telemetry["traces"]["enabled"])

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def count_tokens(self, wanted: dict[str, Any]) -> int | None:
        """Tokens of a prompt, by the server's count; `None` from a server that can not say."""
        try:
            counted = await self.client.messages.count_tokens(**wanted, timeout=COUNT_SECONDS)
        except (anthropic.AnthropicError, httpx2.HTTPError, TypeError, ValueError):
            return None
        return counted.input_tokens if isinstance(counted.input_tokens, int) else None

    @asynccontextmanager
    async def sent(
        self, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[Response]:
        """The response to a request, its body still unread.

        Raises:
            ModelError: There is none, or it breaks off.
        """
        with _named():
            if self._cloud:  # only the SDK's own method rewrites requests for a cloud
                create = self.client.messages.with_streaming_response.create
                async with create(**body, extra_headers=dict(headers)) as response:
                    yield self._response(response.http_response, response)
                return
            posted = await self._posted(body, headers)
            try:
                yield self._response(posted, None)
            finally:
                await posted.aclose()

    async def _posted(self, body: dict[str, Any], headers: Mapping[str, str]) -> httpx2.Response:
        """Post the bytes: the SDK's method would make models of everything, at half of the CPU of a call."""
        client = self.client
        options = {  # the client's own: what is not named is copied deep for every call
            "headers": dict(headers),
            "timeout": client.timeout,
            "max_retries": client.max_retries,
        }
        posted: httpx2.Response = await client.post(
            "/v1/messages",
            content=encoded(body),
            cast_to=httpx2.Response,
            options=options,
            stream=True,
            stream_cls=anthropic.AsyncStream,
        )
        return posted

    def _response(self, raw: httpx2.Response, parsed: Any) -> Response:
        if self._cloud == "bedrock":  # its frames are binary, and only the SDK reads them
            return Response(headers=lowered(raw.headers.raw), events=_parsed(parsed))
        return Response(headers=lowered(raw.headers.raw), events=_events(raw))


async def _parsed(response: Any) -> AsyncGenerator[dict[str, Any], None]:
    with _named():
        async for event in await response.parse():
            yield event.to_dict(warnings=False)


async def _events(response: httpx2.Response) -> AsyncGenerator[dict[str, Any], None]:
    with _named():
        if response.headers.get("content-type", "").startswith("application/json"):
            yield sse.parse_object(await response.aread())
            return
        async with (
            aclosing(response.aiter_bytes()) as chunks,
            aclosing(sse.parse(chunks)) as events,
        ):
            async for event in events:
                yield event


@contextmanager
def _named() -> Iterator[None]:
    """Every way in which a call may fail, as a `ModelError`."""
    try:
        yield
    except anthropic.AnthropicError as error:
        raise _model_error(error) from error
    except httpx2.TimeoutException as error:
        raise ModelError(Fault.SILENT) from error
    except httpx2.DecodingError as error:
        raise ModelError(Fault.MALFORMED) from error
    except httpx2.HTTPError as error:
        raise ModelError(Fault.CUT) from error
    except (TypeError, ValueError, RecursionError) as error:
        # the SDK reports missing credentials as a TypeError, at the first request
        fault = Fault.AUTH if "authentication" in str(error) else Fault.BAD_REQUEST
        raise ModelError(fault) from error


def cloud_client(cloud: str) -> Any:
    """The SDK's client for a cloud.

    Raises:
        ConfigError: An extra, or the cloud's settings, are missing.
    """
    name, needed = CLOUDS[cloud]
    try:
        importlib.import_module(needed)
        return _unannounced(getattr(anthropic, name)(timeout=_TIMEOUT, max_retries=0))
    except Exception as error:
        raise ConfigError(
            f"cannot use {cloud}: {type(error).__name__}",
            hint=f"Install anthropic[{cloud}] and set the cloud's region and credentials.",
        ) from error


def client_for(base_url: str) -> anthropic.AsyncAnthropic:
    """The SDK's client for an address, or for the one that the environment names.

    Raises:
        ConfigError: The address is no URL, or a profile or a proxy does not work.
    """
    address = base_url or os.environ.get("ANTHROPIC_BASE_URL", "")
    settings: dict[str, Any] = {"timeout": _TIMEOUT, "max_retries": 0}
    try:
        if address:
            settings["base_url"] = httpx2.URL(address.rstrip("/").removesuffix("/v1"))
            if not any(os.environ.get(name) for name in CREDENTIALS):
                settings["api_key"] = "none"  # local servers ask for no key, the SDK does
        settings["http_client"] = _http(
            direct=bool(address) and loopback(settings["base_url"].host)
        )
        return _unannounced(anthropic.AsyncAnthropic(**settings))
    except httpx2.InvalidURL:
        raise ConfigError(
            "the model server's address is not a URL",
            hint="Check --base-url and ANTHROPIC_BASE_URL.",
        ) from None
    except anthropic.AnthropicError as error:  # a profile that does not exist, and the like
        raise ConfigError(str(error), hint="Set ANTHROPIC_API_KEY, or use --offline.") from error
    except (ValueError, ImportError) as error:
        raise ConfigError(
            "the proxy settings of the environment cannot be used",
            hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY (socks needs the package socksio).",
        ) from error


def _unannounced(client: Client) -> Client:
    """A client that does not tell the server, by itself, which trace its calls are part of."""
    return client.with_options(open_telemetry={**client.open_telemetry, "propagation": False})


def _http(*, direct: bool) -> httpx2.AsyncClient:
    """Connections for what goes through the SDK. A `direct` one ignores the environment's proxies: none leads back to this machine."""
    if direct:
        verify = httpx2.create_ssl_context()
        return anthropic.DefaultAioHttpClient(
            timeout=_TIMEOUT, limits=_LIMITS, verify=verify, trust_env=False
        )
    socks = any(address.startswith("socks") for address in getproxies().values())
    kind = anthropic.DefaultAsyncHttpxClient if socks else anthropic.DefaultAioHttpClient
    return kind(timeout=_TIMEOUT, limits=_LIMITS)


def _model_error(error: anthropic.AnthropicError) -> ModelError:
    match error:
        case anthropic.APITimeoutError() if not isinstance(error.__cause__, httpx2.ConnectTimeout):
            return ModelError(Fault.SILENT)
        case anthropic.APIConnectionError(__cause__=httpx2.LocalProtocolError() | ValueError()):
            # a key that fits into no header; the cause's words would show it
            return ModelError(Fault.AUTH)
        case anthropic.APIConnectionError():
            return ModelError(Fault.UNREACHABLE, detail=str(error.__cause__ or ""))
        case anthropic.APIStatusError():
            return _status_error(error)
        case anthropic.APIError():
            return ModelError(Fault.MALFORMED, detail=str(error))
        case _:
            return ModelError(Fault.AUTH, detail=str(error))


def _status_error(error: anthropic.APIStatusError) -> ModelError:
    if error.status_code < HTTPStatus.BAD_REQUEST:  # an error inside a stream
        return ModelError(fault_of(error.type), detail=str(error.message))
    return refused(error.status_code, error.response.headers, error.body or error.message)
