"""Commands about runs on record: list them, show one, go on with one, replay one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from delegator.cli.commands import cli, followed, give, run_one
from delegator.cli.options import HOME, JSON, common, home_of, settings
from delegator.errors import ConfigError
from delegator.terminal import streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from delegator.answer import Answer
    from delegator.cli.options import Chosen
    from delegator.journal import Past
    from delegator.recording import Recording

DAY = 24 * 3600

_HARMLESS = frozenset({"level", "trust", "offline", "model", "limits", "history"}) | {
    f"max_{name}" for name in ("tokens", "usd", "seconds", "calls", "delegations", "parallel")
}
"""Settings that a run from a file keeps."""


@cli.command(short_help="List the runs on record.")
@click.option("--limit", type=click.IntRange(min=1), default=20, metavar="N", help="How many.")
@click.option("--delete", multiple=True, metavar="RUN", help="Forget a run (repeatable).")
@click.option(
    "--prune", type=click.FloatRange(min=0), metavar="DAYS", help="Forget runs older than this."
)
@click.option("--yes", is_flag=True, help="Forget without asking.")
@JSON
@HOME
def runs(
    *,
    limit: int,
    delete: tuple[str, ...],
    prune: float | None,
    yes: bool,
    as_json: bool,
    home: str | None,
) -> None:
    """List the runs on record, the newest first; or forget some."""
    import sys  # noqa: PLC0415

    from delegator.history import runs_json, runs_text  # noqa: PLC0415

    folder = home_of(home)
    with _past(folder) as past:
        if delete or prune is not None:
            _forget(past, folder, delete, prune, sure=yes)
            return
        found = past.runs(limit)
    width = streams.size(sys.stdout)[0] if sys.stdout.isatty() else 200
    streams.put(runs_json(found) if as_json else runs_text(found, width))


@cli.command(short_help="Show what happened in a run.")
@click.argument("run")
@click.option(
    "--events", "as_events", is_flag=True, help="Print its events, one JSON object a line."
)
@click.option("--export", metavar="FILE", help="Write the whole record to FILE, for replay.")
@JSON
@HOME
def show(run: str, *, as_events: bool, export: str | None, as_json: bool, home: str | None) -> None:
    """Show a RUN (the beginning of its id is enough): who did what, what it cost, the answer."""
    import sys  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from delegator.history import exported, run_json, run_text  # noqa: PLC0415

    with _past(home_of(home)) as past:
        row = past.run(run)
        if export is not None:
            Path(export).write_text(exported(past, row), encoding="utf-8")
            streams.notice(f"{row['id']} is in {export}; delegator replay {export} runs it again")
        elif as_events:
            for event in json.loads(run_json(past, row))["events"]:
                streams.put_json({"run": row["id"], **event})
        else:
            width = streams.size(sys.stdout)[0] if sys.stdout.isatty() else 120
            streams.put(run_json(past, row) if as_json else run_text(past, row, width))


@cli.command(short_help="Go on with a run.")
@click.argument("run")
@JSON
@common
def resume(run: str, *, as_json: bool, **options: Any) -> None:
    """Go on with a RUN where it stopped. What is on record is not asked again; options given here override its own."""
    from delegator.journal import Journal  # noqa: PLC0415
    from delegator.recording import resumed  # noqa: PLC0415

    with _past(home_of(options["home"])) as past:
        row = past.run(run)
    chosen = settings(options, json.loads(row["settings"]))
    if not chosen.journal:
        raise click.UsageError("a run goes on in its journal; leave --no-journal out")
    home = home_of(options["home"])
    with followed(chosen):
        with Journal(home) as journal, resumed(row["id"], home, journal) as recording:
            answer = _gone_on(row, chosen, recording)
        give(answer, chosen, as_json=as_json)


@cli.command(short_help="Run a recorded run again, without a model.")
@click.argument("run")
@JSON
@common
def replay(run: str, *, as_json: bool, **options: Any) -> None:
    """Run a RUN on record (or an exported FILE) again, without network, and print what differs.

    With another --trust level or other limits: what they would have changed. Exit status 0 if nothing differs, else 1.
    """
    import sys  # noqa: PLC0415

    from delegator.history import differences, differences_text  # noqa: PLC0415
    from delegator.recording import Recording, readable  # noqa: PLC0415

    with source(run, options["home"]) as past:
        row = past.run(past.runs(1)[0]["id"] if past.imported else run)
        if not row["answer"]:
            raise ConfigError("this run has no answer yet", hint=f"delegator resume {row['id']}")
        kept = remembered(past, row["settings"])
        if past.imported and not options["docs"]:
            streams.notice("The run's own documents are read only where --docs names them.")
        chosen = settings({**options, "quiet": True}, kept)
        recording = Recording.of_past(past, row["id"], None)
    with followed(chosen):
        answer = _gone_on(row, chosen, recording)
    with readable():
        found = differences(json.loads(row["answer"]), json.loads(json.dumps(answer.to_json())))
    if as_json:
        streams.put_json({"run_id": row["id"], "differences": found}, indent=2)
    else:
        width = streams.size(sys.stdout)[0] if sys.stdout.isatty() else 160
        streams.put(differences_text(found, width))
    raise SystemExit(1 if found else 0)


def _gone_on(row: Mapping[str, Any], chosen: Chosen, recording: Recording) -> Answer:
    from delegator.orchestrator import turns_of  # noqa: PLC0415

    history = turns_of(json.loads(row["settings"]))
    return run_one(row["question"], chosen, recording=recording, history=history)


def _past(home: Path) -> Past:
    from delegator.journal import Past  # noqa: PLC0415

    return Past(home)


def source(run: str, home: str | None) -> Past:
    """The journal, or a file that a run was exported to."""
    from pathlib import Path  # noqa: PLC0415

    from delegator.journal import Past  # noqa: PLC0415

    return Past.of_file(Path(run)) if Path(run).is_file() else _past(home_of(home))


def remembered(past: Past, text: str) -> dict[str, Any]:
    """The settings of a run. A file may come from anybody: it names no folder, no server and no price."""
    from delegator.recording import readable  # noqa: PLC0415

    with readable():
        kept = dict(json.loads(text))
    return {k: v for k, v in kept.items() if k in _HARMLESS} if past.imported else kept


def _forget(
    past: Past, home: Path, named: tuple[str, ...], days: float | None, *, sure: bool
) -> None:
    import time  # noqa: PLC0415

    from delegator.journal import forget  # noqa: PLC0415

    chosen = [past.run(run)["id"] for run in named]
    if days is not None:
        chosen += past.before(time.time() - days * DAY)
    if not chosen:
        streams.notice("There is nothing to forget.")
        return
    if not sure:
        streams.say("\n".join(chosen[:20]) + ("\n…" if len(chosen) > 20 else ""))  # noqa: PLR2004
        click.confirm(f"Forget {len(chosen)} of them for good?", abort=True, err=True)
    forget(home, chosen)
    streams.notice(f"{len(chosen)} forgotten")
