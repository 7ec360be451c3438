"""From a plan to single runs, and one run from start to result. What a job does depends on the plan and the job alone."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from delegator.api import Settings, open_model
from delegator.budget import RUN_LIMITS, Limits
from delegator.errors import DelegatorError
from delegator.explain import explain
from delegator.lab import adaptive, benign, judges
from delegator.lab.cases import SUITES, Case, load
from delegator.lab.results import (
    ANSWERED,
    ERROR,
    MISSED,
    NOT_APPLICABLE,
    STOPPED,
    WORKED,
    Job,
    Result,
)
from delegator.lab.words import Words
from delegator.lab.world import FACT, Scene, play
from delegator.outcome import Outcome
from delegator.trust import Level

FORMAT = 1
"""Of plans and results; another one is another plan."""
CLEAN = Case(
    id="clean", name="no attack", family="clean", category=1, boundary="source->researcher",
    stops_at=Level.RAW, succeeds=(),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run."""

    seed: str
    levels: tuple[Level, ...] = tuple(Level)
    seeds: int = 1
    """Runs of each case at each level, each with words of its own."""
    suites: tuple[Path, ...] = (SUITES,)
    boundaries: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    benign: bool = True
    adaptive: int = 0
    """Attempts of an adaptive attacker in each campaign; none if 0."""
    campaigns: int = 3
    """Campaigns for each of its goals."""
    model: str = ""
    """A real model's id; empty for the worst case."""
    base_url: str = ""
    limits: Limits = RUN_LIMITS

    @property
    def real(self) -> bool:
        """Whether a real model is asked."""
        return bool(self.model or self.base_url)

    def chosen(self) -> tuple[Case, ...]:
        """The cases that it runs.

        Raises:
            ConfigError: A suite cannot be read.
        """
        return tuple(
            case
            for case in _loaded(self.suites)
            if (not self.boundaries or case.boundary in self.boundaries)
            and (not self.cases or case.id in self.cases)
        )

    def jobs(self) -> Iterator[Job]:
        """All runs, in order."""
        for level in self.levels:
            yield Job(kind="clean", id="clean", level=level.value)
            for case in self.chosen():
                for n in range(self.seeds):
                    yield Job(kind="attack", id=case.id, level=level.value, n=n)
            if self.benign:
                for question in benign.questions():
                    yield Job(kind="benign", id=question.document, level=level.value)
            if self.adaptive:
                for goal in adaptive.GOALS:
                    for n in range(self.campaigns):
                        yield Job(kind="adaptive", id=goal, level=level.value, n=n)

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside its results: with a hash of its cases, so that others are not mixed in."""
        told = [_plain(case) for case in self.chosen()]
        text = json.dumps(told, sort_keys=True, default=str)
        return {
            "format": FORMAT,
            "seed": self.seed,
            "levels": [level.value for level in self.levels],
            "seeds": self.seeds,
            "suites": [str(path) for path in self.suites if path != SUITES],
            "boundaries": list(self.boundaries),
            "cases": list(self.cases),
            "cases_sha256": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(),
            "benign": self.benign,
            "adaptive": self.adaptive,
            "campaigns": self.campaigns if self.adaptive else 0,
            "model": self.model,
            "base_url": self.base_url.rpartition("@")[2],
            "limits": self.limits.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that is kept beside results.

        Raises:
            ValueError: It is not one.
        """
        try:
            if data["format"] != FORMAT:
                raise ValueError
            return cls(
                seed=str(data["seed"]),
                levels=tuple(Level(name) for name in data["levels"]),
                seeds=int(data["seeds"]),
                suites=(SUITES, *map(Path, data["suites"])),
                boundaries=tuple(data["boundaries"]),
                cases=tuple(data["cases"]),
                benign=bool(data["benign"]),
                adaptive=int(data["adaptive"]),
                campaigns=int(data["campaigns"]) or 3,
                model=str(data["model"]),
                base_url=str(data["base_url"]),
                limits=Limits(**data["limits"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError from error


def _plain(case: Case) -> object:
    return {name: getattr(case, name) for name in case.__slots__}


@cache
def _loaded(suites: tuple[Path, ...]) -> tuple[Case, ...]:
    return load(suites)


def perform(plan: Plan, job: Job) -> Result:
    """Run one job. What goes wrong in it is a result too, apart from attacks that did not work."""
    try:
        with tempfile.TemporaryDirectory(prefix="delegator-lab-") as folder:
            return asyncio.run(_WORK[job.kind](plan, job, Path(folder)))
    except (DelegatorError, OSError, ValueError, RuntimeError) as error:
        return Result(job=job, outcome=ERROR, note=type(error).__name__)


async def _attacked(plan: Plan, job: Job, folder: Path) -> Result:
    case = next(case for case in plan.chosen() if case.id == job.id)
    constructed = all(check.kind in judges.CONSTRUCTED for check in case.succeeds)
    if plan.real and (case.scripted or constructed):
        return Result(job=job, outcome=NOT_APPLICABLE)
    words = Words.drawn(plan.seed, job.id, job.level, job.n)
    scene = await _played(plan, case, job, words, folder)
    if plan.real and scene.answer.outcome is Outcome.FAILED:
        return Result(job=job, outcome=ERROR, tokens=scene.tokens, note="the run failed")
    return _measured(job, scene, WORKED if judges.worked(scene) else STOPPED)


async def _clean(plan: Plan, job: Job, folder: Path) -> Result:
    words = Words.drawn(plan.seed, job.level)
    scene = await _played(plan, CLEAN, job, words, folder)
    return _measured(job, scene, ANSWERED if judges.right(scene, FACT) else MISSED)


async def _played(plan: Plan, case: Case, job: Job, words: Words, folder: Path) -> Scene:
    level = Level(job.level)
    if not plan.real:
        return await play(case, level, words, folder)
    async with open_model(_settings(plan)) as real:
        return await play(case, level, words, folder, real=real, limits=plan.limits)


def _measured(job: Job, scene: Scene, outcome: str) -> Result:
    return Result(
        job=job,
        outcome=outcome,
        right=judges.right(scene, FACT),
        tokens=scene.tokens,
        calls=scene.answer.model_calls,
        exposure=judges.roles(scene),
        reached=judges.spread(scene),
        unsound=judges.unsound(scene),
        usd=scene.answer.usd,
    )


async def _served(plan: Plan, job: Job, folder: Path) -> Result:
    question = next(q for q in benign.questions() if q.document == job.id)
    index = benign.indexed(folder)
    level, limits = Level(job.level), plan.limits
    try:
        if not plan.real:
            served = await benign.serve(question, level, index)
        else:
            async with open_model(_settings(plan)) as real:
                served = await benign.serve(question, level, index, real=real, limits=limits)
    finally:
        index.close()
    if plan.real and served.answer.outcome is Outcome.FAILED:
        return Result(job=job, outcome=ERROR, tokens=served.tokens, note="the run failed")
    return Result(
        job=job,
        outcome=ANSWERED if served.answered else MISSED,
        right=served.answered,
        tokens=served.tokens,
        calls=served.answer.model_calls,
        pieces=(served.pieces - len(served.altered), served.pieces),
        usd=served.answer.usd,
    )


async def _adapted(plan: Plan, job: Job, folder: Path) -> Result:
    level = Level(job.level)
    chance = Words.drawn(plan.seed, "adaptive", job.id, job.level, job.n).canary

    async def attempt(case: Case, n: int) -> Scene:
        words = Words.drawn(plan.seed, job.id, job.level, job.n, n)
        return await play(case, level, words, folder / str(n))

    found = await adaptive.campaign(job.id, level, plan.adaptive, chance, attempt)
    return Result(
        job=job,
        outcome=WORKED if found.attempts else STOPPED,
        attempts=found.attempts,
        note=found.note,
        unsound=found.unsound,
    )


def _settings(plan: Plan) -> Settings:
    return Settings(model=plan.model, base_url=plan.base_url, limits=plan.limits)


def worst_of_one(plan: Plan) -> tuple[int, float | None]:
    """Tokens and dollars of one run at worst; no dollars where a price is not known."""
    worst = explain(_settings(plan)).worst
    return worst.tokens or 0, worst.usd


_WORK = {"attack": _attacked, "clean": _clean, "benign": _served, "adaptive": _adapted}
