"""What a person sees: the board that follows events, the tree drawn of it, lines, and an answer as a page."""

import asyncio
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from rich.cells import cell_len
from rich.text import Text

from delegator.agents import shipped
from delegator.answer import Answer
from delegator.budget import Usage
from delegator.citations import Citation
from delegator.events import (
    AgentStarted,
    DelegationFinished,
    DelegationStarted,
    Event,
    Happening,
    ModelCallFinished,
    ModelCallStarted,
    Noticed,
    Reminded,
    RunFinished,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from delegator.outcome import Outcome, Receipt
from delegator.records import Delegation, Verdict
from delegator.terminal import answers, views
from delegator.terminal.board import Board, short
from delegator.terminal.page import Page
from delegator.terminal.tree import LiveView, Painter, frame
from delegator.terminal.views import LineView, Progress, QuietView, view
from delegator.trust import USER
from programs import CONTROLS, MANY_SECONDS, PROGRAM
from requirements import requirement

TOP = "orchestrator"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TASK = "Explain how retrieval-augmented generation works and which parts it has"


class Story:
    """Events of a run, told one after the other; the clock goes on a second with each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.board = Board(clock=lambda: 100 + self.now)

    def tell(self, agent: str, *happenings: Happening) -> "Story":
        for what in happenings:
            self.board.take(Event(run="r", seq=1, at=self.now, agent=agent, what=what))
            self.now += 1
        return self

    def delegates(self, id: str, task: str, *, about: str = "", name: str = "") -> "Story":
        tool = f"delegate_to_{name or 'researcher'}"
        self.tell(TOP, ToolStarted(tool=tool, subject=task))
        started = DelegationStarted(
            id=id, name=name or "researcher", task=task, about=about, source="", label=USER
        )
        return self.tell(TOP, started)

    def ends(
        self, id: str, outcome: Outcome = Outcome.COMPLETE, verdict: str = "", tool: str = "r"
    ) -> "Story":
        receipt = Receipt(
            model_calls=1, tool_calls=1, failed_tool_calls=0, sources=(), usage=Usage(), seconds=2.5, stop="end"
        )  # fmt: skip
        ended = DelegationFinished(
            id=id, outcome=outcome, receipt=receipt, verdict=verdict, label=USER
        )
        return self.tell(
            TOP, ended, ToolFinished(tool=f"delegate_to_{tool}", problem="", label=USER)
        )

    def calls(self, agent: str, tokens: int = 120) -> "Story":
        usage = Usage(input_tokens=tokens)
        ended = ModelCallFinished(n=1, stop="tool_use", usage=usage, seconds=1.0)
        return self.tell(agent, ModelCallStarted(n=1), ended)

    def drawn(self, width: int = 60, height: int | None = None) -> str:
        lines = [line.plain for line in frame(self.board, width, height)]
        return re.sub("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "*", "\n".join(lines)) + "\n"


def busy() -> Story:
    """Two findings under way, one of them reviewed."""
    story = Story().tell(TOP, AgentStarted(name="orchestrator")).calls(TOP)
    story.delegates("D1", TASK).delegates("D2", "Compare RAG with fine-tuning")
    story.tell("D1", AgentStarted(name="researcher")).calls("D1")
    story.tell("D1", ToolStarted(tool="search", subject="retrieval generation"))
    return story


# The board and its tree


def test_the_tree_shows_task_activity_tokens_and_seconds_of_every_agent() -> None:
    assert busy().drawn() == snapshot("""\
* orchestrator  waiting for 2 subagents · 240 tokens · 11 s
├─ * D1 researcher  Explain how retrieval-augmented generat…
│    searching “retrieval generation” · 120 tokens · 7 s
└─ * D2 researcher  Compare RAG with fine-tuning
     starting · 5 s
""")


def test_a_review_stands_below_its_finding_and_a_revision_with_its_own_review_as_well() -> None:
    story = busy().ends("D1").ends("D2", Outcome.BUDGET)
    story.delegates("D3", "Review D1", about="D1", name="critic").calls("D3").ends(
        "D3", verdict="revise 2/5"
    )
    story.delegates("D4", TASK, about="D1").calls("D4", 2_345)
    story.tell("D4", ModelCallStarted(n=2))
    story.delegates("D5", "Review D4", about="D4", name="critic").calls("D5")
    assert story.drawn() == snapshot("""\
* orchestrator  waiting for 2 subagents · 2.8k tokens · 30 s
├─ ✓ D1 researcher  Explain how retrieval-augmented generat…
│  │ user · 1 call · 120 tokens · 2.5 s
│  ├─ ✓ D3 critic  revise 2/5 · 1 call · 120 tokens · 2.5 s
│  └─ * D4 researcher  thinking · 1 call · 2.3k tokens · 8 s
│     └─ * D5 critic  user · 1 call · 120 tokens · 3 s
└─ ~ D2 researcher  Compare RAG with fine-tuning
     budget · 2.5 s
""")


def test_a_finished_run_is_still_and_what_was_cut_off_says_so() -> None:
    story = busy().ends("D1").tell(TOP, RunFinished(outcome=Outcome.CANCELLED, answer={}))
    drawn = story.drawn()
    story.now += 60
    assert story.drawn() == drawn
    assert drawn == snapshot("""\
– orchestrator  cancelled · 2 calls · 240 tokens · 13.0 s
├─ ✓ D1 researcher  Explain how retrieval-augmented generat…
│    user · 1 call · 120 tokens · 2.5 s
└─ – D2 researcher  Compare RAG with fine-tuning
     cancelled · 7.0 s
""")


@pytest.mark.parametrize(
    ("happenings", "note"),
    [
        ([ModelCallStarted(n=1)], "thinking"),
        ([ToolStarted(tool="search", subject="x")], "searching “x”"),
        ([ToolStarted(tool="search", subject="x"), ModelCallStarted(n=2)], "thinking over “x”"),
        ([ToolStarted(tool="read", subject="id.1")], "reading on"),
        ([ToolStarted(tool="read", subject="i"), ModelCallStarted(n=2)], "thinking over what it read"),
        ([ToolStarted(tool="weather", subject="Rome")], "weather “Rome”"),
        ([ToolStarted(tool="now", subject=""), ModelCallStarted(n=2)], "thinking over now"),
        (
            [ToolFinished(tool="search", problem="too slow", label=USER), ModelCallStarted(n=2)],
            "thinking over a failed search: too slow",
        ),
        ([Reminded(why="empty"), ModelCallStarted(n=2)], "thinking over a reminder: empty"),
        ([ModelCallStarted(n=1), TextStreamed(text="A")], "writing"),
        ([TextStreamed(text="Some words "), TextStreamed(text="more ")], "writing, 3 words"),
        ([TextStreamed(text="a b c"), ModelCallStarted(n=2)], "thinking"),
    ],
)  # fmt: skip
def test_a_row_says_what_its_agent_is_doing(happenings: list[Happening], note: str) -> None:
    story = Story().tell(TOP, AgentStarted(name="orchestrator")).tell("D1", *happenings)
    assert story.board.rows["D1"].note == note


def test_agents_that_are_done_make_room_before_those_at_work() -> None:
    story = Story().calls(TOP)
    for n in range(1, 13):
        story.delegates(f"D{n}", f"task {n}")
    for n in range(1, 9):
        story.ends(f"D{n}")
    assert story.drawn(height=10) == snapshot("""\
* orchestrator  waiting for 4 subagents · 120 tokens · 42 s
├─ * D9 researcher  task 9
│    starting · 23 s
├─ * D10 researcher  task 10
│    starting · 21 s
├─ * D11 researcher  task 11
│    starting · 19 s
├─ * D12 researcher  task 12
│    starting · 17 s
└─ 8 more
""")
    assert story.drawn().count("researcher") == 12


def test_a_note_gives_way_to_the_figures_and_never_hides_the_seconds() -> None:
    story = busy().tell("D1", ToolStarted(tool="search", subject="very many words " * 9))
    line = story.drawn(width=40).splitlines()[2]
    assert line == "│    searching “very many words v… · 8 s"


anything = st.text(
    st.characters(codec="utf-8") | st.sampled_from("魚心臓 👍🏽\x1b\x9b\u202e\n\t"), max_size=60
)


@requirement("T8")
@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(20, 120),
    height=st.integers(2, 30),
    texts=st.lists(anything, min_size=1, max_size=5),
)
def test_no_line_of_the_tree_is_wider_than_the_terminal_or_can_draw(
    width: int, height: int, texts: list[str]
) -> None:
    story = Story().tell(TOP, AgentStarted(name="orchestrator"))
    for n, words in enumerate(texts, 1):
        story.delegates(f"D{n}", words, name=words)
        story.delegates(f"D{n}0", words, about=f"D{n}").tell(f"D{n}", Reminded(why=words))
        story.tell(f"D{n}", ToolStarted(tool="search", subject=words))
    lines = frame(story.board, width, height)
    assert max(cell_len(line.plain) for line in lines) <= width
    assert len(lines) <= height
    assert CONTROLS.findall("".join(line.plain for line in lines)) == []


def test_numbers_are_short() -> None:
    assert [short(n) for n in (0, 950, 12_345, 4_500_000)] == ["0", "950", "12.3k", "4.5M"]


# Drawing in place


class Screen(io.StringIO):
    """A terminal that wraps nothing by itself, and obeys the few sequences that the painter uses."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = [""]
        self.row = self.column = 0

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|[\n\r]|[^\x1b\n\r]+", text):
            self._obey(part)
        return len(text)

    def _obey(self, part: str) -> None:
        standing = self.rows[self.row]
        match part[0], part[-1]:
            case ("\n", _):
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            case ("\r", _):
                self.column = 0
            case ("\x1b", "A"):
                self.row = max(self.row - int(part[2:-1]), 0)
            case ("\x1b", "J"):
                self.rows[self.row :] = [standing[: self.column]]
            case ("\x1b", "K"):
                self.rows[self.row] = standing[: self.column]
            case ("\x1b", _):
                pass
            case _:
                end = self.column + len(part)
                self.rows[self.row] = standing[: self.column] + part + standing[end:]
                self.column = end

    def narrowed(self, columns: int) -> None:
        """Made narrower, as a terminal does that wraps again what stands there."""
        rows = [r[i : i + columns] for r in self.rows for i in range(0, max(len(r), 1), columns)]
        self.rows, self.row = rows, len(rows) - 1


def test_a_tree_is_redrawn_over_itself_also_when_it_shrinks() -> None:
    screen = Screen()
    painter = Painter(screen)
    painter.draw([Text("one"), Text("two"), Text("three")], 60)
    painter.draw([Text("1"), Text("2")], 60)
    assert screen.rows == ["1", "2", ""]


def test_a_tree_is_redrawn_over_itself_in_a_terminal_made_narrower() -> None:
    screen = Screen()
    painter = Painter(screen)
    screen.write("$ delegator\n")
    painter.draw([Text("x" * 50), Text("y" * 20), Text("")], 60)
    screen.narrowed(30)
    painter.draw([Text("x" * 30), Text("y" * 20)], 30)
    assert screen.rows == ["$ delegator", "x" * 30, "y" * 20, ""]


def test_a_line_above_the_tree_stays() -> None:
    screen = Screen()
    painter = Painter(screen)
    painter.draw([Text("tree"), Text("leaf")], 60)
    painter.above(Text("notice"), 60)
    painter.draw([Text("tree"), Text("leaf")], 60)
    assert screen.rows == ["notice", "tree", "leaf", ""]


def test_the_live_view_shows_notices_leaves_its_last_state_and_no_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr("delegator.terminal.streams.size", lambda _: (60, 24))

    async def go() -> None:
        with LiveView(screen) as live:
            assert screen.rows[0].endswith("orchestrator  starting · 0 s")
            for agent, what in (
                (TOP, AgentStarted(name="orchestrator")),
                (TOP, Noticed(text="D9 \x1b[2Jcrashed")),
                (TOP, RunFinished(outcome=Outcome.COMPLETE, answer={})),
            ):
                live(Event(run="r", seq=1, at=1.0, agent=agent, what=what))
        shown = list(screen.rows)
        await asyncio.sleep(0)
        assert live._timer is not None
        assert live._timer.cancelled()
        assert shown == ["D9 [2Jcrashed", "✓ orchestrator  0.0 s", "", ""]

    asyncio.run(go())


def test_a_live_view_to_which_nothing_happened_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr("delegator.terminal.streams.size", lambda _: (60, 24))

    async def go() -> None:
        with LiveView(screen):
            pass

    asyncio.run(go())
    assert screen.rows == [""]


# Lines


@requirement("T8")
def test_lines_are_one_line_each_whatever_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\nb\x1b[2J\u202e"
    started = DelegationStarted(
        id="D1", name="researcher", task=evil, about="", source="", label=USER
    )
    with LineView(verbose=True) as watch:
        for what in (started, Reminded(why=evil), Noticed(text=evil), ToolStarted(tool=evil, subject=evil)):  # fmt: skip
            watch(Event(run="r", seq=1, at=1.25, agent="D1", what=what))
    assert capsys.readouterr().err == snapshot("""\
   1.25s  D1 researcher: a b[2J
   1.25s  D1 asked to mend: a b[2J
   1.25s  a b[2J
   1.25s  D1 a b[2J a b[2J
""")


def test_a_pipe_gets_lines_and_a_quiet_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(view()) is LineView
    assert type(view(quiet=True)) is QuietView
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert type(view()) is LiveView
    assert type(view(verbose=True)) is LineView
    monkeypatch.setenv("NO_COLOR", "1")
    assert type(view()) is LineView
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert type(view()) is LineView


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_after_a_moment_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress(quiet=False)
    progress(1)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(views, "PATIENCE_SECONDS", -1)
    progress(1_234)
    progress.end()
    shown = terminal.getvalue().split("\r")
    assert shown == ["", "indexing … 1,234 files", " " * len("indexing … 1,234 files"), ""]
    Progress(quiet=True)(5)
    assert terminal.getvalue().split("\r") == shown


# An answer as a page

ANSWER = """\
# RLHF and DPO

**Both** train a model on human preferences, but `DPO` needs no reward model [1]. That is doubted [2: unverified] here.

- The first point is long enough to be wrapped at sixty columns, below its own first word.
  12. A numbered one, indented, which is long enough to be wrapped as well, one hopes.
    - A third level, indented by four, is no code and is wrapped like the others above.
> A quoted remark that is long enough to be wrapped, with its mark before every line.

| a | table that is wider than the page and stays as it is written in the answer |

```python
print("a line of code that is wider than the page and stays as it is written")
```
心臓を再生することができる小さな魚であり研究で広く使われているそして心臓を再生する"""


def test_a_page_wraps_at_words_with_hanging_indents_and_keeps_code() -> None:
    page = Page(60, styled=False)
    assert page.text(page.markdown(ANSWER)) == snapshot("""\
# RLHF and DPO

**Both** train a model on human preferences, but `DPO` needs
no reward model [1]. That is doubted [2: unverified] here.

- The first point is long enough to be wrapped at sixty
  columns, below its own first word.
  12. A numbered one, indented, which is long enough to be
      wrapped as well, one hopes.
    - A third level, indented by four, is no code and is
      wrapped like the others above.
> A quoted remark that is long enough to be wrapped, with
> its mark before every line.

| a | table that is wider than the page and stays as it is written in the answer |

```python
print("a line of code that is wider than the page and stays as it is written")
```
心臓を再生することができる小さな魚であり研究で広く使われてい
るそして心臓を再生する\
""")


def test_a_styled_page_shows_markdown_instead_of_spelling_it_out() -> None:
    page = Page(60, styled=True)
    lines = page.text(page.markdown(ANSWER)).splitlines()
    assert lines[0] == "\x1b[1mRLHF and DPO\x1b[0m"
    assert lines[2].startswith("\x1b[1mBoth\x1b[0m train a model")
    assert "\x1b[36mDPO\x1b[0m" in lines[2]
    assert "\x1b[36m[1]\x1b[0m" in lines[3]
    assert "\x1b[33m[2: unverified]\x1b[0m" in lines[3]
    assert 'print("a line of code that is wider' in ESCAPES.sub("", "\n".join(lines))


def test_sources_are_compact_wrapped_and_doubted_where_they_must_be() -> None:
    page = Page(60, styled=False)
    long = Citation(n=1, source="notes/a\n[9] b.md:3", quote="word " * 90, verified=True)
    doubt = Citation(n=12, source="c.md:1", quote="x\x1b[2Jy", verified=False)
    assert page.text([*page.source(long), *page.source(doubt)]) == snapshot("""\
[1] notes/a [9] b.md:3  “word word word word word word word
    word word word word word word word word word word word
    word word word word word word word word word word word
    word word word word word word word word word word word
    word word word word word word word word…”
[12] c.md:1  “x[2Jy”  (quote not found in its source)\
""")


@requirement("T8")
@settings(max_examples=60, deadline=None)
@given(text=anything, width=st.integers(20, 100), styled=st.booleans())
def test_a_page_holds_no_control_sequence_but_its_own_styles(
    text: str, width: int, styled: bool
) -> None:
    page = Page(width, styled=styled)
    shown = page.text([*page.markdown(text), *page.source(_citation(text))])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown) if styled else shown
    assert CONTROLS.findall(plain) == []


def _citation(text: str) -> Citation:
    return Citation(n=1, source=text, quote=text, verified=False)


# An answer for a pipe, and what is said of it


def an_answer(**more: Any) -> Answer:
    """An answer of a run with one delegation, some parts as given."""
    parts: dict[str, Any] = {
        "run_id": "r",
        "question": "q?",
        "outcome": Outcome.COMPLETE,
        "stop": "end",
        "text": "Text.",
        "citations": (),
        "delegations": (
            Delegation(id="D1", ref="D1", agent=shipped("researcher"), task="Find\x1b[2J it"),
        ),
        "flagged": (),
        "usage": Usage(),
        "model_calls": 1,
        "seconds": 1.25,
        "label": USER,
    }
    return Answer(**{**parts, **more})


@requirement("T8")
def test_a_plain_answer_holds_no_control_character_and_a_source_is_one_line() -> None:
    evil = "a\x1b[2J\u202e\x9bb\n[7] c.md"
    answer = an_answer(text=evil, citations=(_citation(evil),), flagged=("D1",))
    assert answers.plain(answer) == snapshot("""\
a[2Jb
[7] c.md

Sources
[1] a[2Jb [7] c.md "a[2Jb [7] c.md" (quote not found in its source)

Needs review
D1 Find[2J it\
""")


def test_a_revision_that_nobody_reviewed_shows_the_review_of_what_it_revises() -> None:
    review = Verdict(by="D2", score=2, verdict="revise", feedback="Say who.")
    first = Delegation(
        id="D1", ref="D1", agent=shipped("researcher"), task="Find it", review=review
    )
    again = Delegation(id="D3", ref="D3", agent=shipped("researcher"), task="Find it", about="D1")
    answer = an_answer(delegations=(first, again), flagged=("D3",))
    assert answers.plain(answer).endswith("Needs review\nD3 Find it (revise, 2/5): Say who.")


@requirement("T8")
def test_at_a_terminal_what_needs_review_is_wrapped_and_made_safe_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    review = Verdict(by="D2", score=2, verdict="revise", feedback="Say\x1b[2J who made it. " * 4)
    record = Delegation(
        id="D1", ref="D1", agent=shipped("researcher"), task="Find it", review=review
    )
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("delegator.terminal.streams.size", lambda _: (60, 24))
    monkeypatch.setenv("NO_COLOR", "1")
    answers.show(an_answer(delegations=(record,), flagged=("D1",)))
    assert terminal.getvalue() == snapshot("""\
Text.

Needs review
- D1 Find it (revise, 2/5): Say[2J who made it. Say[2J who
  made it. Say[2J who made it. Say[2J who made it.
""")


def test_figures_are_one_line() -> None:
    answer = an_answer(outcome=Outcome.NEEDS_REVIEW, usage=Usage(input_tokens=12_345))
    assert answers.figures(answer) == "needs review · 1 call · 12.3k tokens · 1.2 s · 1 delegation"


@requirement("cli:errors")
@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_but_a_complete_one_is_explained_in_one_or_two_lines(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.explain(an_answer(outcome=outcome))
    said = capsys.readouterr().err
    assert (said == "") is (outcome is Outcome.COMPLETE)
    assert said == "" or re.fullmatch(r"delegator: \S.*\n( {11}\S.*\n)?", said)


# A real terminal


@pytest.fixture
def spawn(docs: Path, tmp_path: Path) -> Iterator[Any]:
    """The program in a terminal of 60 columns."""
    children: list[Any] = []

    def start(*arguments: str, **env: str) -> Any:
        environment = {**os.environ, "TERM": "xterm-256color", **env}
        environment.pop("NO_COLOR", None) if "NO_COLOR" not in env else None
        child = pexpect.spawn(
            PROGRAM[0],
            [*PROGRAM[1:], *arguments, "--offline", "--docs", str(docs)],
            dimensions=(24, 60),
            env=environment,
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=MANY_SECONDS,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def lines_of(raw: str) -> list[str]:
    return ESCAPES.sub("", raw).replace("\r", "").split("\n")


def test_on_a_terminal_the_tree_lives_and_the_answer_is_wrapped(spawn: Any) -> None:
    child = spawn("ask", "What is BM25? How is green tea brewed?")
    child.expect(pexpect.EOF)
    child.close()
    raw = child.before
    lines = lines_of(raw)
    assert child.exitstatus == 0
    assert "\x1b[" in raw
    assert max(map(cell_len, lines)) <= 60
    assert "├─ ✓ D1 researcher  What is BM25?" in lines
    assert "└─ ✓ D2 researcher  How is green tea brewed?" in lines
    assert any(
        re.fullmatch(r"   └─ ✓ D4 critic  accept 5/5 · untrusted · 1 call · \d\.\d s", x)
        for x in lines
    )
    assert "\x1b[1mSources\x1b[0m" in raw
    quote = lines[lines.index("Sources") + 1 :]
    assert quote[0].startswith("[1] bm25.md:3  “BM25 is")
    assert quote[1].startswith("    ")
    assert lines[-2].startswith("complete · ")


def test_no_color_means_no_escape_sequence_and_still_a_wrapped_answer(spawn: Any) -> None:
    child = spawn("ask", "What is BM25?", NO_COLOR="1")
    child.expect(pexpect.EOF)
    assert "\x1b" not in child.before
    assert "D1 researcher: What is BM25?" in child.before
    lines = lines_of(child.before)
    assert max(map(cell_len, lines)) <= 60
    assert "Sources" in lines


def test_the_question_can_be_typed_and_ended_with_ctrl_d(spawn: Any) -> None:
    child = spawn("ask", "--quiet", "-")
    child.expect("reading the question from the terminal; end with Ctrl-D")
    child.send("What is BM25?\n\x04")
    child.expect("Sources")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_an_error_is_wrapped_below_itself(spawn: Any) -> None:
    child = spawn("ask", "--agents", " ".join(["nowhere"] * 9), "q")
    child.expect(pexpect.EOF)
    assert child.before.replace("\r", "") == snapshot("""\
delegator: no such folder: nowhere nowhere nowhere nowhere
           nowhere nowhere nowhere nowhere nowhere
           --agents takes a folder of .md files.
""")


@pytest.mark.parametrize(
    ("usd", "shown"), [(None, ""), (0.0, ""), (0.01234, "$0.0123 · "), (1234.5, "$1,234.50 · ")]
)
def test_what_a_run_cost_is_said_where_it_cost_something(usd: float | None, shown: str) -> None:
    assert answers.figures(an_answer(usd=usd)) == f"complete · 1 call · {shown}1.2 s · 1 delegation"
