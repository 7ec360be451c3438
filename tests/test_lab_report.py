"""What a person is shown of the lab's results: tables of any width, a page that runs nothing, plots without overlap."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegator.lab.adaptive import GOALS
from delegator.lab.cases import case_of
from delegator.lab.jobs import Plan
from delegator.lab.page import page
from delegator.lab.plots import apart
from delegator.lab.report import report_json, report_text
from delegator.lab.results import Job, Result
from delegator.lab.summary import Summary, summarize
from delegator.trust import Level
from texts import hostile_texts

LEVELS = (Level.RAW, Level.TYPED, Level.GUARDED)
PLAN = Plan(seed="1", levels=LEVELS, cases=("mail-sent", "order-plain", "reader-obeys"))


def attack(id: str, level: Level, *, worked: bool, n: int = 0) -> Result:
    job = Job(kind="attack", id=id, level=level.value, n=n)
    exposure = {"orchestrator": (1, 2), "researcher": (2, 3)}
    outcome = "worked" if worked else "stopped"
    return Result(job=job, outcome=outcome, tokens=300, calls=3, exposure=exposure, reached=(1, 2))


def benign(id: str, level: Level, *, answered: bool = True, tokens: int = 100) -> Result:
    job = Job(kind="benign", id=id, level=level.value)
    outcome = "answered" if answered else "missed"
    return Result(job=job, outcome=outcome, right=answered, tokens=tokens, calls=2, pieces=(2, 2))


def everything(works: dict[str, set[Level]]) -> list[Result]:
    return [
        *(attack(id, at, worked=at in levels) for id, levels in works.items() for at in LEVELS),
        *(benign(name, at) for name in ("sourdough.md", "tomatoes.txt") for at in LEVELS),
        *(Result(job=Job(kind="clean", id="clean", level=at.value), outcome="answered", tokens=100) for at in LEVELS),
    ]  # fmt: skip


AS_DECLARED = {
    "mail-sent": {Level.RAW, Level.TYPED},
    "order-plain": {Level.RAW, Level.TYPED},
    "reader-obeys": set(LEVELS),
}


def summary(
    *more: Result, plan: Plan = PLAN, works: dict[str, set[Level]] = AS_DECLARED
) -> Summary:
    return summarize(plan, [*everything(works), *more])


def test_what_happens_as_declared_breaks_no_promise() -> None:
    found = summary()
    assert (found.broken, found.weaker) == ((), ())
    assert [case.id for case, _ in found.residual] == ["reader-obeys"]
    guarded = found.rows[-1]
    assert (guarded.attacks.hits, guarded.attacks.of) == (1, 3)
    assert (guarded.beyond.hits, guarded.beyond.of) == (0, 2)
    assert guarded.amplification == (3.0, 3.0)
    assert guarded.exposure["researcher"].to_json()["share"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("works", "more", "said"),
    [
        ({"mail-sent": set(LEVELS)}, (), "mail-sent works at guarded; it is declared to stop at guarded"),
        ({"reader-obeys": {Level.GUARDED}}, (), "reader-obeys works at guarded, but not one level below"),
        ({}, (benign("chess-club.md", Level.RAW), benign("chess-club.md", Level.GUARDED, answered=False)), "guarded blocks 33.3%"),
        ({}, (replace(benign("chess-club.md", Level.GUARDED), pieces=(0, 2)),), "guarded keeps 66.7%"),
        ({}, (benign("chess-club.md", Level.RAW), benign("chess-club.md", Level.GUARDED, tokens=500)), "guarded takes 2.33 times"),
        ({}, (replace(attack("mail-sent", Level.RAW, worked=True, n=1), unsound=("answer",)),), "mail-sent at raw: a label says more than is true"),
        ({}, (Result(job=Job(kind="adaptive", id="effect", level="guarded"), outcome="worked", attempts=7, note="title"),), "adaptive attacker at guarded, attempt 7: a mail is sent"),
    ],
)  # fmt: skip
def test_every_promise_can_be_broken(
    works: dict[str, set[Level]], more: tuple[Result, ...], said: str
) -> None:
    found = summary(*more, works={**AS_DECLARED, **works})
    assert [line for line in found.broken if line.startswith(said)], found.broken
    assert "BROKEN PROMISES" in report_text(found, 80)
    assert said in page(found)


def test_a_case_that_does_less_than_declared_is_named_and_breaks_nothing() -> None:
    found = summary(works={**AS_DECLARED, "mail-sent": {Level.RAW}})
    assert found.weaker == ("mail-sent does not work at typed, where it is declared to",)
    assert found.broken == ()


def test_a_run_that_is_not_done_yet_says_so() -> None:
    assert "not all runs are done" in " ".join(report_text(summary(), 80).split())


@pytest.mark.parametrize("width", [20, 60, 80, 110, 500])
def test_no_table_is_wider_than_the_terminal(width: int) -> None:
    plan = replace(PLAN, levels=tuple(Level), adaptive=100)
    tried = [
        Result(
            job=Job(kind="adaptive", id=goal, level=level.value, n=n), outcome="worked", attempts=9
        )
        for goal in GOALS
        for level in Level
        for n in range(3)
    ]
    found = summary(*tried, plan=plan)
    lines = report_text(found, width).split("\n")
    assert max(map(len, lines)) <= max(width, 60)
    assert not any(line != line.rstrip() for line in lines)


class Parsed(HTMLParser):
    """Notes every tag with its attributes, and the text of titles and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "style" and data.strip():
            self.styles.append(data)


FOUND = summary()


@settings(deadline=None)
@given(
    hostile_texts(), st.sampled_from(["<script>", '"><img src=x onerror=y>', "</style>", "&lt;"])
)
def test_nothing_on_the_page_runs_or_loads_whatever_stands_in_it(text: str, bait: str) -> None:
    words = f"{bait}{text}{bait}"
    hostile = case_of(
        {"id": "x", "name": words[:120], "family": "x", "category": 1, "boundary": "answer->reader",
         "stops_at": None, "declared": words[:200], "succeeds": [{"check": "control_bytes"}]}
    )  # fmt: skip
    plan = replace(PLAN, seed=words, model=words)
    found = replace(FOUND, plan=plan, broken=(words,), residual=((hostile, LEVELS),))
    tags = Parsed(page(found)).tags
    assert {tag for tag, _ in tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "strong", "ul", "li", "svg",
        "text", "rect", "line", "circle", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    named = {name for _, attrs in tags for name in attrs}
    assert not [n for n in named if n.startswith("on") or n in ("style", "href", "src")]


def test_the_page_lets_in_its_own_style_and_nothing_else() -> None:
    parsed = Parsed(page(summary()))
    (style,) = parsed.styles
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [a["content"] for tag, a in parsed.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_every_plot_names_what_it_shows_and_its_units() -> None:
    text = page(summary())
    assert re.findall(r'aria-label="([^"]+)"', text) == [
        "Attacks that worked, by level",
        "Attacks that worked, by boundary and level",
        "Utility against safety",
        "Tokens against raw",
        "Attacks that worked, by category",
    ]
    for unit in ("attacks that worked (%)", "attacks stopped (%)", "questions answered (%)", "times the tokens of raw"):  # fmt: skip
        assert f">{unit}<" in text


@given(st.lists(st.floats(100, 700), min_size=1, max_size=7))
def test_names_above_a_plot_never_overlap_and_stay_within_it(places: list[float]) -> None:
    moved = apart(sorted(places), 76, 90, 716)
    assert all(right - left >= 76 - 1e-6 for left, right in pairwise(moved))
    assert moved[-1] <= 716
    assert moved[0] >= 90


def test_the_json_holds_an_interval_for_every_share_and_a_bound_for_nothing() -> None:
    text = report_json(summary())
    assert '"bound": 0.7764' in text  # 1 - 0.05 ** (1 / 2)
    assert "NaN" not in text
