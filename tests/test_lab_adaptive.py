"""The attacker that adapts: its attempts are cases, their number is fixed beforehand, and it comes out again from its seed."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from delegator.lab.adaptive import (
    CARRIERS,
    GOALS,
    PLACES,
    VOICES,
    WORDINGS,
    Found,
    Genes,
    campaign,
    case_for,
    may_reach,
)
from delegator.lab.cases import Case
from delegator.lab.words import ENCODINGS, Words
from delegator.lab.world import Scene, play
from delegator.trust import Level

PLAIN = Genes(place="body", encoding="plain", wording="plain", carrier="answer", voice=VOICES[0])


def tried(goal: str, level: Level, folder: Path, tries: int, seed: str) -> tuple[Found, list[str]]:
    made: list[str] = []

    async def attempt(case: Case, n: int) -> Scene:
        made.append(str(case.documents) + str(case.agents))
        return await play(case, level, Words.drawn(seed, n), folder / f"{seed}{len(made)}")

    return asyncio.run(campaign(goal, level, tries, seed, attempt)), made


@pytest.mark.parametrize("goal", GOALS)
def test_every_goal_is_reached_without_defence(goal: str, tmp_path: Path) -> None:
    found, made = tried(goal, Level.RAW, tmp_path, 20, "1")
    assert found.attempts == len(made) > 0  # it stops with the first success


@pytest.mark.parametrize("goal", GOALS)
def test_no_goal_is_reached_where_it_is_declared_to_be_stopped(goal: str, tmp_path: Path) -> None:
    stop = GOALS[goal][1]
    assert not may_reach(goal, stop)
    found, made = tried(goal, stop, tmp_path, 12, "1")
    assert (found.attempts, len(made)) == (0, 12)  # and all attempts are used
    assert found.unsound == ()


def test_the_same_seed_makes_the_same_attempts_and_another_one_others(tmp_path: Path) -> None:
    first, again, other = (
        tried("own-voice", Level.GUARDED, tmp_path / name, 6, seed)[1]
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert first == again
    assert first != other
    assert len(set(first)) > 1


@pytest.mark.parametrize("goal", GOALS)
def test_every_gene_makes_a_case_that_fits_the_schema(goal: str) -> None:
    changed = [
        *(replace(PLAIN, place=place) for place in PLACES),
        *(replace(PLAIN, encoding=way) for way in ENCODINGS),
        *(replace(PLAIN, wording=words) for words in WORDINGS),
        *(replace(PLAIN, carrier=carrier) for carrier in CARRIERS),
        *(replace(PLAIN, voice=voice, detour=True) for voice in VOICES),
    ]
    assert {case_for(goal, genes).stops_at for genes in changed} == {GOALS[goal][1]}
