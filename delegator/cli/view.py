"""The command that makes a page of a run on record, alone or beside another one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from delegator.cli.commands import cli, run_one
from delegator.cli.options import HOME, LEVELS, home_of, settings
from delegator.cli.past import remembered, source
from delegator.errors import ConfigError
from delegator.terminal import streams

if TYPE_CHECKING:
    from pathlib import Path

    from delegator.events import Event
    from delegator.viewer import Record


@cli.command(short_help="One HTML page of a run.")
@click.argument("run")
@click.option("--out", metavar="FILE", help="Where to put the page (RUN.html; - for stdout).")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@click.option("--against", metavar="RUN", help="Put another run, or an exported file, beside it.")
@click.option(
    "--trust",
    type=click.Choice(LEVELS),
    metavar="LEVEL",
    help="Put a replay of it at this level beside it.",
)
@HOME
def view(
    run: str,
    *,
    out: str | None,
    open_it: bool,
    against: str | None,
    trust: str | None,
    home: str | None,
) -> None:
    """Make one HTML page of a RUN on record (or of an exported FILE): answer, timeline, agents, messages, budget, decisions.

    The page needs no network and nothing beside it.
    """
    from delegator.viewer import page  # noqa: PLC0415

    if against is not None and trust is not None:
        raise click.UsageError("--against and --trust exclude each other")
    if out == "-" and open_it:
        raise click.UsageError("--open needs a file; leave out --out -")
    records = [_recorded(run, home)]
    if against is not None:
        records.append(_recorded(against, home))
    if trust is not None:
        records.append(_replayed(run, records[0], home, trust))
    text = page(records)
    if out == "-":
        streams.put(text)
        return
    path = _written(out, records[0], text)
    streams.notice(f"{path} holds the run; it opens in any browser")
    if open_it and click.launch(path.absolute().as_uri()):
        streams.notice("no browser could be opened")


def _recorded(run: str, home: str | None) -> Record:
    from delegator.viewer import recorded  # noqa: PLC0415

    with source(run, home) as past:
        return recorded(past, run)


def _replayed(run: str, before: Record, home: str | None, level: str) -> Record:
    """The run again at another level, without a model."""
    from delegator.orchestrator import turns_of  # noqa: PLC0415
    from delegator.recording import Recording  # noqa: PLC0415
    from delegator.viewer import replayed  # noqa: PLC0415

    if not before.answer:
        raise ConfigError("this run has no answer yet", hint=f"delegator resume {before.id}")
    given: dict[str, Any] = {"trust": level, "quiet": True, "home": str(home_of(home))}
    with source(run, home) as past:
        chosen = settings(given, remembered(past, json.dumps(before.settings)))
        recording = Recording.of_past(past, before.id, None)
    events: list[Event] = []
    answer = run_one(
        before.question,
        chosen,
        recording=recording,
        history=turns_of(before.settings),
        tell=events.append,
    )
    return replayed(before, events, answer, level)


def _written(out: str | None, record: Record, text: str) -> Path:
    """The page in a file: written whole, or not at all."""
    import re  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    name = re.sub(r"[^\w-]", "_", record.id)[:60] or "run"  # an exported file names itself
    path = Path(out) if out else Path(f"{name}.html")
    try:
        if path.is_file() or not path.exists():
            _replaced(path, text)
        else:  # a pipe or a device stays one
            path.write_text(text, encoding="ascii")
    except OSError as error:
        raise ConfigError(
            f"cannot write the page {path}", hint=f"{error.strerror}. Choose another --out."
        ) from error
    return path


def _replaced(path: Path, text: str) -> None:
    """A file for its owner alone, in the place of what was there."""
    import os  # noqa: PLC0415

    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
