"""The command line. Parses, picks, prints; everything else happens below.

Nothing is imported before the command that needs it: `--version` and `--help` answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from delegator import __version__
from delegator.errors import ConfigError, DelegatorError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from delegator.answer import Answer
    from delegator.api import Settings
    from delegator.knowledge import Index

USAGE_ERROR = 2
INTERRUPTED = 130
OFFLINE_NOTICE = "No ANTHROPIC_API_KEY: answering with the offline model (no language model, quotes only). --offline hides this line."

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--docs", multiple=True, metavar="PATH", help="Folder or file to answer from (repeatable)."),
    click.option("--model", default=None, metavar="ID", help="Model id; also bedrock:ID, vertex:ID, foundry:ID."),
    click.option("--base-url", default=None, metavar="URL", help="Server that speaks the Messages API."),
    click.option("--offline", is_flag=True, default=None, help="Use the offline model: no key, no network."),
    click.option("--max-tokens", type=click.IntRange(min=1), default=None, help="Tokens for the whole run."),
    click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Wall time for the run."),
    click.option("--max-calls", type=click.IntRange(min=1), default=None, help="Model calls for the run."),
    click.option("--max-delegations", type=click.IntRange(min=1), default=None, help="Subagents for the run."),
    click.option("--max-parallel", type=click.IntRange(min=1), default=None, help="Subagents at the same time."),
    click.option("--agents", default=None, metavar="DIR", help="Folder of agent files (.md)."),
    click.option("--home", default=None, metavar="DIR", help="Where indexes are kept (env DELEGATOR_HOME)."),
    click.option("--quiet", "-q", is_flag=True, default=None, help="Print the answer and nothing else."),
    click.option("--verbose", "-v", is_flag=True, default=None, help="Print more; tracebacks on errors."),
)  # fmt: skip


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command about runs has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="delegator %(version)s")
def cli() -> None:
    """Answer questions by delegation: subagents search, quote and review; every quote is checked."""


@cli.command()
@click.argument("question")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--events", "as_events", is_flag=True, help="Print the event stream, one JSON object a line."
)
@_common
def ask(question: str, *, as_json: bool, as_events: bool, **options: Any) -> None:
    """Ask one QUESTION (`-` reads it from stdin) and print a cited answer.

    Exit status: 0 complete, 1 failed, 2 wrong usage, 3 stopped by a limit, 4 needs review, 130 interrupted.
    """
    if as_json and as_events:
        raise click.UsageError("--json and --events exclude each other")
    from delegator.api import checked_question  # noqa: PLC0415

    chosen = _settings(options)
    asked = checked_question(_from_stdin() if question == "-" else question)
    answer = _run_one(asked, chosen, as_events=as_events)
    if as_json:
        import json  # noqa: PLC0415

        click.echo(json.dumps(answer.to_json(), ensure_ascii=False, indent=2))
    elif not as_events:
        from delegator.terminal import answer_text  # noqa: PLC0415

        click.echo(answer_text(answer))
    _epilogue(answer, chosen)
    raise SystemExit(answer.exit_status)


@cli.command()
@_common
def chat(**options: Any) -> None:
    """Ask question after question; follow-ups know the conversation. Ctrl-C cancels the run, Ctrl-D leaves."""
    import asyncio  # noqa: PLC0415

    from delegator.repl import Repl  # noqa: PLC0415

    chosen = _settings(options)
    _announce(chosen)
    with _index(chosen) as index:
        repl = Repl(chosen.settings, index, quiet=chosen.quiet, verbose=chosen.verbose)
        raise SystemExit(asyncio.run(repl.run()))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--agents", "folder", default=None, metavar="DIR", help="Folder of agent files (.md)."
)
def agents(*, as_json: bool, folder: str | None) -> None:
    """List the agents with their tools, limits and report schemas; check the files in a folder."""
    from delegator.listing import agents_json, agents_text  # noqa: PLC0415

    own = _own_agents(folder or _file_settings().get("agents"))
    click.echo(agents_json(own) if as_json else agents_text(own))


@cli.command()
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--home", default=None, metavar="DIR", help="Where indexes are kept (env DELEGATOR_HOME)."
)
def index(folder: str, *, as_json: bool, home: str | None) -> None:
    """Build or refresh the index of the folder DIR."""
    from delegator.listing import index_json, index_text  # noqa: PLC0415

    chosen = _settings({"docs": (folder,), "home": home, "quiet": as_json})
    with _index(chosen) as opened:
        found = opened.refreshed
        click.echo(index_json(found) if as_json else index_text(found, folder))


class _Chosen:
    """Settings, and what only the terminal needs to know."""

    def __init__(self, settings: Settings, *, quiet: bool, verbose: bool) -> None:
        self.settings = settings
        self.quiet = quiet
        self.verbose = verbose


def _settings(options: dict[str, Any]) -> _Chosen:
    """Command line over `delegator.toml` over defaults.

    Raises:
        ConfigError: A value does not work.
    """
    from pathlib import Path  # noqa: PLC0415

    from delegator.api import Settings  # noqa: PLC0415
    from delegator.budget import Limits  # noqa: PLC0415

    given = {**_file_settings(), **{k: v for k, v in options.items() if v not in (None, ())}}
    settings = Settings(
        docs=tuple(Path(path) for path in given.get("docs", ())),
        model=given.get("model", ""),
        base_url=given.get("base_url", ""),
        offline=given.get("offline", False),
        limits=Limits(
            tokens=given.get("max_tokens"),
            seconds=given.get("max_seconds"),
            model_calls=given.get("max_calls"),
            delegations=given.get("max_delegations"),
            parallel=given.get("max_parallel"),
        ),
        agents=_own_agents(given.get("agents")),
        home=Path(given["home"]).expanduser() if given.get("home") else None,
    )
    return _Chosen(settings, quiet=given.get("quiet", False), verbose=given.get("verbose", False))


def _own_agents(folder: str | None) -> tuple[Any, ...]:
    if folder is None:
        return ()
    from pathlib import Path  # noqa: PLC0415

    from delegator.agents import load_folder  # noqa: PLC0415

    loaded = load_folder(Path(folder).expanduser())
    for warning in (w for one in loaded for w in one.warnings):
        _notice(warning)
    return tuple(one.agent for one in loaded)


def _file_settings() -> dict[str, Any]:
    """What `delegator.toml` in the working directory says, checked against the options' own types.

    Raises:
        ConfigError: It is not TOML, or holds something that is no setting.
    """
    from delegator.settings_file import read_settings_file  # noqa: PLC0415

    return read_settings_file()


def _from_stdin() -> str:
    if sys.stdin.isatty():
        _notice("reading the question from the terminal; end with Ctrl-D")
    return sys.stdin.buffer.read().decode("utf-8", errors="replace")


def _announce(chosen: _Chosen) -> None:
    settings = chosen.settings
    if settings.plays_offline and not settings.offline and not chosen.quiet:
        _notice(OFFLINE_NOTICE)


class _index:
    """The index of the chosen documents, with progress while it is built; closed at the end."""

    def __init__(self, chosen: _Chosen) -> None:
        self._chosen = chosen

    def __enter__(self) -> Index:
        from delegator.api import open_index  # noqa: PLC0415
        from delegator.terminal import progress  # noqa: PLC0415

        chosen = self._chosen
        tell = _notice if not chosen.quiet else lambda _text: None
        self._index = open_index(
            chosen.settings.docs,
            chosen.settings.home,
            progress=progress(sys.stderr, quiet=chosen.quiet),
            notice=tell,
        )
        return self._index

    def __exit__(self, *_: object) -> None:
        self._index.close()


def _run_one(question: str, chosen: _Chosen, *, as_events: bool) -> Answer:
    import asyncio  # noqa: PLC0415
    import json  # noqa: PLC0415

    from delegator.api import opened  # noqa: PLC0415
    from delegator.interrupt import cancelling  # noqa: PLC0415
    from delegator.orchestrator import Run  # noqa: PLC0415
    from delegator.terminal import view  # noqa: PLC0415

    async def run() -> Answer:
        async with opened(chosen.settings, index=index) as setup, Run(question, setup) as started:
            with cancelling(started.cancel), view(quiet=quiet, verbose=chosen.verbose) as watch:
                async for event in started:
                    watch(event)
                    if as_events:
                        click.echo(json.dumps(event.to_json(), ensure_ascii=False))
            return await started.answer()

    quiet = chosen.quiet or as_events
    _announce(chosen)
    with _index(chosen) as index:
        return asyncio.run(run())


def _epilogue(answer: Answer, chosen: _Chosen) -> None:
    """Below the answer, on stderr: what it cost, and why it is not complete."""
    from delegator.terminal import cost_line  # noqa: PLC0415

    if not chosen.quiet:
        _notice(cost_line(answer))
    if answer.error is not None:
        _print_error(answer.error, verbose=chosen.verbose)


def _notice(text: str) -> None:
    from delegator.sanitize import one_line  # noqa: PLC0415

    click.echo(one_line(text, 400), err=True)


def _print_error(error: DelegatorError, *, verbose: bool) -> None:
    from delegator.sanitize import one_line  # noqa: PLC0415

    click.echo(f"delegator: {one_line(str(error), 400)}", err=True)
    if error.hint:
        click.echo(f"           {one_line(error.hint, 400)}", err=True)
    if verbose and isinstance(error, ModelError) and error.detail:
        click.echo(f"           the server said: {one_line(error.detail, 400)}", err=True)


def main() -> NoReturn:
    """Run the command line. Errors are one or two lines; a traceback only with --verbose."""
    try:
        cli.main(standalone_mode=False)
    except SystemExit:
        raise
    except click.ClickException as error:
        error.show()
        raise SystemExit(USAGE_ERROR) from None
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None
    except ConfigError as error:
        _fail(error, USAGE_ERROR)
    except DelegatorError as error:
        _fail(error, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    raise SystemExit(0)


def _fail(error: DelegatorError, status: int) -> NoReturn:
    verbose = bool({"-v", "--verbose"} & set(sys.argv))
    if verbose:
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    _print_error(error, verbose=verbose)
    raise SystemExit(status) from None


if __name__ == "__main__":
    main()
