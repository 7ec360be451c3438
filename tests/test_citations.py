"""Every quote is compared with its source, every marker with the quotes, and what fails is marked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from delegator.citations import (
    NOT_OPENED,
    NOT_VERBATIM,
    SHORTEST_QUOTE,
    TOO_SHORT,
    UNSUPPORTED,
    Claim,
    check_claims,
    first_cite,
    resolve,
)
from delegator.knowledge import Hit, Passage
from delegator.lab.markup import live
from delegator.outcome import SourceSeen
from delegator.sanitize import fold, for_answer, inert
from rendered import markup
from requirements import requirement
from texts import hostile_texts

UNTIMED = settings(deadline=None)

PASSAGE = Passage(
    id="doc.1",
    path="bm25.md",
    title="BM25",
    heading="",
    first=10,
    last=14,
    text="BM25 is a ranking\nfunction.\n\nIt was made  by\nStephen Robertson.",
)


@dataclass
class Shelf:
    """A library of given passages."""

    passages: Mapping[str, Passage] = field(default_factory=lambda: {PASSAGE.id: PASSAGE})

    private = False

    def search(self, query: str, limit: int, *, document: str = "") -> list[Hit]:
        raise NotImplementedError

    def passage(self, id: str) -> Passage | None:
        return self.passages.get(id)

    def following(self, id: str, count: int) -> list[Passage]:
        raise NotImplementedError


def checked(quote: str, source: str = PASSAGE.id, passage: Passage = PASSAGE) -> Claim:
    """One claim, checked against a passage that the agent opened."""
    (claim,) = check_claims(
        [{"text": "It ranks.", "source": source, "quote": quote}],
        library=Shelf({passage.id: passage}),
        opened={passage.id: SourceSeen(id=passage.id, sha256=passage.sha256)},
        first=11,
    )
    return claim


def claim(cite: int, problem: str = "") -> Claim:
    return Claim(
        cite=cite,
        text=f"claim {cite}",
        source="doc.1",
        quote=f"quote {cite}",
        place=f"file.md:{cite}",
        problem=problem,
    )


def resolved(answer: str, *claims: Claim) -> str:
    text, citations = resolve(answer, {one.cite: one for one in claims})
    listed = [f"[{c.n}] {c.source}{'' if c.verified else '?'}" for c in citations]
    return " | ".join([text, *listed])


# Quotes


@requirement("cite")
@pytest.mark.parametrize(
    "quote",
    [
        "BM25 is a ranking\nfunction.",
        "BM25 is a ranking function.",
        "  a ranking   function.\n\n\n It was ",
        "ranking\u00a0func",
        "made by\r\nStephen",
        "ranking\u200b function",
    ],
)
def test_a_quote_may_differ_from_its_source_in_white_space_and_hidden_characters(
    quote: str,
) -> None:
    assert checked(quote).verified


@requirement("cite")
@pytest.mark.parametrize(
    "quote",
    [
        "bm25 is a ranking function",
        "BM25 is a ranking function!",
        "BM25 is the ranking function",
        "BM25 is … function",
        "BM25isarankingfunction",
        "BM25 is a rank ing function",
        "“BM25 is a ranking function.”",
        "Stephen Robertson. BM25 is",
        "ВM25 is a ranking function",  # noqa: RUF001 - a Cyrillic letter is the point
    ],
)
def test_a_quote_that_differs_in_one_letter_is_not_verified(quote: str) -> None:
    assert checked(quote).problem == NOT_VERBATIM


words = st.text(st.characters(categories=["Lu", "Ll", "Nd", "Po"]), min_size=1, max_size=9)


@requirement("cite")
@UNTIMED
@given(st.lists(words, min_size=9), st.data())
def test_every_span_of_a_source_is_verified(text: list[str], data: st.DataObject) -> None:
    passage = replace(PASSAGE, text="\n".join(text), first=1, last=len(text))
    start = data.draw(st.integers(0, 3))
    quote = " ".join(text[start : start + data.draw(st.integers(5, 9))])
    assert checked(quote, passage=passage).problem in ("", TOO_SHORT)
    assert checked(quote, passage=passage).verified is (len(fold(quote)) >= SHORTEST_QUOTE)


@requirement("cite")
@UNTIMED
@given(hostile_texts(40))
def test_a_verified_quote_stands_in_its_source_letter_by_letter(quote: str) -> None:
    one = checked(quote)
    assert one.verified is (
        len(fold(quote)) >= SHORTEST_QUOTE and fold(quote) in fold(PASSAGE.text)
    )


@requirement("cite")
@pytest.mark.parametrize(("quote", "problem"), [("a ranki", TOO_SHORT), ("a rankin", "")])
def test_a_quote_that_is_too_short_shows_nothing(quote: str, problem: str) -> None:
    assert checked(quote).problem == problem


@requirement("cite")
@pytest.mark.parametrize("quote", ["", "       \n     ", "\u200b" * 20, "a       b"])
def test_white_space_does_not_make_a_quote_longer(quote: str) -> None:
    assert checked(quote).problem == TOO_SHORT


@requirement("cite")
def test_a_source_that_the_agent_did_not_open_supports_nothing() -> None:
    (one,) = check_claims(
        [{"text": "t", "source": "doc.1", "quote": "BM25 is a ranking"}],
        library=Shelf(),
        opened={},
        first=11,
    )
    assert (one.problem, one.place) == (NOT_OPENED, "")


@requirement("cite")
@pytest.mark.parametrize("library", [None, Shelf({})])
def test_a_source_that_is_not_there_any_more_supports_nothing(library: Shelf | None) -> None:
    (one,) = check_claims(
        [{"text": "t", "source": "doc.1", "quote": "BM25 is a ranking"}],
        library=library,
        opened={"doc.1": SourceSeen(id="doc.1", sha256=PASSAGE.sha256)},
        first=11,
    )
    assert (one.problem, one.place) == (NOT_OPENED, "")


@requirement("cite")
def test_a_source_that_changed_since_it_was_shown_supports_nothing() -> None:
    changed = replace(PASSAGE, text=PASSAGE.text + " And more.")
    (one,) = check_claims(
        [{"text": "t", "source": "doc.1", "quote": "BM25 is a ranking"}],
        library=Shelf({"doc.1": changed}),
        opened={"doc.1": SourceSeen(id="doc.1", sha256=PASSAGE.sha256)},
        first=11,
    )
    assert one.problem == NOT_VERBATIM


@pytest.mark.parametrize("source", ["DOC.1", "doc.1 ", "doc.\u0661", "doc.1\u200b"])
def test_a_name_that_only_looks_like_a_source_names_none(source: str) -> None:
    assert checked("BM25 is a ranking", source=source).problem == NOT_OPENED


@requirement("T7")
@UNTIMED
@given(hostile_texts())
def test_the_problem_of_a_claim_is_one_of_three_constant_lines(text: str) -> None:
    assert checked(text, source=text).problem in ("", NOT_OPENED, TOO_SHORT, NOT_VERBATIM)
    assert checked(text).problem in ("", NOT_OPENED, TOO_SHORT, NOT_VERBATIM)


def test_claims_are_numbered_from_the_first_of_their_delegation() -> None:
    claims = [{"text": "t", "source": "x", "quote": "q"}] * 3
    found = check_claims(claims, library=None, opened={}, first=first_cite(2))
    assert [one.cite for one in found] == [21, 22, 23]


def test_a_claim_is_shown_with_its_number_and_whether_it_is_verified() -> None:
    assert checked("BM25 is a ranking").to_json() == snapshot(
        {
            "cite": 11,
            "text": "It ranks.",
            "source": "doc.1",
            "quote": "BM25 is a ranking",
            "verified": True,
        }
    )


# Places


@pytest.mark.parametrize(
    ("quote", "place"),
    [
        ("BM25 is a ranking", "bm25.md:10"),
        ("a ranking function", "bm25.md:10-11"),
        ("function. It was made", "bm25.md:11-13"),
        ("made by Stephen", "bm25.md:13-14"),
        ("Stephen Robertson.", "bm25.md:14"),
        ("BM25 is a ranking function. It was made by Stephen Robertson.", "bm25.md:10-14"),
        ("this is not in there", "bm25.md:10-14"),
        ("", "bm25.md:10-14"),
    ],
)
def test_the_place_of_a_quote_is_the_lines_in_which_it_stands(quote: str, place: str) -> None:
    assert checked(quote).place == place


@UNTIMED
@given(st.lists(st.text("ab ", max_size=6), min_size=1, max_size=9), st.data())
def test_the_lines_of_a_place_hold_the_quote_and_could_not_be_fewer(
    rows: list[str], data: st.DataObject
) -> None:
    passage = replace(PASSAGE, text="\n".join(rows), first=1, last=len(rows))
    start = data.draw(st.integers(0, len(rows) - 1))
    quote = fold("\n".join(rows[start : data.draw(st.integers(start + 1, len(rows)))]))
    numbers = [int(n) for n in re.findall(r"\d+", checked(quote, passage=passage).place[7:])]
    first, last = numbers[0] - 1, numbers[-1]
    assert quote in fold("\n".join(rows[first:last]))
    if quote and last - first > 1:
        assert quote not in fold("\n".join(rows[first + 1 : last]))
        assert quote not in fold("\n".join(rows[first : last - 1]))


def test_where_lines_cannot_be_told_the_place_is_the_whole_passage() -> None:
    cut = replace(PASSAGE, text="a piece of one long line", first=7, last=9)
    assert checked("one long line", passage=cut).place == "bm25.md:7-9"


# Markers


@requirement("cite")
def test_markers_are_numbered_in_order_of_appearance() -> None:
    assert resolved("One [21]. Two [11]. One again [21].", claim(11), claim(21)) == (
        "One [1]. Two [2]. One again [1]. | [1] file.md:21 | [2] file.md:11"
    )


@requirement("cite")
def test_what_is_not_cited_is_not_listed() -> None:
    assert resolved("One [21].", claim(11), claim(21)) == "One [1]. | [1] file.md:21"


@requirement("cite")
@pytest.mark.parametrize(
    "marker", ["[99]", "[1]", "[0]", "[ 99 ]", "[9999999999]", "[" + "9" * 9_999 + "]", "[99, 98]", "[99][98][97]"]
)  # fmt: skip
def test_a_marker_that_names_no_claim_says_unsupported(marker: str) -> None:
    assert resolved(f"One {marker}.", claim(11)) == f"One {UNSUPPORTED}."


@requirement("cite")
def test_a_marker_whose_quote_failed_says_unverified() -> None:
    assert resolved("One [11]. Two [12].", claim(11, NOT_VERBATIM), claim(12)) == (
        "One [1: unverified]. Two [2]. | [1] file.md:11? | [2] file.md:12"
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("[11,12]", "[1][2]"),
        ("[ 12 , 11 ]", "[1][2]"),
        ("[11][12]", "[1][2]"),
        ("[11][11]", "[1]"),
        ("[11, 99, 12]", f"[1]{UNSUPPORTED}[2]"),
        ("[99, 11]", f"{UNSUPPORTED}[1]"),
        ("[11] [12]", "[1] [2]"),
        ("[\u0661\u0661]", "[1]"),
        ("[11-12]", "[1][2]"),
        ("[11 \u2013 12]", "[1][2]"),
        ("[12-11]", "[1][2]"),
        ("[11-99999]", f"[1]{UNSUPPORTED}"),
        ("[11-" + "9" * 5_000 + "]", f"[1]{UNSUPPORTED}"),
        ("[11; 12]", "[1][2]"),
        (r"\[11\] \[12]", "[1] [2]"),
        ("&#91;11&#93; [&#49;2]", "[1] [2]"),
    ],
)
def test_several_claims_may_stand_together(answer: str, text: str) -> None:
    assert resolve(answer, {11: claim(11), 12: claim(12)})[0] == text


@pytest.mark.parametrize(
    "answer",
    [
        "`a[0]` and ``b[1] ` c[2]`` and `&#91;3&#93;`",
        "```\na[0] = b[11]\n```",
        "~~~\na[11]\n~~~",
        "```python\nnever_closed[11]\n",
        "[x] [ ] [note] [11a] [] [1.5] [-1]",
    ],
)
def test_brackets_in_code_and_other_brackets_stay(answer: str) -> None:
    assert resolve(answer, {11: claim(11)}) == (answer, ())


@requirement("cite")
@pytest.mark.parametrize(
    "answer", ["words ``` more [99]", r"\`[99]\`", "`open [99]\nline`", "```a``` [99]"]
)
def test_what_only_looks_like_code_hides_no_marker(answer: str) -> None:
    assert UNSUPPORTED in resolve(answer, {})[0]


numbers = st.integers(9, 14).map(str)
pieces = st.sampled_from(["[", "]", ",", " ", "`", "```", "\n", "~~~", "a", "(", "]("]) | numbers
answers = st.lists(pieces | numbers.map("[{}]".format)).map("".join) | hostile_texts()


@requirement("cite")
@UNTIMED
@given(answers, st.sets(st.integers(9, 14)), st.sets(st.integers(9, 14)))
def test_every_number_in_an_answer_is_listed_and_everything_listed_is_in_it(
    answer: str, known: set[int], failed: set[int]
) -> None:
    claims = {n: claim(n, NOT_VERBATIM if n in failed else "") for n in known}
    text, citations = resolve(answer, claims)
    assert [one.n for one in citations] == list(range(1, len(citations) + 1))
    for one in citations:
        assert (f"[{one.n}]" in text) is one.verified or f"[{one.n}]" in answer
        assert (f"[{one.n}: unverified]" in text) is not one.verified
    assert {one.quote for one in citations} <= {claims[n].quote for n in known}


@UNTIMED
@given(hostile_texts())
def test_an_answer_without_digits_in_brackets_stays_as_it_is(answer: str) -> None:
    if not re.search(r"\[\s*\d", answer):
        assert resolve(answer, {11: claim(11)}) == (inert(answer), ())


def test_a_claim_without_a_place_is_cited_as_from_an_unknown_source() -> None:
    unknown = replace(claim(11, NOT_OPENED), place="")
    assert resolved("One [11].", unknown) == "One [1: unverified]. | [1] unknown source?"


def test_a_citation_as_json() -> None:
    assert [one.to_json() for one in resolve("[11]", {11: claim(11)})[1]] == snapshot(
        [{"n": 1, "source": "file.md:11", "quote": "quote 11", "verified": True}]
    )


@requirement("T8")
def test_the_markers_of_an_answer_made_safe_are_still_its_markers() -> None:
    answer = "Great![11] As said [12](http://e) in ![x](http://e/x.png) [99]."
    text, citations = resolve(for_answer(answer), {11: claim(11), 12: claim(12)})
    assert text == f"Great![1] As said [2] in x {UNSUPPORTED}."
    assert len(citations) == 2


@requirement("T8")
@pytest.mark.parametrize(
    "answer",
    [
        "[a&#93;(http://e)",
        "&#91;a](http://e)",
        "\\[99\\]: http://e\n\n[98]",
        "&#91;r]: http://e\n\n[r]",
        "![11&#93;(http://e/x.png)",
    ],
)
def test_no_marker_completes_a_link(answer: str) -> None:
    assert live(resolve(for_answer(answer), {})[0]) == []


@requirement("T8")
@UNTIMED
@given(markup() | hostile_texts(), st.sets(st.sampled_from([1, 11, 99])))
def test_an_answer_with_its_markers_resolved_does_not_act(text: str, known: set[int]) -> None:
    assert live(resolve(for_answer(text), {n: claim(n) for n in known})[0]) == []


@pytest.mark.parametrize(
    "opening", ["[", "[1", "[1,", "[1, ", "[ ", "[1]", "`", "`` ` ", "```", "~~~ ", "\n```a"]
)
def test_many_openings_that_never_close_are_no_burden(opening: str) -> None:
    """A pattern that takes more than linear time would not come back from this."""
    text, citations = resolve(opening * (100_000 // len(opening)), {})
    assert citations == ()
    assert text


def test_a_place_in_many_lines_is_found() -> None:
    rows: list[Any] = [f"line {n} é" for n in range(150)]
    passage = replace(PASSAGE, text="\n".join(rows), first=1, last=150)
    assert checked("line 99 é line 100 é", passage=passage).place == "bm25.md:100-101"
