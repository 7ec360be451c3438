"""Claude, and every server that speaks the Messages API.

Where a key is all that is needed, the bytes go straight over aiohttp; profiles, clouds and whatever else takes more go through the
`anthropic` SDK, which is imported only then, for that takes seconds. The event stream is parsed here, and calls are paced and made
again by our own governor, which knows of all agents.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from itertools import count
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from delegator.errors import Fault, ModelError
from delegator.messages import message_to_wire, tool_to_wire
from delegator.model import ModelEvent, Request, Retrying
from delegator.models import CLOUDS, DEFAULT_MODEL
from delegator.models.accumulate import Accumulator
from delegator.models.direct import direct
from delegator.models.governor import Governor
from delegator.models.sending import Sender

DRAIN_SECONDS = 1.0
"""How long the end of the body may take after the end of the message."""
_CACHE = {"type": "ephemeral"}
_PROVIDERS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
"""What telemetry calls the clouds."""


class Claude:
    """A `Model` over the Messages API. Use it as an async context manager, in one event loop.

    `model` may name a cloud: `bedrock:ID`, `vertex:ID`, `foundry:ID` use that cloud's own credentials.

    Raises:
        ConfigError: The client cannot be made: a missing extra, no URL, a profile or a proxy that does not work.
    """

    def __init__(self, model: str = "", *, base_url: str = "", client: Any = None) -> None:
        cloud, _, name = model.partition(":")
        cloud = cloud if cloud in CLOUDS else ""
        self.id = (name if cloud else model) or DEFAULT_MODEL
        self.provider = _PROVIDERS.get(cloud, "anthropic")
        """Who answers, as telemetry calls it."""
        self.governor = governor_of(base_url or cloud)
        straight = None if client or cloud else direct(base_url)
        self._sender: Sender = straight or _through_sdk(client, cloud, base_url)

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._sender.address

    @property
    def traces(self) -> bool:
        """Whether whoever sends the calls makes spans of them, so that nobody else should."""
        return self._sender.traces

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
        await self._sender.close()

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
        counted = ("model", "system", "messages", "tools")
        return await self._sender.count_tokens(
            {name: body[name] for name in counted if name in body}
        )

    async def _attempt(self, request: Request) -> AsyncGenerator[ModelEvent, None]:
        """One request, and what comes back.

        Raises:
            ModelError: The call failed.
        """
        body = self._body(request)
        accumulator = Accumulator(lambda: len(json.dumps(body, ensure_ascii=False)))
        headers = dict(request.headers)
        async with (
            self._sender.sent(body, headers) as response,
            aclosing(response.events) as events,
        ):
            self.governor.answered(response.headers)
            try:
                async for event in events:
                    for made in accumulator.feed(event):
                        yield made
                    if accumulator.ended:
                        await _drain(events)
                        break
                yield accumulator.reply()
            except ModelError:
                if accumulator.begun:
                    yield accumulator.owed
                raise

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


def _through_sdk(client: Any, cloud: str, base_url: str) -> Sender:
    from delegator.models.sdk import Sdk, client_for, cloud_client  # noqa: PLC0415 - costs seconds

    return Sdk(client or (cloud_client(cloud) if cloud else client_for(base_url)), cloud)


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


async def _drain(events: AsyncGenerator[dict[str, Any], None]) -> None:
    """Read what follows the message: nothing, but only a connection read to its end can serve again."""
    with suppress(TimeoutError, ModelError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass
