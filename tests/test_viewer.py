"""The viewer's page: its data says what is on record, and nothing in it can come alive or call out."""

import base64
import hashlib
import html.parser
import json
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorded_runs as runs
from delegator.budget import Limits
from delegator.errors import ConfigError
from delegator.events import Event, Noticed
from delegator.history import exported
from delegator.home import data_home
from delegator.journal import Journal, Past
from delegator.recording import resumed
from delegator.trust import Level
from delegator.viewer import Record, page, recorded
from delegator.viewer.html import island
from delegator.viewer.page_data import page_data
from delegator.viewer.sentences import blocks
from delegator.viewer.timeline import shares, timeline
from programs import MANY_SECONDS, Main, interruptible, main, run
from requirements import requirement
from texts import hostile_texts, json_values

__all__ = ["interruptible", "main"]

NO_RUNS = json.dumps({"run": {}, "entries": [], "texts": {}})
QUESTION = "What is BM25?"
PAGE_FILES = Path(runs.__file__).parent.parent / "delegator" / "viewer" / "page"


class Elements(html.parser.HTMLParser):
    """Every element of a page, as a parser sees them, and the text of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = f"{tag} {dict(attrs).get('type', '')}".strip()

    def handle_data(self, data: str) -> None:
        if self._within.startswith(("script", "style")):
            self.texts[self._within] = self.texts.get(self._within, "") + data

    def handle_endtag(self, tag: str) -> None:
        if self._within.startswith(tag):
            self._within = ""


def record_of(home: Path, id: str) -> Record:
    with Past(home) as past:
        return recorded(past, id)


def shown(record: Record, *more: Record) -> dict[str, Any]:
    """The data in a page, as a browser would read it."""
    data: dict[str, Any] = json.loads(
        Elements(page([record, *more])).texts["script application/json"]
    )
    return data


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def test_a_run_is_shown_with_its_question_its_answer_and_everybody_who_worked(
    home: Path, docs: Path
) -> None:
    record = record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs]))
    data = shown(record)
    (run,), texts = data["runs"], data["texts"]
    assert texts[run["question"]] == QUESTION
    assert (run["outcome"], run["level"]) == ("complete", "typed")
    assert [(a["id"], a["below"], a["outcome"]) for a in run["agents"]] == [
        ("orchestrator", "", "complete"),
        ("D1", "orchestrator", "complete"),
        ("D2", "D1", "complete"),
    ]
    assert texts[run["agents"][2]["verdict"]] == "accept 5/5"
    said = " ".join(texts[i] for b in run["answer"] for s in b["sentences"] for _, i in s["parts"])
    assert "BM25 is a ranking function" in said


def test_a_sentence_leads_to_its_quote_its_passage_and_who_claimed_it(
    home: Path, docs: Path
) -> None:
    record = record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs]))
    data = shown(record)
    (run,), texts = data["runs"], data["texts"]
    cited = {n for b in run["answer"] for s in b["sentences"] for n in s["cites"]}
    assert cited == {one["n"] for one in run["citations"]}
    first = run["citations"][0]
    assert (first["by"], first["verified"]) == (["D1"], True)
    assert " ".join(texts[first["quote"]].split()) in " ".join(texts[first["passage"]].split())


@requirement("T4")
def test_a_reply_is_worth_what_its_author_had_read_by_then(home: Path, docs: Path) -> None:
    record = record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs]))
    data = shown(record)
    worth = [
        (m["agent"], m["n"], data["labels"][m["label"]]["integrity"])
        for m in data["runs"][0]["messages"]
        if m["kind"] == "reply"
    ]
    assert ("D1", 1, "user") in worth  # nothing read yet
    assert ("D1", 2, "untrusted") in worth
    assert ("orchestrator", 1, "user") in worth
    assert ("orchestrator", 2, "untrusted") in worth


def test_what_a_tool_found_stands_with_the_call_that_asked_for_it(home: Path, docs: Path) -> None:
    record = record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs]))
    data = shown(record)
    found = next(m for m in data["runs"][0]["messages"] if m["kind"] == "result")
    body = {data["texts"][name]: data["texts"][text] for name, text in found["body"]}
    assert body["asked: query"] == QUESTION
    assert "BM25 is a ranking function" in body["hits[0].text"]


@requirement("view:why")
def test_a_denied_call_is_shown_with_its_rule_its_reason_and_its_exact_words(
    home: Path, tmp_path: Path
) -> None:
    record = record_of(home, runs.attacked(home, tmp_path / "poisoned"))
    data = shown(record)
    (denied,) = (m for m in data["runs"][0]["messages"] if m["kind"] == "decision")
    texts = data["texts"]
    assert texts[denied["head"]] == "denied: mail (P-T)"
    assert texts[denied["problem"]] == "denied by P-T"
    body = {texts[name]: texts[text] for name, text in denied["body"]}
    assert "nobody vouches for" in body["why"]
    assert runs.HOSTILE[0] in body["asked: text"]
    assert data["labels"][denied["label"]]["integrity"] == "untrusted"


def test_a_withheld_report_is_shown_as_withheld(home: Path, tmp_path: Path) -> None:
    record = record_of(home, runs.quarantined(home, tmp_path / "docs"))
    data = shown(record)
    texts = data["texts"]
    report = next(m for m in data["runs"][0]["messages"] if m["kind"] == "report")
    assert texts[report["problem"]].startswith("withheld: it claims work")
    names = [texts[name] for name, _ in report["body"]]
    assert all(name.startswith("withheld: ") for name in names)
    assert data["runs"][0]["agents"][1]["outcome"] == "quarantined"


def test_a_run_that_was_cancelled_is_shown_as_far_as_it_went(home: Path, docs: Path) -> None:
    data = shown(record_of(home, runs.cancelled(home, docs)))
    assert data["runs"][0]["outcome"] == "cancelled"


def test_a_run_that_did_not_end_is_shown_as_far_as_it_is_on_record(home: Path) -> None:
    with runs.Story(home) as story:
        pass
    data = shown(record_of(home, story.id))
    (run,) = data["runs"]
    assert (run["outcome"], run["answer"], run["calls"]) == ("", [], 0)
    assert [agent["id"] for agent in run["agents"]] == ["orchestrator"]


def test_the_critical_path_fills_the_whole_run_without_overlap(home: Path) -> None:
    times = timeline(record_of(home, runs.long_run(home, 300)))
    ends = [0.0, *(span.end for span in times.path)]
    assert [span.start for span in times.path] == pytest.approx(ends[:-1])
    assert ends[-1] == pytest.approx(times.seconds)
    assert sum(shares(times.path).values()) == pytest.approx(times.seconds)


def test_the_critical_path_goes_through_the_subagent_that_ended_last(home: Path) -> None:
    times = timeline(record_of(home, runs.long_run(home, 60)))
    last = max(
        times.lives, key=lambda life: (life.asked_by.startswith("orchestrator/1/"), life.end)
    )
    through = {span.agent for span in times.path}
    assert last.id in through
    assert len(through) == 1 + len({life.asked_by.split("/")[1] for life in times.lives})


def test_what_was_held_is_given_back_and_what_was_used_adds_up(home: Path, docs: Path) -> None:
    record = record_of(home, runs.ran(home, QUESTION, model=runs.Metered(), docs=[docs]))
    (run,) = page_data([record])["runs"]
    points = run["budget"]["points"]
    at, tokens, held, usd, calls = points[-1]
    assert (tokens, held) == (run["tokens"], 0)
    assert calls == run["calls"]
    assert usd == pytest.approx(run["usd"], abs=1e-6)
    assert any(held > 0 for _, _, held, _, _ in points)
    assert at <= run["time"]["seconds"]


def test_the_ceilings_of_a_run_are_on_record(home: Path, docs: Path) -> None:
    limits = Limits(tokens=70_000, model_calls=9)
    record = record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs], limits=limits))
    found = page_data([record])["runs"][0]["budget"]["limits"]
    assert (found["tokens"], found["model_calls"]) == (70_000, 9)
    assert found["delegations"] == 24


def test_two_runs_stand_side_by_side_with_what_differs(home: Path, docs: Path) -> None:
    first, second = (
        record_of(home, runs.ran(home, QUESTION, offline=True, docs=[docs], trust=level))
        for level in (Level.TYPED, Level.SEALED)
    )
    data = shown(first, second)
    assert [run["level"] for run in data["runs"]] == ["typed", "sealed"]
    differing = {data["texts"][one["what"]]: one["sides"] for one in data["differences"]}
    assert [data["texts"][i] for i in differing["trust level"]] == ["typed", "sealed"]
    assert shown(first, first)["differences"] == []


def test_a_run_that_goes_on_after_a_break_is_one_run_in_time(home: Path) -> None:
    with runs.Story(home) as story:
        story.asks((0.0, 4.0), "orchestrator", 1, [], 10)
    with Journal(home) as journal, resumed(story.id, home, journal) as recording:
        for text in ("again", "and on"):
            what = Noticed(text=text)
            recording.tell(Event(run=story.id, seq=1, at=0.0, agent="orchestrator", what=what))
    record = record_of(home, story.id)
    *_, before, first, last = [event.at for event in record.events]
    assert before == 4.0
    assert 4.0 <= first <= last
    assert record.breaks == (first,)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("One. [1] Two. [2]", [("paragraph", ["One. [1]", "Two. [2]"])]),
        ("**Head**\nBody. [1][2]", [("heading", ["Head"]), ("paragraph", ["Body. [1][2]"])]),
        ("- a [1]\n- b", [("item", ["a [1]"]), ("item", ["b"])]),
        ("> **f.md**\n> - q. [3]", [("heading", ["f.md"]), ("item", ["q. [3]"])]),
        ("```\nx [1]\n```", [("code", ["x [1]"])]),
        ("", []),
    ],
)
def test_an_answer_is_read_block_by_block_and_sentence_by_sentence(
    markdown: str, expected: list[tuple[str, list[str]]]
) -> None:
    found = [
        (block.kind, ["".join(part.text for part in s.parts) for s in block.sentences])
        for block in blocks(markdown)
    ]
    assert found == expected


@given(hostile_texts(60))
def test_no_word_of_an_answer_is_lost(text: str) -> None:
    kept = "".join(p.text for b in blocks(text) for s in b.sentences for p in s.parts)
    markup = re.compile(r"[\s>#*`~+\-]|\d+[.)]")
    assert markup.sub("", kept) == markup.sub("", text)


@requirement("view:inert")
@given(json_values())
def test_no_text_ends_the_island_or_leaves_ascii(value: Any) -> None:
    try:
        text = island(value)
    except ValueError:  # not a number, infinity: no page is made
        return
    assert text.isascii()
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == json.loads(json.dumps(value))


@requirement("view:inert")
def test_a_page_with_hostile_texts_everywhere_has_the_same_elements_as_any_other(
    home: Path,
) -> None:
    ids = runs.hostile_run(home), runs.long_run(home, 60)
    hostile, plain = (Elements(page([record_of(home, id)])) for id in ids)
    assert hostile.tags == plain.tags
    assert hostile.texts["script module"] == plain.texts["script module"]


@requirement("view:inert")
def test_the_policy_allows_this_script_and_this_style_and_nothing_else(home: Path) -> None:
    found = Elements(page([record_of(home, runs.long_run(home, 60))]))
    (policy,) = (a["content"] for _, a in found.tags if a.get("http-equiv"))
    hashes = {
        name: base64.b64encode(hashlib.sha256(found.texts[of].encode()).digest()).decode()
        for name, of in (("script", "script module"), ("style", "style"))
    }
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


@requirement("view:inert")
def test_nothing_in_a_page_leads_out_of_it(home: Path) -> None:
    found = Elements(page([record_of(home, runs.hostile_run(home))]))
    addresses = [
        v for _, a in found.tags for k, v in a.items() if k in ("href", "src", "action", "srcset")
    ]
    assert addresses == ["#main"]
    assert not re.search(r"url\(|@import|https?:", found.texts["style"])
    loose = [k for _, a in found.tags for k in a if k.startswith("on") or k == "style"]
    assert loose == []


@requirement("view:inert")
@pytest.mark.parametrize("path", sorted(PAGE_FILES.glob("*.js")), ids=lambda path: path.name)
def test_no_script_makes_markup_or_code_of_a_string(path: Path) -> None:
    code = path.read_text(encoding="ascii")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|fetch\(|XMLHttp|import\(|localStorage"
    assert re.findall(forbidden, code) == []


def test_view_writes_a_page_that_only_its_owner_reads(
    main: Main, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    id = json.loads(out)["run_id"]
    status, out, err = main("view", id)
    path = tmp_path / f"{id}.html"
    assert (status, out, err) == (0, "", f"{path.name} holds the run; it opens in any browser\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert main("view", id, "--out", "-")[1].rstrip("\n") == path.read_text().rstrip("\n")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_view_opens_the_page_in_the_persons_browser(main: Main, docs: Path, tmp_path: Path) -> None:
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    page_file, seen = tmp_path / "a page.html", tmp_path / "opened"
    browser = tmp_path / "bin" / "xdg-open"
    browser.parent.mkdir()
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    path = f"{browser.parent}{os.pathsep}{os.environ['PATH']}"
    id = json.loads(out)["run_id"]
    status, _, _ = run("view", id, "--open", "--out", str(page_file), PATH=path)
    deadline = time.monotonic() + MANY_SECONDS
    while not seen.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (status, seen.read_text().strip()) == (0, str(page_file))


def test_a_page_goes_into_a_pipe_and_leaves_it_one(main: Main, docs: Path, tmp_path: Path) -> None:
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        assert main("view", json.loads(out)["run_id"], "--out", str(pipe))[0] == 0
    assert read.result().startswith("<!doctype html>")
    assert pipe.is_fifo()


@requirement("cli:errors")
def test_a_place_where_no_page_can_be_put_is_named(main: Main, docs: Path, tmp_path: Path) -> None:
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    for place in (tmp_path / "no" / "such.html", tmp_path):
        status, _, err = main("view", json.loads(out)["run_id"], "--out", str(place))
        assert (status, err.splitlines()[0]) == (2, f"delegator: cannot write the page {place}")
        assert len(err.splitlines()) == 2


def test_view_makes_a_page_of_an_exported_file(main: Main, docs: Path, tmp_path: Path) -> None:
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    id = json.loads(out)["run_id"]
    file = tmp_path / "run.json"
    main("show", id, "--export", str(file))
    status, exported, _ = main("view", str(file), "--out", "-")
    assert status == 0
    assert exported == main("view", id, "--out", "-")[1]


def test_view_puts_a_replay_at_another_level_beside_a_run(main: Main, docs: Path) -> None:
    _, out, _ = main("ask", "--offline", "--json", "--docs", str(docs), QUESTION)
    id = json.loads(out)["run_id"]
    status, text, err = main("view", id, "--trust", "guarded", "--out", "-")
    assert (status, err) == (0, "")
    data = json.loads(Elements(text).texts["script application/json"])
    assert [data["texts"][run["name"]] for run in data["runs"]] == [id, "replay at guarded"]
    assert [run["level"] for run in data["runs"]] == ["typed", "guarded"]
    assert [run["replay"] for run in data["runs"]] == [False, True]
    assert len(data["runs"][1]["messages"]) > 3
    with Past(data_home()) as past:
        assert len(past.runs(9)) == 1  # it puts nothing on record


@requirement("cli:errors")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"run": 3}',
        "\x00",
        '{"run": {"id": "x"}, "entries": [], "texts": {}}',
        NO_RUNS,
    ],
)
def test_a_file_that_holds_no_run_is_named(text: str, main: Main, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    status, _, err = main("view", str(file), "--out", "-")
    assert status == 2
    assert err.startswith("delegator: ")
    assert len(err.splitlines()) == 2


@given(st.data())
def test_a_file_that_was_tampered_with_makes_a_page_or_is_refused(data: st.DataObject) -> None:
    whole = json.loads(an_export())
    row = data.draw(st.sampled_from([whole["run"], *whole["entries"]]))
    column = data.draw(st.sampled_from(sorted(row)))
    row[column] = _tampered(row[column], data)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        file.write_text(json.dumps(whole))
        try:
            with Past.of_file(file) as past:
                text = page([recorded(past, "")])
        except ConfigError:
            return
    assert text.isascii()


def _tampered(value: Any, data: st.DataObject) -> Any:
    """A value with something else in one place of it; where a column holds JSON, inside of that."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(_tampered(json.loads(value), data))
    if not isinstance(value, dict | list) or not value or data.draw(st.integers(0, 3)) == 0:
        return data.draw(json_values())
    places = sorted(value) if isinstance(value, dict) else range(len(value))
    key = data.draw(st.sampled_from(places))
    value[key] = _tampered(value[key], data)
    return value


@cache
def an_export() -> str:
    """A run as `show --export` writes it, with every kind of event."""
    with tempfile.TemporaryDirectory() as folder:
        id = runs.hostile_run(Path(folder), runs.HOSTILE[:2])
        with Past(Path(folder)) as past:
            return exported(past, past.run(id))


@requirement("cli:errors")
@pytest.mark.parametrize(
    "options", [("--against", "x", "--trust", "raw"), ("--out", "-", "--open")]
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...], main: Main) -> None:
    status, _, err = main("view", "x", *options)
    assert status == 2
    assert err.startswith("delegator: ")
