"""AgentDojo's tools as delegator's: run through its runtime, written down as it wants to read it.

Its schemas refer to definitions and leave objects open; ours are closed, so a reference gives way to what it names, and an open
object to JSON in a string.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.types import (
    ChatAssistantMessage,
    ChatMessage,
    ChatToolResultMessage,
    text_content_block_from_string,
)

from delegator.lab.agentdojo.effects import kind_of
from delegator.tools import Call, Tool, ToolOutput

_AS_TEXT = {"type": "string", "description": "A JSON object, as text."}


@dataclass(slots=True)
class Bench:
    """One environment with its tools, and the calls that were made."""

    runtime: FunctionsRuntime
    environment: Any
    messages: list[ChatMessage] = field(default_factory=list)

    def tools(self) -> tuple[Tool, ...]:
        """Every tool of the runtime."""
        return tuple(self._tool(function) for function in self.runtime.functions.values())

    def _tool(self, function: Any) -> Tool:
        name, kind = function.name, kind_of(function.name)
        schema = function.parameters.model_json_schema()

        async def run(call: Call) -> ToolOutput:
            result, error = self._ran(name, _given(call.input, schema))
            data = {"error": error} if error else {"result": result}
            return ToolOutput(data=data, label=kind.label(name), is_error=bool(error))

        return Tool(
            name=name,
            description=function.description,
            input_schema=_closed(schema, schema.get("$defs", {})),
            run=run,
            effects=kind.effects,
        )

    def _ran(self, name: str, given: dict[str, Any]) -> tuple[str, str]:
        """Run a call and write it down: its result as text, or what went wrong in the words of the tool."""
        call = FunctionCall(function=name, args=given, id=f"call_{len(self.messages)}")
        result, error = self.runtime.run_function(self.environment, name, given)
        text = tool_result_to_str(result)
        asked = ChatAssistantMessage(role="assistant", content=None, tool_calls=[call])
        answered = ChatToolResultMessage(
            role="tool",
            content=[text_content_block_from_string(text)],
            tool_call=call,
            tool_call_id=call.id,
            error=error,
        )
        self.messages += [asked, answered]
        return text, error or ""


def _closed(node: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references, titles and open objects."""
    if isinstance(node, list):
        return [_closed(part, definitions) for part in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        named = definitions[node["$ref"].rpartition("/")[2]]
        return _closed({**named, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    if _open(node):
        return _AS_TEXT
    closed = {
        name: {field: _closed(sub, definitions) for field, sub in part.items()}
        if name == "properties"
        else _closed(part, definitions)
        for name, part in node.items()
        if name not in ("$defs", "title")
    }
    return {**closed, "additionalProperties": False} if node.get("type") == "object" else closed


def _open(node: Any) -> bool:
    return isinstance(node, Mapping) and node.get("type") == "object" and "properties" not in node


def _holds_open(node: Any) -> bool:
    parts = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    return _open(node) or any(map(_holds_open, parts))


def _given(given: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A call's input, as the tool's author meant it."""
    fields = schema.get("properties", {})
    return {
        name: _parsed(value) if _holds_open(fields.get(name)) else value
        for name, value in given.items()
    }


def _parsed(value: Any) -> Any:
    """Objects that were given as text."""
    if isinstance(value, list):
        return [_parsed(part) for part in value]
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
