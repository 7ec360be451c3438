"""Every level keeps what it says against a model that obeys everything it reads; every step up stops something."""

import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from attacks import CASES, Case, World
from delegator.trust import Level
from requirements import requirement

LEVELS = list(Level)


@cache
def succeeds(case: Case, level: Level) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return case.succeeds(World(level=level, folder=Path(folder) / "docs"))


@requirement("ladder")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_attack_works_below_the_level_that_stops_it_and_nowhere_else(case: Case) -> None:
    worked = [level for level in LEVELS if succeeds(case, level)]
    stop = LEVELS.index(case.stops_at) if case.stops_at is not None else len(LEVELS)
    assert worked == LEVELS[:stop]


@requirement("ladder")
def test_the_set_of_attacks_that_work_never_grows_from_one_level_to_the_next() -> None:
    worked = [{case.name for case in CASES if succeeds(case, level)} for level in LEVELS]
    assert all(above <= below for below, above in pairwise(worked))


@requirement("ladder")
def test_every_level_stops_something_that_works_one_level_below() -> None:
    for below, above in pairwise(LEVELS):
        assert any(succeeds(case, below) and not succeeds(case, above) for case in CASES), above


def test_every_category_of_the_checklist_has_cases() -> None:
    assert {case.category for case in CASES} == set(range(1, 20))


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
