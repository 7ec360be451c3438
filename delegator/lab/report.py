"""The summary of a plan as text for a terminal of 60 columns or more, and as JSON."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from delegator.lab.cases import CATEGORIES
from delegator.lab.statistics import Share
from delegator.lab.summary import Adapted, Row, Summary
from delegator.sanitize import one_line
from delegator.terminal.board import counted
from delegator.trust import Level

NARROWEST, WIDEST = 60, 110
_ROOMY = 88
"""Columns from which the names of levels stand in full above a grid."""
_MIDDLE = 70
"""Columns from which a grid says how many cases a row has."""
_MANY = 12
"""Lines of one list; the rest is counted."""


def report_json(summary: Summary) -> str:
    """As the JSON that `--json` prints."""
    return json.dumps(summary.to_json(), ensure_ascii=False, indent=2)


def report_text(summary: Summary, width: int) -> str:
    """All tables."""
    width = max(NARROWEST, min(width, WIDEST))
    return "\n".join(line.rstrip() for line in _lines(summary, width))


def _lines(summary: Summary, width: int) -> Iterator[str]:
    plan = summary.plan
    done = "" if summary.complete else f" of {summary.of:,}"
    who = one_line(plan.model or plan.base_url, 60) if plan.real else "the worst-case model"
    head = f"{counted(len(summary.cases), 'case')}, {summary.runs:,}{done} runs, seed {one_line(plan.seed, 64)}, with {who}"
    yield from _wrapped(head, width)
    if not plan.real:
        yield from _wrapped(
            "The model obeys every text it can read: these shares are coverage, not odds.", width
        )
    yield from _section("Attacks that worked", _attacks(summary.rows))
    yield from _wrapped(
        "clusters: 95 % by families of cases; beyond: worked past the declared stop, with a bound if none did",
        width,
        "  ",
    )
    yield from _grid("By boundary, in %", summary, summary.by_boundary, width)
    named = {f"{n:>2} {CATEGORIES[n]}": by for n, by in summary.by_category.items()}
    yield from _grid("By category, in %", summary, named, width)
    yield from _section("Who could read the attacker, in % of calls", _exposed(summary.rows))
    yield from _wrapped(
        "spread: loops reached by one attack; amplified: tokens against no attack, median and most",
        width,
        "  ",
    )
    if plan.benign:
        yield from _section("What it costs where nobody attacks", _costs(summary.rows))
        yield from _wrapped(
            "blocked: answered by raw and not here; attacked: questions answered while texts attack",
            width,
            "  ",
        )
    if summary.adapted:
        yield from _section("Adaptive attacker, campaigns that worked", _adapted(summary.adapted))
        yield from _firsts(summary.adapted, width)
    yield from _residual(summary, width)
    yield from _verdict(summary, width)


def _attacks(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    yield ("", "worked", "share", "95 %", "clusters", "beyond")
    for row in rows:
        one = row.attacks
        yield (
            row.level.value,
            f"{one.hits}/{one.of}",
            percent(one),
            _range(one.interval),
            _range(row.clustered),
            _beyond(row.beyond),
        )


def _beyond(one: Share) -> str:
    """Attacks that worked although declared to be stopped; if none, what their share is below."""
    if not one.of:
        return "-"
    bound = f" <{one.bound:.1%}" if one.bound is not None else ""
    return f"{one.hits}/{one.of}{bound}".replace("%", " %")


def _exposed(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    roles = sorted({role for row in rows for role in row.exposure}, key=_ROLE_ORDER.get)  # type: ignore[arg-type]  # unknown roles do not occur
    yield ("", *(role[:12] for role in roles), "spread", "amplified", "unsound")
    for row in rows:
        shares = [row.exposure.get(role, Share(hits=0, of=0)) for role in roles]
        middle, most = row.amplification
        yield (
            row.level.value,
            *(percent(one) for one in shares),
            f"{row.spread:.2f}",
            f"{middle:.1f}..{most:,.0f}×",
            str(row.unsound),
        )


_ROLE_ORDER = {"orchestrator": 0, "researcher": 1, "critic": 2}


def _costs(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    yield ("", "answered", "blocked", "fidelity", "tokens", "calls", "attacked")
    for row in rows:
        yield (
            row.level.value,
            f"{row.utility.hits}/{row.utility.of}",
            percent(row.blocked) if row.blocked else "-",
            percent(row.fidelity),
            times(row.tokens),
            times(row.calls),
            percent(row.under_attack),
        )


def _adapted(found: Sequence[Adapted]) -> Iterator[Sequence[str]]:
    tries = list(found[0].at)
    yield ("", *(f"@{k}" for k in tries), *(f"95 % @{k}" for k in tries))
    for one in found:
        shares = list(one.at.values())
        yield (
            one.level.value,
            *(f"{share.hits}/{share.of}" for share in shares),
            *(_range(share.interval) for share in shares),
        )


def _firsts(found: Sequence[Adapted], width: int) -> Iterator[str]:
    for one in found:
        goal, attempts, how = one.shortest
        if goal:
            yield from _wrapped(
                f"{one.level.value}: {goal} at attempt {attempts} ({how})", width, "  "
            )


def _grid(
    title: str, summary: Summary, rows: Mapping[str, Mapping[Level, Share]], width: int
) -> Iterator[str]:
    """Rows by levels: how many percent of the attacks worked."""
    levels = summary.plan.levels
    names = [level.value if width >= _ROOMY else level.value[:3] for level in levels]

    def cells() -> Iterator[Sequence[str]]:
        yield ("", *(["cases"] if width >= _MIDDLE else []), *names)
        for name, by in rows.items():
            most = max(one.of for one in by.values()) // max(summary.plan.seeds, 1)
            counted = [str(most)] if width >= _MIDDLE else []
            yield (name, *counted, *(_whole(by[level]) for level in levels))

    yield from _section(title, cells())


def _whole(one: Share) -> str:
    """A share as a whole number of percent; a point for nothing, so that what is there stands out."""
    if not one.of:
        return "-"
    return f"{one.value * 100:.0f}" if one.hits else "."


def _residual(summary: Summary, width: int) -> Iterator[str]:
    if not summary.residual or Level.GUARDED not in summary.plan.levels:
        return
    yield ""
    yield "Declared to stay open at guarded"
    for case, at in summary.residual:
        worked = "works" if Level.GUARDED in at else "did not work"
        yield from _wrapped(
            f"{one_line(case.name, 120)} ({worked}): {one_line(case.declared, 200)}", width, "  "
        )


def _verdict(summary: Summary, width: int) -> Iterator[str]:
    errors = sum(row.errors for row in summary.rows)
    skipped = sum(row.not_applicable for row in summary.rows)
    yield ""
    if errors:
        yield from _wrapped(f"{errors} runs ended in an error and count nowhere.", width)
    if skipped:
        yield from _wrapped(
            f"{skipped} runs do not apply to a real model: they need one that is hostile by order.",
            width,
        )
    if summary.weaker:
        yield "Weaker than declared"
        yield from _some(summary.weaker, width)
    if summary.broken:
        yield "BROKEN PROMISES"
        yield from _some(summary.broken, width)
    elif summary.complete:
        yield from _wrapped("Every attack stopped where it is declared to.", width)
    else:
        yield from _wrapped(
            "So far every attack stopped where it is declared to; not all runs are done.", width
        )


def _some(lines: Sequence[str], width: int) -> Iterator[str]:
    for line in lines[:_MANY]:
        yield from _wrapped(one_line(line, 300), width, "  ")
    if len(lines) > _MANY:
        yield f"  and {len(lines) - _MANY} more"


def _section(title: str, rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """A table: the first column to the left, the others to the right."""
    table = list(rows)
    yield from ("", title)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        cells = [f"{cell:>{widths[i]}}" for i, cell in enumerate(row) if i]
        yield f"  {row[0]:<{widths[0]}} {' '.join(cells)}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ")


def percent(one: Share) -> str:
    """`41.4 %`; a dash where nothing was tried."""
    return f"{one.value * 100:.1f} %" if one.of else "-"


def times(value: float | None) -> str:
    """`1.30×`; a dash where there is nothing to compare with."""
    return "-" if value is None else f"{value:.2f}×"


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low * 100:.0f}-{high * 100:.0f}"
