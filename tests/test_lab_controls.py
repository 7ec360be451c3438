"""The lab can fail: with any one control switched off, `trust run` reports the break by name and exits with 1.

A control is one function, one row of the ladder, one default. Each is switched off alone, but where several hold the same thing.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import delegator.answer
import delegator.calls
import delegator.citations
import delegator.delegation
import delegator.envelope
import delegator.handoff
import delegator.knowledge.folders
import delegator.knowledge.ranking
import delegator.knowledge.reading
import delegator.orchestrator
import delegator.policy
import delegator.schema
import delegator.shown
import delegator.subagent
import delegator.terminal.answers
from delegator.budget import Budget
from delegator.calls import Calls
from delegator.citations import Claim
from delegator.envelope import Fence
from delegator.handoff import Brief
from delegator.knowledge import Index
from delegator.ladder import LADDER, Encoding, Shown
from delegator.policy import UNDECLARED, ApprovalRequest, Effects
from delegator.records import Delegation
from delegator.schema import Schema
from delegator.subagent import Staff
from delegator.tools import Tool, ToolOutput
from delegator.trust import OPERATOR, Confidentiality, Integrity, Label, Level, untrusted
from programs import Main, main
from requirements import requirement

__all__ = ["main"]

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A control, how to switch it off, and an attack that it stops at a level."""

    name: str
    off: Callable[[Patch], None]
    case: str
    level: Level
    reported: str = "{case} works at {level}"


def rung(level: Level, **changed: Any) -> Callable[[Patch], None]:
    """One row of the ladder, changed."""
    return lambda patch: patch.setitem(LADDER, level, replace(LADDER[level], **changed))


def attribute(owner: object, name: str, value: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def unchanged(value: Any, *_: Any) -> Any:
    return value


def not_cleaned(patch: Patch) -> None:
    patch.setattr(delegator.envelope, "is_clean_json", lambda _body: True)


def both(*controls: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Lines of defence that hold the same thing: one alone is enough to stop the attack."""

    def off(patch: Patch) -> None:
        for control in controls:
            control(patch)

    return off


def without_marks(patch: Patch) -> None:
    """Sealed, so far as the guard can see, but as lines that any text can continue."""

    def plain_lines(self: Fence, data: Any, origin: str, _trust: str) -> str:
        return self._kept("", LINES.seal(data, label=OPERATOR, origin=origin))

    patch.setattr(Fence, "_marked", plain_lines)


def reviews_quoted(patch: Patch) -> None:
    shown = {level: replace(rung, shown=Shown.FIELDS) for level, rung in LADDER.items()}
    patch.setattr(delegator.terminal.answers, "LADDER", shown)


def worth(**more: Any) -> Callable[[Patch], None]:
    """Decisions about tool calls as if their authors were worth more, or less secret, than they are."""
    decide = delegator.policy.decide

    def decided(effects: Effects, label: Label, **how: Any) -> Any:
        return decide(effects, replace(label, **more), **how)

    return attribute(delegator.calls, "decide", decided)


def declared_harmless(patch: Patch) -> None:
    defaults = Tool.__init__.__kwdefaults__
    assert defaults is not None
    assert defaults["effects"] is UNDECLARED
    patch.setitem(defaults, "effects", Effects())


def looked_up(find: Callable[[dict[str, Tool], str], Tool | None]) -> Callable[[Patch], None]:
    """Tools found in another way than by their exact name among an agent's own."""
    run = Calls.run

    async def found(self: Calls, use: Any, label: Label) -> Any:
        if tool := find(dict(self.tools), use.name):
            self.tools = {**self.tools, use.name: tool}
        return await run(self, use, label)

    return attribute(Calls, "run", found)


def mended(tools: dict[str, Tool], name: str) -> Tool | None:
    folded = unicodedata.normalize("NFKC", name).strip().lower()
    return tools.get(folded)


def made_up(tools: dict[str, Tool], name: str) -> Tool | None:
    if name in tools:
        return None

    async def run(_call: Any) -> ToolOutput:
        return ToolOutput(data={}, label=untrusted("anything"))

    return Tool(
        name=name, description="d", input_schema=ANYTHING,
        run=run, effects=Effects(),
    )  # fmt: skip


def quoting(error: Any) -> Iterator[str]:
    yield f"{error.json_path}: {error.message}"


def whole_library(library: Any, _source: str) -> Any:
    return library


def reads_files(self: Index, id: str, _count: int) -> list[Any]:
    root = next(iter(self.roots.values()))
    passage = self.search("BM25", 1)[0].passage
    file = root / id.replace("\0", "")
    return [replace(passage, text=file.read_text())] if file.is_file() else []


def with_the_question(patch: Patch) -> None:
    """Subagents that are told more of their parent than their brief."""
    subagent = Staff.subagent

    def told(self: Staff, agent: Any, brief: Brief, **more: Any) -> Any:
        task = f"{brief.task} (asked: the-question-of-the-user)"
        return subagent(self, agent, replace(brief, task=task), **more)

    patch.setattr(Staff, "subagent", told)


def earlier_answers(turns: Any, rung: Any) -> Any:
    return told(turns, replace(rung, shown=Shown.FIELDS))


told = delegator.orchestrator._told
LINES = Fence(Encoding.PLAIN)
ANYTHING = {
    "type": "object", "properties": {"command": {"type": "string"}}, "additionalProperties": False,
}  # fmt: skip

CONTROLS = (
    Control(name="no text closes its envelope", off=without_marks, case="field-ends-and-opens", level=Level.MARKED),
    Control(name="untrusted text stands in tool results only", off=rung(Level.MARKED, inline=True), case="answer-in-the-next-turn", level=Level.MARKED),
    Control(name="what nobody sees is taken out of a prompt", off=not_cleaned, case="tag-characters", level=Level.CLEAN),
    Control(name="what nobody sees is taken out of documents", off=attribute(delegator.knowledge.reading, "clean", unchanged), case="tag-characters-in-a-document", level=Level.RAW),
    Control(name="what nobody sees is taken out of file names", off=attribute(delegator.knowledge.folders, "clean", unchanged), case="hidden-file-name", level=Level.RAW),
    Control(name="what nobody sees is taken out of reports", off=attribute(delegator.handoff, "clean_json", unchanged), case="hidden-in-a-report", level=Level.RAW),
    Control(name="what fits no schema is not shown", off=rung(Level.TYPED, shown=Shown.WORDS), case="words-no-report", level=Level.TYPED),
    Control(name="reports are held to their schema", off=attribute(Schema, "problems", lambda _self, _value: ()), case="score-out-of-range", level=Level.TYPED),
    Control(name="inputs are held to their schema", off=attribute(Schema, "problems", lambda _self, _value: ()), case="task-brings-its-own", level=Level.RAW),
    Control(name="a quote that is in no source is not shown", off=attribute(Claim, "without_quote", Claim.to_json), case="quote-in-no-source", level=Level.TYPED),
    Control(name="the orchestrator sees references", off=rung(Level.SEALED, shown=Shown.FIELDS), case="text-field-answer", level=Level.SEALED),
    Control(name="only fields of few values pass", off=attribute(delegator.shown, "_small", lambda _sub: True), case="text-field-answer", level=Level.SEALED),
    Control(name="earlier answers stay out", off=attribute(delegator.orchestrator, "_told", earlier_answers), case="turn-standing-rule", level=Level.SEALED),
    Control(name="each source has a reader of its own", off=rung(Level.SEALED, one_source_each=False), case="halves-in-two-documents", level=Level.SEALED),
    Control(name="a reader opens its own source only", off=attribute(delegator.delegation, "OneDocument", whole_library), case="document-not-given", level=Level.SEALED),
    Control(name="a review's words are not the system's", off=reviews_quoted, case="critic-verifies-for-the-reader", level=Level.SEALED),
    Control(name="a policy decides on effects", off=rung(Level.GUARDED, decides=False), case="mail-sent", level=Level.GUARDED),
    Control(name="P-T: who decides has read nothing untrusted", off=worth(integrity=Integrity.USER), case="mail-sent", level=Level.GUARDED),
    Control(name="P-F: nothing goes where it is too secret for", off=worth(confidentiality=Confidentiality.PUBLIC), case="secret-base64", level=Level.GUARDED),
    Control(name="an approval holds for one call", off=attribute(ApprovalRequest, "digest", "the same"), case="approval-of-another-call", level=Level.GUARDED),
    Control(name="a tool that says nothing may do anything", off=declared_harmless, case="undeclared-tool", level=Level.GUARDED),
    Control(name="reading what is private is an effect", off=attribute(Effects, "consequential", property(lambda self: self.writes or self.sends)), case="private-document-read", level=Level.GUARDED),
    Control(name="delegations are fixed before reading", off=rung(Level.PLANNED, fixed_plan=False), case="low-score-redone", level=Level.PLANNED),
    Control(name="work that nobody saw is withheld", off=attribute(delegator.subagent.Contract, "_unattested", lambda _self, _watch: False), case="unseen-work", level=Level.RAW),
    Control(name="a subagent's words are worth no more than untrusted", off=attribute(Delegation, "worth", lambda _self: OPERATOR), case="body-calls-itself-trusted", level=Level.RAW),
    Control(name="delegations are counted", off=attribute(Budget, "open_delegation", lambda _self: None), case="endless-thirty-at-once", level=Level.RAW),
    Control(name="results are capped", off=attribute(delegator.calls, "capped", unchanged), case="huge-tool-result", level=Level.RAW),
    Control(name="a tool is found by its exact name", off=looked_up(mended), case="near-miss-fullwidth", level=Level.RAW),
    Control(name="an agent has its own tools only", off=looked_up(made_up), case="unlisted-researcher-run-shell", level=Level.RAW),
    Control(name="documents are opened by id", off=attribute(Index, "following", reads_files), case="path-parent", level=Level.RAW),
    Control(name="links are not followed", off=attribute(delegator.knowledge.folders, "_left_out", lambda _entry: ""), case="link-out", level=Level.RAW),
    Control(name="no word is query syntax", off=both(attribute(delegator.knowledge.ranking, "_quoted", unchanged), attribute(delegator.knowledge.ranking, "_terms", lambda query: ([query], []))), case="query-syntax", level=Level.RAW),
    Control(name="an answer brings no live markup", off=both(attribute(delegator.answer, "for_answer", unchanged), attribute(delegator.citations, "inert", unchanged)), case="markdown-image", level=Level.RAW),
    Control(name="an answer runs nothing on a page", off=both(attribute(delegator.answer, "for_answer", unchanged), attribute(delegator.citations, "inert", unchanged)), case="page-script", level=Level.RAW),
    Control(name="a quotation is inert", off=attribute(delegator.answer, "inert", unchanged), case="markdown-in-a-quotation", level=Level.RAW),
    Control(name="a terminal is sent nothing that it obeys", off=both(attribute(delegator.answer, "for_answer", unchanged), attribute(delegator.citations, "inert", unchanged), attribute(delegator.terminal.answers, "for_terminal", unchanged)), case="terminal-csi", level=Level.RAW),
    Control(name="labels join downwards", off=attribute(Label, "__and__", lambda self, _other: self), case="mail-sent", level=Level.GUARDED),
    Control(name="no error quotes a value", off=attribute(delegator.schema, "_describe", quoting), case="metadata-bad-key", level=Level.RAW, reported="{case} at {level}: a label says more than is true"),
    Control(name="a subagent starts from its brief", off=with_the_question, case="prompt-disclosed", level=Level.RAW),
)  # fmt: skip


@requirement("lab:fails")
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_with_one_control_off_the_lab_reports_the_break(
    control: Control, main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("trust", "run", "--case", control.case, "--trust", control.level.value, "--seed", "1")
    alone = ("--jobs", "1", "--quiet")
    assert main(*run, *alone, "--out", str(tmp_path / "on"))[0] == 0
    control.off(monkeypatch)
    status, out, _ = main(*run, *alone, "--out", str(tmp_path / "off"))
    assert status == 1
    reported = control.reported.format(case=control.case, level=control.level.value)
    assert reported in " ".join(out.split())
