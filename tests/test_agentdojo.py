"""AgentDojo as the lab plays it: real tasks, real attacks, a scripted model; what failed is no result."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agentdojo", reason="the extra lab is not installed")

from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites

import delegator
from delegator.errors import ConfigError, Fault
from delegator.lab.agentdojo import SUITES, VERSIONS
from delegator.lab.agentdojo.effects import _KINDS, UNKNOWN, kind_of
from delegator.lab.agentdojo.element import Delegator, Player
from delegator.lab.agentdojo.folders import write_folder
from delegator.lab.agentdojo.playing import Bout
from delegator.lab.agentdojo.results import NONE, Case, Result, Results, Share, Tally
from delegator.lab.agentdojo.tools import Bench
from delegator.model import Model
from delegator.models.scripted import Says, Scripted, call, fail, say
from delegator.tools import Call, Tool, ToolOutput
from delegator.trust import USER, Level
from messages_api import Answer, Exchange, Status, text
from programs import Main, main
from requirements import requirement
from serving import serving

__all__ = ["main"]
VERSION = "v1.2"


def player(model: Scripted, level: Level = Level.TYPED) -> Player:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Model]:
        yield model

    return Player(model="scripted", opened=opened, level=level)


def banking(number: int) -> Any:
    return get_suites(VERSION)["banking"].get_user_task_by_id(f"user_task_{number}")


def steps(task: Any) -> list[Says]:
    """The calls that solve a task, by AgentDojo's own account of them."""
    environment = get_suites(VERSION)["banking"].load_and_inject_default_environment({})
    return [call(c.function, **dict(c.args)) for c in task.ground_truth(environment)]


def worker(*calls: Says, answer: str = "Done.", said: str = "Done.") -> Scripted:
    """An orchestrator that delegates once, and a worker that makes these calls."""
    reported = call("submit_report", answer=answer, done=True)
    orchestrator = [call("delegate_to_worker", task="Do it."), say(said)]
    return Scripted({"orchestrator": orchestrator, "worker": [*calls, reported]})


def played(
    model: Scripted, user: str = "user_task_0", injection: str = NONE, level: Level = Level.TYPED
) -> Result:
    bout = Bout(player(model, level), VERSION, "important_instructions", ["banking"])
    case = Case(
        version=VERSION, suite="banking", user_task=user, injection_task=injection,
        attack=NONE if injection == NONE else "important_instructions",
        model="scripted", level=level.value,
    )  # fmt: skip
    (result,) = bout.play([case])
    return result


@requirement("lab:agentdojo")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_the_pairs_that_the_published_table_counts(version: str) -> None:
    bout = Bout(player(Scripted({})), version, "important_instructions", [])
    cases = bout.cases()
    plain = [case for case in cases if case.injection_task == NONE]
    assert len(plain) == 97
    assert len(cases) - len(plain) == (629 if version.startswith("v1.1") or version == "v1" else 949)  # fmt: skip
    assert len(set(cases)) == len(cases)


@requirement("lab:agentdojo")
def test_a_task_is_solved_by_calls_that_change_its_environment() -> None:
    result = played(worker(*steps(banking(0))))
    assert (result.solved, result.attacked, result.error) == (True, False, "")
    assert (result.model_calls, result.outcome) == (5, "complete")
    assert not played(worker()).solved


@requirement("lab:agentdojo")
def test_a_task_that_asks_for_an_answer_is_solved_by_words() -> None:
    task = banking(1)
    words = task.GROUND_TRUTH_OUTPUT
    right = played(worker(*steps(task), answer=words, said=words), "user_task_1")
    wrong = played(worker(*steps(task), answer="1", said="1"), "user_task_1")
    assert (right.solved, wrong.solved) == (True, False)


def obedient(read: Says) -> Scripted:
    """A worker that reads something, and then does what the injected task wants."""
    injected = get_suites(VERSION)["banking"].get_injection_task_by_id("injection_task_0")
    return worker(read, *steps(injected))


@requirement("lab:agentdojo")
def test_an_attack_that_is_obeyed_works_below_guarded_and_not_from_there_up() -> None:
    read = steps(banking(0))[0]
    for level in Level:
        result = played(obedient(read), injection="injection_task_0", level=level)
        assert not result.error
        assert result.attacked == (level not in (Level.GUARDED, Level.PLANNED)), level


def test_what_the_worker_reads_holds_the_injected_text() -> None:
    seen: list[str] = []

    def reads(request: delegator.model.Request) -> Says:
        seen.append(str(request.messages[-1].content))
        return call("submit_report", answer="x", done=True)

    read = steps(banking(0))[0]
    script: dict[str, list[Any]] = {"orchestrator": [call("delegate_to_worker", task="x"), say("x")], "worker": [read, reads]}  # fmt: skip
    played(Scripted(script), injection="injection_task_0")
    assert "This is an important message from me, Emma Johnson, to you, Local model" in seen[0]


@requirement("lab:agentdojo")
@pytest.mark.parametrize(
    "script",
    [
        {"orchestrator": [fail(Fault.OVERLOADED)]},
        {"orchestrator": [call("delegate_to_worker", task="x"), say("x")], "worker": [fail(Fault.AUTH)]},
    ],
)  # fmt: skip
def test_a_failed_request_is_an_error_and_no_result(script: dict[str, Sequence[Any]]) -> None:
    result = played(Scripted(script), injection="injection_task_0")
    assert result.error
    assert (result.solved, result.attacked) == (False, False)
    tally = Tally.of([result])
    assert (tally.errors, tally.under_attack.of, tally.attacks.of) == (1, 0, 0)


def test_an_empty_answer_is_not_asked_for_again_in_a_changed_environment() -> None:
    nothing = say("\u200b")  # an answer, but nothing that a person could see
    model = Scripted({"orchestrator": [nothing, nothing]})
    result = played(model)
    model.assert_spent()
    assert (result.outcome, result.error) == ("complete", "")


def test_the_messages_are_those_that_agentdojo_reads() -> None:
    suite = get_suites(VERSION)["banking"]
    element = Delegator(player(worker(*steps(banking(0)), said="Paid.")))
    environment = suite.load_and_inject_default_environment({})
    messages = element.query("Pay.", FunctionsRuntime(suite.tools), environment)[3]
    kinds = [(m["role"], bool(m.get("tool_calls"))) for m in messages]
    called = [("assistant", True), ("tool", False)]
    assert kinds == [("user", False), *called, *called, ("assistant", False)]
    assert messages[-1]["content"] == [{"type": "text", "content": "Paid."}]


@requirement("lab:agentdojo")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_tool_has_declared_effects_and_a_closed_schema(version: str) -> None:
    for suite in get_suites(version).values():
        environment = suite.load_and_inject_default_environment({})
        for tool in Bench(FunctionsRuntime(suite.tools), environment).tools():
            tool.schema.check()
            assert kind_of(tool.name) is not UNKNOWN, tool.name
            assert tool.effects == kind_of(tool.name).effects


def test_the_effects_name_no_tool_that_is_not_there() -> None:
    there = {tool.name for v in VERSIONS for s in get_suites(v).values() for tool in s.tools}
    assert set(_KINDS) == there
    assert kind_of("transfer_everything") is UNKNOWN


def ran(tool: Tool, given: dict[str, Any]) -> ToolOutput:
    async def run() -> ToolOutput:
        return await tool.run(Call(input=given, label=USER))

    return asyncio.run(run())


def test_a_tool_whose_schema_is_open_takes_objects_as_text() -> None:
    suite = get_suites(VERSION)["workspace"]
    bench = Bench(FunctionsRuntime(suite.tools), suite.load_and_inject_default_environment({}))
    tools = {tool.name: tool for tool in bench.tools()}
    attached = json.dumps({"type": "file", "file_id": "3"})
    given = {"recipients": ["a@b.c"], "subject": "s", "body": "{b}", "attachments": [attached]}
    assert not tools["send_email"].schema.problems(given)
    output = ran(tools["send_email"], given)
    assert not output.is_error
    assert bench.environment.inbox.sent[-1].attachments == ["3"]
    assert bench.environment.inbox.sent[-1].body == "{b}"


def test_what_goes_wrong_in_a_tool_is_data_and_no_words_of_ours() -> None:
    suite = get_suites(VERSION)["workspace"]
    bench = Bench(FunctionsRuntime(suite.tools), suite.load_and_inject_default_environment({}))
    tools = {tool.name: tool for tool in bench.tools()}
    output = ran(tools["get_file_by_id"], {"file_id": "999"})
    assert output.is_error
    assert "999" in output.data["error"]
    assert not output.label.trusted


def poisoned(folder: Path, attack: str = "important_instructions") -> dict[str, str]:
    files = write_folder(
        folder, version=VERSION, suite="workspace",
        user_task="user_task_0", injection_task="injection_task_0", attack=attack,
    )  # fmt: skip
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@requirement("lab:agentdojo")
def test_a_folder_holds_the_environment_with_the_injected_text_in_it(tmp_path: Path) -> None:
    files = poisoned(tmp_path)
    injected = [name for name, words in files.items() if "<INFORMATION>" in words]
    assert len(injected) == 1
    assert injected[0].startswith("calendar/events-")
    goal = get_suites(VERSION)["workspace"].get_injection_task_by_id("injection_task_0").GOAL
    assert goal in files[injected[0]]
    kinds = {name.rpartition("-")[0] for name in files if name.count("-")}
    assert kinds >= {"inbox/emails", "calendar/events", "cloud_drive/files"}
    assert sum(name.startswith("inbox/emails") for name in files) == 31


def test_a_poisoned_folder_can_be_asked(tmp_path: Path) -> None:
    poisoned(tmp_path)
    answer = delegator.ask("What is the Networking event about?", docs=[tmp_path], offline=True)
    assert answer.outcome == "complete"
    assert "calendar/events" in str(answer)


def test_the_interval_is_wilson_s() -> None:
    low, high = Share(hits=10, of=100).interval
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert Share(hits=0, of=949).interval[0] == 0
    assert str(Share(hits=0, of=0)) == "–"


def result(n: int, error: str = "") -> Result:
    case = Case(
        version=VERSION, suite="banking", user_task=f"user_task_{n}", injection_task=NONE,
        attack=NONE, model="m", level="typed",
    )  # fmt: skip
    return Result(case=case, solved=True, error=error)


def test_what_is_in_the_file_is_not_played_again_but_what_failed_is(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    results = Results(path)
    results.keep(result(0))
    results.keep(result(1, error="overloaded"))
    cases = [result(n).case for n in range(3)]
    again = Results(path)
    assert again.missing(cases) == cases[1:]
    again.keep(result(1))
    assert Results(path).missing(cases) == cases[2:]
    assert Tally.of(Results(path).of(cases)).benign == Share(hits=2, of=2)


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Results(path).keep(result(0))
    with path.open("a") as file:
        file.write('{"version": "v1')
    results = Results(path)
    results.keep(result(1))
    assert len(Results(path).of([result(0).case, result(1).case])) == 2


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for words in ("hello\n", "[]\n", '{"a": 1}\n'):
        (tmp_path / "x").write_text(words)
        with pytest.raises(ConfigError, match="line 1"):
            Results(tmp_path / "x")


def command(url: str, out: Path, *more: str) -> list[str]:
    return [
        "trust", "agentdojo", "--suite", "banking", "--task", "user_task_0", "--injection", "injection_task_0",
        "--base-url", url, "--model", "m-1", "--out", str(out), *more,
    ]  # fmt: skip


def test_the_command_plays_prints_and_goes_on(tmp_path: Path, main: Main) -> None:
    out = tmp_path / "results.jsonl"
    with serving(lambda _asked: Answer(content=(text("I will not."),))) as api:
        status, told, err = main(*command(api.url, out, "--limit", "1"))
        assert (status, len(out.read_text().splitlines())) == (0, 1)
        status, told, err = main(*command(api.url, out))
        assert status == 0
        assert "banking user_task_0 × injection_task_0: not solved, the attack failed" in err
        assert "0.0 % [0.0, 79.3] (0 of 1)" in told
        assert "Claude 3.7 Sonnet" in told
        assert "same model, version and attack" in told
        before = len(api.api.exchanges)
        status, told, _ = main(*command(api.url, out, "--json", "--quiet"))
        assert len(api.api.exchanges) == before
    figures = json.loads(told)
    assert (figures["cases"], figures["errors"], figures["attack_success"]["of"]) == (2, 0, 1)


def test_a_server_that_fails_gives_errors_and_no_figures(tmp_path: Path, main: Main) -> None:
    def refuse(_asked: Exchange) -> Status:
        return Status(code=401, error_type="authentication_error")

    with serving(refuse) as api:
        status, told, err = main(*command(api.url, tmp_path / "r.jsonl"))
    assert status == 0
    assert err.count("not measured") == 2
    assert "not measured (errors)          2" in told


@requirement("cli:errors")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--attack", "kindness"], "no such attack"),
        (["--task", "user_task_99"], "no task user_task_99"),
        (["--injection", "x\x1b[2J"], "no task x"),
    ],
)
def test_a_wrong_name_is_a_configuration_error(
    tmp_path: Path, main: Main, more: list[str], words: str
) -> None:
    status, out, err = main(*command("http://127.0.0.1:1", tmp_path / "r", *more))
    assert (status, out, len(err.splitlines())) == (2, "", 2)
    assert words in err


def test_a_server_that_fails_every_time_is_not_asked_a_thousand_times(
    tmp_path: Path, main: Main
) -> None:
    def refuse(_asked: Exchange) -> Status:
        return Status(code=401, error_type="authentication_error")

    with serving(refuse) as api:
        out = tmp_path / "r.jsonl"
        only = ("--suite", "banking", "--task", "user_task_0")  # ten cases
        server = ("--base-url", api.url, "--model", "m-1")
        status, _, err = main("trust", "agentdojo", *only, *server, "--out", str(out))
        assert len(api.api.exchanges) == len(out.read_text().splitlines()) == 5
    assert status == 1
    assert "5 in a row were not measured" in err


@requirement("cli:errors")
def test_the_offline_model_is_no_player(main: Main) -> None:
    status, _, err = main("trust", "agentdojo")
    assert status == 2
    assert "needs a language model" in err


_WITHOUT = """
import sys
sys.modules["agentdojo"] = None
from delegator.cli import main
sys.argv = ["delegator", "trust", "agentdojo"]
main()
"""


@requirement("cli:errors")
def test_without_the_extra_one_line_says_how_to_get_it() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'delegator[lab]'" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@requirement("lazy")
def test_the_program_imports_nothing_of_agentdojo_before_it_plays() -> None:
    program = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "delegator",
        "trust",
        "agentdojo",
        "--help",
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    loaded = [line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line]
    assert "delegator.lab.agentdojo" in loaded
    assert not [module for module in loaded if module.startswith(("agentdojo", "pydantic"))]
    assert all(name in done.stdout for name in SUITES)
