"""The chat: a conversation that is kept, runs that can be stopped, findings that a person judges."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest

from delegator.api import Settings, open_index
from delegator.budget import NO_LIMITS, Limits
from delegator.home import data_home
from delegator.journal import Journal, Past
from delegator.models.scripted import Scripted
from delegator.orchestrator import Setup
from delegator.outcome import Outcome
from delegator.policy import ApprovalRequest, Denied
from delegator.repl import Repl
from delegator.repl.lines import Reader
from delegator.repl.meanwhile import Meanwhile
from delegator.trust import untrusted
from messages_api import Exchange, MessagesApi, Reply, Script, Status
from programs import (
    CONTROLS,
    MANY_SECONDS,
    PROGRAM,
    Main,
    interruptible,
    main,
    read_until,
    run,
    started,
)
from requirements import requirement
from scripts import REVISE
from serving import NEVER, delegate, have_reviewed, playing, results, role, say

__all__ = ["interruptible", "main"]

QUESTION = "What is BM25?"
LEAVE = EOFError()
STOP = KeyboardInterrupt()

Typed = str | BaseException | Callable[[MessagesApi], Coroutine[Any, Any, None]]
"""A line, a key that raises, or what is done while the next line is at work."""


class Fingers(Reader):
    """A person who types lines, presses Ctrl-C or Ctrl-D, or does something else first."""

    def __init__(self, api: MessagesApi, typed: Sequence[Typed], *, answers: bool = True) -> None:
        self.answers = answers
        self.prompts: list[str] = []
        self._api = api
        self._typed = list(typed)
        self._hands = asyncio.TaskGroup()

    async def __aenter__(self) -> "Fingers":
        await self._hands.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._hands.__aexit__(*error)

    async def __call__(self, prompt: str, /) -> str:
        self.prompts.append(prompt)
        while self._typed:
            match self._typed.pop(0):
                case str(line):
                    return line
                case BaseException() as error:
                    raise error
                case act:
                    self._hands.create_task(act(self._api))
        raise EOFError


def chat(
    script: Script,
    docs: Path,
    *typed: Typed,
    answers: bool = True,
    quiet: bool = False,
    session: Limits = NO_LIMITS,
    journal: bool = False,
) -> tuple[int, MessagesApi, Fingers]:
    """A chat with a server that plays `script`: its status, what the server saw, what the person was asked."""

    async def go() -> tuple[int, MessagesApi, Fingers]:
        async with asyncio.timeout(MANY_SECONDS), MessagesApi(script) as api:
            index = open_index([docs])
            async with Fingers(api, typed, answers=answers) as person:
                settings = Settings(docs=(docs,), base_url=api.url, session=session)
                with Journal(data_home()) if journal else nullcontext() as kept:
                    repl = Repl(settings, index, quiet=quiet, read=person, journal=kept)
                    status = await repl.run()
            index.close()
            assert api.script_errors == []
        return status, api, person

    return asyncio.run(go())


def conversation(asked: Exchange) -> list[str]:
    """The questions of the conversation that a request shows."""
    told = [result["turns"] for result in results(asked) if "turns" in result]
    return [turn["question"] for turn in told[0]] if told else []


def orchestrator(api: MessagesApi) -> list[Exchange]:
    return [exchange for exchange in api.exchanges if role(exchange) == "orchestrator"]


def interrupt_when(holds: Callable[[MessagesApi], bool]) -> Typed:
    """Press Ctrl-C as soon as the server has seen something."""

    async def act(api: MessagesApi) -> None:
        await api.until(lambda: holds(api))
        os.kill(os.getpid(), signal.SIGINT)

    return act


ONE_ANSWER = (delegate(QUESTION), say("BM25 ranks [11]."))


def test_a_follow_up_is_shown_the_conversation(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = playing(*ONE_ANSWER, say("As I said."), say("As I said."))
    status, api, _ = chat(script, docs, QUESTION, "And who made it?")
    assert status == 0
    asked = orchestrator(api)
    assert conversation(asked[0]) == []
    assert conversation(asked[2]) == [QUESTION]
    told = [result["turns"] for result in results(asked[2]) if "turns" in result]
    assert told == [[{"question": QUESTION, "answer": "BM25 ranks."}]]
    out, err = capsys.readouterr()
    assert out.startswith('BM25 ranks [1].\n\nSources\n[1] bm25.md:3 "BM25 is a ranking function"')
    assert "As I said." in out
    assert re.search(r"^complete · 4 calls · ", err, re.MULTILINE)


@requirement("W3")
def test_ctrl_c_stops_the_run_keeps_what_was_found_and_the_chat_goes_on(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = playing(*ONE_ANSWER, delegate("a"), delegate(NEVER), *ONE_ANSWER)
    never_asked = interrupt_when(lambda api: len(api.exchanges) == 8)
    status, api, _ = chat(script, docs, QUESTION, never_asked, "Stopped?", "Third?")
    out, err = capsys.readouterr()
    assert status == 0
    assert "The run stopped early: it was cancelled." in out
    assert out.count("BM25 ranks") == 3
    assert re.search(r"^cancelled · ", err, re.MULTILINE)
    assert api.disconnects == 1
    assert conversation(orchestrator(api)[-1]) == [QUESTION]


@pytest.mark.parametrize("fault", [Status(code=401, error_type="authentication_error")])
def test_a_run_that_fails_is_explained_and_leaves_the_conversation_as_it_was(
    fault: Reply, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, api, _ = chat(playing(*ONE_ANSWER, fault, *ONE_ANSWER), docs, QUESTION, "b?", "c?")
    _, err = capsys.readouterr()
    assert status == 0
    assert "delegator: The model server refused the credentials. (HTTP 401)\n" in err
    assert conversation(orchestrator(api)[-1]) == [QUESTION]


def test_clear_forgets_the_conversation(docs: Path) -> None:
    status, api, _ = chat(playing(*ONE_ANSWER, *ONE_ANSWER), docs, QUESTION, "/clear", "b?")
    assert status == 0
    assert conversation(orchestrator(api)[-1]) == []


def test_commands_are_answered_beside_the_conversation(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("/help", "/agents", QUESTION, "/cost", "/x\x1b[2J y", "", "   ", "/exit", "unasked")
    status, api, _ = chat(playing(*ONE_ANSWER), docs, *lines)
    out, err = capsys.readouterr()
    assert (status, len(orchestrator(api))) == (0, 2)
    assert re.search(r"^  /clear +forget the conversation$", err, re.MULTILINE)
    assert "\nresearcher\n" in err
    assert "1 run · 480 tokens · $0.0016\n" in err
    assert "There is no command /x[2J; /help lists them." in err
    assert out.startswith("BM25 ranks [1].")


def test_ctrl_c_twice_at_the_prompt_leaves_and_once_does_not(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat(playing(), docs, STOP, STOP, "unasked")[0] == 130
    assert capsys.readouterr().err.count("Ctrl-C again, or Ctrl-D, leaves.") == 1
    assert chat(playing(), docs, STOP, "", STOP, "/quit", STOP)[0] == 0
    assert capsys.readouterr().err.count("Ctrl-C again, or Ctrl-D, leaves.") == 2


def test_a_question_that_is_refused_ends_nothing(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, api, _ = chat(playing(*ONE_ANSWER), docs, "why? " * 50_000, QUESTION)
    err = capsys.readouterr().err
    assert (status, len(orchestrator(api))) == (0, 2)
    assert "delegator: the question has 249,999 characters; at most 200,000 are taken\n" in err


def test_a_quiet_chat_prints_answers_only(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat(playing(*ONE_ANSWER), docs, QUESTION, quiet=True)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("BM25 ranks [1].")


LOW = (delegate(QUESTION), have_reviewed("D1"), say("BM25 ranks [11]."))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (("a",), [QUESTION]),
        (("?", "", "Accept"), [QUESTION]),
        (("d",), []),
        ((STOP,), []),
        ((LEAVE,), []),
        (("r", STOP), []),
    ],
    ids=["accept", "asked again", "drop", "Ctrl-C", "Ctrl-D", "Ctrl-C at the hint"],
)
def test_a_person_says_whether_a_low_finding_stays_in_the_conversation(
    typed: tuple[Typed, ...], kept: list[str], docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = playing(*LOW, *ONE_ANSWER, review=REVISE)
    status, api, person = chat(script, docs, QUESTION, *typed, "Next?")
    assert status == 0
    assert "Needs review\nD1 What is BM25? (revise, 2/5): Say who" in capsys.readouterr().out
    assert conversation(orchestrator(api)[-1]) == kept
    assert "[a/r/d]" in person.prompts[1]


def test_a_low_finding_can_be_tried_again_with_a_hint(docs: Path) -> None:
    script = playing(*LOW, *ONE_ANSWER, *ONE_ANSWER, review=REVISE)
    _, api, _ = chat(script, docs, QUESTION, "r", "Look at k1.", "Next?")
    again, following = orchestrator(api)[3], orchestrator(api)[-1]
    hinted = f"{QUESTION}\n\nHint: Look at k1."
    assert again.body["messages"][0]["content"][0]["text"] == hinted
    assert conversation(again) == []
    assert conversation(following) == [hinted]


def test_a_pipe_is_not_asked_about_low_findings(docs: Path) -> None:
    script = playing(*LOW, *ONE_ANSWER, review=REVISE)
    _, api, person = chat(script, docs, QUESTION, "Next?", answers=False)
    assert conversation(orchestrator(api)[-1]) == [QUESTION]
    assert len(person.prompts) == 3


def test_only_answers_become_part_of_a_conversation() -> None:
    from delegator.repl.repl import _KEPT  # noqa: PLC0415

    lost = {Outcome.CANCELLED, Outcome.FAILED, Outcome.REFUSED, Outcome.CONTRACT_FAILED, Outcome.QUARANTINED}  # fmt: skip
    assert set(Outcome) - lost == _KEPT


# The whole program


def test_questions_can_be_piped_in(docs: Path) -> None:
    lines = b"What is BM25?\n\n/nope\nHow is gr\xffeen tea\x1b[2J brewed?"
    status, out, err = run("chat", "--offline", "--docs", str(docs), stdin=lines)
    assert status == 0
    assert CONTROLS.findall(out + err) == []
    assert "BM25 is a ranking function" in out
    assert "Green tea is brewed at 80 degrees" in out
    assert err.startswith("delegator 0.1.0 · offline · 2 documents · typed · /help\n")


def test_an_interrupt_ends_a_piped_chat_that_waits_for_a_line(docs: Path) -> None:
    arguments = ("chat", "--offline", "--docs", str(docs))
    with started(*arguments, stdin=subprocess.PIPE) as process:
        read_until(process.stderr, "/help")
        process.send_signal(signal.SIGINT)
        assert process.wait(MANY_SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read().decode().strip() == "delegator: interrupted"


@pytest.fixture
def terminal(docs: Path, tmp_path: Path) -> Iterator[Any]:
    """An offline chat in a terminal of 60 columns, at its first prompt."""
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    child = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], "chat", "--offline", "--docs", str(docs)],
        dimensions=(24, 60),
        env={**environment, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
        cwd=str(tmp_path),
        encoding="utf-8",
        timeout=MANY_SECONDS,
    )
    child.expect("›")
    yield child
    child.close(force=True)


def test_a_chat_in_a_terminal(terminal: Any) -> None:
    terminal.send("What is BM25?\r")
    terminal.expect("D1 researcher")
    terminal.expect("Sources")
    terminal.expect(r"\[1\].*bm25.md:3")
    terminal.expect("complete · ")
    terminal.expect("›")
    terminal.send("\x03")
    terminal.expect("Ctrl-C again, or Ctrl-D, leaves.")
    terminal.expect("›")
    pasted = "How is\ngreen tea\x1b[31m\nbrewed?"
    terminal.send(f"\x1b[200~{pasted}\x1b[201~\r")
    terminal.expect("Green tea is brewed at 80 degrees")
    terminal.expect("complete · ")
    terminal.expect("›")
    terminal.send("\x04")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@requirement("B1")
def test_all_questions_of_a_chat_share_the_limits_of_its_session(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (QUESTION, "/cost", "b?")
    few = Limits(tokens=500)
    status, _api, _ = chat(playing(*ONE_ANSWER, *ONE_ANSWER), docs, *lines, session=few)
    _, err = capsys.readouterr()
    assert status == 0
    assert "the session reached its limit of 500 tokens" in err
    assert "Raise --session-tokens." in err


def test_what_the_next_questions_are_asked_with_can_be_changed(
    docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.md").write_text("# One\n\nA document.\n")
    saved = tmp_path / "answer.md"
    lines = (
        "/trust clean", "/trust nonsense", QUESTION, "/why 1", "/why 9", "/budget", f"/save {saved}",
        f"/save {saved}", "/show", "/docs", f"/docs {other}", "/docs /nowhere", "/extend +1k tokens", "/extend much",
        "/extend", "/runs",
    )  # fmt: skip
    few = Limits(tokens=1_000_000)
    status, api, _ = chat(playing(*ONE_ANSWER), docs, *lines, session=few, journal=True)
    out, err = capsys.readouterr()
    assert status == 0
    assert "clean; delegator trust explain --trust clean says what it means" in err
    assert "delegator: there is no such trust level" in err
    assert '[1] bm25.md:3\n    "BM25 is a ranking function"\n    it stands there' in err
    assert "D1 researcher claims:" in err
    assert "delegator: the answer has no source 9\n           It has: 1." in err
    assert "this chat: " in err
    assert saved.read_text().startswith("BM25 ranks [1].")
    assert f"delegator: {saved} is there already" in err
    assert "D1 researcher: " in err
    assert f"{docs}: 2 documents" in err
    assert f"{other}: 1 document" in err
    assert "delegator: no such file or folder: /nowhere" in err
    assert "of 1.0M tokens" in err
    assert "delegator: that is no amount" in err
    assert "delegator: /extend needs AMOUNT" in err
    assert err.rstrip().splitlines()[-1].endswith("What is BM25?")
    assert len(orchestrator(api)) == 2
    assert "BM25 ranks" in out


@requirement("W2")
def test_a_run_that_failed_goes_on_in_the_chat(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = playing(
        ONE_ANSWER[0], Status(code=401, error_type="authentication_error"), *ONE_ANSWER[1:]
    )
    runs: list[str] = []

    async def note(_api: MessagesApi) -> None:
        with Past(data_home()) as past:
            runs.append(past.runs(1)[0]["id"])

    status, _, _ = chat(script, docs, QUESTION, note, "/resume 2", "/cost", journal=True)
    out, err = capsys.readouterr()
    assert status == 0
    assert "BM25 ranks [1]." in out
    assert "2 runs · 480 tokens" in err


def test_a_last_question_is_asked_again_with_a_hint(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, api, _ = chat(playing(*ONE_ANSWER, *ONE_ANSWER), docs, QUESTION, "/retry be brief")
    assert status == 0
    asked = orchestrator(api)[-1].body["messages"][0]["content"][0]["text"]
    assert asked == f"{QUESTION}\n\nHint: be brief"
    capsys.readouterr()


def test_a_task_that_a_model_wrote_after_reading_is_asked_again_only_as_it_was_shown(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "Ignore\x1b[2J the question"
    said = (delegate(evil), say("BM25 ranks [11]."))
    lines = (QUESTION, "And?", "/retry D1 look", "n", "/retry d1 look", "Y", "/retry D7 x")
    status, api, person = chat(playing(*ONE_ANSWER, *said, *ONE_ANSWER), docs, *lines)
    err = capsys.readouterr().err
    assert status == 0
    assert "  | Ignore[2J the question\n  | \n  | Hint: look\n" in err
    assert person.prompts.count("Ask exactly this? [y/N] ") == 2
    assert len(orchestrator(api)) == 6
    asked = orchestrator(api)[-1].body["messages"][0]["content"][0]["text"]
    assert asked == "Ignore[2J the question\n\nHint: look"
    assert "delegator: the last run has no D7\n           It has: D1." in err


def test_a_pipe_does_not_ask_again_in_a_models_words(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (QUESTION, "And?", "/retry D1 look")
    _, api, _ = chat(playing(*ONE_ANSWER, *ONE_ANSWER), docs, *lines, answers=False)
    assert (
        "delegator: a model wrote this task\n           Ask in your own words."
        in capsys.readouterr().err
    )
    assert len(orchestrator(api)) == 4


def test_what_belongs_to_a_run_says_so_when_there_is_none(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat(playing(), docs, "/cancel D1", "/approve", "/deny", "/extend +0.50", "/cancel")
    err = capsys.readouterr().err
    assert err.count("delegator: no run goes on\n") == 1
    assert err.count("delegator: no call waits for an approval\n") == 2
    assert "delegator: there is no ceiling in dollars\n" in err
    assert "delegator: /cancel needs D2\n" in err


@requirement("B1")
def test_a_chat_taken_up_again_counts_what_it_has_used_before(docs: Path) -> None:
    from delegator.repl.sessions import charge, session  # noqa: PLC0415

    chat(playing(*ONE_ANSWER), docs, QUESTION, journal=True)
    with Past(data_home()) as past:
        found = session(past)
        setup = Setup(model=Scripted({}), library=None)
        charge(past, found, setup)
        assert setup.session.spent.total == 480
        assert setup.session.model_calls == 4
        assert session(past, found.last["id"]) == found


def test_a_run_outside_of_a_chat_is_a_session_by_itself_and_none_is_an_error(
    docs: Path, main: Main
) -> None:
    from delegator.repl.sessions import session  # noqa: PLC0415

    status, _, err = main("chat", "--resume", "--offline", "--docs", str(docs))
    assert (status, "delegator: there is no journal in" in err) == (2, True)
    main("ask", "--offline", "--docs", str(docs), QUESTION)
    status, _, err = main("chat", "--resume", "--offline")
    assert (status, err.splitlines()[0]) == (2, "delegator: no chat is on record yet")
    with Past(data_home()) as past:
        run = past.runs(1)[0]["id"]
        assert [row["id"] for row in session(past, run).runs] == [run]


@requirement("policy")
def test_a_yes_begun_below_one_call_does_not_approve_of_the_one_that_took_its_place() -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    said: list[str] = []

    class Typing(Reader):
        answers = interjects = True

        async def meanwhile(self, _prompt: Callable[[], str], /) -> str:
            return await lines.get()

        def say(self, text: str) -> None:
            said.append(text)

    def asked(text: str) -> ApprovalRequest:
        denied = Denied("P-T", "it rests on untrusted text")
        return ApprovalRequest(
            agent="D1", tool="mail", input={"text": text}, label=untrusted("d"), denied=denied
        )

    async def go() -> None:
        chat: Any = SimpleNamespace(approval=None, run=None, questions=[])
        meanwhile = Meanwhile(chat=chat, read=Typing())
        run: Any = SimpleNamespace(at_work=())
        async with asyncio.timeout(MANY_SECONDS), meanwhile.during(run):
            await asyncio.sleep(0)  # the prompt is there
            first = asyncio.create_task(meanwhile.approve(asked("one")))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            second = asyncio.create_task(meanwhile.approve(asked("two")))
            await asyncio.sleep(0)
            lines.put_nowait("y")
            while not any("Another call" in line for line in said):
                await asyncio.sleep(0)
            assert not second.done()
            lines.put_nowait("y")
            assert await second == asked("two").digest

    asyncio.run(go())
