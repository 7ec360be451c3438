"""What is printed about a level is computed, and a run keeps to it."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import delegator
from delegator.agents import Agent
from delegator.api import Settings
from delegator.budget import Limits
from delegator.explain import explain, explanation_json, explanation_text
from delegator.model import Request
from delegator.models.offline import Offline
from delegator.models.scripted import Says, call, calls
from delegator.models.worst_case import WorstCase
from delegator.policy import Effects
from delegator.shown import sealed_schema
from delegator.trust import Level
from requirements import requirement


def _searches_for_ever(request: Request) -> Says:
    return call("search", query=f"BM25 {len(request.messages)}")


def _delegates_for_ever(request: Request) -> Says:
    n = len(request.messages)
    return calls(*(("delegate_to_researcher", {"task": f"BM25 {n} {i}"}) for i in range(9)))


def _worst(docs: Path, level: Level, limits: Limits) -> delegator.Answer:
    hostile = {
        "orchestrator": _delegates_for_ever,
        "researcher": _searches_for_ever,
        "critic": _searches_for_ever,
    }
    model = WorstCase(Offline(), hostile=hostile, from_the_start=list(hostile))
    answer = delegator.ask(
        "What is BM25?", docs=[docs], model=model, trust=level.value, limits=limits
    )
    assert len(model.requests) == answer.model_calls
    return answer


@requirement("ladder")
@pytest.mark.parametrize("level", [level for level in Level if level is not Level.PLANNED])
@pytest.mark.parametrize(
    "limits",
    [Limits(delegations=3, model_calls=1000), Limits(delegations=3, model_calls=20)],
    ids=["the sum of all limits", "the run's own limit"],
)
def test_a_worst_case_run_reaches_the_printed_bound_and_makes_not_one_call_more(
    docs: Path, level: Level, limits: Limits
) -> None:
    worst = explain(Settings(level=level, limits=limits)).worst
    answer = _worst(docs, level, limits)
    assert answer.model_calls == worst.model_calls
    assert len(answer.delegations) == worst.delegations == 3


@requirement("ladder")
def test_a_planned_run_stays_below_its_bound(docs: Path) -> None:
    limits = Limits(delegations=3, model_calls=1000)
    worst = explain(Settings(level=Level.PLANNED, limits=limits)).worst
    answer = _worst(docs, Level.PLANNED, limits)
    assert answer.model_calls <= worst.model_calls
    assert len(answer.delegations) <= worst.delegations


def _bits(level: Level) -> dict[str, float | None]:
    given = explain(Settings(level=level)).to_json()
    return {entry["boundary"]: entry["bits"] for entry in given["boundaries"]}


@requirement("ladder")
def test_no_channel_grows_from_one_level_to_the_next() -> None:
    tables = [_bits(level) for level in Level]
    for below, above in pairwise(tables):
        assert below.keys() == above.keys()
        assert all((above[k] or 0) <= (below[k] or 0) for k in above)


@pytest.mark.parametrize("level", [Level.SEALED, Level.GUARDED])
def test_a_sealed_orchestrator_is_reached_by_a_few_bits(level: Level) -> None:
    assert 0 < (_bits(level)["researcher → orchestrator"] or 0) < 16
    assert 0 < (_bits(level)["critic → orchestrator"] or 0) < 16


def test_a_fixed_plan_leaves_no_influence() -> None:
    assert explain(Settings(level=Level.PLANNED)).influence == 0
    assert explain(Settings(level=Level.GUARDED)).influence > 0


def _mailing() -> Agent:
    @delegator.tool(effects=Effects(sends=True))
    def mail(text: str) -> str:
        """Send a mail."""
        return text

    @delegator.tool
    def unsaid(text: str) -> str:
        """Do something."""
        return text

    @delegator.tool(effects=Effects(reads=True))
    def clock() -> str:
        """Tell the time."""
        return "12"

    return Agent(name="clerk", description="d", prompt="p", tools=(mail, unsaid, clock))


@requirement("policy")
@pytest.mark.parametrize(
    ("level", "policy"), [("typed", "none at this level"), ("guarded", "P-T and P-F, or a person")]
)
def test_tools_with_effects_are_named_with_their_policy(level: str, policy: str) -> None:
    found = explain(Settings(level=Level(level), agents=(_mailing(),))).tools
    assert [(t.agent, t.tool, t.policy) for t in found] == [
        ("clerk", "mail", policy),
        ("clerk", "unsaid", policy),
    ]


def test_private_documents_make_reading_a_matter_of_policy() -> None:
    found = explain(Settings(level=Level.GUARDED, private=(Path("hr"),))).tools
    assert {(t.agent, t.tool) for t in found} == {("researcher", "search"), ("researcher", "read")}


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_text_fits_the_terminal_and_says_what_the_json_says(
    level: Level, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    explained = explain(Settings(level=level, agents=(_mailing(),)))
    shown = explanation_text(explained)
    assert max(map(len, shown.splitlines())) <= max(width - 1, 40)
    words = " ".join(shown.split())
    given: dict[str, Any] = json.loads(explanation_json(explained))
    assert given["guarantees"] in words
    assert f"{given['worst_case']['model_calls']:,}" in words
    assert all(entry["boundary"] in words for entry in given["boundaries"])


def test_a_sealed_schema_holds_nothing_that_a_model_can_write_freely() -> None:
    for name in ("researcher", "critic"):
        schema = json.dumps(sealed_schema(delegator.shipped(name), sources=3))
        assert not re.search('"string"|"number"', schema)
