"""Names of the GenAI semantic conventions and of our own attributes, and values made fit to be exported.

The conventions are still in development and have left the package `opentelemetry-semantic-conventions` for a repository of their
own, so the names are written down here: attributes as in its release 0.1.0, which is also what the SDK writes. What came from a model, a tool, a document or a server
is never a span's name, and as an attribute it is cleaned: one lone surrogate would lose a whole batch of spans.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from delegator.budget import NANO, Price, Usage
from delegator.messages import Block, Message, Opaque, Text, ToolResult, ToolUse
from delegator.outcome import Outcome
from delegator.sanitize import clean_json, one_line
from delegator.tools import capped
from delegator.trust import Label

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
REQUEST_MODEL = "gen_ai.request.model"
MAX_TOKENS = "gen_ai.request.max_tokens"
STREAM = "gen_ai.request.stream"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - tokens of text
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

LEVEL = "delegator.level"
AGENT_ID = "delegator.agent.id"
OUTCOME = "delegator.outcome"
STOP = "delegator.stop"

CHAT, EXECUTE_TOOL, INVOKE_AGENT = "chat", "execute_tool", "invoke_agent"
MOST_CONTENT = 64_000
"""The strings of one attribute that holds what was said have this many characters at most, all together."""
_GOOD = frozenset({Outcome.COMPLETE, Outcome.PARTIAL, Outcome.NEEDS_REVIEW})
_PORTS = {"http": 80, "https": 443}

Value = str | bool | int | float | Sequence[str]
Attributes = dict[str, Value]


def word(text: str) -> str:
    """A short text that others may have written, fit to be an attribute."""
    return one_line(text, 120)


def content(value: object) -> str:
    """What was said, as JSON: cleaned and capped."""
    return json.dumps(clean_json(capped(value, [MOST_CONTENT])), ensure_ascii=False)


def usage(used: Usage) -> Attributes:
    """Tokens. What came from or went to a cache is part of the input."""
    made: Attributes = {
        "gen_ai.usage.input_tokens": prompt_tokens(used),
        "gen_ai.usage.output_tokens": used.output_tokens,
    }
    if used.cache_read_tokens:
        made["gen_ai.usage.cache_read.input_tokens"] = used.cache_read_tokens
    if used.cache_write_tokens:
        made["gen_ai.usage.cache_write.input_tokens"] = used.cache_write_tokens
    return made


def prompt_tokens(used: Usage) -> int:
    """Every token of the prompts."""
    return used.input_tokens + used.cache_read_tokens + used.cache_write_tokens


def dollars(price: Price | None, used: Usage) -> float | None:
    """What a call cost; `None` if nobody knows."""
    return price.cost(used) / NANO if price else None


def label(worth: Label) -> Attributes:
    """What a value is worth: not where it came from, which names documents."""
    return {
        "delegator.label.integrity": worth.integrity.name.lower(),
        "delegator.label.confidentiality": worth.confidentiality.name.lower(),
    }


def failure(outcome: Outcome) -> str:
    """The error type of an outcome; empty if it is none."""
    return "" if outcome in _GOOD else outcome.value


def receipt(seen: Mapping[str, Any]) -> Attributes:
    """What the harness saw an agent do: a receipt's JSON."""
    return {
        "delegator.receipt.model_calls": seen["model_calls"],
        "delegator.receipt.tool_calls": seen["tool_calls"],
        "delegator.receipt.failed_tool_calls": seen["failed_tool_calls"],
        "delegator.receipt.sources": len(seen["sources"]),
        STOP: word(seen["stop"]),
    }


def server(address: str) -> Attributes:
    """Where a server is: host and port, and no more of its address."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return {}
    if not host:
        return {}
    return {SERVER_ADDRESS: host, **({SERVER_PORT: port} if port else {})}


def messages(transcript: Sequence[Message]) -> list[dict[str, Any]]:
    """A transcript in the shape of `gen_ai.input.messages`."""
    return [
        {"role": message.role, "parts": [_part(block) for block in message.content]}
        for message in transcript
    ]


def reply(blocks: Sequence[Block], stop: str) -> list[dict[str, Any]]:
    """A reply in the shape of `gen_ai.output.messages`."""
    return [{"role": "assistant", "parts": list(map(_part, blocks)), "finish_reason": stop}]


def spoken(role: str, words: str) -> list[dict[str, Any]]:
    """Some words as a message."""
    return [{"role": role, "parts": [{"type": "text", "content": words}]}]


def _part(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "content": block.text}
        case ToolUse():
            asked = {"id": block.id, "name": block.name, "arguments": dict(block.input)}
            return {"type": "tool_call", **asked}
        case ToolResult():
            return {"type": "tool_call_response", "id": block.tool_use_id, "response": block.text}
        case Opaque():
            kind = str(block.data.get("type"))
            return {"type": "reasoning" if "thinking" in kind else kind}
