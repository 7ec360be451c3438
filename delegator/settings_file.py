"""`delegator.toml` in the working directory: the same settings as on the command line, by the same names."""

import tomllib
from pathlib import Path
from typing import Any

from delegator.errors import ConfigError
from delegator.schema import Schema

NAME = "delegator.toml"
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 1}
_FLAG = {"type": "boolean"}
_SCHEMA = {
    "type": "object",
    "properties": {
        "docs": {"type": "array", "items": _TEXT},
        "model": _TEXT,
        "base_url": _TEXT,
        "offline": _FLAG,
        "max_tokens": _COUNT,
        "max_seconds": {"type": "number", "exclusiveMinimum": 0},
        "max_calls": _COUNT,
        "max_delegations": _COUNT,
        "max_parallel": _COUNT,
        "agents": _TEXT,
        "home": _TEXT,
        "quiet": _FLAG,
        "verbose": _FLAG,
    },
    "additionalProperties": False,
}


def read_settings_file(folder: Path | None = None) -> dict[str, Any]:
    """The settings in `delegator.toml`, by the names of the options; empty if there is no such file.

    Raises:
        ConfigError: It cannot be read, is not TOML, or holds something that is no setting.
    """
    path = (folder or Path.cwd()) / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {NAME}") from error
    try:
        values = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{NAME} is not valid TOML", hint=str(error)) from error
    if isinstance(values.get("docs"), str):
        values["docs"] = [values["docs"]]
    problems = Schema(_SCHEMA, name=NAME).problems(values)
    if problems:
        known = ", ".join(_SCHEMA["properties"])  # type: ignore[arg-type]  # a mapping, as above
        raise ConfigError(f"{NAME}: {problems[0]}", hint=f"Settings: {known}.")
    return values
