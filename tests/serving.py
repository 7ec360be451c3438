"""A loopback API server in a thread of its own, for the program run as a whole, and agents for it to play."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from delegator.envelope import unseal
from messages_api import Answer, Exchange, MessagesApi, Reply, Script, text, tool_use
from scripts import ACCEPT, FACT

MANY_SECONDS = 60.0
"""Nothing here takes so long: a test that does hangs."""
NEVER = "never"
"""A researcher whose task holds this word does not get its reply."""

Step = Reply | Callable[[list[dict[str, Any]]], Reply]
"""A reply of the orchestrator, or one made from the results that it is shown."""


class Served:
    """A server that runs until the block ends; asked from the test's own thread."""

    def __init__(self, api: MessagesApi, loop: asyncio.AbstractEventLoop) -> None:
        self.api = api
        self.url = api.url
        self._loop = loop

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the counters of the server say so."""
        waiting = asyncio.run_coroutine_threadsafe(self.api.until(holds), self._loop)
        waiting.result(MANY_SECONDS)

    def asked(self, who: str) -> list[Exchange]:
        """The requests of `orchestrator`, `researcher` or `critic`."""
        return [exchange for exchange in self.api.exchanges if role(exchange) == who]


@contextmanager
def serving(script: Script) -> Iterator[Served]:
    """A server that plays `script`. What the script raises fails the test."""
    ready, over = threading.Event(), asyncio.Event()
    made: list[Served] = []

    async def serve() -> None:
        async with MessagesApi(script) as api:
            made.append(Served(api, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(MANY_SECONDS)
    try:
        yield made[0]
    finally:
        made[0]._loop.call_soon_threadsafe(over.set)
        thread.join(MANY_SECONDS)
    assert made[0].api.script_errors == [], made[0].api.script_errors


def playing(
    *orchestrator: Step, review: dict[str, Any] = ACCEPT
) -> Callable[[Exchange], Awaitable[Reply]]:
    """A script: the steps of the orchestrator, researchers that search once and quote the fact, critics that say `review`."""
    steps = list(orchestrator)

    async def script(asked: Exchange) -> Reply:
        shown = results(asked)
        match role(asked):
            case "orchestrator":
                step = steps.pop(0)
                return step(shown) if callable(step) else step
            case "critic":
                return Answer(content=(tool_use("submit_report", review),))
            case _ if NEVER in json.dumps(asked.body["messages"]):
                await asyncio.Event().wait()
        hits = [hit for result in shown for hit in result.get("hits", ())]
        if not hits:
            return Answer(content=(tool_use("search", {"query": "BM25 ranking function"}),))
        source = next(hit["id"] for hit in hits if FACT in hit["text"])
        claim = {"text": "BM25 ranks.", "source": source, "quote": FACT}
        report = {"answer": "It ranks.", "claims": [claim], "confidence": "high", "gaps": []}
        return Answer(content=(tool_use("submit_report", report),))

    return script


def role(asked: Exchange) -> str:
    """Who asks, by the tools it has."""
    tools = {tool["name"] for tool in asked.body.get("tools", ())}
    if "delegate_to_researcher" in tools:
        return "orchestrator"
    return "researcher" if "search" in tools else "critic"


def results(asked: Exchange) -> list[dict[str, Any]]:
    """What the tool results of a request hold."""
    blocks = [b for m in asked.body["messages"] for b in m["content"] if b["type"] == "tool_result"]
    return [dict(unseal(_text(block["content"])).data) for block in blocks]


def _text(content: str | Sequence[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def delegate(*tasks: str) -> Answer:
    """One reply that delegates every task."""
    return Answer(
        content=tuple(tool_use("delegate_to_researcher", {"task": task}) for task in tasks)
    )


def have_reviewed(*findings: str) -> Answer:
    """One reply that has every finding reviewed."""
    return Answer(
        content=tuple(tool_use("delegate_to_critic", {"finding_id": id}) for id in findings)
    )


def say(words: str) -> Answer:
    """A reply of words."""
    return Answer(content=(text(words),))
