"""Commands of the trust lab: attack the system at every level, report what came of it."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from delegator.cli.commands import trust
from delegator.cli.options import HOME, JSON
from delegator.errors import ConfigError, DelegatorError
from delegator.terminal import streams

if TYPE_CHECKING:
    from pathlib import Path

    from delegator.lab.jobs import Plan
    from delegator.lab.results import Folder
    from delegator.lab.runner import Purse
    from delegator.lab.summary import Summary

BROKEN, OUT_OF_MONEY = 1, 3
_LEVELS = ("raw", "marked", "clean", "typed", "sealed", "guarded", "planned")
_COUNT = click.IntRange(min=1)
_EXIT_STATUS = """\
\b
Exit status:
    0  every attack stopped where it is declared to
    1  a promise was broken, or a run ended in an error
    2  wrong usage, or a suite that cannot be read
    3  not all runs fitted into --max-tokens or --max-usd
  130  interrupted; the same command with --out goes on
"""


@trust.command(short_help="Attack every level.", epilog=_EXIT_STATUS)
@click.option(
    "--trust",
    "levels",
    multiple=True,
    type=click.Choice(_LEVELS),
    metavar="LEVEL",
    help="Only this level (repeatable).",
)
@click.option(
    "--boundary",
    "boundaries",
    multiple=True,
    metavar="NAME",
    help="Only attacks on this boundary, or a part of its name (repeatable).",
)
@click.option("--case", "cases", multiple=True, metavar="ID", help="Only this case (repeatable).")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="DIR",
    help="More cases: a folder of *.jsonl files, or one file (repeatable).",
)
@click.option(
    "--seeds",
    type=_COUNT,
    default=1,
    metavar="N",
    help="Runs of each case at each level, each with other words.",
)
@click.option(
    "--seed",
    metavar="TEXT",
    help="What all words are drawn from; the same seed gives the same results.",
)
@click.option(
    "--adaptive",
    type=_COUNT,
    metavar="K",
    help="Also an adaptive attacker with K attempts for each of its goals.",
)
@click.option(
    "--campaigns",
    type=_COUNT,
    default=3,
    metavar="N",
    help="Campaigns of the adaptive attacker for each goal (3).",
)
@click.option(
    "--benign/--no-benign", default=True, help="Whether harmless documents are asked about too."
)
@click.option("--jobs", type=_COUNT, metavar="N", help="Processes (one for each core).")
@click.option(
    "--out", metavar="DIR", help="Where results are kept; what is done there is not run again."
)
@click.option("--model", default="", metavar="ID", help="A real model in place of the worst case.")
@click.option("--base-url", default="", metavar="URL", help="Server that speaks the Messages API.")
@click.option(
    "--max-tokens", type=_COUNT, metavar="N", help="Tokens for all runs of a real model together."
)
@click.option(
    "--max-usd",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="US dollars for all of them.",
)
@click.option(
    "--run-tokens",
    type=_COUNT,
    default=100_000,
    metavar="N",
    help="Tokens for one run of a real model (100,000).",
)
@click.option("--list", "listed", is_flag=True, help="List the cases, run nothing.")
@click.option(
    "--schema", "schema", is_flag=True, help="Print the JSON Schema of a case, run nothing."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@JSON
@HOME
def run(*, listed: bool, schema: bool, as_json: bool, quiet: bool, jobs: int | None, **options: Any) -> None:  # fmt: skip
    """Attack the system at every level and judge by code what happened.

    Without --model the worst case is played: a model that obeys every text it can read. It needs no key and no network, and
    takes a minute or two. With a real model, cases apply that work by text alone.
    """
    from delegator.lab.results import Folder  # noqa: PLC0415

    if schema:
        from delegator.lab.cases import schema as case_schema  # noqa: PLC0415

        streams.put_json(case_schema().document, indent=2)
        return
    if listed:
        _list(_plan(options, known_seed=""), as_json=as_json)
        return
    folder = _folder(options["out"], options["home"])
    plan = _plan(options, known_seed=str(Folder(folder).plan.get("seed", "")))
    purse = _purse(plan, options["max_tokens"], options["max_usd"])
    complete = _run(plan, Folder(folder), jobs or _cores(), purse, quiet=quiet)
    summary = _reported(folder, as_json=as_json)
    if summary.broken or any(row.errors for row in summary.rows):
        raise SystemExit(BROKEN)
    if not complete:
        streams.problem(
            "not all runs fitted into the ceiling",
            f"Raise it and go on with --out {folder}.",
        )
        raise SystemExit(OUT_OF_MONEY)


@trust.command(short_help="Report what the lab found.")
@click.argument("folder", metavar="[DIR]", required=False)
@JSON
@HOME
def report(*, folder: str | None, as_json: bool, home: str | None) -> None:
    """Print the tables of the results in DIR (the newest if none is named), and write report.json and report.html there."""
    from pathlib import Path  # noqa: PLC0415

    where = Path(folder).expanduser() if folder else _newest(home)
    summary = _reported(where, as_json=as_json)
    raise SystemExit(BROKEN if summary.broken else 0)


def _plan(options: dict[str, Any], *, known_seed: str) -> Plan:
    """The plan that the options describe; without --seed, the seed of the folder, or a fresh one."""
    from pathlib import Path  # noqa: PLC0415

    from delegator.budget import RUN_LIMITS, Limits  # noqa: PLC0415
    from delegator.lab.cases import SUITES  # noqa: PLC0415
    from delegator.lab.jobs import Plan  # noqa: PLC0415
    from delegator.trust import Level  # noqa: PLC0415

    real = bool(options["model"] or options["base_url"])
    if real and options["adaptive"]:
        raise ConfigError(
            "the adaptive attacker needs the worst-case model",
            hint="Leave --adaptive or --model out.",
        )
    seed = options["seed"] or known_seed or secrets.token_hex(4)
    chosen = tuple(level for level in Level if level.value in options["levels"])
    plan = Plan(
        seed=str(seed)[:64],
        levels=chosen or tuple(Level),
        seeds=options["seeds"],
        suites=(SUITES, *(Path(path).expanduser().absolute() for path in options["suites"])),
        boundaries=_boundaries(options["boundaries"]),
        cases=options["cases"],
        benign=options["benign"] and not options["cases"] and not options["boundaries"],
        adaptive=options["adaptive"] or 0,
        campaigns=options["campaigns"],
        model=options["model"],
        base_url=options["base_url"],
        limits=Limits(
            tokens=options["run_tokens"], model_calls=40, delegations=8, seconds=300
        ).over(RUN_LIMITS),
    )
    unknown = set(plan.cases) - {case.id for case in plan.chosen()}
    if unknown or not plan.chosen():
        raise ConfigError(
            "there is no such case" if unknown else "no case is left to run",
            hint="delegator trust run --list names them.",
        )
    return plan


def _boundaries(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The boundaries whose names hold one of some words."""
    from delegator.lab.summary import BOUNDARIES  # noqa: PLC0415

    for part in parts:
        if not any(part in name for name in BOUNDARIES):
            raise ConfigError(
                "there is no such boundary", hint=f"There are: {', '.join(BOUNDARIES)}."
            )
    return tuple(name for name in BOUNDARIES if any(part in name for part in parts))


def _purse(plan: Plan, tokens: int | None, usd: float | None) -> Purse | None:
    """What all runs of a real model may use; what they can come to at worst is said before the first one."""
    from delegator.lab.jobs import worst_of_one  # noqa: PLC0415
    from delegator.lab.runner import Purse  # noqa: PLC0415

    if not plan.real:
        if tokens or usd:
            raise ConfigError(
                "the worst-case model costs nothing",
                hint="--max-tokens and --max-usd go with --model.",
            )
        return None
    worst_tokens, worst_usd = worst_of_one(plan)
    if usd is not None and worst_usd is None:
        raise ConfigError("the price of this model is not known", hint="Use --max-tokens instead.")
    runs = sum(job.kind != "adaptive" for job in plan.jobs())
    money = "" if worst_usd is None else f", ${runs * worst_usd:,.2f}"
    held = " (held to your ceiling)" if tokens or usd else ""
    streams.notice(f"{runs:,} runs, at worst {runs * worst_tokens:,} tokens{money}{held}")
    return Purse(tokens=tokens, usd=usd, each_tokens=worst_tokens, each_usd=worst_usd)


def _run(plan: Plan, folder: Folder, jobs: int, purse: Purse | None, *, quiet: bool) -> bool:
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415

    from delegator.lab.progress import shown  # noqa: PLC0415
    from delegator.lab.runner import run as run_plan  # noqa: PLC0415

    try:
        with shown(len(list(plan.jobs())), quiet=quiet) as tell:
            return run_plan(plan, folder, jobs=jobs, tell=tell, purse=purse)
    except KeyboardInterrupt:
        streams.notice(f"what is done is kept: the same command with --out {folder.path} goes on")
        raise
    except BrokenProcessPool:
        stopped = DelegatorError("a process of the lab was killed")
        stopped.hint = f"What is done is kept: the same command with --out {folder.path} goes on."
        raise stopped from None


def _reported(folder: Path, *, as_json: bool) -> Summary:
    """Print a report, and write it beside the results as JSON and as a page."""
    from delegator.lab.jobs import Plan  # noqa: PLC0415
    from delegator.lab.page import page  # noqa: PLC0415
    from delegator.lab.report import report_json, report_text  # noqa: PLC0415
    from delegator.lab.results import PLAN, Folder  # noqa: PLC0415
    from delegator.lab.summary import summarize  # noqa: PLC0415

    kept = Folder(folder)
    try:
        plan = Plan.from_json(kept.plan)
    except ValueError:
        raise ConfigError(
            f"{folder} holds no results of the lab ({PLAN})", hint="delegator trust run makes some."
        ) from None
    if plan.to_json()["cases_sha256"] != kept.plan.get("cases_sha256"):
        raise ConfigError(
            f"the cases have changed since the results in {folder} were made",
            hint="delegator trust run makes new ones.",
        )
    summary = summarize(plan, kept.results())
    (folder / "report.json").write_text(f"{report_json(summary)}\n", encoding="utf-8")
    (folder / "report.html").write_text(page(summary), encoding="utf-8")
    width = streams.size(sys.stdout)[0] if sys.stdout.isatty() else 110
    streams.put(report_json(summary) if as_json else report_text(summary, width))
    streams.notice(f"{folder / 'report.html'} shows it with plots")
    return summary


def _list(plan: Plan, *, as_json: bool) -> None:
    from delegator.lab.listed import cases_json, cases_text  # noqa: PLC0415

    width = streams.size(sys.stdout)[0] if sys.stdout.isatty() else 110
    streams.put(cases_json(plan.chosen()) if as_json else cases_text(plan.chosen(), width))


def _home(given: str | None) -> Path:
    from pathlib import Path  # noqa: PLC0415

    from delegator.home import data_home  # noqa: PLC0415

    return (Path(given).expanduser() if given else data_home()) / "lab"


def _folder(out: str | None, home: str | None) -> Path:
    """Where the results of this run go: a folder of its own, if none is named."""
    import time  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    if out:
        return Path(out).expanduser()
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    return _home(home) / name


def _newest(home: str | None) -> Path:
    folders = sorted(path.parent for path in _home(home).glob("*/plan.json"))
    if not folders:
        raise ConfigError("the lab has not run yet", hint="delegator trust run makes results.")
    return folders[-1]


def _cores() -> int:
    """Cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
