"""The floor: the same call graph, written by hand on the bare SDK, not streamed. Less than this no program does.

It shows the model the same system prompts and tools as delegator does, and hands on texts of the same sizes, but it checks nothing,
counts nothing and stops at nothing. It has no reviews of its own: its orchestrator asks for them, after the slowest researcher.

Run as a program, it sends one request: what a bare program does from its start to its first request.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import anthropic

MODEL = "mock"
Json = dict[str, Any]


class Floor:
    """A hand-written orchestrator over `prompts`: system prompt and tools by role."""

    def __init__(self, url: str, prompts: Mapping[str, Json], found: Json) -> None:
        self._client = client_of(url)
        self._prompts = prompts
        self._found = json.dumps({"origin": "search", "data": found})

    async def ask(self, question: str) -> str:
        """The answer to one question."""
        return str(await self._loop("orchestrator", question, {}))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _loop(self, role: str, opening: str, findings: dict[str, Json]) -> Any:
        messages: list[Any] = [{"role": "user", "content": opening}]
        while True:
            reply = await self._client.messages.create(
                model=MODEL, max_tokens=4_000, messages=messages, **self._prompts[role]
            )
            calls = [block for block in reply.content if block.type == "tool_use"]
            if not calls:
                return "".join(block.text for block in reply.content if block.type == "text")
            if calls[0].name == "submit_report":
                return calls[0].input
            messages.append({"role": "assistant", "content": reply.content})
            done = await asyncio.gather(*(self._run(call, findings) for call in calls))
            messages.append({"role": "user", "content": done})

    async def _run(self, call: Any, findings: dict[str, Json]) -> Json:
        given = call.input
        match call.name:
            case "search":
                text = self._found
            case "delegate_to_critic":
                finding = findings[given["finding_id"]]
                brief = json.dumps({**finding, "evidence": json.loads(self._found)["data"]})
                finding["review"] = await self._loop("critic", brief, {})
                text = json.dumps({"data": {"review": finding["review"]}})
            case _:
                id, brief = f"D{len(findings) + 1}", given["task"]
                findings[id] = {"task": given["task"]}
                if old := given.get("revises"):
                    brief += json.dumps({"earlier_finding": findings[old]})
                report = await self._loop("researcher", brief, {})
                for i, claim in enumerate(report["claims"]):
                    claim["cite"] = 10 * len(findings) + i + 1
                findings[id]["claimed"] = report
                text = json.dumps({"data": {"finding_id": id, "claimed": report}})
        return {"type": "tool_result", "tool_use_id": call.id, "content": text}


def client_of(url: str) -> anthropic.AsyncAnthropic:
    """A client as anyone would make it."""
    return anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=600)


async def _one(url: str, question: str) -> None:
    tools: Any = [
        {"name": "delegate_to_researcher", "input_schema": {"type": "object", "properties": {}}}
    ]
    async with client_of(url) as client:
        messages: Any = [{"role": "user", "content": question}]
        await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=tools)


if __name__ == "__main__":
    asyncio.run(_one(*sys.argv[1:3]))
