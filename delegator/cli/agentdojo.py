"""`delegator trust agentdojo`: the tasks and attacks of AgentDojo, played against delegator with a real model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from delegator.cli.commands import trust
from delegator.cli.options import JSON, each_run, settings
from delegator.errors import ConfigError, DelegatorError
from delegator.lab.agentdojo import ATTACK, SUITES, VERSIONS, require
from delegator.terminal import streams

MOST_FAILURES = 5
"""So many cases in a row that could not be measured: something is wrong that the next one will not mend."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from delegator.cli.options import Chosen
    from delegator.lab.agentdojo.element import Player
    from delegator.lab.agentdojo.playing import Bout
    from delegator.lab.agentdojo.results import Case, Result, Results


@trust.command("agentdojo", short_help="Play the AgentDojo benchmark.")
@click.option("--version", type=click.Choice(VERSIONS), default="v1.2", metavar="V", show_default=True,
              help=f"Version: {', '.join(VERSIONS)}.")  # fmt: skip
@click.option("--suite", multiple=True, type=click.Choice(SUITES), metavar="NAME",
              help=f"{', '.join(SUITES)} (repeatable; all if none is named).")  # fmt: skip
@click.option(
    "--task", multiple=True, metavar="ID", help="Only this user task, user_task_3 (repeatable)."
)
@click.option(
    "--injection", multiple=True, metavar="ID", help="Only this one, injection_task_1 (repeatable)."
)
@click.option("--attack", default=ATTACK, metavar="NAME", show_default=True,
              help="The attack, or none.")  # fmt: skip
@click.option("--no-benign", is_flag=True, help="Leave the tasks out that nobody attacks.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Play at most so many now.")
@click.option("--out", default="agentdojo.jsonl", metavar="FILE", show_default=True,
              help="Results, one JSON object a line; what is in it is not played again.")  # fmt: skip
@JSON
@each_run
def agentdojo(
    *,
    version: str,
    suite: tuple[str, ...],
    task: tuple[str, ...],
    injection: tuple[str, ...],
    attack: str,
    no_benign: bool,
    limit: int | None,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Play AgentDojo's tasks, as they are and under attack, and print the figures beside the published ones.

    A real model and about a thousand runs: start with --limit 5. It may be interrupted, and goes on where it stopped.
    """
    from pathlib import Path  # noqa: PLC0415

    require()
    chosen = settings(options)
    from delegator.lab.agentdojo.playing import Bout  # noqa: PLC0415 - takes seconds
    from delegator.lab.agentdojo.results import Results, Tally, table  # noqa: PLC0415

    bout = Bout(_player(chosen), version, attack, suite)
    cases = bout.cases(benign=not no_benign, users=task, injections=injection)
    results = Results(Path(out))
    for line in _played(bout, results, results.missing(cases)[:limit], total=len(cases)):
        if not chosen.quiet:
            streams.notice(line)
    tally, name = Tally.of(results.of(cases)), f"AgentDojo {version}, {attack}, {bout.player.name}"
    if as_json:
        told = {
            "version": version,
            "attack": attack,
            "player": bout.player.name,
            "cases": len(cases),
        }
        streams.put_json({**told, **tally.to_json()}, indent=2)
    else:
        streams.put(table(name, tally))


def _player(chosen: Chosen) -> Player:
    """Who plays.

    Raises:
        ConfigError: There is no language model.
    """
    from delegator.api import open_model  # noqa: PLC0415
    from delegator.lab.agentdojo.element import Player  # noqa: PLC0415
    from delegator.models import DEFAULT_MODEL  # noqa: PLC0415
    from delegator.prices import price_of  # noqa: PLC0415

    given = chosen.settings
    if given.plays_offline:
        raise ConfigError(
            "AgentDojo needs a language model; the offline one only quotes documents",
            hint="Set ANTHROPIC_API_KEY, or name a server with --base-url and a --model.",
        )
    return Player(
        model=given.model or DEFAULT_MODEL,
        opened=lambda: open_model(given),
        level=given.level,
        limits=given.limits,
        price_of=lambda model: price_of(model, given.prices),
    )


def _played(bout: Bout, results: Results, cases: list[Case], *, total: int) -> Iterator[str]:
    """Play some cases and put them down; a line for each."""
    if len(cases) < total:
        yield f"{len(cases)} of {total} to play now"
    failed = 0
    for n, result in enumerate(bout.play(cases), 1):
        results.keep(result)
        yield f"{n}/{len(cases)} {_line(result)}"
        failed = failed + 1 if result.error else 0
        if failed == MOST_FAILURES:
            stopped = DelegatorError(f"{failed} in a row were not measured: {result.error}")
            stopped.hint = "Mend that and run the same command again: it goes on."
            raise stopped


def _line(result: Result) -> str:
    case = result.case
    what = f"{case.suite} {case.user_task}"
    if case.injection_task != "none":
        what += f" × {case.injection_task}"
    if result.error:
        return f"{what}: not measured: {result.error}"
    said = "solved" if result.solved else "not solved"
    if case.injection_task != "none":
        said += ", the attack worked" if result.attacked else ", the attack failed"
    return f"{what}: {said} ({result.model_calls} calls, {result.seconds:.1f} s)"
