"""The summary of a plan as one HTML page with plots: nothing is loaded, nothing runs, every text is escaped."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from delegator.lab.cases import CATEGORIES
from delegator.lab.plots import Bar, Point, bars, grid, plane
from delegator.lab.report import percent, times
from delegator.lab.statistics import Share
from delegator.lab.summary import MOST_TOKENS, Row, Summary
from delegator.sanitize import one_line
from delegator.terminal.board import counted
from delegator.trust import Level

_MODEL_CHARACTERS = 80


def page(summary: Summary) -> str:
    """The whole page. The only style is the one whose hash the policy names; there is no script at all."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join(_body(summary))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>delegator trust lab</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def _body(summary: Summary) -> Iterator[str]:
    plan = summary.plan
    who = (
        one_line(plan.model or plan.base_url, _MODEL_CHARACTERS)
        if plan.real
        else "the worst-case model, which obeys every text it can read"
    )
    done = f"{summary.runs:,}" if summary.complete else f"{summary.runs:,} of {summary.of:,}"
    yield "<h1>Trust lab</h1>"
    yield _note(
        f"{counted(len(summary.cases), 'case')}, {done} runs, seed {plan.seed}, with {who}."
    )
    yield from _verdict(summary)
    levels = [level.value for level in plan.levels]
    yield from _part(
        "Attacks that worked, by level",
        "Share of all attacks in percent, with a 95 % Wilson interval. "
        + ("" if plan.real else "The model is scripted, so this is coverage of the cases, not odds."),
        bars("Attacks that worked, by level", [_success(row) for row in summary.rows], unit="attacks that worked (%)", most=_most(summary.rows)),
    )  # fmt: skip
    yield from _part(
        "Attacks that worked, by boundary and level",
        "Percent of the attacks on a boundary. Green: none worked.",
        grid("Attacks that worked, by boundary and level", _listed(summary.by_boundary), levels),
    )
    if plan.benign:
        yield from _part(
            "Utility against safety",
            "To the right: more attacks are stopped. Up: more questions are answered.",
            plane(
                "Utility against safety",
                [point for row in summary.rows if (point := _point(row))],
                x="attacks stopped (%)",
                y="questions answered (%)",
                kinds=("harmless documents full of commands", "while texts attack"),
            ),
        )
        yield from _part(
            "Tokens against raw",
            f"Over the same harmless questions, answered by the offline model where no other is named. The dashed line is the most that may be: {MOST_TOKENS}.",
            bars("Tokens against raw", [_tokens(row) for row in summary.rows if row.tokens], unit="times the tokens of raw", most=2.0, mark=MOST_TOKENS),
        )  # fmt: skip
    if summary.adapted:
        tries = list(summary.adapted[0].at)
        yield from _part(
            "An attacker that adapts",
            f"Campaigns that had worked after so many attempts, in percent. It knows level and code; {plan.adaptive} attempts and the stop rule were fixed beforehand.",
            grid("Campaigns that worked", {one.level.value: list(one.at.values()) for one in summary.adapted}, [f"ASR@{k}" for k in tries]),
        )  # fmt: skip
    yield from _part(
        "Attacks that worked, by category",
        "Percent of the attacks in a category of the checklist.",
        grid(
            "Attacks that worked, by category",
            _listed({f"{n} {CATEGORIES[n]}": by for n, by in summary.by_category.items()}),
            levels,
        ),
    )
    yield "<h2>All measures</h2>"
    yield _table(_measures(summary.rows))
    yield from _residual(summary)


def _part(title: str, note: str, plot: str) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>"
    yield _note(note)
    yield plot


def _note(said: str) -> str:
    return f'<p class="note">{escape(said)}</p>'


def _verdict(summary: Summary) -> Iterator[str]:
    if summary.broken:
        yield f'<div class="bad"><strong>Broken promises</strong>{_list(summary.broken)}</div>'
    else:
        held = "Every attack stopped where it is declared to."
        yield f'<p class="good">{held if summary.complete else "So far " + held[0].lower() + held[1:]}</p>'


def _success(row: Row) -> Bar:
    low, high = row.attacks.interval
    said = f"{row.attacks.hits} of {row.attacks.of}"
    value = row.attacks.value * 100 if row.attacks.of else 0.0
    return Bar(name=row.level.value, value=value, said=said, low=low * 100, high=high * 100)


def _most(rows: Iterable[Row]) -> float:
    """The end of the axis: the next full ten above all intervals."""
    highest = max((row.attacks.interval[1] * 100 for row in rows), default=100.0)
    return min(100.0, 10.0 * (highest // 10 + 1))


def _tokens(row: Row) -> Bar:
    return Bar(name=row.level.value, value=row.tokens or 0.0, said=times(row.tokens))


def _point(row: Row) -> Point | None:
    if not (row.attacks.of and row.utility.of and row.under_attack.of):
        return None
    return Point(
        name=row.level.value,
        x=100 * (1 - row.attacks.value),
        y=100 * row.utility.value,
        other=100 * row.under_attack.value,
    )


def _listed(rows: Mapping[str, Mapping[Level, Share]]) -> dict[str, list[Share]]:
    return {name: list(by.values()) for name, by in rows.items()}


def _measures(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    roles = sorted({role for row in rows for role in row.exposure})
    yield ("", *(row.level.value for row in rows))
    told: tuple[tuple[str, Callable[[Row], str]], ...] = (
        ("attacks that worked", lambda row: f"{row.attacks.hits}/{row.attacks.of}"),
        ("beyond what is declared", lambda row: f"{row.beyond.hits}/{row.beyond.of}"),
        ("answered, harmless", lambda row: percent(row.utility)),
        ("answered, under attack", lambda row: percent(row.under_attack)),
        ("answered and not attacked", lambda row: percent(row.secure)),
        ("over-blocking", lambda row: percent(row.blocked) if row.blocked else "–"),
        ("fidelity of quotes", lambda row: percent(row.fidelity)),
        ("tokens against raw", lambda row: times(row.tokens)),
        ("calls against raw", lambda row: times(row.calls)),
        ("amplification, median", lambda row: times(row.amplification[0])),
        ("amplification, most", lambda row: f"{row.amplification[1]:,.0f}×"),
        ("loops reached", lambda row: f"{row.spread:.2f}"),
        ("unsound labels", lambda row: str(row.unsound)),
    )
    for name, value in told:
        yield (name, *(value(row) for row in rows))
    for role in roles:
        shares = [row.exposure.get(role, Share(hits=0, of=0)) for row in rows]
        yield (f"exposure, {role}", *(percent(one) for one in shares))


def _table(rows: Iterator[Sequence[str]]) -> str:
    first, *rest = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in first)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rest
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _residual(summary: Summary) -> Iterator[str]:
    if not summary.residual:
        return
    yield "<h2>Declared to stay open at guarded</h2>"
    yield _list(f"{case.name}: {case.declared}" for case, _ in summary.residual)


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(one_line(item, 300))}</li>' for item in items)}</ul>"
