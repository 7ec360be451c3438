"""Shares with what is known of them: intervals for counts, for clusters, and for nothing at all. Pure functions."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
DRAWS = 2_000
"""Resamplings of a bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many, with a 95 % Wilson interval."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share; not a number where nothing was tried."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson interval."""
        return wilson(self.hits, self.of)

    @property
    def bound(self) -> float | None:
        """What the share is below, with 95 % confidence, where it was never seen; else nothing."""
        return zero_bound(self.of) if self.of and not self.hits else None

    def __add__(self, other: "Share") -> "Share":
        return Share(hits=self.hits + other.hits, of=self.of + other.of)

    def to_json(self) -> dict[str, float | int | None]:
        """As a JSON object; shares to four places."""
        low, high = self.interval
        known = bool(self.of)
        return {
            "hits": self.hits,
            "of": self.of,
            "share": round(self.value, 4) if known else None,
            "low": round(low, 4) if known else None,
            "high": round(high, 4) if known else None,
            "bound": None if self.bound is None else round(self.bound, 4),
        }


def share(found: Sequence[bool]) -> Share:
    """The share of what is true."""
    return Share(hits=sum(found), of=len(found))


def wilson(hits: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a share; everything, where nothing was tried."""
    if not of:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, z2 = hits / of, z * z
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    low = 0.0 if hits == 0 else middle - half  # exact at the ends, whatever rounding says
    high = 1.0 if hits == of else middle + half
    return low, high


def zero_bound(of: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided upper bound of a share of which nothing was seen in `of` tries: `1 - 0.05 ** (1 / n)`."""
    return float(1 - (1 - confidence) ** (1 / of)) if of else 1.0


def clustered(clusters: Sequence[Share], seed: str, draws: int = DRAWS) -> tuple[float, float]:
    """A 95 % interval of the share over all clusters, by resampling whole clusters: their members are not independent."""
    if not clusters:
        return 0.0, 1.0
    chance = random.Random(seed)  # noqa: S311 - has to come out again
    values = []
    for _ in range(draws):
        drawn = chance.choices(clusters, k=len(clusters))
        of = sum(cluster.of for cluster in drawn)
        values.append(sum(cluster.hits for cluster in drawn) / of if of else 0.0)
    values.sort()
    tail = (1 - CONFIDENCE) / 2
    return values[int(tail * draws)], values[min(int((1 - tail) * draws), draws - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value; not a number of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
