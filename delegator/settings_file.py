"""`delegator.toml` in the working directory: the same settings as on the command line, by the same names."""

import math
import tomllib
from pathlib import Path
from typing import Any

from delegator.errors import ConfigError
from delegator.sanitize import one_line
from delegator.schema import Schema
from delegator.trust import Level

NAME = "delegator.toml"
_TEXT = {"type": "string", "pattern": "^[^\\x00]+$"}
_COUNT = {"type": "integer", "minimum": 1}
_FLAG = {"type": "boolean"}
_PROPERTIES = {
    "docs": {"type": "array", "items": _TEXT},
    "model": _TEXT,
    "base_url": _TEXT,
    "offline": _FLAG,
    "trust": {"enum": [level.value for level in Level]},
    "private": {"type": "array", "items": _TEXT},
    "max_usd": {"type": "number", "exclusiveMinimum": 0},
    "max_tokens": _COUNT,
    "max_seconds": {"type": "number", "exclusiveMinimum": 0},
    "max_calls": _COUNT,
    "max_delegations": _COUNT,
    "max_parallel": _COUNT,
    "session_usd": {"type": "number", "exclusiveMinimum": 0},
    "session_tokens": _COUNT,
    "agents": _TEXT,
    "home": _TEXT,
    "no_journal": _FLAG,
    "otel": _FLAG,
    "quiet": _FLAG,
    "verbose": _FLAG,
}
_SCHEMA = {"type": "object", "properties": _PROPERTIES, "additionalProperties": False}
_KNOWN = ", ".join([*_PROPERTIES, "prices"])
_PRICES = '[prices."MODEL"] with input and output, in dollars per million tokens.'


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
        raise ConfigError(
            f"cannot read {NAME}", hint=f"{path} must be readable, and UTF-8."
        ) from error
    try:
        values = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{NAME} is not valid TOML", hint=str(error)) from error
    except RecursionError:
        raise ConfigError(f"{NAME} is nested too deep", hint="Settings are plain values.") from None
    if isinstance(values.get("docs"), str):
        values["docs"] = [values["docs"]]
    prices = _tables(values.pop("prices", {}))
    for name, value in values.items():
        if name not in _PROPERTIES:
            raise ConfigError(
                f"{NAME}: there is no setting {one_line(name, 40)}", hint=f"Settings: {_KNOWN}."
            )
        if isinstance(value, float) and (
            name not in ("max_seconds", "max_usd", "session_usd") or not math.isfinite(value)
        ):
            # JSON Schema takes 5.0 for an integer, and lets a NaN through every bound
            raise ConfigError(f"{NAME}: {name} cannot be {value}", hint=f"In {path}.")
    problems = Schema(_SCHEMA, name=NAME).problems(values)
    if problems:
        raise ConfigError(f"{NAME}: {problems[0].removeprefix('$.')}", hint=f"In {path}.")
    return {**values, "prices": prices} if prices else values


def _tables(prices: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(prices, dict) or not all(isinstance(p, dict) for p in prices.values()):
        raise ConfigError(f"{NAME}: prices is no table of tables", hint=_PRICES)
    return prices
