"""Runs on record, from the command line: listed, shown, gone on with, replayed, forgotten."""

import json
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from delegator.home import data_home
from delegator.journal import Journal, Past
from messages_api import Status
from programs import MANY_SECONDS, Main, interruptible, main, read_until, run, started
from requirements import requirement
from serving import NEVER, delegate, have_reviewed, playing, say, serving

__all__ = ["interruptible", "main"]

QUESTION = "What is BM25?"
WELL = (delegate(QUESTION), have_reviewed("D1"), say("BM25 ranks [11]."))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def asked(main: Main, docs: Path, *more: str) -> str:
    """A finished offline run; its id."""
    status, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), *more, QUESTION)
    assert status == 0
    return str(json.loads(out)["run_id"])


def answered() -> set[str]:
    """The calls that the journal holds an answer of."""
    with Past(data_home()) as past:
        run = past.runs(1)[0]["id"]
        return {call["key"] for call in past.calls(run) if call["state"] == "answered"}


def listed(main: Main) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(main("runs", "--json")[1])
    return found


def test_runs_are_listed_the_newest_first(main: Main, docs: Path) -> None:
    ids = [asked(main, docs), asked(main, docs)]
    status, out, err = main("runs")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ids[::-1]
    assert all(re.search(r"\d\d:\d\d  complete +What is BM25\?$", x) for x in out.splitlines())
    assert [entry["run_id"] for entry in listed(main)] == ids[::-1]
    assert listed(main)[0]["delegations"] == 2
    assert len(main("runs", "--limit", "1")[1].splitlines()) == 1


def test_a_run_is_shown_with_who_did_what_and_its_answer(main: Main, docs: Path) -> None:
    id = asked(main, docs)
    status, out, _ = main("show", id[:-2])
    assert status == 0
    assert out.startswith(f"What is BM25?\n{id} · ")
    assert "D1 researcher: What is BM25?\n   complete · 3 calls" in out
    assert "\n   D2 critic: Review D1\n      complete, accept" in out
    assert "BM25 is a ranking function" in out
    whole = json.loads(main("show", id, "--json")[1])
    assert whole["answer"]["run_id"] == id
    assert whole["intact"] is True
    events = [json.loads(line) for line in main("show", id, "--events")[1].splitlines()]
    assert [event["event"] for event in events] == [e["event"] for e in whole["events"]]
    assert events[0]["event"] == "run_started"


def test_a_record_that_was_changed_says_so(main: Main, docs: Path) -> None:
    id = asked(main, docs)
    with sqlite3.connect(data_home() / "runs.sqlite") as connection:
        connection.execute("update entries set agent = 'D9' where place % 4294967296 = 5")
    assert "The record was changed: entry 5" in main("show", id)[1]
    assert json.loads(main("show", id, "--json")[1])["intact"] is False


@requirement("W2")
def test_a_run_that_was_killed_goes_on_where_it_was(main: Main, docs: Path) -> None:
    script = playing(delegate("a"), delegate(NEVER), have_reviewed("D1"), say("BM25 ranks [11]."))
    with serving(script) as served:
        with started("ask", "--docs", str(docs), "--base-url", served.url, QUESTION) as process:
            read_until(process.stderr, "D2 researcher: never")
            deadline = time.monotonic() + MANY_SECONDS
            while answered() != {"orchestrator/1", "D1/1", "D1/2", "orchestrator/2"}:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
        before = len(served.api.exchanges)
        entry = listed(main)[0]
        assert entry["outcome"] is None
        assert "It did not end: delegator resume" in main("show", entry["run_id"])[1]
        status, _, err = main("resume", entry["run_id"], "--max-seconds", "1")
    assert status == 3
    assert "D1 complete" in err
    again = [x for x in served.api.exchanges[before:] if b'"task": "a"' in x.raw]
    assert again == []


@requirement("W2")
def test_a_run_that_failed_goes_on_when_the_server_is_well_again(main: Main, docs: Path) -> None:
    down = Status(code=401, error_type="authentication_error")
    script = playing(WELL[0], down, *WELL[1:])
    with serving(script) as served:
        status, _, err = main("ask", "--docs", str(docs), "--base-url", served.url, QUESTION)
        assert status == 1
        id = listed(main)[0]["run_id"]
        assert f"delegator resume {id} goes on from here" in err
        asked_before = len(served.api.exchanges)
        status, out, _ = main("resume", id, "--json")
        assert status == 0
        assert (
            len(served.api.exchanges) - asked_before == 3
        )  # "have it reviewed", the review, the answer
    answer = json.loads(out)
    assert answer["run_id"] == id
    assert answer["answer"].startswith("BM25 ranks [1]")
    assert listed(main)[0]["outcome"] == "complete"


@requirement("W2")
def test_a_run_that_reached_a_limit_goes_on_with_a_higher_one(main: Main, docs: Path) -> None:
    options = ("--offline", "--docs", str(docs))
    status, _, _ = main("ask", *options, "--max-calls", "4", QUESTION)
    assert status == 3
    id = listed(main)[0]["run_id"]
    status, out, _ = main("resume", id, "--max-calls", "50", "--json")
    answer = json.loads(out)
    assert (status, answer["outcome"]) == (0, "complete")


@requirement("W2")
def test_a_run_at_work_in_another_process_is_left_to_it(main: Main, docs: Path) -> None:
    id = asked(main, docs)
    with Journal(data_home()) as journal, journal.claimed(id):
        status, _, err = run("resume", id)
    assert status == 2
    assert err == (
        f"delegator: run {id} is at work in another process\n"
        "           Wait for it, or stop it, then resume.\n"
    )


@pytest.mark.parametrize(
    "level", ["raw", "marked", "clean", "typed", "sealed", "guarded", "planned"]
)
def test_a_replay_at_its_own_level_differs_in_nothing(level: str, main: Main, docs: Path) -> None:
    id = asked(main, docs, "--trust", level)
    status, out, _ = main("replay", id)
    assert (status, out) == (0, "Nothing differs.\n")


def test_a_replay_at_another_level_reports_what_differs_and_asks_no_server(
    main: Main, docs: Path
) -> None:
    with serving(playing(*WELL)) as served:
        main("ask", "--docs", str(docs), "--base-url", served.url, QUESTION)
        sent = len(served.api.exchanges)
        id = listed(main)[0]["run_id"]
        status, out, _ = main("replay", id, "--trust", "raw", "--json")
        assert len(served.api.exchanges) == sent
    found = json.loads(out)["differences"]
    assert status == 1
    assert {"what": "trust level", "before": "typed", "after": "raw"} in found


TEN = [
    (level, steps)
    for level in ("typed", "clean")
    for steps in (
        WELL,
        (delegate(QUESTION), say("BM25 ranks [11].")),
        (delegate("a"), delegate("b"), say("BM25 ranks [11] and [21].")),
        (delegate(QUESTION), have_reviewed("D1"), delegate("more"), say("So it is [11].")),
        (delegate(QUESTION, "b"), have_reviewed("D1", "D2"), say("It is [11], [21].")),
    )
]


@requirement("W2")
def test_ten_runs_are_replayed_at_other_levels_without_a_server(main: Main, docs: Path) -> None:
    ids = []
    for level, steps in TEN:
        with serving(playing(*steps)) as served:
            main("ask", "--trust", level, "--docs", str(docs), "--base-url", served.url, QUESTION)
            ids.append(listed(main)[0]["run_id"])
    assert len(set(ids)) == 10
    for (level, _), id in zip(TEN, ids, strict=True):
        for other in ("raw", "sealed", level):
            status, out, _ = main("replay", id, "--trust", other, "--json")
            found = json.loads(out)["differences"]
            wanted = {"what": "trust level", "before": level, "after": other}
            assert (status, wanted in found) == ((0, False) if other == level else (1, True))
            assert bool(found) is (other != level)


def test_a_replay_under_a_limit_shows_what_the_limit_would_have_done(
    main: Main, docs: Path
) -> None:
    id = asked(main, docs)
    status, out, _ = main("replay", id, "--max-calls", "3")
    assert status == 1
    assert "outcome:\n  - complete\n  + budget\n" in out


def test_an_exported_run_is_replayed_from_its_file(
    main: Main, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asked(main, docs)
    file = tmp_path / "run.json"
    assert main("show", id, "--export", str(file))[0] == 0
    monkeypatch.setenv("DELEGATOR_HOME", str(tmp_path / "another"))
    assert main("replay", str(file), "--docs", str(docs))[:2] == (0, "Nothing differs.\n")


def test_a_run_from_a_file_has_no_folder_read_and_no_server_asked_that_it_names(
    main: Main, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asked(main, docs)
    file, secret = tmp_path / "run.json", tmp_path / "secret"
    assert main("show", id, "--export", str(file))[0] == 0
    secret.mkdir()
    (secret / "passwords.md").write_text("# BM25\n\nBM25 is a ranking function. canary-93417\n")
    export = json.loads(file.read_text())
    given = {"docs": [str(secret)], "base_url": "http://127.0.0.1:9"}
    export["run"]["settings"] = json.dumps({**json.loads(export["run"]["settings"]), **given})
    file.write_text(json.dumps(export))
    monkeypatch.setenv("DELEGATOR_HOME", str(tmp_path / "another"))
    for command in (("replay", str(file)), ("view", str(file), "--trust", "sealed", "--out", "-")):
        _, _, err = main(*command)
        assert "internal error" not in err
    found = [path for path in (tmp_path / "another").rglob("*") if path.is_file()]
    assert not any(b"canary-93417" in path.read_bytes() for path in found)


def damaged(export: dict[str, Any], where: str, value: Any) -> None:
    places = {"run": [export["run"]], "entry": [export["entries"][2]], "all": export["entries"]}
    for place in places[where]:
        place.update(value)


@requirement("cli:errors")
@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("entry", {"n": 2**70}),
        ("entry", {"n": "x"}),
        ("run", {"settings": "[]"}),
        ("run", {"settings": "{"}),
        ("run", {"settings": '{"level": "no level"}'}),
        ("run", {"seed": "zz"}),
        ("run", {"answer": "{}"}),
        ("all", {"data": "{"}),
        ("all", {"data": "[]"}),
        ("all", {"data": "[" * 100_000}),
    ],
)
def test_a_damaged_file_is_named_and_not_blamed_on_the_program(
    where: str, value: dict[str, Any], main: Main, docs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    assert main("show", asked(main, docs), "--export", str(file))[0] == 0
    export = json.loads(file.read_text())
    damaged(export, where, value)
    file.write_text(json.dumps(export))
    status, _, err = main("replay", str(file))
    assert status == 2
    assert "internal error" not in err
    assert len(err.splitlines()) <= 4


@pytest.mark.parametrize("words", ["{}", "[]", "no json", '{"runs": []}'])
def test_a_file_that_holds_no_run_is_named(words: str, main: Main, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(words)
    status, _, err = main("replay", str(file))
    assert status == 2
    assert err.startswith(f"delegator: {file} holds no run\n")


def test_runs_are_forgotten_only_when_somebody_is_sure(main: Main, docs: Path) -> None:
    kept, gone = asked(main, docs), asked(main, docs)
    status, _, err = run("runs", "--delete", gone, stdin=b"n\n")
    assert status == 130
    assert "Forget 1 of them for good?" in err
    assert len(listed(main)) == 2
    assert main("runs", "--delete", gone, "--yes")[0] == 0
    assert [entry["run_id"] for entry in listed(main)] == [kept]
    assert main("runs", "--prune", "1", "--yes")[2] == "There is nothing to forget.\n"
    assert main("runs", "--prune", "0", "--yes")[0] == 0
    assert main("runs")[1] == "No run is on record yet.\n"


@requirement("cli:errors")
@pytest.mark.parametrize("command", ["show", "resume", "replay"])
def test_a_run_that_is_not_on_record_is_named(command: str, main: Main, docs: Path) -> None:
    asked(main, docs)
    status, _, err = main(command, "20000101")
    assert (status, err) == (
        2,
        "delegator: there is no such run\n           delegator runs lists them.\n",
    )


@requirement("cli:errors")
def test_without_a_journal_there_are_no_runs(main: Main, docs: Path) -> None:
    status, _, err = main("runs")
    assert status == 2
    assert err.startswith("delegator: there is no journal in ")
    asked(main, docs, "--no-journal")
    assert not (data_home() / "runs.sqlite").exists()


@requirement("cli:errors")
def test_a_home_that_takes_no_journal_is_named_and_can_be_done_without(
    docs: Path, tmp_path: Path
) -> None:
    home = tmp_path / "file"
    home.write_text("not a folder")
    options = ("--offline", "--docs", str(docs), "--home", str(home))
    status, _, err = run("ask", *options, QUESTION)
    assert status == 2
    assert f"delegator: cannot write the journal {home}" in err
    assert "--no-journal" in err
    assert run("ask", *options, "--no-journal", QUESTION)[0] == 0


def test_the_credentials_in_an_address_are_not_put_on_record(main: Main, docs: Path) -> None:
    with serving(playing(*WELL)) as served:
        secret = served.url.replace("http://", "http://me:canary@")
        main("ask", "--docs", str(docs), "--base-url", secret, QUESTION)
    for file in data_home().iterdir():
        if file.is_file():
            assert b"canary" not in file.read_bytes()


def test_ten_thousand_runs_are_listed_by_looking_at_twenty(main: Main, docs: Path) -> None:
    asked(main, docs)
    with sqlite3.connect(data_home() / "runs.sqlite") as connection:
        connection.executemany(
            "insert into runs (id, question, settings, seed, started) values (?, 'q', '{}', '', ?)",
            [(f"19990101-{i:06}", float(i)) for i in range(10_000)],
        )
        plan = connection.execute(
            "explain query plan select id from runs order by started desc limit 20"
        ).fetchall()
    assert "runs_by_time" in str(plan)
    assert len(main("runs")[1].splitlines()) == 20
