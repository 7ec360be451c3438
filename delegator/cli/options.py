"""Options of the command line, and what they come to together with `delegator.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from delegator.errors import ConfigError
from delegator.terminal import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from delegator.agents import Agent
    from delegator.api import Settings

HOME = click.option(
    "--home", metavar="DIR", help="Where indexes and the journal are kept (env DELEGATOR_HOME)."
)
AGENTS = click.option("--agents", metavar="DIR", help="Folder of agent files (.md).")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
LEVELS = ("raw", "marked", "clean", "typed", "sealed", "guarded", "planned")
TRUST = click.option(
    "--trust", type=click.Choice(LEVELS), metavar="LEVEL",
    help="Defence level: raw, marked, clean, typed (default), sealed, guarded, planned.",
)  # fmt: skip
DOCS = click.option(
    "--docs", multiple=True, metavar="PATH", help="Folder or file to answer from (repeatable)."
)
PRIVATE = click.option(
    "--private", multiple=True, metavar="PATH", help="Part of --docs that is private (repeatable)."
)
_COUNT = click.IntRange(min=1)
_AMOUNT = click.FloatRange(min=0, min_open=True)
MODEL = click.option(
    "--model", metavar="ID", help="Model id; also bedrock:ID, vertex:ID, foundry:ID."
)
BASE_URL = click.option("--base-url", metavar="URL", help="Server that speaks the Messages API.")
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print the answer and nothing else.")
_PER_RUN = (
    click.option("--max-usd", type=_AMOUNT, metavar="X", help="US dollars for the run."),
    click.option("--max-tokens", type=_COUNT, metavar="N", help="Tokens for the whole run."),
    click.option("--max-seconds", type=_AMOUNT, metavar="S", help="Wall time for the run."),
    click.option("--max-calls", type=_COUNT, metavar="N", help="Model calls for the run."),
)
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    DOCS,
    MODEL,
    BASE_URL,
    click.option("--offline", is_flag=True, help="Use the offline model: no key, no network."),
    TRUST,
    PRIVATE,
    *_PER_RUN,
    click.option("--max-delegations", type=_COUNT, metavar="N", help="Subagents for the run."),
    click.option("--max-parallel", type=_COUNT, metavar="N", help="Subagents at the same time."),
    AGENTS,
    HOME,
    click.option("--no-journal", is_flag=True, help="Put nothing on record: it cannot be resumed."),
    click.option("--otel", is_flag=True, help="Send spans and metrics where OTEL_* says (extra otel)."),
    QUIET,
    click.option("--verbose", "-v", is_flag=True, help="Print every step; tracebacks on errors."),
)  # fmt: skip


SESSION_USD = click.option(
    "--session-usd", type=_AMOUNT, metavar="X", help="US dollars for the whole chat."
)
SESSION_TOKENS = click.option(
    "--session-tokens", type=_COUNT, metavar="N", help="Tokens for the whole chat."
)

RESUME = click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Take up the newest chat again, or the one that RUN is part of.",
)


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command about runs has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_NOT_REMEMBERED = frozenset({"home", "quiet", "verbose", "no_journal", "otel", "trace"})
"""Settings that say nothing of how a run goes on."""


def each_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about the model and the ceilings of each run."""
    for option in reversed((MODEL, BASE_URL, TRUST, *_PER_RUN, QUIET)):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Settings, and what only the terminal needs to know."""

    settings: Settings
    quiet: bool
    verbose: bool
    journal: bool
    """Whether runs are put on record."""
    otel: bool = False
    """Whether telemetry is sent."""


def settings(options: dict[str, Any], remembered: Mapping[str, Any] | None = None) -> Chosen:
    """Command line over `delegator.toml` over defaults; for a run on record, over what is remembered of it.

    Raises:
        ConfigError: A value does not work.
    """
    from dataclasses import replace  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from delegator.api import Settings, level_named  # noqa: PLC0415
    from delegator.budget import Limits  # noqa: PLC0415
    from delegator.prices import price_from  # noqa: PLC0415

    unset: tuple[object, ...] = (None, False, ())
    below = file_settings() if remembered is None else dict(remembered)
    given = {**below, **{k: v for k, v in options.items() if v not in unset}}
    try:
        limits = Limits(
            usd=given.get("max_usd"),
            tokens=given.get("max_tokens"),
            seconds=given.get("max_seconds"),
            model_calls=given.get("max_calls"),
            delegations=given.get("max_delegations"),
            parallel=given.get("max_parallel"),
        )
        session = Limits(usd=given.get("session_usd"), tokens=given.get("session_tokens"))
    except ValueError as error:  # what gets past the types: NaN
        raise ConfigError(str(error), hint="Give a number above zero.") from error
    made = Settings(
        docs=tuple(Path(path) for path in given.get("docs", ())),
        model=given.get("model", ""),
        base_url=given.get("base_url", ""),
        offline=given.get("offline", False),
        limits=limits,
        session=session,
        agents=own_agents(given.get("agents")),
        level=level_named(given.get("trust", "typed")),
        private=tuple(Path(path) for path in given.get("private", ())),
        prices={name: price_from(rates, name) for name, rates in given.get("prices", {}).items()},
        home=Path(given["home"]).expanduser() if given.get("home") else None,
    )
    made = replace(made, remembered=_remembered(given, offline=made.plays_offline))
    return Chosen(
        settings=made,
        quiet=given.get("quiet", False),
        verbose=given.get("verbose", False),
        journal=not given.get("no_journal", False),
        otel=given.get("otel", False),
    )


def _remembered(given: Mapping[str, Any], *, offline: bool) -> dict[str, Any]:
    """What it takes to go on with a run from any folder, without what is secret."""
    from contextlib import suppress  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    def whole(path: str) -> str:
        return str(Path(path).expanduser().absolute())

    kept = {k: v for k, v in given.items() if k not in _NOT_REMEMBERED}
    for name in ("docs", "private"):
        kept[name] = [whole(path) for path in kept.get(name, ())]
    if kept.get("agents"):
        kept["agents"] = whole(kept["agents"])
    with suppress(ValueError):  # no URL: the run names it
        parts = urlsplit(kept.get("base_url", ""))
        kept["base_url"] = parts._replace(
            netloc=parts.netloc.rpartition("@")[2], query="", fragment=""
        ).geturl()
    return {**kept, "offline": offline}


def home_of(given: str | None) -> Path:
    """Where the journal is: as given, as in the settings file, or where it is for everybody."""
    from pathlib import Path  # noqa: PLC0415

    from delegator.home import data_home  # noqa: PLC0415

    chosen = given or file_settings().get("home")
    return Path(chosen).expanduser() if chosen else data_home()


def own_agents(folder: str | None) -> tuple[Agent, ...]:
    """The agents in a folder of agent files; what is not honoured in them is named on stderr.

    Raises:
        ConfigError: The folder is not there, or a file in it does not work.
    """
    if folder is None:
        return ()
    from pathlib import Path  # noqa: PLC0415

    from delegator.agents import load_folder  # noqa: PLC0415

    loaded = load_folder(Path(folder).expanduser())
    for warning in (w for one in loaded for w in one.warnings):
        streams.notice(warning)
    return tuple(one.agent for one in loaded)


def file_settings() -> dict[str, Any]:
    """What `delegator.toml` in the working directory says.

    Raises:
        ConfigError: It is not TOML, or holds something that is no setting.
    """
    from delegator.settings_file import read_settings_file  # noqa: PLC0415

    return read_settings_file()
