"""Agents as Markdown files: front matter in the format of `.claude/agents/*.md`, then the prompt.

The agents that ship are such files too. A field that is not honoured is named in a warning, never dropped in silence.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
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
_SINGLE_QUOTED = re.compile(r"'(?:[^']|'')*'")
_LIMITS = ", ".join(Limits.__dataclass_fields__)


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
    found: dict[str, Loaded] = {}
    for path in sorted(folder.glob("*.md")):
        loaded = load_agent(path)
        with _named(path):
            loaded.agent.schema.check()
        name = loaded.agent.name
        if name in found:
            raise ConfigError(
                f"{path.name}: there is another agent named {name} in {folder}",
                hint="Give one of them another name.",
            )
        found[name] = loaded
    if not found:
        raise ConfigError(f"no agent in {folder}", hint="An agent is a .md file with front matter.")
    return list(found.values())


def load_agent(path: Path) -> Loaded:
    """The agent in a Markdown file.

    Raises:
        ConfigError: The file cannot be read or is not an agent. It names the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read agent file {path}", hint="It must be readable, and UTF-8."
        ) from error
    with _named(path):
        return _agent(text, path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Every error in the block names the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}", hint=error.hint) from error.__cause__


def _agent(text: str, path: Path) -> Loaded:
    fields, prompt = _front_matter(text)
    missing = [key for key in ("name", "description") if not fields.get(key)]
    if missing:
        raise ConfigError(
            f"front matter lacks {' and '.join(missing)}",
            hint="Start the file with --- and name: and description:.",
        )
    warnings = [f"{path.name}: `{key}` is not honoured" for key in fields if key not in _FIELDS]
    default = "" if "output_schema" in fields else ", ".join(_BUILT_IN_TOOLS)
    tools = dict.fromkeys(_list(fields.get("tools", default)))
    unknown = [name for name in tools if name not in _BUILT_IN_TOOLS]
    warnings += [f"{path.name}: there is no tool `{name:.40}`; it is left out" for name in unknown]
    model = _word(fields.get("model", ""))
    agent = Agent(
        name=_word(fields["name"]),
        description=fields["description"],
        prompt=prompt,
        tools=tuple(name for name in tools if name in _BUILT_IN_TOOLS),
        output_schema=_schema(fields.get("output_schema", ""), path),
        limits=_limits(fields.get("limits", "")),
        model=_MODEL_ALIASES.get(model, model),
    )
    return Loaded(agent=agent, warnings=tuple(warnings))


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """The fields between the first two `---` lines as text, and the body."""
    lines = text.split("\n")
    fences = [i for i, line in enumerate(lines) if line.rstrip() == "---"]
    if fences[:1] != [0] or len(fences) == 1:
        raise ConfigError(
            "there is no front matter", hint="Start the file with --- and name: and description:."
        )
    end = fences[1]
    fields: dict[str, str] = {}
    key = ""
    for number, line in enumerate(lines[1:end], 2):
        match = _KEY.match(line.rstrip())
        if match:
            key, value = match[1], (match[2] or "").strip()
            fields[key] = "" if value in _FOLDED else value
        elif not line.strip() or line.startswith("#"):
            continue
        elif key and line.startswith((" ", "\t", "-", "}", "]")):
            fields[key] = f"{fields[key]}\n{line.strip()}".strip()
        else:
            raise ConfigError(
                f"line {number} is not `key: value`",
                hint="Indent it if it goes on from a line above.",
            )
    body = "\n".join(lines[end + 1 :]).strip() + "\n"
    return {key: _unquoted(value) for key, value in fields.items()}, body


def _unquoted(value: str) -> str:
    """A quoted value without its quotes and escapes; any other as it is."""
    if value.startswith('"'):
        try:
            return str(json.loads(value, strict=False))
        except ValueError:
            return value
    if _SINGLE_QUOTED.fullmatch(value):
        return value[1:-1].replace("''", "'")
    return value


def _word(value: str) -> str:
    """A value of one word, without the comment behind it."""
    return _unquoted(re.split(r"\s+#", value, maxsplit=1)[0].strip())


def _list(value: str) -> list[str]:
    """`a, b`, `[a, b]`, or one `- item` a line."""
    plain = re.sub(r"(?:\A|\s)#.*", "", value).strip().removeprefix("[").removesuffix("]")
    items = [item.strip().removeprefix("- ") for item in re.split(r"[,\n]", plain)]
    return [name for item in items if (name := _unquoted(item.strip()))]


def _schema(value: str, path: Path) -> Any:
    """An output schema: a JSON file beside the agent's, or JSON in place."""
    if not value:
        return ANSWER_SCHEMA
    try:
        text = value if value.startswith("{") else (path.parent / value).read_text("utf-8")
        document = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            "output_schema is neither JSON nor a readable JSON file",
            hint="Name a file beside the agent's, or write the schema in place, starting with {.",
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(
            "output_schema is JSON, but no JSON Schema", hint="It starts with { and ends with }."
        )
    return document


def _limits(value: str) -> Limits:
    """`{model_calls: 8, seconds: 60}`, in place or one a line."""
    given: dict[str, Any] = {}
    for item in _list(value.strip().removeprefix("{").removesuffix("}")):
        name, _, number = (part.strip(" \"'") for part in item.partition(":"))
        if name not in Limits.__dataclass_fields__:
            raise ConfigError(f"there is no limit `{name[:40]}`", hint=f"Limits: {_LIMITS}.")
        try:
            given[name] = float(number) if name == "seconds" else int(number)
        except ValueError:
            raise ConfigError(
                f"limit {name} is not a number", hint=f"Write it as {name}: 10."
            ) from None
    try:
        return Limits(**given)
    except ValueError as error:
        raise ConfigError(str(error), hint="Leave it out to have the default.") from None
