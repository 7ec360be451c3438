"""The chat in a real terminal: keys go in, and what the screen shows is what is asserted."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from delegator.home import data_home
from delegator.journal import Past
from messages_api import Answer, Exchange, Reply, tool_use
from programs import CONTROLS
from requirements import requirement
from screens import Screen, needs_tmux
from scripts import FACT, REVISE
from serving import (
    NEVER,
    Served,
    delegate,
    have_reviewed,
    playing,
    results,
    role,
    say,
    serving,
)

pytestmark = needs_tmux

Play = Callable[[Exchange], Awaitable[Reply]]
QUESTION = "What is BM25?"
ANSWER = (delegate(QUESTION), say("BM25 ranks [11]."))
TWO = (delegate("ranking", "tea"), say("BM25 ranks [11]."))
PROMPT = "›"


class Gate:
    """What a reply waits behind until the test opens it."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def passed(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._opened.wait()

    def open(self) -> None:
        assert self._loop is not None, "nobody waits yet"
        self._loop.call_soon_threadsafe(self._opened.set)


def holding(play: Play, word: str, gate: Gate) -> Play:
    """A script in which researchers whose task holds a word report only when the gate is open."""

    async def script(asked: Exchange) -> Reply:
        task = json.dumps(asked.body["messages"])
        if role(asked) == "researcher" and word in task and "hits" in task:
            await gate.passed()
        return await play(asked)

    return script


Start = Callable[..., Screen]


@pytest.fixture
def terminal(docs: Path, tmp_path: Path) -> Iterator[Start]:
    """Chats in terminals of their own, closed at the end."""
    screens: list[Screen] = []

    def start(
        *arguments: str, url: str = "", columns: int = 80, rows: int = 40, **env: str
    ) -> Screen:
        folder = tmp_path / f"terminal{len(screens)}"
        folder.mkdir()
        screen = Screen(folder, columns, rows, ANTHROPIC_API_KEY="sk-test", **env)
        screens.append(screen)
        server = ("--base-url", url) if url else ("--offline",)
        screen.start("chat", *server, "--docs", str(docs), *arguments)
        screen.until("/help")
        screen.until(at_prompt)
        return screen

    yield start
    for screen in screens:
        screen.close()


def at_prompt(shown: str) -> bool:
    """Whether the chat waits for a question."""
    return shown.rsplit("\n", maxsplit=1)[-1].rstrip() == PROMPT


def answered(screen: Screen, times: int = 1) -> str:
    """The screen once so many answers are complete and the chat waits."""
    return screen.until(lambda s: s.count("\ncomplete · ") == times and at_prompt(s))


def orchestrator(served: Served) -> list[Exchange]:
    return served.asked("orchestrator")


def asked_before(exchange: Exchange) -> list[str]:
    """The questions of the conversation that a request shows."""
    told = [result["turns"] for result in results(exchange) if "turns" in result]
    return [turn["question"] for turn in told[0]] if told else []


def test_a_conversation_of_three_turns(terminal: Start) -> None:
    with serving(playing(*ANSWER, *ANSWER, *ANSWER)) as served:
        screen, shown = terminal(url=served.url), ""
        for n, question in enumerate((QUESTION, "And who made it?", "When?"), 1):
            screen.type(question)
            shown = answered(screen, n)
        lines = shown.split("\n")
        assert [line for line in lines if line.startswith("› ")] == [
            "› What is BM25?",
            "› And who made it?",
            "› When?",
        ]
        assert lines.count("BM25 ranks [1].") == 3
        assert lines.count("[1] bm25.md:3  “BM25 is a ranking function”") == 3
        assert lines.count("└─ ✓ D1 researcher  What is BM25?") == 3
        assert sum(line.startswith("✓ orchestrator  untrusted · ") for line in lines) == 3
        assert asked_before(orchestrator(served)[-1]) == [QUESTION, "And who made it?"]


@requirement("W3")
def test_one_subagent_is_cancelled_and_the_run_goes_on(terminal: Start) -> None:
    with serving(playing(delegate("ranking", f"tea, {NEVER}"), say("BM25 ranks [11]."))) as served:
        screen = terminal(url=served.url)
        screen.type(QUESTION)
        screen.until("✓ D1 researcher")
        screen.type("/cancel D9")
        screen.until("no subagent D9 is at work. At work: D2.")
        screen.type("/cancel d2")
        shown = answered(screen)
        served.until(lambda: served.api.disconnects == 1)
        assert "› /cancel d2\nD2 is cancelled; the run goes on.\n" in shown
        assert "├─ ✓ D1 researcher  ranking\n" in shown
        assert re.search(r"└─ – D2 researcher  tea, never\n +cancelled · ", shown)
        assert "BM25 ranks [1]." in shown
        told = [r for r in results(orchestrator(served)[1]) if "outcome" in r]
        assert [result["outcome"] for result in told] == ["complete", "cancelled"]


def test_ctrl_c_cancels_the_run_and_twice_leaves(terminal: Start) -> None:
    with serving(playing(delegate(NEVER), *ANSWER, delegate(NEVER))) as served:
        screen = terminal(url=served.url)
        screen.type("First?")
        screen.until("D1 researcher")
        screen.send("C-c")
        shown = screen.until(lambda s: "Ctrl-C again leaves." in s and at_prompt(s))
        assert "– orchestrator  cancelled · " in shown
        assert "The run stopped early: it was cancelled." in shown
        screen.type(QUESTION)
        answered(screen)
        screen.type("Third?")
        screen.until(lambda s: s.count("D1 researcher") == 3)
        screen.send("C-c", "C-c")
        screen.until(lambda _: screen.ended is not None)
        assert screen.ended == 130, screen.shown()


def test_a_terminal_made_narrower_shows_the_tree_once_and_what_was_typed(terminal: Start) -> None:
    gate = Gate()
    long = "tea " + "brewed at eighty degrees for two minutes " * 3
    script = holding(
        playing(*ANSWER, delegate("ranking", long), say("BM25 ranks [11].")), "tea", gate
    )
    with serving(script) as served:
        screen = terminal(url=served.url, columns=120)
        screen.type(QUESTION)
        answered(screen)
        screen.type("And tea?")
        screen.until(lambda s: s.count("✓ D1 researcher") == 2 and "thinking over" in s)
        screen.send("-l", "half a question")
        screen.until("› half a question")
        screen.resize(60)
        shown = screen.until(lambda s: s.endswith("› half a question") and "for two mi…" in s)
        assert max(map(cell_len, shown.split("\n"))) <= 60
        assert shown.count("orchestrator") == shown.count("D1 researcher") == 2
        assert shown.count("D2 researcher") == shown.count("› half") == 1
        gate.open()
        shown = screen.until(lambda s: s.count("complete · ") == 2 and "› half a question" in s)
        assert shown.count("orchestrator") == 2
        assert shown.count("BM25 ranks [1].") == 2


@requirement("W2")
def test_a_chat_that_was_killed_is_taken_up_again_with_its_conversation(terminal: Start) -> None:
    script = playing(*ANSWER, delegate("ranking", NEVER), say("BM25 ranks [11]."))
    with serving(script) as served:
        screen = terminal("--max-tokens", "900000", url=served.url)
        screen.type(QUESTION)
        answered(screen)
        screen.type("And tea?")
        screen.until(lambda s: s.count("✓ D1 researcher") == 2)
        os.kill(screen.pid, signal.SIGKILL)
        screen.until(lambda _: screen.ended is not None)
        screen.start("chat", "--resume")
        shown = screen.until("D2 researcher", scrolled=False)
        assert "› What is BM25?\n  BM25 ranks [1].\n› And tea?\n" in shown
        screen.until("✓ D1 researcher", scrolled=False)
        screen.type("/cancel D2")
        screen.until("D2 is cancelled", scrolled=False)
        served.until(lambda: len(orchestrator(served)) == 4)  # no first call of a run is made twice
        assert asked_before(orchestrator(served)[-1]) == [QUESTION]
        screen.until(lambda s: "BM25 ranks [1].\n" in s and at_prompt(s), scrolled=False)
        screen.type("/budget")
        screen.until("tokens 900.0k", scrolled=False)


def test_labels_of_a_chat_that_is_taken_up_are_those_on_record(terminal: Start) -> None:
    with serving(playing(*ANSWER, *ANSWER)) as served:
        screen = terminal(url=served.url)
        screen.type(QUESTION)
        answered(screen)
        screen.send("C-d")
        screen.until(lambda _: screen.ended == 0)
        screen.start("chat", "--resume")
        screen.until(lambda s: "complete · " in s and at_prompt(s), scrolled=False)
        screen.type("/cost")
        screen.until("1 run · 480 tokens", scrolled=False)
        screen.type("/why 1")
        screen.until("it stands there, letter by letter", scrolled=False)
        screen.type("Next?")
        screen.until(lambda s: s.count("complete · ") == 2, scrolled=False)
    with Past(data_home()) as past:
        first, second = (past.run(row["id"]) for row in reversed(past.runs(2)))
    (turn,) = json.loads(second["settings"])["history"]
    assert turn["label"] == json.loads(first["answer"])["trust"]["label"]
    assert turn["label"]["integrity"] == "untrusted"


def test_a_question_typed_meanwhile_is_asked_next_and_other_commands_wait(terminal: Start) -> None:
    gate = Gate()
    with serving(holding(playing(*TWO, *ANSWER), "tea", gate)) as served:
        screen = terminal("--session-tokens", "500000", "--max-tokens", "100000", url=served.url)
        screen.type(QUESTION)
        screen.until("✓ D1 researcher")
        screen.type("/docs elsewhere")
        screen.until("A run goes on: Ctrl-C cancels it, /help shows what else works.")
        screen.type("/extend +50k")
        screen.until("of 150.0k tokens")
        screen.type("/cost")
        screen.until(" of 550.0k tokens")
        screen.type("And who made it?")
        screen.until("Asked next: And who made it?")
        gate.open()
        shown = answered(screen, 2)
        assert shown.count("\n› And who made it?\n") == 2  # when it was typed, and when it is asked
        assert asked_before(orchestrator(served)[-1]) == [QUESTION]


def test_a_subtask_is_asked_again_with_a_hint(terminal: Start) -> None:
    with serving(playing(*TWO, *ANSWER, *ANSWER)) as served:
        screen = terminal(url=served.url)
        screen.type(QUESTION)
        answered(screen)
        screen.type("/retry D3 x")
        screen.until("the last run has no D3\n           It has: D1, D2.")
        screen.type("/retry D2 green tea")
        answered(screen, 2)
        question = orchestrator(served)[2].body["messages"][0]["content"][0]["text"]
        assert question == "tea\n\nHint: green tea"


def test_a_low_finding_is_put_to_the_person(terminal: Start) -> None:
    low = playing(delegate(QUESTION), have_reviewed("D1"), say("BM25 ranks [11]."), review=REVISE)
    with serving(low) as served:
        screen = terminal(url=served.url)
        screen.type(QUESTION)
        screen.until("Accept it, retry with a hint, or drop it? [a/r/d]")
        screen.type("d")
        shown = screen.until(at_prompt)
        assert "Needs review\n- D1 What is BM25? (revise, 2/5): Say who made it." in shown


CLERK = """\
---
name: clerk
description: Looks things up.
tools: search
---
You look things up.
"""


async def clerical(asked: Exchange) -> Reply:
    """A clerk that, having read, searches once more: what a policy denies where something is private."""
    if role(asked) == "orchestrator":
        done = any("observed" in result or "findings" in result for result in results(asked))
        task = {"task": "Look it up"}
        return say("Done.") if done else Answer(content=(tool_use("delegate_to_clerk", task),))
    match len(results(asked)):
        case 0:
            return Answer(content=(tool_use("search", {"query": "BM25"}),))
        case 1:
            return Answer(content=(tool_use("search", {"query": "salary\n\nof 魚"}),))
        case _:
            return Answer(content=(tool_use("submit_report", {"answer": "Looked up."}),))


@requirement("policy")
@pytest.mark.parametrize(
    ("typed", "said"), [("/approve", "approved: this call, once"), ("n", "denied")]
)
def test_a_person_is_shown_the_exact_call_and_decides_while_the_run_goes_on(
    typed: str, said: str, docs: Path, tmp_path: Path, terminal: Start
) -> None:
    (docs / "pay.md").write_text("# Pay\n\nThe salary of the fish is high.\n")
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "clerk.md").write_text(CLERK)
    private = ("--trust", "guarded", "--private", str(docs / "pay.md"), "--agents", str(agents))
    with serving(clerical) as served:
        screen = terminal(*private, url=served.url)
        screen.type("Have it looked up, please.")
        shown = screen.until("Run exactly this call? [y/N]")
        assert "D1 wants to call search. Policy P-T denies it" in shown
        assert "  query:\n  | salary\n  |\n  | of 魚\n" in shown
        screen.type("what?")
        screen.until("/approve (or y) runs it, /deny (or n) does not.")
        screen.type(typed)
        shown = answered(screen)
        assert f"{typed}\n{said}\n" in shown
    with Past(data_home()) as past:
        events = past.events(past.runs(1)[0]["id"])
    decisions = [json.loads(e["data"])["decision"] for e in events if e["kind"] == "decided"]
    assert decisions == ["allowed", said.partition(":")[0]]


HOSTILE = "\x1b]0;own\x07\x1b[2J\x9b2J\x1b[?1049h\u202ear\u202c\u200b\ufeff魚ש👨\u200d👧e\u0301\u0301\x08\x0e\x1bP1|x\x1b\\"
"""Titles, clearing, the alternate screen, text in reverse, nothing visible, wide, right to left, joined, stacked."""


@requirement("T8")
def test_a_hostile_document_changes_nothing_outside_of_its_own_text(
    docs: Path, terminal: Start
) -> None:
    """The same chat about a harmless text and about one full of escapes: but for that text, the screens are the same."""
    screens = []
    for words in ("harmless", HOSTILE):
        (docs / "m.md").write_text(f"# MARK {words}\n\n{FACT}: MARK {words} is in it.\n")
        (docs / "bm25.md").unlink(missing_ok=True)
        with serving(quoting(words)) as served:
            screen = terminal(url=served.url, columns=120)
            before = screen.modes
            screen.type(QUESTION)
            answered(screen)
            screen.type("/why 1")
            shown = screen.until(lambda s: "letter by letter" in s and at_prompt(s))
            lines = re.sub(r"\d+(\.\d+)? s\b", "n s", shown).split("\n")
            screens.append([line for line in lines if "MARK" not in line])
            assert CONTROLS.findall(shown.replace("\n", "")) == []
            assert screen.modes == before
            assert len(lines) > len(screens[-1]) > 8
    assert screens[0] == screens[1]


def quoting(words: str) -> Play:
    """A run in which every text is hostile: task, query, claim, quote, answer."""
    answer = playing(delegate(f"MARK {words}"), say(f"Text: MARK {words} [11]."))

    async def script(asked: Exchange) -> Reply:
        if role(asked) != "researcher":
            return await answer(asked)
        hits: list[dict[str, Any]] = [h for r in results(asked) for h in r.get("hits", ())]
        if not hits:
            return Answer(content=(tool_use("search", {"query": f"{FACT} MARK {words}"}),))
        hit = next(hit for hit in hits if FACT in hit["text"])
        quote = hit["text"][hit["text"].index(FACT) :].strip()
        claim = {"text": f"MARK {words}", "source": hit["id"], "quote": quote}
        report = {
            "answer": words,
            "claims": [claim],
            "confidence": "high",
            "gaps": [f"MARK {words}"],
        }
        return Answer(content=(tool_use("submit_report", report),))

    return script


def test_a_dumb_terminal_gets_lines_no_escape_sequence_and_still_takes_commands(
    terminal: Start,
) -> None:
    with serving(playing(delegate("ranking", NEVER), say("BM25 ranks [11]."))) as served:
        screen = terminal(url=served.url, TERM="dumb")
        raw = screen.recorded()
        screen.type(QUESTION)
        screen.until("D1 complete")
        screen.type("/cancel D2")
        shown = answered(screen)
        assert "D2 is cancelled; the run goes on." in shown
        assert "D2 cancelled (" in shown
        screen.send("C-c")
        screen.until("Ctrl-C again, or Ctrl-D, leaves.")
        screen.send("C-d")
        screen.until(lambda _: screen.ended == 0)
        assert "\x1b" not in raw.read_text()


def test_without_colour_there_are_lines_above_the_prompt(terminal: Start) -> None:
    with serving(playing(delegate("ranking", NEVER), say("BM25 ranks [11]."))) as served:
        screen = terminal(url=served.url, NO_COLOR="1")
        screen.type(QUESTION)
        screen.until("D1 complete")
        screen.type("/cancel D2")
        shown = answered(screen)
        assert "D2 is cancelled; the run goes on." in shown
        assert not re.search(r"\x1b\[[0-9;]*[34]\d", screen.styled())


def test_a_large_paste_is_one_question_and_shown_in_short(terminal: Start) -> None:
    pasted = "\n".join(f"line {n} of a \x1b[31mlong\x07 text /exit" for n in range(3_000))
    with serving(playing(*ANSWER)) as served:
        screen = terminal(url=served.url)
        screen.send("-l", "Sum up: ")
        screen.paste(pasted)
        screen.send("Enter")
        shown = answered(screen)
        assert shown.count("of a ") < 300  # a screenful for each part that arrives by itself
        (first, _) = orchestrator(served)
        asked = first.body["messages"][0]["content"][0]["text"]
        assert asked.startswith("Sum up: line 0 of a ")
        assert asked.endswith("text /exit")
        assert asked.count("\n") == 2_999
