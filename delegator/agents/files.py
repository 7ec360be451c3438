"""Agents as Markdown files: front matter in the format of `.claude/agents/*.md`, then the prompt.

The agents that ship are such files too. A field that is not honoured is named in a warning, never dropped in silence.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from delegator.agents.agent import ANSWER_SCHEMA, Agent
from delegator.budget import Limits
from delegator.errors import ConfigError

_FIELDS = frozenset({"name", "description", "tools", "model", "output_schema", "limits"})
_BUILT_IN_TOOLS = ("search", "read")
_MODEL_ALIASES = {
    "inherit": "",
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
}
_KEY = re.compile(r"([A-Za-z_][\w-]*):(?:\s+(.*))?\Z")
_FOLDED = frozenset({">", ">-", ">+", "|", "|-", "|+"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An agent from a file, and what its file asked for that is not honoured."""

    agent: Agent
    warnings: tuple[str, ...]


@cache
def shipped(name: str) -> Agent:
    """One of the agents that ship: `orchestrator`, `researcher` or `critic`."""
    return load_agent(Path(__file__).with_name(f"{name}.md")).agent


def load_folder(folder: Path) -> list[Loaded]:
    """The agents in a folder's Markdown files, by name.

    Raises:
        ConfigError: There is no such folder or no agent in it, or one of the files is not an agent.
    """
    if not folder.is_dir():
        raise ConfigError(f"no such folder: {folder}", hint="--agents takes a folder of .md files.")
    found = [load_agent(path) for path in sorted(folder.glob("*.md"))]
    if not found:
        raise ConfigError(f"no agent in {folder}", hint="An agent is a .md file with front matter.")
    names = [loaded.agent.name for loaded in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two agents in {folder} are named {name}")
    return found


def load_agent(path: Path) -> Loaded:
    """The agent in a Markdown file.

    Raises:
        ConfigError: The file cannot be read or is not an agent.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read agent file {path}") from error
    fields, prompt = _front_matter(text, path)
    missing = [key for key in ("name", "description") if not fields.get(key)]
    if missing:
        raise ConfigError(f"{path.name}: front matter lacks {' and '.join(missing)}")
    warnings = [f"{path.name}: `{key}` is not honoured" for key in fields if key not in _FIELDS]
    tools = _list(
        fields.get("tools", ", ".join(_BUILT_IN_TOOLS) if "output_schema" not in fields else "")
    )
    unknown = [name for name in tools if name not in _BUILT_IN_TOOLS]
    warnings += [f"{path.name}: there is no tool `{name}`; it is left out" for name in unknown]
    model = fields.get("model", "")
    agent = Agent(
        name=fields["name"].strip(),
        description=fields["description"],
        prompt=prompt,
        tools=tuple(name for name in tools if name in _BUILT_IN_TOOLS),
        output_schema=_schema(fields.get("output_schema"), path),
        limits=_limits(fields.get("limits"), path),
        model=_MODEL_ALIASES.get(model, model),
    )
    return Loaded(agent=agent, warnings=tuple(warnings))


def _front_matter(text: str, path: Path) -> tuple[dict[str, str], str]:
    """The fields between the first two `---` lines as raw text, and the body."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        raise ConfigError(
            f"{path.name} has no front matter",
            hint="Start the file with --- and name: and description:.",
        )
    end = next(i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "---")
    fields: dict[str, str] = {}
    key = ""
    for number, line in enumerate(lines[1:end], 2):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _KEY.match(line.rstrip())
        if match:
            key, value = match[1], (match[2] or "").strip()
            fields[key] = "" if value in _FOLDED else _unquoted(value)
        elif key and line.startswith((" ", "\t", "-")):
            fields[key] = f"{fields[key]}\n{line.strip()}".strip()
        else:
            raise ConfigError(f"{path.name}: line {number} is not `key: value`")
    return fields, "\n".join(lines[end + 1 :]).strip() + "\n"


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _list(value: str) -> list[str]:
    """`a, b`, `[a, b]`, or one `- item` a line."""
    items = re.split(r"[,\n]", value.strip().removeprefix("[").removesuffix("]"))
    return [name for item in items if (name := _unquoted(item.strip().removeprefix("- ").strip()))]


def _schema(value: str | None, path: Path) -> Any:
    """An output schema: a JSON file beside the agent's, or JSON in place."""
    if not value:
        return ANSWER_SCHEMA
    try:
        if value.startswith("{"):
            return json.loads(value)
        return json.loads((path.parent / value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path.name}: output_schema is neither JSON nor a readable JSON file"
        ) from error


def _limits(value: str | None, path: Path) -> Limits:
    """`{model_calls: 8, seconds: 60}`, in place or one a line."""
    given: dict[str, Any] = {}
    for item in _list((value or "").strip().removeprefix("{").removesuffix("}")):
        name, _, number = item.partition(":")
        name, number = name.strip(), number.strip()
        if name not in Limits.__dataclass_fields__:
            raise ConfigError(
                f"{path.name}: there is no limit `{name[:40]}`",
                hint=f"Limits: {', '.join(Limits.__dataclass_fields__)}.",
            )
        try:
            given[name] = float(number) if name == "seconds" else int(number.replace("_", ""))
        except ValueError:
            raise ConfigError(f"{path.name}: limit {name} is not a number") from None
    try:
        return Limits(**given)
    except ValueError as error:
        raise ConfigError(f"{path.name}: {error}") from None
