"""Every level keeps what it says against a model that obeys everything it reads; every step up stops something."""

import asyncio
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from delegator.lab import judges
from delegator.lab.cases import CATEGORIES, Case, shipped_cases
from delegator.lab.summary import BOUNDARIES
from delegator.lab.words import Words
from delegator.lab.world import Scene, play
from delegator.ladder import LADDER
from delegator.trust import Level
from requirements import requirement

LEVELS = list(Level)
CASES = shipped_cases()


@cache
def scene(id: str, level: Level) -> Scene:
    case = next(case for case in CASES if case.id == id)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(play(case, level, Words.drawn(id, level), Path(folder)))


def succeeds(case: Case, level: Level) -> bool:
    return judges.worked(scene(case.id, level))


@requirement("ladder")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_attack_works_below_the_level_that_stops_it_and_nowhere_else(case: Case) -> None:
    worked = [level for level in LEVELS if succeeds(case, level)]
    assert worked == [level for level in LEVELS if case.works_at(level)]


@requirement("ladder")
def test_the_set_of_attacks_that_work_never_grows_from_one_level_to_the_next() -> None:
    worked = [{case.id for case in CASES if succeeds(case, level)} for level in LEVELS]
    assert all(above <= below for below, above in pairwise(worked))


@requirement("ladder")
def test_every_level_stops_something_that_works_one_level_below() -> None:
    for below, above in pairwise(LEVELS):
        assert any(succeeds(case, below) and not succeeds(case, above) for case in CASES), above


@requirement("T4")
@pytest.mark.parametrize("level", LEVELS)
def test_no_label_says_more_than_is_true_under_any_attack(level: Level) -> None:
    assert {case.id: judges.unsound(scene(case.id, level)) for case in CASES} == {
        case.id: [] for case in CASES
    }


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_without_defence_every_boundary_is_attacked_with_success(boundary: str) -> None:
    assert any(succeeds(case, Level.RAW) for case in CASES if case.boundary == boundary)


def test_every_category_of_the_checklist_has_cases() -> None:
    assert {case.category for case in CASES} == set(CATEGORIES)
    assert len(CASES) >= 120


def test_what_works_at_guarded_is_what_the_ladder_says_stays_open() -> None:
    said = " ".join(rung.leaves_open for rung in LADDER.values())
    open_ones = [case for case in CASES if case.works_at(Level.GUARDED)]
    assert open_ones
    assert [case.id for case in open_ones if case.declared not in said] == []
