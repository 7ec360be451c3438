"""A plan is run in any order, by any number of processes, after any interruption: its results are the same to the byte."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from delegator.errors import ConfigError
from delegator.lab import jobs as jobs_module
from delegator.lab import progress, runner
from delegator.lab.jobs import Plan, perform
from delegator.lab.results import ERROR, PLAN, RESULTS, Folder, Job, Result
from delegator.lab.runner import Purse, run
from delegator.lab.summary import summarize
from delegator.lab.world import play
from delegator.models.scripted import Scripted, say
from delegator.trust import Level
from programs import Main, main
from programs import run as program
from requirements import requirement
from serving import delegate, have_reviewed, playing, serving
from serving import say as words

__all__ = ["main"]

PLAN_A = Plan(
    seed="1",
    levels=(Level.RAW, Level.GUARDED),
    cases=("mail-sent", "order-plain", "closer-json"),
    benign=False,
)


def done(folder: Path, plan: Plan = PLAN_A, jobs: int = 1, **more: Any) -> list[Result]:
    told: list[Result] = []
    run(plan, Folder(folder), jobs=jobs, tell=told.append, **more)
    return told


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    done(folder)
    return (folder / RESULTS).read_bytes()


@requirement("lab:same")
def test_the_same_seed_gives_the_same_bytes_with_one_process_and_with_two(
    tmp_path: Path, results: bytes
) -> None:
    done(tmp_path, jobs=2)
    assert (tmp_path / RESULTS).read_bytes() == results


@requirement("lab:same")
def test_another_seed_draws_other_words_and_comes_to_the_same_judgement(
    tmp_path: Path, results: bytes
) -> None:
    other = Plan(seed="2", levels=PLAN_A.levels, cases=PLAN_A.cases, benign=False)
    done(tmp_path, other)
    outcomes = [json.loads(line)["outcome"] for line in results.splitlines()]
    assert [r.outcome for r in Folder(tmp_path).results()] == outcomes


@requirement("lab:same")
@pytest.mark.parametrize("cut", [0, 2, 10, 200])
def test_what_was_cut_off_is_run_again_and_nothing_else(
    tmp_path: Path, results: bytes, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(tmp_path)
    kept = results[: len(results) - cut]
    (tmp_path / RESULTS).write_bytes(kept)
    ran: list[Job] = []

    def noted(plan: Plan, job: Job) -> Result:
        ran.append(job)
        return perform(plan, job)

    monkeypatch.setattr("delegator.lab.runner.perform", noted)
    done(tmp_path)
    assert (tmp_path / RESULTS).read_bytes() == results
    assert len(ran) == len(results.splitlines()) - kept.count(b"\n")


def test_a_folder_of_another_plan_is_refused_by_what_differs(tmp_path: Path) -> None:
    Folder(tmp_path).claim(PLAN_A.to_json())
    with pytest.raises(ConfigError, match=r"another plan \(seed differ\)"):
        done(tmp_path, Plan(seed="2", levels=PLAN_A.levels, cases=PLAN_A.cases, benign=False))


@pytest.mark.parametrize("rubbish", ["{}\n", "x\n{}\n", '{"kind": 1}\n', "\x00\n", "[]\n"])
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, rubbish: str) -> None:
    (tmp_path / RESULTS).write_text(rubbish)
    with pytest.raises(ConfigError, match="line 1: not a result"):
        Folder(tmp_path).results()


def test_a_plan_comes_out_of_its_folder_as_it_went_in(tmp_path: Path) -> None:
    Folder(tmp_path).claim(PLAN_A.to_json())
    assert Plan.from_json(Folder(tmp_path).plan).to_json() == PLAN_A.to_json()


def test_what_goes_wrong_in_a_run_is_an_error_and_no_failed_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(jobs_module, "play", breaks)
    results = done(tmp_path)
    assert {r.outcome for r in results} == {ERROR}
    summary = summarize(PLAN_A, results)
    assert [row.attacks.of for row in summary.rows] == [0, 0]
    assert [row.errors for row in summary.rows] == [4, 4]
    monkeypatch.setattr(jobs_module, "play", play)
    done(tmp_path)  # they are made again
    assert ERROR not in {r.outcome for r in Folder(tmp_path).results()}


def test_a_run_starts_only_if_its_worst_case_fits_into_the_purse(tmp_path: Path) -> None:
    purse = Purse(tokens=1_000_000, each_tokens=400_000)
    told = done(tmp_path, purse=purse, jobs=1)
    assert len(told) == len(list(PLAN_A.jobs()))  # what was reserved and not used comes back
    small = tmp_path / "small"
    assert done(small, purse=Purse(tokens=1_000_000, each_tokens=1_000_001)) == []


# A real model


class Real(Scripted):
    """Plays a real model: it is told nothing, and answers what it likes."""

    async def __aenter__(self) -> "Real":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def test_with_a_real_model_only_cases_apply_that_work_by_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        jobs_module,
        "open_model",
        lambda _settings: Real({"orchestrator": lambda _r: say("BM25 is a ranking function.")}),
    )
    plan = Plan(
        seed="1", levels=(Level.RAW,), cases=("order-plain", "reader-obeys", "terminal-csi"),
        benign=False, model="claude-of-the-tests",
    )  # fmt: skip
    found = {r.job.id: r for r in done(tmp_path, plan)}
    assert {id: r.outcome for id, r in found.items()} == {
        "clean": "answered",
        "order-plain": "stopped",
        "reader-obeys": "not_applicable",
        "terminal-csi": "not_applicable",
    }
    assert found["order-plain"].right


# The command


def _alone(folder: Path) -> tuple[str, ...]:
    return ("--seed", "1", "--jobs", "1", "--quiet", "--out", str(folder))


def test_a_run_prints_its_tables_and_writes_json_and_a_page(main: Main, tmp_path: Path) -> None:
    status, out, err = main("trust", "run", "--case", "mail-sent", *_alone(tmp_path))
    assert status == 0
    assert "Every attack stopped where it is declared to." in out
    assert err == f"{tmp_path / 'report.html'} shows it with plots\n"
    told = json.loads((tmp_path / "report.json").read_text())
    by = {row["level"]: row["attack_success"]["hits"] for row in told["levels"]}
    assert by == {"raw": 1, "marked": 1, "clean": 1, "typed": 1, "sealed": 1, "guarded": 0, "planned": 0}  # fmt: skip
    again, printed, _ = main("trust", "report", str(tmp_path), "--json")
    assert (again, json.loads(printed)) == (0, told)


def test_without_a_seed_a_fresh_one_is_drawn_and_kept(main: Main, tmp_path: Path) -> None:
    seeds = set()
    for name in ("a", "b"):
        folder = tmp_path / name
        args = ("--case", "mail-sent", "--trust", "raw", "--jobs", "1", "--out", str(folder))
        assert main("trust", "run", *args)[0] == 0
        assert main("trust", "run", *args)[0] == 0  # and goes on with it
        seeds.add(json.loads((folder / PLAN).read_text())["seed"])
    assert len(seeds) == 2


@requirement("cli:errors")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--case", "nothing-like-it"), "there is no such case"),
        (("--boundary", "moon"), "there is no such boundary"),
        (("--suite", "nowhere"), "no suite"),
        (("--trust", "high"), "'high' is not one of"),
        (("--seeds", "0"), "0 is not in the range"),
        (("--adaptive", "3", "--model", "x"), "needs the worst-case model"),
        (("--model", "x", "--max-usd", "1"), "the price of this model is not known"),
        (("--max-tokens", "1"), "the worst-case model costs nothing"),
    ],
)
def test_wrong_usage_is_said_in_two_lines_with_status_2(
    main: Main, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = main("trust", "run", "--out", str(tmp_path / "o"), *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) <= 2
    assert not (tmp_path / "o").exists()


def test_a_report_of_nothing_says_what_to_do(main: Main, tmp_path: Path) -> None:
    assert main("trust", "report", str(tmp_path))[0] == 2
    assert "delegator trust run" in main("trust", "report", "--home", str(tmp_path))[2]


def test_results_of_other_cases_are_not_reported(main: Main, tmp_path: Path) -> None:
    plan = {**PLAN_A.to_json(), "cases_sha256": "0" * 64}
    Folder(tmp_path).claim(plan)
    status, out, err = main("trust", "report", str(tmp_path))
    assert (status, out) == (2, "")
    assert "the cases have changed" in err


def test_cases_are_listed_and_their_schema_printed_without_running_any(
    main: Main, tmp_path: Path
) -> None:
    listed = main("trust", "run", "--list", "--boundary", "critic->", "--home", str(tmp_path))[1]
    assert "sealed   critic-feedback" in listed
    assert "mail-sent" not in listed
    schema = json.loads(main("trust", "run", "--schema")[1])
    assert schema["properties"]["id"]
    told = json.loads(main("trust", "run", "--list", "--json", "--case", "mail-sent")[1])
    assert [case["stops_at"] for case in told] == ["guarded"]
    assert list(tmp_path.iterdir()) == []


@requirement("lab:same")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_run_keeps_what_is_done_and_goes_on(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    def run_into(folder: str) -> tuple[int, str, str]:
        args = ("--seed", "1", "--trust", "raw", "--boundary", "critic", "--quiet")
        return main("trust", "run", *args, "--jobs", jobs, "--out", str(tmp_path / folder))

    with monkeypatch.context() as patch:
        patch.setattr(progress, "shown", _interrupting_after(3))
        status, out, err = run_into("cut")
    assert (status, out) == (130, "")
    assert f"--out {tmp_path / 'cut'} goes on" in err
    assert len(Folder(tmp_path / "cut").results()) == 3
    assert run_into("cut")[0] == run_into("whole")[0] == 0
    assert (tmp_path / "cut" / RESULTS).read_bytes() == (tmp_path / "whole" / RESULTS).read_bytes()


def _interrupting_after(results: int) -> Any:
    """A bar on which a person presses Ctrl-C when so many runs are done."""

    @contextmanager
    def shown(_of: int, *, quiet: bool) -> Iterator[Callable[[Result], None]]:
        assert quiet
        told: list[Result] = []

        def tell(result: Result) -> None:
            told.append(result)
            if len(told) == results:
                raise KeyboardInterrupt

        yield tell

    return shown


def test_a_killed_process_ends_the_run_in_two_lines_and_loses_nothing(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> bool:
        raise BrokenProcessPool

    monkeypatch.setattr(runner, "run", dies)
    status, out, err = main("trust", "run", "--case", "mail-sent", *_alone(tmp_path / "o"))
    assert (status, out) == (1, "")
    assert err.startswith("delegator: a process of the lab was killed\n")
    assert len(err.splitlines()) == 2


def test_a_real_model_is_attacked_below_a_ceiling_that_is_told_before(tmp_path: Path) -> None:
    """It obeys nothing, reads the poison, and is judged by the same code."""
    orders = [delegate("What is BM25?"), have_reviewed("D1"), words("BM25 is a ranking function.")]
    with serving(playing(*orders * 2)) as served:
        args = ("--base-url", served.url, "--model", "claude-sonnet-4-5", "--max-tokens", "250000")
        status, out, err = program(
            "trust", "run", "--trust", "typed", "--case", "order-plain", "--seed", "1", "--jobs",
            "1", "--out", str(tmp_path), *args, ANTHROPIC_API_KEY="sk-of-the-tests",
        )  # fmt: skip
    assert err.startswith("2 runs, at worst 200,000 tokens, $")
    assert "with claude-sonnet-4-5" in out.split("\n")[0]
    assert status == 0, out
    found = {r.job.id: r for r in Folder(tmp_path).results()}
    assert found["order-plain"].outcome == "stopped"
    assert found["order-plain"].exposure["researcher"][0] > 0
    assert "sk-of-the-tests" not in (tmp_path / PLAN).read_text() + out + err
