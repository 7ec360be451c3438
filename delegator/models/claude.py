"""Claude, and every server that speaks the Messages API, through the `anthropic` SDK.

The SDK brings credentials, transport and retries; the event stream is parsed here, because the SDK's own models cost more than
everything else in a call. This module imports the SDK, which takes over a second: import it only to use it.
"""

import json
import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import anthropic
import httpx2

from delegator.errors import ConfigError, Fault, ModelError
from delegator.messages import message_to_wire, tool_to_wire
from delegator.model import ModelEvent, Request
from delegator.models import sse
from delegator.models.accumulate import Accumulator

DEFAULT_MODEL = "claude-sonnet-5-5"
CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
"""The longest silence between two bytes. A run's own deadline usually ends it sooner."""
_CACHE = {"type": "ephemeral"}
_SPEND_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
_CLOUDS = {
    "bedrock": "AsyncAnthropicBedrock",
    "vertex": "AsyncAnthropicVertex",
    "foundry": "AsyncAnthropicFoundry",
}
_STATUS = {
    400: Fault.BAD_REQUEST,
    401: Fault.AUTH,
    402: Fault.SPEND_LIMIT,
    403: Fault.AUTH,
    404: Fault.NOT_FOUND,
    408: Fault.SILENT,
    413: Fault.BAD_REQUEST,
    422: Fault.BAD_REQUEST,
    429: Fault.RATE_LIMITED,
    504: Fault.SILENT,
    529: Fault.OVERLOADED,
}


class Claude:
    """A `Model` over the Messages API. Use it as an async context manager, in one event loop.

    `model` may name a cloud: `bedrock:ID`, `vertex:ID`, `foundry:ID` use that cloud's own credentials.

    Raises:
        ConfigError: The cloud's client cannot be made (a missing extra, missing settings).
    """

    def __init__(self, model: str = "", *, base_url: str = "", client: Any = None) -> None:
        cloud, _, name = model.partition(":")
        self.id = (name if cloud in _CLOUDS else model) or DEFAULT_MODEL
        self._client = client or _client(cloud if cloud in _CLOUDS else "", base_url)

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

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Send one request and yield what comes back.

        Raises:
            ModelError: The call failed.
        """
        body = self._body(request)
        size = len(json.dumps(body, ensure_ascii=False))
        accumulator = Accumulator(prompt_characters=size)
        try:
            async with self._client.messages.with_streaming_response.create(**body) as response:
                seen = False
                async for event in sse.parse(response.iter_bytes()):
                    seen = True
                    for made in accumulator.feed(event):
                        yield made
            if not seen:
                raise ModelError(Fault.MALFORMED)
            yield accumulator.reply()
        except anthropic.APIError as error:
            raise _model_error(error) from error
        except httpx2.TimeoutException as error:
            raise ModelError(Fault.SILENT) from error
        except httpx2.HTTPError as error:
            raise ModelError(Fault.CUT) from error
        except (TypeError, UnicodeEncodeError) as error:
            # the SDK reports missing credentials as a TypeError, at the first request
            fault = Fault.AUTH if "authentication" in str(error) else Fault.BAD_REQUEST
            raise ModelError(fault) from error

    def _body(self, request: Request) -> dict[str, Any]:
        messages = [message_to_wire(message) for message in request.messages]
        _mark(messages)
        body: dict[str, Any] = {
            "model": request.model or self.id,
            "max_tokens": request.max_tokens,
            "system": [{"type": "text", "text": request.system, "cache_control": _CACHE}],
            "messages": messages,
            "stream": True,
        }
        if request.tools:
            body["tools"] = [tool_to_wire(tool) for tool in request.tools]
        return body


def _mark(messages: list[dict[str, Any]]) -> None:
    """Put a cache marker on the end of the transcript: the next call of this loop reads up to here from the cache."""
    for message in reversed(messages):
        for block in reversed(message["content"]):
            if block["type"] in ("text", "tool_use", "tool_result"):
                block["cache_control"] = _CACHE
                return


def _client(cloud: str, base_url: str) -> Any:
    settings: dict[str, Any] = {"timeout": httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)}
    if cloud:
        try:
            return getattr(anthropic, _CLOUDS[cloud])(**settings)
        except Exception as error:
            raise ConfigError(
                f"cannot use {cloud}: {type(error).__name__}",
                hint=f"Install anthropic[{cloud}] and set the cloud's credentials.",
            ) from error
    if base_url:
        settings["base_url"] = base_url.rstrip("/").removesuffix("/v1")
    if base_url and not (
        os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN")
    ):
        settings["api_key"] = "none"  # local servers ask for no key, the SDK does
    return anthropic.AsyncAnthropic(**settings)


def _model_error(error: anthropic.APIError) -> ModelError:
    if isinstance(error, anthropic.APITimeoutError):
        return ModelError(Fault.SILENT)
    if isinstance(error, anthropic.APIConnectionError):
        return ModelError(Fault.UNREACHABLE, detail=str(error.__cause__ or ""))
    if isinstance(error, anthropic.APIStatusError):
        status, detail = error.status_code, str(error.message)
        code = str(getattr(error, "error_code", "") or "")
        fault = Fault.SPEND_LIMIT if code in _SPEND_LIMITS else _STATUS.get(status, Fault.SERVER)
        return ModelError(fault, status=status, detail=detail)
    return ModelError(Fault.MALFORMED, detail=str(error))
