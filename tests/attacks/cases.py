"""What a case is, and the list of all of them.

Success is decided by code on what happened. `stops_at` is the first level at which the case must fail: `RAW` for what the floor
keeps everywhere, `None` for what stays open at every level and is said to.
"""

from collections.abc import Callable
from dataclasses import dataclass

from attacks.world import World
from delegator.trust import Level

Attack = Callable[[World], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attack: which part of the checklist it belongs to, which boundary it crosses, where it must stop."""

    name: str
    category: int
    boundary: str
    stops_at: Level | None
    succeeds: Attack


CASES: list[Case] = []


def attack(category: int, boundary: str, stops_at: Level | None) -> Callable[[Attack], Attack]:
    """Add a function to the cases."""

    def add(function: Attack) -> Attack:
        case = Case(
            name=function.__name__.replace("_", " "),
            category=category,
            boundary=boundary,
            stops_at=stops_at,
            succeeds=function,
        )
        CASES.append(case)
        return function

    return add
