"""Plots as inline SVG: no script, no style attribute, every text escaped. Colours come from the page's one style sheet, by class."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from delegator.lab.statistics import Share

WIDTH = 760
_LABELS = 210
"""Pixels left of a grid or of bars, for the names of their rows."""
_CELL_HEIGHT = 30
_SHADES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of a bar plot."""

    name: str
    value: float
    said: str
    low: float = math.nan
    high: float = math.nan
    """The ends of its interval, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A named place with a value of each of two kinds."""

    name: str
    x: float
    y: float
    other: float


def grid(title: str, rows: Mapping[str, Sequence[Share]], columns: Sequence[str]) -> str:
    """Shares by row and column, as numbers on shades: dark where much worked."""
    width = (WIDTH - _LABELS) / max(len(columns), 1)
    height = 30 + _CELL_HEIGHT * len(rows)
    parts = [
        text(_LABELS + width * (i + 0.5), 18, name, "head middle") for i, name in enumerate(columns)
    ]
    for j, (name, shares) in enumerate(rows.items()):
        y = 30 + j * _CELL_HEIGHT
        parts.append(text(_LABELS - 10, y + 20, name, "end"))
        for i, one in enumerate(shares):
            x = _LABELS + i * width
            parts.append(
                f'<rect x="{x + 1:.1f}" y="{y + 1}" width="{width - 2:.1f}" height="{_CELL_HEIGHT - 2}" '
                f'class="{_shade(one)}"><title>{one.hits} of {one.of}</title></rect>'
            )
            parts.append(text(x + width / 2, y + 20, _cell(one), _ink(one)))
    return _svg(title, height, parts)


def _shade(one: Share) -> str:
    if not one.of:
        return "none"
    return f"s{math.ceil(one.value * _SHADES)}"


def _ink(one: Share) -> str:
    return "middle light" if one.of and one.value > 0.5 else "middle"  # noqa: PLR2004 - the middle of the shades


def _cell(one: Share) -> str:
    return f"{one.value * 100:.0f} %" if one.of else "–"


def bars(title: str, rows: Sequence[Bar], *, unit: str, most: float, mark: float = math.nan) -> str:
    """Bars from the left with their values at the right; whiskers where there is an interval, a line at `mark`."""
    room = WIDTH - _LABELS - 80
    height = 52 + 32 * len(rows)

    def at(value: float) -> float:
        return _LABELS + room * min(value / most, 1.0)

    parts = []
    for tick in _ticks(most):
        parts.append(_line(at(tick), 8, at(tick), height - 42, "rule"))
        parts.append(text(at(tick), height - 26, f"{tick:g}", "tick middle"))
    parts.append(text(_LABELS + room / 2, height - 6, unit, "unit middle"))
    for i, row in enumerate(rows):
        y = 12 + i * 32
        parts.append(text(_LABELS - 10, y + 15, row.name, "end"))
        parts.append(
            f'<rect x="{_LABELS}" y="{y}" width="{max(at(row.value) - _LABELS, 0):.1f}" height="20" class="bar"/>'
        )
        if not math.isnan(row.low):
            parts.append(_line(at(row.low), y + 10, at(row.high), y + 10, "whisker"))
            parts += [_line(at(v), y + 5, at(v), y + 15, "whisker") for v in (row.low, row.high)]
        parts.append(text(WIDTH - 4, y + 15, row.said, "end"))
    if not math.isnan(mark):
        parts.append(_line(at(mark), 4, at(mark), height - 42, "mark"))
    return _svg(title, height, parts)


def plane(title: str, points: Sequence[Point], *, x: str, y: str, kinds: tuple[str, str]) -> str:
    """Two values for each point over a third, all in percent. Names stand above in a row of their own, with lines down."""
    left, right, top, bottom = 70.0, WIDTH - 30.0, 84.0, 344.0
    ordered = sorted(points, key=lambda point: point.x)

    def across(value: float) -> float:
        return left + (right - left) * value / 100

    def down(value: float) -> float:
        return bottom - (bottom - top) * value / 100

    parts = []
    for tick in range(0, 101, 20):
        parts.append(_line(left, down(tick), right, down(tick), "rule"))
        parts.append(text(left - 8, down(tick) + 4, f"{tick}", "tick end"))
        parts.append(text(across(tick), bottom + 18, f"{tick}", "tick middle"))
    parts.append(text((left + right) / 2, bottom + 40, x, "unit middle"))
    parts.append(
        f'<text transform="translate(18 {(top + bottom) / 2}) rotate(-90)" class="unit middle">{escape(y)}</text>'
    )
    places = apart([across(point.x) for point in ordered], 76, left + 20, right - 14)
    for point, place in zip(ordered, places, strict=True):
        at = across(point.x)
        parts.append(text(place, 46, point.name, "middle head"))
        parts.append(_line(place, 52, at, top - 6, "lead"))
        parts.append(_line(at, top - 6, at, down(point.other), "lead"))
        parts.append(f'<circle cx="{at:.1f}" cy="{down(point.y):.1f}" r="5" class="dot"/>')
        parts.append(f'<circle cx="{at:.1f}" cy="{down(point.other):.1f}" r="5" class="ring"/>')
    parts.append(f'<circle cx="{left + 6}" cy="12" r="5" class="dot"/>')
    parts.append(text(left + 18, 16, kinds[0], ""))
    parts.append(f'<circle cx="{left + 336}" cy="12" r="5" class="ring"/>')
    parts.append(text(left + 348, 16, kinds[1], ""))
    return _svg(title, int(bottom) + 50, parts)


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places in rising order, moved as little as it takes for them to be `gap` apart and within bounds."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else low))
    most = high
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], most)
        most = moved[i] - gap
    return moved


def text(x: float, y: float, said: str, kind: str) -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(said)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _ticks(most: float) -> list[float]:
    step = next(s for s in (0.1, 0.25, 0.5, 1, 5, 10, 20, 25, 50, 100, 1e9) if most / s <= 6)  # noqa: PLR2004 - ticks that fit
    return [round(i * step, 6) for i in range(int(most / step + 1e-9) + 1)]


def _svg(title: str, height: int, parts: Iterable[str]) -> str:
    label = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
