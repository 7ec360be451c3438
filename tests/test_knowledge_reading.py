"""Files of every format become numbered lines of clean text, and those become passages."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delegator.knowledge.passages import LONGEST, Piece, split
from delegator.knowledge.reading import (
    MAX_TITLE,
    Document,
    Line,
    NotText,
    _tame,
    decode,
    read_document,
    read_text_bytes,
)
from delegator.sanitize import clean
from texts import hostile_texts

UNTIMED = settings(deadline=None)


def document(text: str, name: str = "a.md") -> Document:
    return read_document(Path(name), text.encode())


def shown(text: str, name: str = "a.md") -> list[str]:
    """The lines that hold words, as `number:text`, headings with a `#`."""
    return [
        f"{line.number}:{'#' * line.heading}{line.text}"
        for line in document(text, name).lines
        if line.text.strip()
    ]


def pieces(text: str, name: str = "a.md") -> list[Piece]:
    return list(split(document(text, name).lines))


# Bytes


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode(Path("a.txt"), b"\xef\xbb\xbf# Tea") == "# Tea"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_a_mark_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffGrüner Tee".encode(encoding))
    assert decode(path, read_text_bytes(path)) == "Grüner Tee"


def test_a_text_file_that_is_not_utf_8_is_read_as_latin_1() -> None:
    assert decode(Path("a.txt"), "Café für 3 €".encode("cp1252")) == "Café für 3 €"


def test_bytes_that_are_not_utf_8_are_text_only_under_the_name_of_a_text_file() -> None:
    with pytest.raises(NotText) as caught:
        decode(Path("a.pdf"), "Café".encode("latin-1"))
    assert caught.value.why == "binary"


def test_a_file_with_a_nul_near_its_start_is_binary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"PNG\0\1\2")
    with pytest.raises(NotText) as caught:
        read_text_bytes(path)
    assert caught.value.why == "binary"


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u200b\ufeff", "-----\n\n====="])
@pytest.mark.parametrize("name", ["a.md", "a.html", "a.rst"])
def test_a_file_without_words_is_empty(text: str, name: str) -> None:
    if name == "a.html":
        text = f"<title>Tea</title><nav>Home</nav>{text.replace('-', ' ').replace('=', ' ')}"
    with pytest.raises(NotText) as caught:
        document(text, name)
    assert caught.value.why == "empty"


# Lines and headings


def test_lines_keep_the_numbers_they_have_in_the_file() -> None:
    assert shown("\n\none\r\n\r\ntwo\rthree") == ["3:one", "5:two", "6:three"]


def test_a_unicode_line_separator_does_not_count_as_a_line() -> None:
    assert shown("one\u2028two\u2029three\nfour") == ["1:one two three", "2:four"]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# Tea", "Tea"),
        ("###### Tea ######", "Tea"),
        ("# C#", "C#"),
        ("#\tTea  ", "Tea"),
        ("####### Tea", None),
        ("#Tea", None),
        ("#", None),
        ("# #", None),
        (" # Tea", None),
    ],
)
def test_hashes_make_a_heading_in_markdown(line: str, heading: str | None) -> None:
    headings = [found.text for found in document(f"{line}\nwords").lines if found.heading]
    assert headings == ([heading] if heading else [])


def test_hashes_make_no_heading_in_code() -> None:
    assert shown("# a comment\nx = 1", "a.py") == ["1:# a comment", "2:x = 1"]


@pytest.mark.parametrize("fence", ["```", "~~~", "  ```"])
def test_hashes_make_no_heading_inside_a_fence(fence: str) -> None:
    text = f"words\n\n{fence}sh\n# a comment\n{fence}\n# Tea"
    assert shown(text)[2:] == ["4:# a comment", f"5:{fence}", "6:#Tea"]


def test_only_markdown_has_fences() -> None:
    assert shown("words\n\n```\n\nTea\n===", "a.rst") == ["1:words", "5:#Tea"]


def test_a_fence_of_the_other_kind_does_not_close_a_fence() -> None:
    assert "5:# a comment" in shown("words\n\n```\n~~~\n# a comment\n```")


def test_code_on_one_line_opens_no_fence() -> None:
    assert shown("```x```\n# Tea") == ["1:```x```", "2:#Tea"]


def test_a_line_of_tildes_under_a_title_opens_no_fence() -> None:
    assert shown("Green tea\n~~~~~~~~~\n\n# Tea") == ["1:#Green tea", "4:#Tea"]


@pytest.mark.parametrize("rule", ["=====", "-----", "~~~~~", "^^^^^", '"""""'])
def test_a_rule_below_a_line_makes_it_a_heading(rule: str) -> None:
    assert shown(f"Tea\n{rule}\n\nwords", "a.rst") == ["1:#Tea", "4:words"]


def test_a_rule_above_a_heading_is_not_shown() -> None:
    assert shown("=====\nTitle\n=====\nwords", "a.rst") == ["2:#Title", "4:words"]


@pytest.mark.parametrize("line", ["| a | b", "- item", "* item", "> quote", "  code", "w" * 200])
def test_a_rule_makes_no_heading_of_a_table_a_list_a_quote_or_a_paragraph(line: str) -> None:
    assert not document(f"{line}\n-----------\nwords", "a.rst").lines[0].heading


def test_a_rule_much_shorter_than_its_line_makes_no_heading() -> None:
    assert not document("A line of words\n---\nwords").lines[0].heading


# Titles


def test_the_title_is_the_first_heading() -> None:
    assert document("words\n\n# Tea  and   rice\n\n# Other").title == "Tea and rice"


def test_without_a_heading_the_title_is_the_clean_name_of_the_file() -> None:
    assert document("words", "tea\u202e\udcff one.txt").title == "tea one"


@pytest.mark.parametrize("name", ["a.md", "a.html"])
def test_a_title_is_cut(name: str) -> None:
    text = "word " * 1_000
    title = document(f"# {text}" if name == "a.md" else f"<h1>{text}</h1>", name).title
    assert len(title) <= MAX_TITLE
    assert title.startswith("word word")


# HTML


def test_html_is_read_block_by_block_with_line_numbers() -> None:
    page = (
        "<!doctype html>\n<html><head><title>Tea &amp; rice</title>\n<style>p { x }</style></head>\n"
        "<body>\n<h1>Green <em>tea</em></h1>\n<!-- a\ncomment -->\n<p>\n  Brew at\n  80&nbsp;degrees.\n"
        "<p>Two<b>fold</b></p>\n</body></html>"
    )
    assert shown(page, "a.html") == ["5:#Green tea", "9:Brew at 80 degrees.", "11:Twofold"]
    assert document(page, "a.html").title == "Tea & rice"


@pytest.mark.parametrize("tag", ["script", "style", "template", "noscript", "svg", "nav"])
def test_html_that_is_no_content_is_left_out(tag: str) -> None:
    page = f"<body><p>one</p><{tag}>alert(1)</{tag}><p>two</p>"
    assert shown(page, "a.html") == ["1:one", "1:two"]


def test_what_stands_inside_the_same_element_twice_is_left_out() -> None:
    assert shown("<nav><nav>a</nav>b</nav>c", "a.html") == ["1:c"]


def test_an_element_left_open_inside_navigation_hides_nothing_after_it() -> None:
    assert shown("<nav><svg></nav><p>tea</p>", "a.html") == ["1:tea"]


@pytest.mark.parametrize(
    "head",
    ["<head><title>T</title>", "<head><meta x><body>", "<html><head>", "<nav><ul><main>"],
)
def test_a_head_or_menu_that_is_never_closed_hides_no_content(head: str) -> None:
    assert shown(f"{head}<p>tea</p>", "a.html") == ["1:tea"]


def test_a_drawing_does_not_name_the_page() -> None:
    page = "<title>Tea</title><body><svg><title>Icon</title></svg>words"
    assert document(page, "a.html").title == "Tea"


def test_an_empty_html_heading_makes_no_heading_of_what_follows() -> None:
    assert shown("<h1><img src=x></h1><p>words", "a.html") == ["1:words"]


def test_an_html_heading_ends_with_the_next_block() -> None:
    assert shown("<h2>Tea<p>words", "a.html") == ["1:#Tea", "1:words"]


def test_preformatted_html_keeps_its_lines_and_their_numbers() -> None:
    page = "<p>x</p>\n<pre>\n\n  if a:\n\n      <b>b</b>\n</pre>\n<p>y"
    assert shown(page, "a.html") == ["1:x", "4:  if a:", "6:      b", "8:y"]


@pytest.mark.parametrize("page", ["<p>\n<!-- a\nb -->\n\n tea", "a<p>\r\r\n<p>\ntea"])
def test_a_block_of_html_has_the_number_of_the_line_of_its_first_word(page: str) -> None:
    assert shown(page, "a.html")[-1] == f"{len(page.splitlines())}:tea"


def test_an_image_in_a_sentence_does_not_cut_it() -> None:
    assert shown("<p>one <img src=x> two", "a.html") == ["1:one two"]


@pytest.mark.parametrize(
    "page",
    [
        "<p>one<!-- two",
        "<p>one<![two",
        "<p>one<![CDATA[two]]>",
        "<p>one &#" + "9" * 5_000 + "; two",
        "<p>one < two",
        "<p>one <two",
    ],
)
def test_html_that_is_not_closed_or_not_html_loses_no_words(page: str) -> None:
    text = " ".join(line.text for line in document(page, "a.html").lines)
    assert "one" in text
    assert "two" in text


@UNTIMED
@given(
    st.lists(
        st.sampled_from(
            "< > <! <!-- --> -- <![ <![CDATA[ ]]> <? </ & &# &#x ; ' \" = / a p title pre nav head svg "
            "script </script> <p> </p> <h1> </h1> <pre> </nav> <body> 1 999999999999 \n \u2028".split(
                " "
            )
        )
        | st.text(max_size=3)
    ).map("".join)
)
@example("<![x")
@example("<![if x")
@example("&#" + "9" * 5_000 + ";")
@example("<pre>a&#10;b\r")
def test_any_html_is_read_or_empty(page: str) -> None:
    try:
        lines = document(page, "a.html").lines
    except NotText:
        return
    numbers = [line.number for line in lines]
    assert min(numbers) >= 1
    assert max(numbers) <= len(re.findall(r"\r\n|\r|\n", page)) + 1


# Passages


@UNTIMED
@given(
    st.lists(st.sampled_from(["# ", "## Tea", "===", "---", "```", "~~~", "x" * 2_000, "wo rd " * 400])
             | hostile_texts(), max_size=12).map("\n".join),
    st.sampled_from(["a.md", "a.rst", "a.py"]),
)  # fmt: skip
@example("a" + "\n" * 20 + "b" * 1_399 + "\n" + "c", "a.md")
@example("w " * 500 + " " * 2_000 + "x", "a.md")
def test_together_the_passages_hold_all_words_in_order_and_none_is_too_long(
    text: str, name: str
) -> None:
    text = text.encode("utf-8", "replace").decode()
    try:
        found = pieces(text, name)
    except NotText:
        return
    words = "".join(re.findall(r"\w", clean(text)))
    assert "".join(re.findall(r"\w", "".join(piece.text for piece in found))) == words
    assert max(len(piece.text) for piece in found) <= LONGEST
    assert all(piece.text.strip() for piece in found)


@UNTIMED
@given(st.lists(st.text("ab #=-\t", max_size=60), max_size=60))
def test_the_line_numbers_of_a_passage_are_those_of_its_first_and_last_words(
    lines: list[str],
) -> None:
    try:
        found = pieces("\n".join(lines))
    except NotText:
        return
    for piece in found:
        assert piece.text.split()[0] in lines[piece.first - 1]
        assert piece.text.split()[-1] in lines[piece.last - 1]
    assert [piece.first for piece in found] == sorted(piece.first for piece in found)


def test_a_passage_ends_where_the_text_pauses() -> None:
    found = pieces("\n\n".join(["word " * 60] * 8))
    assert [(piece.first, piece.last) for piece in found] == [(1, 5), (7, 11), (13, 15)]


def test_a_text_that_never_pauses_is_cut_between_lines() -> None:
    found = pieces("\n".join(["word " * 100] * 9))
    assert [(piece.first, piece.last) for piece in found] == [
        (1, 2),
        (3, 4),
        (5, 6),
        (7, 8),
        (9, 9),
    ]


def test_a_passage_ends_before_a_heading() -> None:
    found = pieces(f"# One\n\n{'word ' * 30}\n\n# Two\n\n{'word ' * 30}")
    assert [(piece.heading, piece.first, piece.last) for piece in found] == [
        ("One", 1, 3),
        ("Two", 5, 7),
    ]


def test_a_short_section_shares_its_passage_with_the_next() -> None:
    found = pieces("# One\n\nword\n\n## Two\n\nword")
    assert [(piece.heading, piece.first, piece.last) for piece in found] == [("One", 1, 7)]


def test_a_passage_that_goes_on_from_a_shared_one_is_named_after_its_own_section() -> None:
    paragraphs = "\n\n".join(["word " * 100] * 4)
    found = pieces(f"# Title\n\n## Section\n\n{paragraphs}")
    assert [piece.heading for piece in found] == ["Title", "Section"]


def test_a_heading_is_cut_so_that_a_hostile_one_is_not_stored_with_every_passage() -> None:
    found = pieces("# " + "word " * 2_000)
    assert len(found) > 5
    assert max(len(piece.heading) for piece in found) <= MAX_TITLE


def test_a_long_line_is_cut_between_words() -> None:
    found = pieces("words " * 1_000)
    assert {word for piece in found for word in piece.text.split()} == {"words"}
    assert {(piece.first, piece.last) for piece in found} == {(1, 1)}


def test_no_lines_make_no_passage() -> None:
    assert list(split([Line(1, ""), Line(2, "  ")])) == []


# What was written to be slow: each of these would take hours if time grew much faster than size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# a" + " " * 300_000 + "b"),
        ("a.md", "# " + " #" * 300_000 + "b"),
        ("a.rst", "-" * 300_000 + "b\n" + "-" * 300_000),
        ("a.txt", "x" * 8_000_000),
    ],
    ids=["spaces", "hashes", "rules", "line"],
)
def test_a_file_written_to_be_slow_is_read(name: str, text: str) -> None:
    assert pieces(text, name)


@pytest.mark.parametrize(
    ("page", "tame"),
    [
        ("<!-- a --><p>b<!-- c<!-- d", "<!-- a --><p>b&lt;!-- c&lt;!-- d"),
        ("<p>a<b <i </", "<p>a&lt;b &lt;i &lt;/"),
        ("<p>a</p>", "<p>a</p>"),
    ],
)
def test_html_that_is_never_closed_is_made_text_before_a_parser_looks_for_its_end(
    page: str, tame: str
) -> None:
    assert _tame(page) == tame
