"""Claude, and every server that speaks the Messages API, through the `anthropic` SDK.

The SDK brings credentials and transport. The event stream is parsed here, because the SDK's own models cost more than everything
else in a call; calls are paced and made again by our own governor, which knows of all agents. This module imports the SDK, which takes over a second: import it only to use it.
"""

import asyncio
import importlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.request import getproxies
from weakref import WeakKeyDictionary

import anthropic
import httpx2

from delegator.errors import ConfigError, Fault, ModelError
from delegator.messages import message_to_wire, tool_to_wire
from delegator.model import ModelEvent, Request, Retrying
from delegator.models import CREDENTIALS, DEFAULT_MODEL, sse
from delegator.models.accumulate import Accumulator, fault_of
from delegator.models.governor import Governor, retry_after

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
"""The longest silence between two bytes. A run's own deadline usually ends it sooner."""
COUNT_SECONDS = 20.0
"""How long the count of a prompt may take."""
DRAIN_SECONDS = 1.0
"""How long the end of the body may take after the end of the message."""
_TIMEOUT = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
_LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=256, keepalive_expiry=60.0)
_CACHE = {"type": "ephemeral"}
_SPEND_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
_CLOUDS = {
    "bedrock": ("AsyncAnthropicBedrock", "botocore"),
    "vertex": ("AsyncAnthropicVertex", "google.auth"),
    "foundry": ("AsyncAnthropicFoundry", "anthropic"),
}
"""The SDK's client for a cloud, and the module without which it fails at the first request."""
_STATUS = {
    401: Fault.AUTH,
    402: Fault.SPEND_LIMIT,
    403: Fault.AUTH,
    404: Fault.NOT_FOUND,
    405: Fault.NOT_FOUND,
    408: Fault.SILENT,
    429: Fault.RATE_LIMITED,
    504: Fault.SILENT,
    529: Fault.OVERLOADED,
}


class Claude:
    """A `Model` over the Messages API. Use it as an async context manager, in one event loop.

    `model` may name a cloud: `bedrock:ID`, `vertex:ID`, `foundry:ID` use that cloud's own credentials.

    Raises:
        ConfigError: The client cannot be made: a missing extra, no URL, a profile or a proxy that does not work.
    """

    def __init__(self, model: str = "", *, base_url: str = "", client: Any = None) -> None:
        cloud, _, name = model.partition(":")
        self._cloud = cloud if cloud in _CLOUDS else ""
        self.id = (name if self._cloud else model) or DEFAULT_MODEL
        self.governor = governor_of(base_url or self._cloud)
        self._client = client or (_cloud_client(self._cloud) if self._cloud else _client(base_url))

    async def __aenter__(self) -> Self:
        """Hand out the model."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(self, request: Request) -> AsyncGenerator[ModelEvent, None]:
        """Send one request and yield what comes back. A call that fails before the server has counted anything is made again.

        Raises:
            ModelError: The call failed for good.
        """
        for attempt in count(1):
            begun = False
            if self.governor.pause > request.patience:
                raise ModelError(Fault.RATE_LIMITED)
            try:
                async with (
                    self.governor.slot(priority=request.priority, run=request.run),
                    aclosing(self._attempt(request)) as events,
                ):
                    async for event in events:
                        begun = True
                        yield event
                return
            except ModelError as error:
                pause = self.governor.failed(error, attempt)
                if begun or pause is None or pause > request.patience:  # what was begun is paid for
                    raise
                fault = error.fault
            yield Retrying(fault=fault, seconds=pause)
            await asyncio.sleep(pause)

    async def count_tokens(self, request: Request) -> int | None:
        """Tokens of a request's prompt, by the server's count; `None` from a server that can not say."""
        body = self._body(request)
        wanted = {
            name: body[name] for name in ("model", "system", "messages", "tools") if name in body
        }
        try:
            counted = await self._client.messages.count_tokens(**wanted, timeout=COUNT_SECONDS)
        except (anthropic.AnthropicError, httpx2.HTTPError, TypeError, ValueError):
            return None
        return counted.input_tokens if isinstance(counted.input_tokens, int) else None

    async def _attempt(self, request: Request) -> AsyncGenerator[ModelEvent, None]:
        """One request, and what comes back.

        Raises:
            ModelError: The call failed.
        """
        with _named():
            body = self._body(request)
            accumulator = Accumulator(lambda: len(json.dumps(body, ensure_ascii=False)))
            async with (
                self._sent(body) as response,
                aclosing(self._events(response)) as events,
            ):
                self.governor.answered(_limits_named(response.headers))
                try:
                    async for event in events:
                        for made in accumulator.feed(event):
                            yield made
                        if accumulator.ended:
                            await _drain(events)
                            break
                    yield accumulator.reply()
                except (ModelError, httpx2.HTTPError):
                    if accumulator.begun:
                        yield accumulator.owed
                    raise

    @asynccontextmanager
    async def _sent(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        """The response to a request, its body still unread.

        Only a cloud needs the SDK's method with its models, for it rewrites requests; to all others, and for half of the CPU, the same
        client posts the bytes.
        """
        if self._cloud:
            async with self._client.messages.with_streaming_response.create(**body) as response:
                yield response.http_response if self._cloud != "bedrock" else response
            return
        client = self._client
        response = await client.post(
            f"{str(client.base_url).rstrip('/')}/v1/messages",  # whole: the SDK's joining costs more
            content=_bytes(body),
            cast_to=httpx2.Response,
            options={  # the client's own: what is not named is copied deep for every call
                "headers": {},
                "timeout": client.timeout,
                "max_retries": client.max_retries,
            },
            stream=True,
            stream_cls=anthropic.AsyncStream,
        )
        try:
            yield response
        finally:
            await response.aclose()

    async def _events(self, response: Any) -> AsyncGenerator[dict[str, Any], None]:
        """What a server sends, event by event; a server that does not stream sends one."""
        if self._cloud == "bedrock":  # its frames are binary, and only the SDK reads them
            async for event in await response.parse():
                yield event.to_dict(warnings=False)
        elif response.headers.get("content-type", "").startswith("application/json"):
            yield sse.parse_object(await response.aread())
        else:
            async with (
                aclosing(response.aiter_bytes()) as chunks,
                aclosing(sse.parse(chunks)) as events,
            ):
                async for event in events:
                    yield event

    def _body(self, request: Request) -> dict[str, Any]:
        messages = [message_to_wire(message) for message in request.messages]
        _mark(messages)
        body: dict[str, Any] = {
            "max_tokens": request.max_tokens,
            "messages": messages,
            "model": request.model or self.id,
            "stream": True,
            "system": [{"type": "text", "text": request.system, "cache_control": _CACHE}],
        }
        if request.tools:
            body["tools"] = [tool_to_wire(tool) for tool in request.tools]
        if request.tools and request.last:
            final = {"type": "tool", "name": request.final_tool}
            body["tool_choice"] = final if request.final_tool else {"type": "none"}
        return body


_governors: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Governor]] = WeakKeyDictionary()
"""One for each server, in each event loop: a process that serves has one loop."""


def governor_of(server: str) -> Governor:
    """The governor that paces the calls to a server."""
    try:
        own = _governors.setdefault(asyncio.get_running_loop(), {})
    except RuntimeError:  # made outside of a loop: it serves nobody else
        return Governor()
    return own.setdefault(server or os.environ.get("ANTHROPIC_BASE_URL", ""), Governor())


def _mark(messages: list[dict[str, Any]]) -> None:
    """Put cache markers on the end of the transcript, for the next call of this loop to read up to, and where the call before ended.

    A server looks back from a marker over about 20 blocks only, and the results of a wide fan-out are more.
    """
    turns = [message for message in messages if message["role"] == "user"] or messages
    for message in turns[-2:]:
        for block in reversed(message["content"]):
            if block["type"] in ("text", "tool_use", "tool_result"):
                block["cache_control"] = _CACHE
                break


def _limits_named(headers: httpx2.Headers) -> dict[str, str]:
    """What a server says about its rate limits. All headers at once: each look into the SDK's mapping costs 10 µs."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in headers.raw
        if name[:9].lower() == b"anthropic"
    }


def _bytes(body: dict[str, Any]) -> bytes:
    """A request as it goes over the wire.

    Raises:
        ValueError: It is no JSON.
    """
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


async def _drain(events: AsyncGenerator[dict[str, Any], None]) -> None:
    """Read what follows the message: nothing, but only a connection read to its end can serve again."""
    with suppress(TimeoutError, ModelError, httpx2.HTTPError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass


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


def _cloud_client(cloud: str) -> Any:
    name, needed = _CLOUDS[cloud]
    try:
        importlib.import_module(needed)
        return getattr(anthropic, name)(timeout=_TIMEOUT, max_retries=0)
    except Exception as error:
        raise ConfigError(
            f"cannot use {cloud}: {type(error).__name__}",
            hint=f"Install anthropic[{cloud}] and set the cloud's region and credentials.",
        ) from error


def _client(base_url: str) -> anthropic.AsyncAnthropic:
    address = base_url or os.environ.get("ANTHROPIC_BASE_URL", "")
    settings: dict[str, Any] = {"timeout": _TIMEOUT, "max_retries": 0}
    try:
        if address:
            settings["base_url"] = httpx2.URL(address.rstrip("/").removesuffix("/v1"))
            if not any(os.environ.get(name) for name in CREDENTIALS):
                settings["api_key"] = "none"  # local servers ask for no key, the SDK does
        settings["http_client"] = _http(
            direct=bool(address) and _loopback(settings["base_url"].host)
        )
        return anthropic.AsyncAnthropic(**settings)
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


def _http(*, direct: bool) -> httpx2.AsyncClient:
    """Connections over aiohttp, at a third less CPU for each call; over the SDK's own transport where a SOCKS proxy is set.

    A `direct` one ignores the environment's proxies: none of them leads back to this machine.
    """
    if direct:
        verify = httpx2.create_ssl_context()
        return anthropic.DefaultAioHttpClient(
            timeout=_TIMEOUT, limits=_LIMITS, verify=verify, trust_env=False
        )
    socks = any(address.startswith("socks") for address in getproxies().values())
    kind = anthropic.DefaultAsyncHttpxClient if socks else anthropic.DefaultAioHttpClient
    return kind(timeout=_TIMEOUT, limits=_LIMITS)


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


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
            fault, status = _status_fault(error), error.status_code
            pause = retry_after(error.response.headers)
            return ModelError(fault, status=status, detail=str(error.message), retry_after=pause)
        case anthropic.APIError():
            return ModelError(Fault.MALFORMED, detail=str(error))
        case _:
            return ModelError(Fault.AUTH, detail=str(error))


def _status_fault(error: anthropic.APIStatusError) -> Fault:
    status = error.status_code
    if getattr(error, "error_code", None) in _SPEND_LIMITS:
        return Fault.SPEND_LIMIT
    if status < HTTPStatus.BAD_REQUEST:  # an error inside a stream
        return fault_of(error.type)
    other = Fault.SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Fault.BAD_REQUEST
    return _STATUS.get(status, other)
