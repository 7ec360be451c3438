"""The whole flow, in a few readable lines."""

from dataclasses import replace
from pathlib import Path

from inline_snapshot import snapshot

from delegator.models.scripted import Scripted, Step, calls, say
from delegator.outcome import Outcome
from requirements import requirement
from scripts import (
    REVISE,
    ask,
    critic,
    delegate,
    finds,
    have_reviewed,
    headlines,
    researcher,
    search,
)

OKAPI = "It was developed by Stephen Robertson"


def _script() -> Scripted:
    again = ("delegate_to_researcher", {"task": "Who made it?", "revises": "D3"})
    return Scripted(
        {
            "orchestrator": [
                delegate("What is BM25?", "How does k1 work?", "Who made it?"),
                have_reviewed("D1", "D2", "D3"),
                calls(again),
                have_reviewed("D7"),
                say("BM25 ranks [11], k1 limits it [21], and Robertson made it [71]."),
            ],
            "D1": researcher(),
            "D2": researcher("limits how much repeated terms add", "k1 limits it."),
            "D3": researcher(),
            "D4": critic(),
            "D5": critic(),
            "D6": critic(REVISE),
            "D7": researcher(OKAPI, "Robertson made it."),
            "D8": critic(),
        }
    )


def test_three_subtasks_three_critics_one_revision_and_the_answer(docs: Path) -> None:
    model = _script()
    answer, events = ask(model, docs, "Tell me all about BM25.")
    model.assert_spent()
    assert headlines(events) == snapshot("""\
D1 researcher starts: What is BM25?
D2 researcher starts: How does k1 work?
D3 researcher starts: Who made it?
D1 complete
D2 complete
D3 complete
D4 critic on D1 starts: Review D1
D4 complete, accept 5/5
D5 critic on D2 starts: Review D2
D5 complete, accept 5/5
D6 critic on D3 starts: Review D3
D6 complete, revise 2/5
D7 researcher on D3 starts: Who made it?
D7 complete
D8 critic on D7 starts: Review D7
D8 complete, accept 5/5\
""")
    assert str(answer) == snapshot("""\
BM25 ranks [1], k1 limits it [2], and Robertson made it [3].

Sources
[1] bm25.md:3 "BM25 is a ranking function"
[2] bm25.md:8 "limits how much repeated terms add"
[3] bm25.md:4 "It was developed by Stephen Robertson"\
""")
    assert answer.outcome is Outcome.COMPLETE


@requirement("parallel")
def test_delegations_of_one_reply_run_at_the_same_time(docs: Path) -> None:
    slow: list[Step] = [replace(search(), delay=0.3), finds()]
    model = Scripted(
        {
            "orchestrator": [delegate("a", "b", "c"), say("Done [11][21][31].")],
            "D1": slow,
            "D2": slow,
            "D3": slow,
        }
    )
    ask(model, docs)
    assert model.peak == 3
