"""Words and sentences by rule: forms of a word are one, and a sentence is a verbatim stretch."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delegator.language import (
    STOPWORDS,
    american,
    content_words,
    sentences,
    stem,
    stems,
    words,
)
from texts import hostile_texts

LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=14)


def test_words_come_in_lower_case_and_in_order() -> None:
    text = "Don’t stop: the GPU's 3.5 cafés, max_tokens!"
    assert words(text) == ["don’t", "stop", "the", "gpu's", "3", "5", "cafés", "max", "tokens"]


def test_content_words_carry_meaning_and_come_once() -> None:
    assert content_words("What is the tea of the tea house?") == ["tea", "house"]


def test_every_stopword_is_one_word_in_lower_case() -> None:
    assert all(words(word) == [word] for word in STOPWORDS)


@pytest.mark.parametrize(
    "forms",
    [
        "index indexes indexed indexing",
        "use uses used using",
        "run running ran",
        "make made makes making",
        "evaluate evaluates evaluated evaluating evaluation evaluations",
        "optimize optimise optimizing optimising optimization optimisation optimised",
        "colour color colours colors",
        "behaviour behavior",
        "city cities",
        "carry carried carries",
        "quick quickly",
        "train trainer trainers training",
        "plan planned planning",
        "model model's models modelled modeling",
        "agent agent’s",
        "defence defense",
        "catalogue catalog",
        "centre center",
    ],
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len(stems(forms)) == 1


@pytest.mark.parametrize("pair", ["tea team", "pass past", "class clad", "red read", "gas gate"])
def test_different_words_have_different_stems(pair: str) -> None:
    assert len(stems(pair)) == 2


@pytest.mark.parametrize("word", ["a", "us", "gas", "bus", "class", "loss", "pass"])
def test_short_words_and_double_s_are_their_own_stem(word: str) -> None:
    assert stem(word) == word


@given(LETTERS)
def test_a_stem_begins_as_its_word_does_and_is_no_longer_than_its_american_form(
    word: str,
) -> None:
    assert stem(word)[:1] == word[:1] or word in ("ran", "made", "wrote")
    assert 0 < len(stem(word)) <= max(len(american(word)) + 1, 3)


@given(hostile_texts())
def test_any_text_has_words_and_stems(text: str) -> None:
    assert len(stems(text)) <= len(words(text))
    assert set(content_words(text)) <= set(words(text))


@pytest.mark.parametrize(
    ("british", "as_american"),
    [
        ("colour", "color"),
        ("organise", "organize"),
        ("organising", "organizing"),
        ("organisation", "organization"),
        ("licence", "license"),
        ("dialogue", "dialog"),
        ("labelled", "labeled"),
        ("theatre", "theater"),
    ],
)
def test_british_spellings_become_american(british: str, as_american: str) -> None:
    assert american(british) == as_american


@pytest.mark.parametrize("word", ["four", "hour", "rise", "genre", "token", "science", "tree", "x"])
def test_other_words_stay_as_they_are(word: str) -> None:
    assert american(word) == word


@pytest.mark.parametrize(
    ("paragraph", "found"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "go." Then he left.', ['He said "go."', "Then he left."]),
        ("Use e.g. Python, i.e. this. Done.", ["Use e.g. Python, i.e. this.", "Done."]),
        ("See Fig. 3 by Dr. Who. Yes.", ["See Fig. 3 by Dr. Who.", "Yes."]),
        ("J. Smith wrote it. It is 3.5 long.", ["J. Smith wrote it.", "It is 3.5 long."]),
        ("1. Open it. 2. Close it.", ["1. Open it.", "2. Close it."]),
        ("It ends. but goes on.", ["It ends. but goes on."]),
        ("終わり。次です。", ["終わり。", "次です。"]),
        ("`a.b()`. Then `c`.", ["`a.b()`.", "Then `c`."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(paragraph: str, found: list[str]) -> None:
    assert sentences(paragraph) == found


@given(
    st.lists(st.sampled_from(["One", "e.g.", "two.", "Dr.", "J.", "Three!", "”", '"', " ", "\n", "。", "1."]))
    .map(" ".join) | hostile_texts()
)  # fmt: skip
@example("A. B. C. D.")
def test_sentences_are_verbatim_stretches_in_order_that_leave_out_only_space(text: str) -> None:
    at = 0
    for sentence in sentences(text):
        start = text.index(sentence, at)
        assert not text[at:start].strip()
        assert sentence == sentence.strip() != ""
        at = start + len(sentence)
    assert not text[at:].strip()
