"""The command line as a user meets it: statuses, streams, JSON, errors, and what comes in that should not."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from delegator.errors import Fault, ModelError
from messages_api import Cut, Html, Reply, Status
from programs import CONTROLS, PROGRAM, Main, interruptible, main, read_until, run, started
from requirements import requirement
from scripts import REVISE
from serving import NEVER, delegate, have_reviewed, playing, say, serving

__all__ = ["interruptible", "main"]

QUESTION = "What is BM25?"
FINDING = "BM25 ranks. [1]"
ERROR = re.compile(r"delegator: \S.*\n(?: {11}\S.*\n)?")
"""What is wrong, and on a second line what to do."""
SCHEMA = json.loads(files("delegator").joinpath("answer.schema.json").read_text())
WELL = (delegate(QUESTION), have_reviewed("D1"), say("BM25 ranks [11]."))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `delegator.toml` of a developer's is in the way."""
    monkeypatch.chdir(tmp_path)


def fits(answer: object) -> dict[str, Any]:
    """The object, checked against the schema in the package."""
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(answer)
    assert isinstance(answer, dict)
    return answer


# How a run ends


@requirement("cli:exit")
def test_a_complete_answer_exits_0_and_is_all_that_stdout_holds(docs: Path) -> None:
    status, out, err = run("ask", "--offline", "--docs", str(docs), QUESTION)
    assert status == 0
    assert out.startswith("BM25 is a ranking function that scores a document")
    assert '\n\nSources\n[1] bm25.md:3 "BM25 is a ranking function' in out
    assert "D1 researcher: What is BM25?" in err
    assert "D2 complete, accept" in err
    assert re.search(r"^complete · \d+ calls · [\d.]+ s · 2 delegations$", err, re.MULTILINE)


@requirement("cli:exit")
def test_a_run_that_reaches_a_limit_exits_3_and_names_it(docs: Path, main: Main) -> None:
    status, out, err = main("ask", "--offline", "--docs", str(docs), "--max-calls", "4", QUESTION)
    assert status == 3
    assert "The run stopped early: a limit was reached." in out
    assert 'bm25.md:3 "BM25 is a ranking function' in out
    assert ERROR.fullmatch(err[err.index("delegator: ") :])
    assert "limit of 4 model calls\n           Raise --max-calls" in err


@requirement("cli:exit")
def test_a_finding_that_stays_low_exits_4_and_is_shown(docs: Path, main: Main) -> None:
    with serving(playing(*WELL, review=REVISE)) as served:
        status, out, err = main("ask", "--docs", str(docs), "--base-url", served.url, QUESTION)
    assert status == 4
    assert out.endswith("Needs review\nD1 What is BM25? (revise, 2/5): Say who made it.\n")
    assert ERROR.fullmatch(err[err.index("delegator: ") :])


@requirement("cli:exit")
def test_a_run_whose_time_is_up_exits_3_and_says_so(docs: Path, main: Main) -> None:
    with serving(playing(delegate(NEVER))) as served:
        status, out, err = main(
            "ask", "--docs", str(docs), "--base-url", served.url, "--max-seconds", "1", QUESTION
        )
    assert (status, out.splitlines()[0]) == (3, "The run stopped early: the time was up.")
    assert err.endswith("stopped answering.\n           Try again, or raise --max-seconds.\n")


@requirement("cli:exit")
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Status(code=401, error_type="authentication_error"), "refused the credentials"),
        (Status(code=404, error_type="not_found_error"), "does not know this model or address"),
        (Html(), "not the Messages API"),
        (Cut(answer=say("BM25 ranks [11]."), after=-2), "cut off"),
    ],
    ids=["wrong key", "no such model", "nonsense", "cut"],
)
def test_a_model_call_that_fails_exits_1_names_the_fault_and_keeps_what_was_found(
    reply: Reply, words: str, docs: Path, main: Main
) -> None:
    with serving(playing(delegate(QUESTION), reply)) as served:
        status, out, err = main("ask", "--docs", str(docs), "--base-url", served.url, QUESTION)
    assert status == 1
    assert FINDING in out
    problem = err[err.index("delegator: ") :]
    assert ERROR.fullmatch(problem)
    assert words in problem


@requirement("cli:exit")
def test_a_server_that_is_not_there_exits_1(main: Main) -> None:
    status, out, err = main("ask", "--quiet", "--base-url", "http://127.0.0.1:1", QUESTION)
    assert (status, out.splitlines()[0]) == (1, "The run stopped early: a model call failed.")
    assert ERROR.fullmatch(err)
    assert "cannot be reached" in err


@requirement("W3")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_tree_prints_what_is_finished_and_exits_130(
    number: signal.Signals, docs: Path, main: Main
) -> None:
    with serving(playing(delegate(QUESTION), delegate(NEVER))) as served:

        def interrupt() -> None:
            served.until(lambda: len(served.asked("researcher")) == 3)
            os.kill(os.getpid(), number)

        person = threading.Thread(target=interrupt)
        person.start()
        status, out, err = main("ask", "--docs", str(docs), "--base-url", served.url, QUESTION)
        person.join()
        served.until(lambda: served.api.in_flight == 0)
        assert served.api.disconnects == 1
    assert status == 130
    assert FINDING in out
    assert "D1 complete" in err
    assert err.endswith("delegator: interrupted\n")


@requirement("W3")
def test_events_arrive_while_the_run_goes_on_and_end_well_after_an_interrupt(docs: Path) -> None:
    with serving(playing(delegate(QUESTION, NEVER))) as served:
        arguments = ("ask", "--events", "--docs", str(docs), "--base-url", served.url, QUESTION)
        with started(*arguments) as process:
            read_until(process.stdout, "delegation_finished")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    last = json.loads(out.splitlines()[-1])
    assert process.returncode == 130
    assert last["event"] == "run_finished"
    answer = fits(last["answer"])
    assert answer["outcome"] == "cancelled"
    assert FINDING in answer["answer"]
    assert sorted(record["outcome"] for record in answer["delegations"]) == [
        "cancelled",
        "complete",
    ]
    assert err.decode().endswith("delegator: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_run_exits_130_in_one_line(
    number: signal.Signals, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("delegator.api.open_index", interrupted)
    status, out, err = main("ask", "--offline", QUESTION)
    assert (status, out, err.strip()) == (130, "", "delegator: interrupted")


# What is printed


@requirement("cli:json")
def test_json_is_one_object_that_fits_the_schema_in_the_package(docs: Path) -> None:
    status, out, err = run("ask", "--offline", "--quiet", "--json", "--docs", str(docs), QUESTION)
    answer = fits(json.loads(out))
    assert (status, err, answer["outcome"]) == (0, "", "complete")
    assert all(citation["verified"] for citation in answer["citations"])


@requirement("cli:json")
@pytest.mark.parametrize("limit", ["1", "2", "4", "6"])
def test_json_of_a_run_that_stopped_early_fits_the_schema(
    limit: str, docs: Path, main: Main
) -> None:
    status, out, _ = main(
        "ask", "--offline", "--json", "--docs", str(docs), "--max-calls", limit, QUESTION
    )
    answer = fits(json.loads(out))
    assert (status, answer["outcome"], answer["stop"]) == (3, "budget", "model_calls")


@requirement("cli:json")
def test_json_with_a_review_and_unverified_quotes_fits_the_schema(docs: Path, main: Main) -> None:
    with serving(playing(*WELL, review=REVISE)) as served:
        status, out, _ = main(
            "ask", "--json", "--docs", str(docs), "--base-url", served.url, QUESTION
        )
    answer = fits(json.loads(out))
    assert (status, answer["outcome"]) == (4, "needs_review")
    assert answer["delegations"][0]["review"]["score"] == 2


@requirement("cli:json")
def test_events_are_one_object_a_line_in_order_and_end_with_the_answer(
    docs: Path, main: Main
) -> None:
    status, out, err = main(
        "ask", "--offline", "--quiet", "--events", "--docs", str(docs), QUESTION
    )
    events = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "run_started"
    assert [event["event"] for event in events].count("run_finished") == 1
    assert events[-1]["event"] == "run_finished"
    assert fits(events[-1]["answer"])["outcome"] == "complete"


def test_quiet_prints_the_answer_and_nothing_else(docs: Path, main: Main) -> None:
    for quiet in ("--quiet", "-q"):
        status, out, err = main("ask", quiet, "--docs", str(docs), QUESTION)
        assert (status, err) == (0, "")
        assert out.startswith("BM25 is a ranking function")


def test_verbose_names_every_step(docs: Path, main: Main) -> None:
    _, _, err = main("ask", "--offline", "--verbose", "--docs", str(docs), QUESTION)
    assert re.search(r"run \S+ with offline at level typed$", err, re.MULTILINE)
    assert re.search(r"D1 search .*BM25", err)
    assert re.search(r"D1 call 1: tool_use", err)


def test_without_a_key_the_offline_model_answers_and_one_line_says_so(
    docs: Path, main: Main
) -> None:
    status, out, err = main("ask", "--docs", str(docs), QUESTION)
    assert status == 0
    assert out.startswith("BM25 is a ranking function")
    assert err.splitlines()[0].startswith("No ANTHROPIC_API_KEY: answering with the offline model")
    _, _, hidden = main("ask", "--offline", "--docs", str(docs), QUESTION)
    assert "ANTHROPIC_API_KEY" not in hidden


@requirement("T8")
def test_hostile_documents_and_names_put_no_control_character_on_any_stream(
    tmp_path: Path, main: Main
) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    text = "# Zebrafish\n\nZebrafish \x1b]0;owned\x07 regenerate\x1b[2J \u202efins\u202c in \x9b31m weeks.\n"
    (folder / "a\x1b[31m\x07b\u202e\u2028.md").write_text(text)
    (folder / os.fsdecode(b"bad\xff.md")).write_text("# Fins\n\nZebrafish fins regenerate.\n")
    asked = ("ask", "--offline", "--docs", str(folder), "--verbose")
    for mode in ((), ("--json",), ("--events",)):
        status, out, err = main(*asked, *mode, "How do zebrafish regenerate and what do they eat?")
        assert status == 0
        assert "regenerate" in out
        assert CONTROLS.findall(out + err) == []


@requirement("T8")
def test_a_file_name_cannot_pose_as_a_source_of_its_own(tmp_path: Path, main: Main) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "c\n[7] trusted.md").write_text(
        "# Zebrafish\n\nZebrafish fins regenerate in two weeks.\n"
    )
    _, out, _ = main(
        "ask", "--offline", "--docs", str(folder), "How fast do zebrafish fins regenerate?"
    )
    assert '[1] c [7] trusted.md:3 "Zebrafish fins regenerate in two weeks."' in out.splitlines()


@requirement("T8")
def test_what_a_model_writes_reaches_the_terminal_as_plain_text(docs: Path, main: Main) -> None:
    evil = "\x1b[31mred\x1b]8;;http://x\x07 \u202e\x9b2J[11]"
    steps = (delegate("tell\x1b[2J \ud800\u202e"), say(evil))
    for mode in ((), ("--json",), ("--events",)):
        with serving(playing(*steps)) as served:
            status, out, err = main(
                "ask", "--docs", str(docs), "--base-url", served.url, *mode, QUESTION
            )
        assert status == 0
        assert "red" in out
        assert CONTROLS.findall(out + err) == []


def test_letters_that_stdout_does_not_know_are_escaped(
    docs: Path, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / "café.md").write_text("# Zürich\n\nZürich has a café.\n")
    asked = ("ask", "--offline", "--quiet", "--docs", str(docs), "What does Zürich have?")
    written = []
    for mode in ((), ("--json",)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        assert main(*asked, *mode)[0] == 0
        written.append(raw.getvalue().decode("ascii"))
    assert written[0].splitlines()[0] == "Z\\xfcrich has a caf\\xe9. [1]"
    assert json.loads(written[1])["answer"] == "Zürich has a café. [1]"


def test_json_keeps_letters_readable(docs: Path, main: Main) -> None:
    (docs / "z.md").write_text("# Zürich\n\nZürich has 魚 and 👍🏽.\n")
    asked = ("ask", "--offline", "--json", "--docs", str(docs))
    assert "Zürich has 魚 and 👍🏽." in main(*asked, "What does Zürich have?")[1]


# Errors


def wrong(tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    """Command lines that cannot work, and words of their errors."""
    (tmp_path / "empty").mkdir(exist_ok=True)
    binaries = tmp_path / "binaries"
    binaries.mkdir(exist_ok=True)
    (binaries / "a.png").write_bytes(b"\x89PNG\0\0")
    (binaries / "b.dat").write_bytes(b"\0\1\2")
    offline = ["ask", "--offline"]
    return {
        "empty": ([*offline, ""], "question is empty"),
        "blank": ([*offline, " \n\t "], "question is empty"),
        "invisible": ([*offline, "\u200b\u202e"], "question is empty"),
        "missing docs": ([*offline, "--docs", "nowhere", "q"], "no such file or folder: nowhere"),
        "hostile docs": ([*offline, "--docs", "no\x1b[2J\nwhere", "q"], "no such file or folder"),
        "empty docs": ([*offline, "--docs", "empty", "q"], "no readable documents in"),
        "binary docs": ([*offline, "--docs", "binaries", "q"], "2 binary"),
        "binary file": ([*offline, "--docs", "binaries/b.dat", "q"], "1 binary"),
        "no question": (["ask"], "missing argument 'QUESTION'"),
        "unknown option": ([*offline, "--offlin\x1b[2J", "q"], "no such option"),
        "unknown command": (["frob\x1b[2J"], "no such command"),
        "no calls": ([*offline, "--max-calls", "0", "q"], "'--max-calls': 0 is not in the range"),
        "no number": ([*offline, "--max-calls", "\x1b[2J", "q"], "'--max-calls'"),
        "not a number": ([*offline, "--max-seconds", "nan", "q"], "seconds must be more than zero"),
        "both formats": ([*offline, "--json", "--events", "q"], "exclude each other"),
        "no agents": ([*offline, "--agents", "nowhere", "q"], "no such folder: nowhere"),
        "no url": (["ask", "--base-url", "http://[::1", "q"], "not a URL"),
        "index of nothing": (["index", "nowhere"], "no such file or folder: nowhere"),
        "agents of nowhere": (["agents", "--agents", "nowhere"], "no such folder: nowhere"),
    }


@requirement("cli:errors")
@pytest.mark.parametrize("name", wrong(Path("/tmp")))  # noqa: S108 - for the names only
def test_what_cannot_work_exits_2_and_says_in_two_lines_what_and_what_to_do(
    name: str, tmp_path: Path, main: Main
) -> None:
    arguments, words = wrong(tmp_path)[name]
    status, out, err = main(*arguments)
    assert (status, out) == (2, "")
    assert ERROR.fullmatch(err), err
    assert err.count("\n") == 2
    assert words in err
    assert CONTROLS.findall(err) == []


@requirement("cli:errors")
def test_a_folder_that_may_not_be_read_is_named(
    docs: Path, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    status, _, err = main("ask", "--offline", "--docs", str(docs), QUESTION)
    assert status == 2
    assert ERROR.fullmatch(err)
    assert f"cannot read {docs}: permission denied" in err


@requirement("cli:errors")
def test_a_question_that_is_too_long_is_refused_by_name() -> None:
    status, out, err = run("ask", "--offline", "-", stdin=b"why? " * 210_000)
    assert (status, out) == (2, "")
    assert ERROR.fullmatch(err)
    assert "1,050,000 characters; at most 200,000" in err


@requirement("cli:errors")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"max_calls = 0", "delegator.toml: max_calls: minimum 1"),
        (b"max_seconds = nan", "delegator.toml: max_seconds"),
        (b'offline = "yes"', "delegator.toml: offline: type boolean"),
        (b"colour = 1", "there is no setting colour"),
        (b'"a\\u001b[2J" = 1', "there is no setting a[2J"),
        (b'home = "a\\u0000b"', "delegator.toml: home: pattern"),
        (b"= nope", "is not valid TOML"),
        (b'model = "\xff"', "cannot read delegator.toml"),
        (b'docs = "nowhere"', "no such file or folder: nowhere"),
    ],
)
def test_a_settings_file_that_does_not_work_is_named(
    content: bytes, words: str, tmp_path: Path, main: Main
) -> None:
    (tmp_path / "delegator.toml").write_bytes(content)
    status, out, err = main("ask", "--offline", QUESTION)
    assert (status, out) == (2, "")
    assert re.fullmatch(r"delegator: .*\n( {11}.*\n)?", err)
    assert words in err
    assert CONTROLS.findall(err) == []


@requirement("cli:errors")
def test_a_bug_is_two_lines_and_a_traceback_only_for_who_asks(
    docs: Path, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret \x1b[2J")

    monkeypatch.setattr("delegator.api.open_index", crash)
    asked = ("ask", "--offline", "--docs", str(docs), QUESTION)
    status, out, err = main(*asked)
    assert (status, out) == (1, "")
    assert ERROR.fullmatch(err)
    assert "internal error: ZeroDivisionError" in err
    status, _, err = main(*asked, "--verbose")
    assert status == 1
    assert err.startswith("Traceback")
    assert CONTROLS.findall(err) == []


@requirement("cli:errors")
def test_an_error_of_ours_before_the_run_is_two_lines_too(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModelError(Fault.CUT)

    monkeypatch.setattr("delegator.api.open_index", fail)
    status, out, err = main("ask", "--offline", QUESTION)
    assert (status, out) == (1, "")
    assert err == f"delegator: {ModelError(Fault.CUT)}\n           {ModelError(Fault.CUT).hint}\n"


@requirement("cli:errors")
def test_the_servers_own_words_are_shown_to_who_asks_and_cannot_draw(
    docs: Path, main: Main
) -> None:
    refusal = Status(code=400, error_type="invalid_request_error", message="bad \x1b[2Jfield")
    for verbose in ((), ("--verbose",)):
        with serving(playing(refusal)) as served:
            status, _, err = main(
                "ask", *verbose, "--docs", str(docs), "--base-url", served.url, QUESTION
            )
        assert status == 1
        assert ("the server said: " in err) is bool(verbose)
        assert CONTROLS.findall(err) == []


# What comes in


def test_the_question_can_come_from_stdin_whatever_it_holds(
    docs: Path, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "What is\0 \x1b[1mBM25\u202e, \r\nplease?".encode() + b"\xff"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(question)))
    status, out, err = main("ask", "--offline", "--docs", str(docs), "--json", "-")
    assert status == 0
    assert CONTROLS.findall(out + err) == []
    assert json.loads(out)["question"] == "What is [1mBM25, \nplease?\ufffd"


def test_bytes_that_are_no_text_in_the_command_line_are_dropped(docs: Path) -> None:
    status, out, _ = run(
        "ask", "--offline", "--json", "--docs", str(docs), b"What is \xff\xfeBM25\x1b[31m?"
    )
    assert status == 0
    assert json.loads(out)["question"] == "What is BM25[31m?"


def test_the_settings_file_counts_and_the_command_line_counts_more(
    docs: Path, main: Main, tmp_path: Path
) -> None:
    settings = f'docs = "{docs}"\nmax-calls = 1\noffline = true\nquiet = true\n'
    (tmp_path / "delegator.toml").write_text(settings)
    assert main("ask", QUESTION)[0] == 3
    status, out, err = main("ask", "--max-calls", "20", QUESTION)
    assert (status, err) == (0, "")
    assert "bm25.md" in out


# Streams that are closed or full


def test_a_reader_that_leaves_ends_the_program_without_a_word(docs: Path) -> None:
    for mode in ("--verbose", "--events"):
        arguments = ("ask", "--offline", "--quiet", mode, "--docs", str(docs), QUESTION)
        with started(*arguments) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
        assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is a Linux thing")
def test_a_full_stdout_is_an_error_in_words(docs: Path) -> None:
    asked = ("ask", "--offline", "--quiet", "--docs", str(docs), QUESTION)
    for arguments in (asked, (*asked, "--events"), ("--help",)):
        with Path("/dev/full").open("w") as full, started(*arguments, stdout=full) as process:
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert said == "delegator: cannot write the output: No space left on device\n"
        assert process.returncode == 1


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full"])
def test_without_stderr_the_answer_still_arrives(end: str, docs: Path) -> None:
    status, out = shell(f"ask --offline --docs '{docs}' '{QUESTION}' {end}")
    assert status == 0
    assert out.startswith("BM25 is a ranking function")


def test_without_stdin_the_question_is_empty_and_a_chat_is_over() -> None:
    assert shell("ask --offline - <&- 2>&1") == (
        2,
        'delegator: the question is empty\n           Try: delegator ask "What is RLHF?"\n',
    )
    assert shell("chat --offline --quiet <&- 2>&1") == (0, "")


def test_without_stdout_nothing_is_asked(docs: Path) -> None:
    status, out = shell(f"ask --offline --docs '{docs}' '{QUESTION}' 2>&1 >&-")
    assert status == 2
    assert ERROR.fullmatch(out)
    assert "standard output is closed" in out


def shell(line: str) -> tuple[int, str]:
    """Run the program through a shell: exit status and stdout."""
    whole = f"'{sys.executable}' -m delegator {line}"
    done = subprocess.run(["/bin/sh", "-c", whole], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


# Other commands, and what is loaded


@pytest.mark.parametrize("command", [(), ("ask",), ("chat",), ("agents",), ("index",)])
def test_help_fits_60_columns(
    command: tuple[str, ...], main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    status, out, err = main(*command, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 60
    assert "..." not in out.partition("\n")[2]


@requirement("cli:exit")
def test_help_lists_every_exit_status(main: Main) -> None:
    _, out, _ = main("ask", "--help")
    assert [int(n) for n in re.findall(r"^ +(\d+)  \w", out, re.MULTILINE)] == [0, 1, 2, 3, 4, 130]


def test_without_arguments_the_help_is_shown(main: Main) -> None:
    status, out, err = main()
    assert (status, out) == (2, "")
    assert "Commands:" in err


def test_agents_are_listed_and_agent_files_checked(tmp_path: Path, main: Main) -> None:
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "poet.md").write_text(
        "---\nname: poet\ndescription: Writes verse.\n---\nYou rhyme.\n"
    )
    _, out, _ = main("agents", "--agents", str(folder))
    assert [line for line in out.splitlines() if line and line[0] != " "] == [
        "orchestrator",
        "researcher",
        "critic",
        "poet",
    ]
    (tmp_path / "delegator.toml").write_text('agents = "agents"\n')
    _, out, _ = main("agents", "--json")
    assert [agent["name"] for agent in json.loads(out)][-1] == "poet"


def test_what_is_not_honoured_in_an_agent_file_is_named_on_stderr(
    tmp_path: Path, main: Main
) -> None:
    front = "name: poet\ndescription: Writes verse.\ncolor: red\x1b[2J"
    (tmp_path / "poet.md").write_text(f"---\n{front}\n---\nYou rhyme.\n")
    status, _, err = main("agents", "--agents", str(tmp_path))
    assert status == 0
    assert "color" in err
    assert err.count("\n") == 1
    assert CONTROLS.findall(err) == []


def test_an_index_is_built_and_refreshed(docs: Path, main: Main) -> None:
    assert json.loads(main("index", "--json", str(docs))[1])["added"] == 2
    (docs / "tea.txt").unlink()
    status, out, err = main("index", str(docs))
    assert (status, err) == (0, "")
    assert out.startswith(f"1 document in {docs}: 0 added, 0 changed, 1 removed")


HEAVY = ("anthropic", "httpx2", "rich", "jsonschema", "prompt_toolkit", "asyncio", "sqlite3")


@requirement("lazy")
@pytest.mark.parametrize(
    ("program", "also"),
    [
        (["-c", "import delegator"], ("click", "dataclasses")),
        (["-m", "delegator", "--version"], ()),
    ],
)
def test_importing_the_package_and_asking_for_its_version_load_nothing_heavy(
    program: list[str], also: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *program], capture_output=True, text=True, check=True
    )
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "delegator" in loaded
    assert loaded & {*HEAVY, *also} - _at_start() == set()


def _at_start() -> set[str]:
    """What the interpreter loads by itself (in a virtual environment with hooks, more than one would think)."""
    listed = "import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_installed_command_is_this_program() -> None:
    command = Path(sys.executable).with_name("delegator")
    both = [
        subprocess.run([*way, "--version"], capture_output=True, check=True).stdout
        for way in ([str(command)], PROGRAM)
    ]
    assert both[0] == both[1] == b"delegator 0.1.0\n"
