"""Before a consequential call: the policy, the person who may let one through, and what is private."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from inline_snapshot import snapshot

import delegator
from delegator.answer import Answer
from delegator.errors import ConfigError
from delegator.events import Decided, Event
from delegator.knowledge import Index, OneDocument
from delegator.model import Request
from delegator.models.scripted import Says, Scripted, Step, call, calls, results, say
from delegator.policy import ApprovalRequest, Approver, Denied, Effects, nobody
from delegator.terminal import approvals
from delegator.trust import Confidentiality, Level, untrusted
from requirements import requirement
from scripts import delegate, report, search
from texts import hostile_texts

SALARY = "The director earns 93417 crowns."


@pytest.fixture
def secret(docs: Path) -> Path:
    """The documents with a private folder among them."""
    (docs / "hr").mkdir()
    (docs / "hr" / "pay.md").write_text(f"# Pay\n\n{SALARY} BM25 is not mentioned in contracts.\n")
    return docs


def clerk(*tools: delegator.Tool) -> delegator.Agent:
    return delegator.Agent(name="clerk", description="d", prompt="p", tools=("search", *tools))


def ask(
    steps: list[Any], docs: Path, *tools: delegator.Tool, approve: Approver = nobody, **more: Any
) -> tuple[Answer, list[Event], Scripted]:
    """A clerk with some tools, asked once."""
    events: list[Event] = []
    asks = call("delegate_to_clerk", task="Do it")
    model = Scripted({"orchestrator": [asks, say("Done.")], "clerk": steps})
    answer = delegator.ask(
        "Have it done, please.",
        docs=[docs],
        model=model,
        agents=[clerk(*tools)],
        on_event=events.append,
        approve=approve,
        **{"trust": "guarded", **more},
    )
    return answer, events, model


def mailing(sent: list[str], **effects: Any) -> delegator.Tool:
    @delegator.tool(effects=Effects(**(effects or {"sends": True})))
    def mail(text: str) -> str:
        """Send a mail."""
        sent.append(text)
        return "sent"

    return mail


DONE = call("submit_report", answer="Done.")


def decisions(events: list[Event]) -> list[tuple[str, str]]:
    return [(e.what.decision, e.what.rule) for e in events if isinstance(e.what, Decided)]


@requirement("policy")
def test_a_call_that_rests_on_words_of_people_runs(docs: Path) -> None:
    sent: list[str] = []
    answer, events, _ = ask([call("mail", text="hello"), DONE], docs, mailing(sent))
    assert sent == ["hello"]
    assert decisions(events) == [("allowed", "")]
    assert answer.outcome.value == "complete"


@requirement("policy")
def test_all_calls_of_a_reply_are_judged_by_what_was_read_before_it(docs: Path) -> None:
    sent: list[str] = []
    both = calls(("search", {"query": "BM25"}), ("mail", {"text": "hello"}))
    ask([both, call("mail", text="later"), DONE], docs, mailing(sent))
    assert sent == ["hello"]


@requirement("policy")
def test_a_call_after_reading_is_denied_in_constant_words_and_the_run_goes_on(docs: Path) -> None:
    sent: list[str] = []
    answer, events, model = ask([search(), call("mail", text="canary"), DONE], docs, mailing(sent))
    assert sent == []
    assert decisions(events) == [("denied", "P-T")]
    (data,) = results(model.shown("clerk")[2])
    assert data["error"] == snapshot(
        "denied by policy P-T: it has effects outside, and what it depends on includes text that nobody vouches for"
    )
    assert answer.delegations[0].report is not None


@requirement("policy")
@pytest.mark.parametrize("level", ["raw", "typed", "sealed"])
def test_below_guarded_nothing_decides(docs: Path, level: str) -> None:
    sent: list[str] = []
    _, events, _ = ask([search(), call("mail", text="x"), DONE], docs, mailing(sent), trust=level)
    assert sent == ["x"]
    assert decisions(events) == []


@requirement("policy")
def test_the_question_is_more_secret_than_a_public_place(docs: Path) -> None:
    sent: list[str] = []
    public = mailing(sent, sends=True, sink=Confidentiality.PUBLIC)
    _, events, _ = ask([call("mail", text="x"), DONE], docs, public)
    assert sent == []
    assert decisions(events) == [("denied", "P-F")]


@requirement("policy")
def test_a_person_lets_one_call_through(docs: Path) -> None:
    sent: list[str] = []
    asked: list[ApprovalRequest] = []

    async def approve(request: ApprovalRequest) -> str:
        asked.append(request)
        return request.digest if request.input["text"] == "yes" else ""

    steps = [search(), call("mail", text="yes"), call("mail", text="no"), DONE]
    _, events, _ = ask(steps, docs, mailing(sent), approve=approve)
    assert sent == ["yes"]
    assert decisions(events) == [("approved", "P-T"), ("denied", "P-T")]
    assert [(r.agent, r.tool, dict(r.input)) for r in asked] == [
        ("D1", "mail", {"text": "yes"}),
        ("D1", "mail", {"text": "no"}),
    ]


@requirement("policy")
def test_an_approver_that_breaks_approves_nothing(docs: Path) -> None:
    async def approve(_request: ApprovalRequest) -> str:
        raise RuntimeError

    sent: list[str] = []
    answer, _, _ = ask(
        [search(), call("mail", text="x"), DONE], docs, mailing(sent), approve=approve
    )
    assert sent == []
    assert answer.delegations[0].report is not None


@requirement("policy")
def test_a_fixed_plan_is_nothing_that_a_person_is_asked_about(docs: Path) -> None:
    async def approve(request: ApprovalRequest) -> str:
        return request.digest

    model = Scripted(
        {
            "orchestrator": [delegate("BM25"), delegate("more"), say("Done.")],
            "researcher": [report([])],
        }
    )
    answer = delegator.ask("q?", docs=[docs], model=model, trust="planned", approve=approve)
    assert len(answer.delegations) == 1


# Private documents


@requirement("policy")
def test_what_comes_from_a_private_folder_is_private_to_the_end(secret: Path) -> None:
    (secret / "open.md").write_text("The director likes tea.\n")
    for folder, expected in ((None, Confidentiality.CONVERSATION), ("hr", Confidentiality.PRIVATE)):
        answer = delegator.ask(
            "What does the director earn?",
            docs=[secret],
            private=[secret / folder] if folder else [],
            offline=True,
            trust="guarded",
        )
        assert "93417" in answer.text
        assert answer.label.confidentiality is expected


@requirement("policy")
def test_a_private_search_is_denied_to_who_has_read_and_open_documents_are_left(
    secret: Path,
) -> None:
    asks = [delegate("BM25"), delegate("director earns"), say("Done.")]
    model = Scripted({"orchestrator": asks, "researcher": lambda _r: report([])})
    events: list[Event] = []
    answer = delegator.ask(
        "q?", docs=[secret], private=[secret / "hr"], model=model, trust="guarded",
        on_event=events.append,
    )  # fmt: skip
    first, *later = (
        [d for d in answer.delegations if d.task == "BM25"],
        *[d for d in answer.delegations if d.task != "BM25"],
    )
    assert "hr/pay.md" in {d.place for d in first}
    assert "hr/pay.md" not in {d.place for d in later}
    assert ("denied", "P-T") in decisions(events)


def test_names_under_a_private_folder_are_private(secret: Path) -> None:
    (secret / "hr2").mkdir()
    (secret / "hr2" / "open.md").write_text("BM25 open twin\n")
    with_private = Index(None, [secret], private=[secret / "hr"])
    with_private.refresh()
    marks = {h.passage.path: h.passage.private for h in with_private.search("BM25 director tea", 8)}
    assert marks == {"hr/pay.md": True, "hr2/open.md": False, "bm25.md": False, "tea.txt": False}
    assert with_private.private


@pytest.mark.parametrize("parts", [(".",), ("..",), ("hr", "pay.md")])
def test_a_folder_above_and_a_file_can_be_marked_too(secret: Path, parts: tuple[str, ...]) -> None:
    index = Index(None, [secret], private=[secret.joinpath(*parts)])
    index.refresh()
    marks = {h.passage.path: h.passage.private for h in index.search("BM25 director tea", 8)}
    assert marks["hr/pay.md"]
    assert marks["tea.txt"] is (parts != ("hr", "pay.md"))


def test_with_several_folders_only_the_marked_one_is_private(secret: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "hr"
    other.mkdir(parents=True)
    (other / "pay.md").write_text("BM25 pay elsewhere\n")
    index = Index(None, [secret, tmp_path / "other"], private=[secret / "hr"])
    index.refresh()
    marks = {h.passage.path: h.passage.private for h in index.search("pay BM25", 8)}
    assert marks["docs/hr/pay.md"]
    assert not marks["other/hr/pay.md"]


@pytest.mark.parametrize("place", ["nowhere", "../elsewhere"])
def test_a_private_place_without_documents_is_named(docs: Path, place: str) -> None:
    (docs.parent / "elsewhere").mkdir()
    with pytest.raises(ConfigError, match="marked private, but no document is there") as caught:
        Index(None, [docs], private=[docs / place])
    assert "--private" in caught.value.hint


def test_one_document_holds_nothing_of_another(docs: Path) -> None:
    index = Index(None, [docs])
    index.refresh()
    bm25, tea = (index.search(words, 1)[0].passage for words in ("BM25", "green tea"))
    one = OneDocument(index, bm25.document)
    assert {hit.passage.path for hit in one.search("BM25 tea", 8)} == {"bm25.md"}
    assert one.search("tea", 8, document=tea.document) == []
    assert (one.passage(tea.id), one.following(tea.id, 3)) == (None, [])
    assert one.passage(bm25.id) == bm25


# What a person is shown


def a_request(given: Mapping[str, Any] | None = None, sources: int = 1) -> ApprovalRequest:
    return ApprovalRequest(
        agent="D1",
        tool="mail",
        input=given or {"to": "a@b.example", "text": "two\nlines"},
        label=untrusted(*(f"doc.{i:02}" for i in range(sources))),
        denied=Denied("P-T", "because"),
    )


def test_a_request_for_approval_as_a_person_sees_it() -> None:
    request = a_request()
    assert "\n".join(approvals.shown(request)).replace(request.digest[:16], "0" * 16) == snapshot("""\
D1 wants to call mail. Policy P-T denies it: because.
  to:
  | a@b.example
  text:
  | two
  | lines
  It depends on: untrusted, conversation; doc.00
  Call 0000000000000000; the approval holds for this call only.\
""")


@requirement("T8")
@settings(deadline=None)
@given(hostile_texts(), hostile_texts())
def test_no_argument_acts_on_the_terminal_or_poses_as_another(name: str, words: str) -> None:
    lines = list(approvals.shown(a_request({name or "x": words, "last": "end"})))
    assert not set("".join(lines)) & set(map(chr, [*range(32), *range(127, 160)]))
    assert lines[-4:-2] == ["  last:", "  | end"]


def test_sources_that_are_left_out_are_counted() -> None:
    shown = "\n".join(approvals.shown(a_request(sources=30)))
    assert "doc.23 and 6 more" in shown


def _reader(answer: str | type[BaseException]) -> Callable[[str], Awaitable[str]]:
    async def read(_prompt: str) -> str:
        if isinstance(answer, str):
            return answer
        raise answer

    return read


@requirement("policy")
@pytest.mark.parametrize(
    ("answer", "approved"),
    [
        ("y", True),
        (" YES ", True),
        ("n", False),
        ("", False),
        ("yep", False),
        (EOFError, False),
        (KeyboardInterrupt, False),
    ],
)
def test_only_a_clear_yes_approves(answer: str | type[BaseException], approved: bool) -> None:
    request = a_request()
    given = asyncio.run(approvals.put(request, _reader(answer)))
    assert given == (request.digest if approved else "")


@requirement("policy")
def test_what_is_too_long_to_be_read_is_not_put_to_a_person() -> None:
    asked = asyncio.run(approvals.put(a_request({"text": "x" * 9000}), _reader("y")))
    assert asked == ""


@requirement("policy")
def test_the_digest_of_a_call_fits_no_other() -> None:
    base = a_request()
    others = [
        a_request({"to": "a@b.example", "text": "two\nlines "}),
        a_request({"to": "a@b.example"}),
        a_request(sources=2),
    ]
    assert len({r.digest for r in (base, *others)}) == 4
    assert base.digest == a_request().digest


def test_levels_have_a_name_that_is_checked() -> None:
    with pytest.raises(ConfigError, match="no such trust level"):
        delegator.ask("q?", trust="paranoid")
    assert [level.value for level in Level] == snapshot(
        ["raw", "marked", "clean", "typed", "sealed", "guarded", "planned"]
    )


@requirement("policy")
@pytest.mark.parametrize("hidden", ["\U000e0041", "\u200b", "\x1b[2J"])
def test_a_call_that_holds_what_nobody_sees_is_not_put_to_a_person(hidden: str) -> None:
    for hiding in ({"text": f"x{hidden}"}, {"deep": {"er": [f"x{hidden}"]}}, {f"x{hidden}": "y"}):
        assert asyncio.run(approvals.put(a_request(hiding), _reader("y"))) == ""


@requirement("policy")
def test_a_call_of_many_lines_is_not_put_to_a_person() -> None:
    asked = a_request({"text": "x\n" * 200})
    assert asyncio.run(approvals.put(asked, _reader("y"))) == ""


@requirement("policy")
def test_a_private_source_is_not_read_again_for_who_has_read(secret: Path) -> None:
    def again(request: Request) -> Says:
        found = results(request)[0]["findings"]
        private = found[0]["ref"]
        return call("delegate_to_researcher", task="more", revises=private)

    asks: list[Step] = [call("delegate_to_researcher", task="director earns"), again, say("Done.")]
    model = Scripted({"orchestrator": asks, "researcher": lambda _r: report([])})
    answer = delegator.ask("q?", docs=[secret], private=[secret], model=model, trust="guarded")
    assert {d.about for d in answer.delegations} == {""}
    (data,) = results(model.shown("orchestrator")[2])
    assert "denied by policy P-T" in data["error"]


def test_a_document_is_searched_to_its_end_whatever_others_hold(docs: Path) -> None:
    (docs / "big.md").write_text("\n\n".join(f"green tea number {n} " * 12 for n in range(1500)))
    index = Index(None, [docs])
    index.refresh()
    tea = next(
        p for p in index.search("Green tea brewed", 8) if p.passage.path == "tea.txt"
    ).passage
    one = OneDocument(index, tea.document)
    assert [hit.passage.id for hit in one.search("green tea", 3)] == [tea.id]


@requirement("policy")
@pytest.mark.parametrize(("private", "readers"), [(True, 1), (False, 3)])
def test_a_critics_word_does_not_have_a_private_source_read_again(
    secret: Path, private: bool, readers: int
) -> None:
    asks: list[Step] = [
        call("delegate_to_researcher", task="director earns", reviewed=True),
        say("Done."),
    ]
    low = {"score": 2, "verdict": "revise", "feedback": "Again.", "issues": []}
    model = Scripted(
        {
            "orchestrator": asks,
            "researcher": lambda _r: report([]),
            "critic": lambda _r: call("submit_report", **low),
        }
    )
    answer = delegator.ask(
        "q?",
        docs=[secret],
        private=[secret / "hr"] if private else [],
        model=model,
        trust="guarded",
    )
    assert sum(d.agent.name == "researcher" for d in answer.delegations) == readers
