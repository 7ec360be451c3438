"""Text is made safe for its sink, and stays what a reader saw."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delegator import sanitize
from delegator.lab.markup import MARKDOWN, live
from delegator.sanitize import (
    CODE,
    MOST_MARKS,
    clean,
    clean_json,
    fold,
    for_answer,
    for_terminal,
    inert,
    one_line,
    plain_brackets,
    unmarked,
)
from rendered import markup
from requirements import requirement
from texts import hostile_texts, json_values

UNTIMED = settings(deadline=None)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
SCOTLAND = "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "gbsct") + "\U000e007f"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


CHARACTERS = [
    chr(n) for n in (*range(0x30000), *range(0xE0000, 0xE1000), 0xF0000, 0x10FFFD) if chr(n) != "|"
]


def cleaned_one_by_one() -> list[str]:
    """What becomes of every character that has a meaning, between others that it cannot join."""
    cleaned = clean("|".join(CHARACTERS)).split("|")
    assert len(cleaned) == len(CHARACTERS)
    return cleaned


# Canonical text


@UNTIMED
@given(hostile_texts())
@example("\u0905\u200d\u200dx")
@example("\u0905\u200d\u212a")
@example("\u0915\u0301\u200c\u093c\u200d\u0915")
@example("\u2190\u0338\ufe0f")
@example("a" + "\u0301" * 27 + "\u0f73\u0f73")
@example("\u01d8" + "\u0323" * 30)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_any_one_character_that_stays_is_clean() -> None:
    kept = "|".join(cleaned_one_by_one())
    assert clean(kept) == kept


@requirement("T8")
@UNTIMED
@given(hostile_texts())
def test_clean_text_has_no_character_that_hides_or_commands(text: str) -> None:
    cleaned = clean(text).replace(SCOTLAND, "")
    assert not set(cleaned) & set(BIDI)
    for char in cleaned:
        assert char in "\t\n" or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp")
    cleaned.encode()


@requirement("T8")
def test_of_all_characters_without_a_face_only_these_stay() -> None:
    faceless = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    stay = {
        unicodedata.name(char, f"U+{ord(char):04X}")
        for cleaned in cleaned_one_by_one()
        for char in cleaned
        if unicodedata.category(char) in faceless
    }
    drawn = ("ARABIC ", "EGYPTIAN HIEROGLYPH ", "KAITHI NUMBER SIGN", "SYRIAC ABBREVIATION MARK")
    assert {name for name in stay if not name.startswith(drawn)} == {"U+0009", "U+000A"}


@requirement("T8")
@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param("\u200b", id="zero-width space"),
        pytest.param("\u2060\u2061\u2062\u2063\u2064", id="invisible operators"),
        pytest.param("\ufeff", id="byte order mark"),
        pytest.param("\u00ad", id="soft hyphen"),
        pytest.param("\u115f\u1160\u3164\uffa0", id="Hangul fillers"),
        pytest.param(BIDI, id="direction"),
        pytest.param("\ufe00\ufe01\ufe0d", id="variation selectors"),
        pytest.param("\U000e0100\U000e01ef", id="more variation selectors"),
        pytest.param("".join(chr(0xE0000 + ord(c)) for c in "obey"), id="tags"),
        pytest.param("\ue000\U000f0000\U00100000", id="private use"),
        pytest.param("\ufff9\ufffa\ufffb", id="interlinear annotations"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param("\x00\x08\x1b\x7f\x9b", id="controls"),
        pytest.param("\u200c\u200d", id="joiners"),
        pytest.param("\ufe0e\ufe0f", id="selectors of emoji"),
        pytest.param("\U0001bca0\U0001d173", id="format controls of shorthand and music"),
    ],
)
def test_what_no_reader_sees_is_taken_out(hidden: str) -> None:
    assert clean(f"pay{hidden}ment \u00e9{hidden}\u00e8") == "payment éè"
    for char in hidden:
        assert clean(f"a{char}b") == "ab"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FAMILY, id="a family"),
        pytest.param("\U0001f469\U0001f3fd\u200d\U0001f4bb", id="a coder with a skin tone"),
        pytest.param("\u2764\ufe0f\u200d\U0001f525", id="a heart on fire"),
        pytest.param("\U0001f3f3\ufe0f\u200d\U0001f308", id="a rainbow flag"),
        pytest.param("\U0001f3f4\u200d\u2620\ufe0f", id="a pirate flag"),
        pytest.param("\U0001f426\u200d\u2b1b", id="a black bird"),
        pytest.param("\U0001f1e9\U0001f1ea", id="a flag of two letters"),
        pytest.param(SCOTLAND, id="a flag in tags"),
        pytest.param(f"a {SCOTLAND}{SCOTLAND} b", id="flags in tags side by side"),
        pytest.param("1\ufe0f\u20e3 #\ufe0f\u20e3", id="keycaps"),
        pytest.param("\u2194\ufe0e \u00a9\ufe0f \u3030\ufe0f", id="text and emoji style"),
        pytest.param(
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian with a non-joiner"
        ),
        pytest.param("क्\u200dष क्\u200cष", id="Hindi with both joiners"),
        pytest.param("ശ്രീ ന്\u200d\u0d31", id="Malayalam"),
        pytest.param("x\u0304\u0323", id="marks that do not compose"),
        pytest.param("Ελληνικά, русский, עברית, 日本語、한국어, ไทย, தமிழ்", id="languages"),
        pytest.param("naïve — “quotes” … 10 €, ≤ ✓ →", id="typography"),
        pytest.param("broken \ufffd here", id="a replacement character"),
        pytest.param("a\tb\n\nc", id="tabs and newlines"),
    ],
)
def test_what_a_reader_sees_stays(text: str) -> None:
    assert clean(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("e\u0301", "\u00e9"),
        ("\u212b", "\u00c5"),
        ("e\u200b\u0301", "\u00e9"),
        ("e\u200d\u0301", "\u00e9"),
        ("e\ufe0f\u0301", "\u00e9"),
        ("\u1112\u1161\u11ab", "\ud55c"),
    ],
)
def test_clean_text_is_composed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\r\r\nb", "a\n\nb"),
        ("a\x0bb\x0cc\x85d", "a b c d"),
        ("a\u2028b\u2029c", "a b c"),
    ],
)
def test_there_is_one_form_of_newline_and_no_other_break(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@UNTIMED
@given(hostile_texts())
def test_cleaning_adds_no_line(text: str) -> None:
    newlines = len(re.findall(r"\r\n|\r|\n", text))
    assert clean(text).count("\n") == newlines


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\U0001f468\u200d", "\U0001f468"),
        ("\u200d\U0001f468", "\U0001f468"),
        ("\U0001f468\u200d\u200d\U0001f469", "\U0001f468\U0001f469"),
        ("ж\u200dж 漢\u200c漢 é\u200cé", "жж 漢漢 éé"),
        ("\u2764\ufe0f\ufe0f\ufe0e", "\u2764\ufe0f"),
        ("a\ufe0f ж\ufe0e", "a ж"),
        ("\U0001f3f4\U000e0067\U000e0062", "\U0001f3f4"),
        ("\U0001f3f4" + "\U000e0067" * 7 + "\U000e007f", "\U0001f3f4"),
        ("x" + SCOTLAND[1:], "x"),
    ],
)
def test_joiners_selectors_and_tags_outside_a_sequence_are_taken_out(
    text: str, cleaned: str
) -> None:
    assert clean(text) == cleaned


@UNTIMED
@given(st.text(st.characters(exclude_categories=["Cf", "Cs", "Co", "Cc"])), st.integers(0, 9))
def test_the_fast_path_gives_what_the_slow_path_gives(text: str, at: int) -> None:
    assert clean(text) == clean(text[:at] + "\u200b" + text[at:])


@pytest.mark.parametrize("mark", ["\u0301", "\u0301\u0316", "\u0344", "\u0f73", "\u3099", "\u0e38"])
def test_no_letter_wears_more_marks_than_can_be_normalized_in_passing(mark: str) -> None:
    worn = unicodedata.normalize("NFD", clean("a" + mark * 100_000 + "b"))[1:-1]
    assert MOST_MARKS - 2 < len(worn) <= MOST_MARKS


def test_every_mark_is_seen_by_the_search_for_long_runs_of_marks() -> None:
    def marks(char: str) -> int:
        return sum(unicodedata.combining(part) > 0 for part in unicodedata.normalize("NFD", char))

    every = {char: marks(char) for char in CHARACTERS}
    alone = [char for char in every if unicodedata.combining(char)]
    longest = sanitize._MANY_MARKS.search("a" + "".join(alone))
    assert longest is not None
    assert longest[0] == "a" + "".join(alone)
    undetected = MOST_MARKS // 2 - 2
    assert max(every.values()) + undetected * max(every[char] for char in alone) <= MOST_MARKS


@UNTIMED
@given(json_values())
def test_clean_json_has_only_clean_strings(value: Any) -> None:
    def check(part: object) -> None:
        match part:
            case str():
                assert clean(part) == part
            case dict():
                for key, inner in part.items():
                    check(key)
                    check(inner)
            case list():
                for inner in part:
                    check(inner)
            case _:
                assert part is None or isinstance(part, int | float)

    check(clean_json(value))


@UNTIMED
@given(json_values())
def test_cleaning_json_twice_is_cleaning_it_once(value: Any) -> None:
    assert clean_json(clean_json(value)) == clean_json(value)


def test_clean_json_says_only_what_json_can_say() -> None:
    value = {"n": [float("nan"), float("inf"), 1.5, 2, True, None], 7: ("a\u200b", "b")}
    assert clean_json(value) == {"n": [None, None, 1.5, 2, True, None], "7": ["a", "b"]}


def test_clean_json_cuts_what_lies_too_deep() -> None:
    value = {"a": {"b": [{"c": "deep"}, "text", 1]}}
    assert clean_json(value, max_depth=3) == {"a": {"b": [None, "text", 1]}}
    assert clean_json(value, max_depth=4) == value


# Terminal


@requirement("T8")
@UNTIMED
@given(
    st.lists(
        hostile_texts(6)
        | st.sampled_from(
            ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x1bP", "\x1b\\", "\r", "\x08"]
        )
    ).map("".join)
)
def test_terminal_text_can_only_print(text: str) -> None:
    shown = for_terminal(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert not set(shown) & set(BIDI)


@requirement("T8")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]8;;http://e\x1b\\link\x1b]8;;\x1b\\", "]8;;http://e\\link]8;;\\"),
        ("\x9b2Jgone", "2Jgone"),
        ("100%\rdone", "100%\ndone"),
        ("abc\x08\x08\x08xyz", "abcxyz"),
        ("a\tb", "a   b"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
    ],
)
def test_a_control_sequence_is_shown_without_its_power(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


@UNTIMED
@given(hostile_texts(60), st.integers(1, 30))
def test_one_line_is_one_line_of_at_most_its_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width
    assert line.splitlines() in ([], [line])
    assert line == line.strip()


def test_one_line_says_when_it_is_cut() -> None:
    assert one_line("one  two\nthree", 9) == "one two …"
    assert one_line("one  two", 7) == "one two"


# Quotes


@UNTIMED
@given(hostile_texts())
def test_folded_text_has_single_spaces_only(text: str) -> None:
    assert fold(text) == " ".join(fold(text).split())
    assert fold(fold(text)) == fold(text)


def test_texts_that_differ_in_white_space_alone_fold_to_the_same() -> None:
    assert fold(" a\u00a0 b\r\n\tc\u2028d ") == fold("a b c d") == "a b c d"
    assert fold("Ab") != fold("ab")


# Answers

ACTING = {
    "link": "[words](http://e)",
    "link with a title": '[words](http://e "title)")',
    "link in angle brackets": "[words](<http://e/a b>)",
    "link with brackets in its words": "[a [b] c](http://e)",
    "link with escaped brackets": r"[a\]b](http://e)",
    "link over two lines": "[a\nb](http://e)",
    "link with its address on a line of its own": "[a](\nhttp://e\n)",
    "link with parentheses": "[a](http://e/(x(y)z))",
    "link with very many words": "[" + "x" * 5_000 + "](http://e)",
    "link to a very long address": "[x](http://e/" + "x" * 5_000 + ")",
    "link in a link": "[[a](x)](//e) [b](//e)",
    "protocol-relative link": "[a](//e)",
    "link with an entity": "[a](tel&colon;123)",
    "link after code": "`code`[a](http://e)",
    "link of code": "[`a`](http://e)",
    "link in what only looks like code": "words ``` [a](http://e)",
    "link in what only looks like a fence": "<div>\n```\n\n[a](http://e)\n```",
    "call in what only looks like a fence": "<div>\n```\n\nx[0](http://e)\n```",
    "link that is a citation": "[11](http://e)",
    "link revealed by taking out another": "[[a](x)](http://e)",
    "link hidden by a zero-width space": "[a]\u200b(http://e)",
    "image": "![alt](http://e/x.png)",
    "image without words": "![](http://e/x.png)",
    "image in a link": "[![alt](http://e/x.png)](http://e)",
    "image with brackets in its words": "![a [b] c](http://e/x.png)",
    "image next door": "![alt](x.png)",
    "reference link": "[words][ref]\n\n[ref]: http://e",
    "short reference": "[ref]\n\n[ref]: http://e",
    "reference image": "![alt][ref]\n\n[ref]: http://e 'title'",
    "definition over two lines": "[ref]\n\n[ref]:\nhttp://e",
    "definition in a quotation": "[ref]\n\n> [ref]: http://e",
    "definition in a list": "[ref]\n\n- [ref]: http://e",
    "definition in a numbered list": "[ref]\n\n1. [ref]: http://e",
    "definition with a name over two lines": "[a b]\n\n[a\nb]: http://e",
    "definition with escapes": "[a\\]b]\n\n[a\\]b]: http://e",
    "definition revealed by taking out another": "[b]: x\n[ref]:\nhttp://e\n\n[ref]",
    "autolink": "<http://e>",
    "autolink with another scheme": "<ftp://e/x> <sms:123>",
    "mail address": "<a@e.example>",
    "mail address around another": "<1`<a@e.example>>",
    "tag": '<a href="http://e">words</a>',
    "tag in capitals": "<IMG SRC=http://e/x.png>",
    "script": "<script>alert(1)</script>",
    "tag in a tag": "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "tag that is not finished": "<p>\n<img src=x onerror=alert(1) x",
    "handler on an unknown tag": "<x onclick=alert(1)>",
    "handler after a slash": "<div>\n<x/onclick=alert(1)>",
    "handler after quotes": '<x a=">" onclick=alert(1)>',
    "style": "<b style='background:url(//e)'>words</b>",
    "tag over two lines of a quotation": "> <div\n> onclick=alert(1)>",
    "comment": "<!-- hidden -->",
    "comment that never ends": "<!-- hides the rest",
    "declaration": "<!DOCTYPE html>",
    "instruction": "<?php x ?>",
    "frame": "<iframe>",
    "textarea": "<textarea>",
}  # fmt: skip
HARMLESS_AT_FIRST = {"link hidden by a zero-width space", "link revealed by taking out another"}


@requirement("T8")
@pytest.mark.parametrize("name", ACTING)
def test_nothing_in_an_answer_acts(name: str) -> None:
    assert live(ACTING[name]) or name in HARMLESS_AT_FIRST  # else this would show nothing
    assert live(for_answer(ACTING[name])) == []


@requirement("T8")
@settings(deadline=None, max_examples=400)
@given(markup() | hostile_texts())
def test_no_text_can_be_made_to_act(text: str) -> None:
    assert live(for_answer(text)) == []


@UNTIMED
@given(st.lists(st.text("ab c1,.()-*_#\n", max_size=9)).map("".join))
def test_an_answer_without_brackets_stays_as_it_is(text: str) -> None:
    assert for_answer(text) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("See [the paper](http://e).", "See the paper."),
        ("A ![chart](http://e/x.png) here.", "A chart here."),
        ("[![alt](http://e/x.png)](http://e)", "alt"),
        ("![alt][ref] words", "alt words"),
        ("[ref]: http://e\nwords", "words"),
        ("[ref]: <http://e> 'title'\nwords", "words"),
        ("Mail <me@e.example>, see <https://e>.", "Mail me@e.example, see https://e."),
        ('<a href="http://e">click</a> here', "click here"),
        ("<img src=x onerror=y>words", "words"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("<scr<script>ipt>", "< script>"),
        ("[a [b] c](http://e)", "[a [b] c] (http://e)"),
        ("BM25 ranks [11](http://e).", "BM25 ranks [11]."),
    ],
)
def test_what_a_link_or_an_image_said_stays_as_plain_words(text: str, answer: str) -> None:
    assert for_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "Use `Vec<T>` or Vec<Option<T>>, Map<K, V>, List<Base>, Box<dyn Error>.",
        "`std::vector<std::string>` and #include <stdio.h>",
        "if a < b and c > d: x = 1",
        "**Bold**, *soft*, <b>bold</b>, H<sub>2</sub>O, a<br>b",
        "`handlers[0](event)` and `vec![1, 2]` and `!x[0](y)`",
        "```python\nif x in [1, 2]:\n    y = f[0](x)\n```",
        "~~~\nlet v: Vec<u8> = vec![0; 4];\n~~~",
        "Great![11] BM25 ranks [11, 12][13].",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "# Heading\n\n1. one\n2. two\n\n- [ ] open\n- [x] done",
        "Bare http://e stays words, as does a@e.example.",
    ],
)
def test_code_comparisons_markers_and_plain_markdown_stay(text: str) -> None:
    assert for_answer(text) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("`[a](http://e)`", "`[a] (http://e)`"),
        ("```\n[a](http://e)\n<a href=x>\n```", "```\n[a] (http://e)\n< a href=x>\n```"),
        ("``<img src=`x`>``", "``< img src=`x`>``"),
    ],
)
def test_code_that_would_act_elsewhere_keeps_all_its_words(text: str, answer: str) -> None:
    assert for_answer(text) == answer


@requirement("T8")
@UNTIMED
@given(markup() | hostile_texts())
def test_an_answer_has_no_character_that_hides_or_commands(text: str) -> None:
    assert clean(for_answer(text)) == for_answer(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a `b` c", ["`b`"]),
        ("a ``b ` c`` d", ["``b ` c``"]),
        ("```\na\n```\nb", ["```\na\n```"]),
        ("```py\na\n~~~\n````\nb", ["```py\na\n~~~\n````"]),
        ("~~~ ` ~\na\n~~~", ["~~~ ` ~\na\n~~~"]),
        ("```\nnever closed", ["```\nnever closed"]),
        ("  ```\na\n   ```  \nb", ["  ```\na\n   ```  "]),
        ("words ``` more", []),
        ("```in one line``` more", []),
        (r"\`a`", []),
        ("`a\nb`", []),
        ("`a", []),
    ],
)
def test_code_is_what_a_reader_of_markdown_takes_for_code(text: str, code: list[str]) -> None:
    assert [found[0] for found in re.finditer(CODE, text)] == code


@requirement("T8")
@UNTIMED
@given(markup() | hostile_texts())
def test_what_is_inert_stays_so_and_stays_as_it_is(text: str) -> None:
    once = inert(clean(text))
    assert live(once) == []
    assert inert(once) == once


# Words of others in an answer

_CITES = r"\[\s*\d+(?:\s*[,;\u2013-]\s*\d+)*\s*\]"


@requirement("cite")
@UNTIMED
@given(markup() | hostile_texts())
def test_unmarked_words_neither_cite_nor_open_code(text: str) -> None:
    marker = "[4711]"
    line = inert(f"> - {unmarked(text)} {marker}")  # as in every answer
    shown = re.sub(f"{CODE}|(?P<cite>{_CITES})", lambda m: m["cite"] or "", plain_brackets(line))
    assert re.findall(_CITES, shown) == [marker]
    tokens = [t for token in MARKDOWN.parse(line) for t in (token, *(token.children or ()))]
    code = "".join(
        token.content for token in tokens if "code" in token.type or token.type == "fence"
    )
    assert marker not in code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Attack [21]", "Attack (21)"),
        (r"\[21\]", r"\(21\)"),
        ("[21, 22; 23-24]", "(21, 22; 23-24)"),
        ("&#91;21&#93; &lbrack;21&rsqb; [&#x32;1]", "(21) (21) (21)"),
        ("&#9&#49;;21&#93;", "&#9&#49;;21]"),
        ("`a` ```b", "`a` ''b"),
        ("run `make [2]` now", "run `make [2]` now"),
        ("a ` b", "a ' b"),
        ("[ ] do it", "[ ] do it"),
        ("~~~ see &#91;2]", "\\~~~ see (2)"),
        ("a\n[x] b", "a [x] b"),
    ],
)
def test_unmarked_words_say_what_they_said(text: str, words: str) -> None:
    assert unmarked(text) == words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("&#91;&#049;&#x31;&#X5D;", "[11]"),
        ("&lbrack;&lsqb;&rbrack;&rsqb;", "[[]]"),
        ("&amp;&#65;&copy;&#40;&lt;&nope;&#1;&#0;", "&amp;&#65;&copy;&#40;&lt;&nope;&#1;&#0;"),
        ("`&#91;`", "`&#91;`"),
        ("&#91 &&#91; &#1&#49;", "&#91 &&#91; &#1&#49;"),
        ("&#" + "9" * 9_999 + ";", "&#" + "9" * 9_999 + ";"),
    ],
)
def test_only_entities_of_brackets_and_digits_become_plain(text: str, plain: str) -> None:
    assert plain_brackets(text) == plain


@UNTIMED
@given(
    st.lists(st.sampled_from(["&", "#", "9", "1", "x5b", ";", "&#91;", "[", "lsqb"])).map("".join)
)
def test_making_brackets_plain_makes_no_new_entity(text: str) -> None:
    assert plain_brackets(plain_brackets(text)) == plain_brackets(text)


_OPENINGS = (
    "[¦![¦[a](¦![a](¦[a](<b¦[a](b(¦[a][¦![a][¦](¦a[¦a[0](¦<a¦<¦<!--¦<a:¦a@¦<a@¦<img ¦<http://a¦`¦``¦```¦``` `¦~~~¦\\¦[\\¦\n["
    '¦\n[a\\¦\n[a]: ¦\n[a]:b (¦\n[a]:b "¦\n```¦\n~~~\n¦\n> ¦\n1. [¦<a=¦<a\n> ¦[1, ¦&#¦&a;¦\u0301\u0316¦\u200d¦\u0f73¦\ufe0f'
)


@requirement("T8")
@pytest.mark.parametrize("opening", _OPENINGS.split("¦"))
def test_many_openings_that_never_close_are_no_burden(opening: str) -> None:
    """A pattern that takes more than linear time would not come back from this."""
    text = opening * (100_000 // len(opening))
    assert live(for_answer(text)[:2_000]) == []
    assert "[21]" not in unmarked(text)
