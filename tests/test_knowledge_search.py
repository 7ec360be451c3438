"""Any text is a safe query, the best passages come first, and common words stay cheap."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delegator.knowledge import Index
from delegator.knowledge.index import PER_DOCUMENT
from delegator.knowledge.ranking import ENOUGH, MOST, PAIRED, RANKED, _count, best
from texts import hostile_texts

SECTIONS = 3_000
SECTIONS_IN_FILE = 60
ARTICLES = Path(__file__).parent.parent / "delegator" / "articles"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """3,000 passages that all speak of tea; what else they say depends on their number."""
    root = tmp_path_factory.mktemp("crowd")
    for first in range(0, SECTIONS, SECTIONS_IN_FILE):
        numbers = range(first, first + SECTIONS_IN_FILE)
        text = f"# {'Tea' if first >= 2_400 else 'Leaves'}\n\n"
        text += "\n\n".join(f"## Part {n}\n\n{said_in(n)}" for n in numbers)
        (root / f"{first:04}.md").write_text(text)
    index = Index(None, [root])
    index.refresh()
    yield index
    index.close()


def said_in(n: int) -> str:
    words = ["tea in a cup on the table of the house, and more of it " * 2]
    words += ["kettle"] * (n % 2) + ["on lid"] * (n % 3 == 0) + ["harvest"] * (n % 5 < 3)
    words += ["spoon"] * (n % 2 == 0)
    words += ["oolong"] * (n in (8, 1_007, 2_010)) + ["zyzzyva"] * (n == 2_222)
    words += ["in wood"] * (n % 5 < 2) + ["and wood"] * (n == 2_990)
    words += ["harvest kettle"] * (n == 1_300) + ["kettle after"] * (n == 1_501)
    return " ".join(words)


def parts(index: Index, query: str, limit: int = 8) -> list[int]:
    """The numbers of the parts that a query finds, best first."""
    return [int(hit.passage.heading.split()[-1]) for hit in index.search(query, limit)]


@pytest.fixture(scope="module")
def articles() -> Iterator[Index]:
    """The articles that ship."""
    index = Index(None, [ARTICLES])
    index.refresh()
    yield index
    index.close()


def found(tmp_path: Path, query: str, **texts: str) -> list[str]:
    """The names of the documents with these texts that a query finds, best first."""
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    index = Index(None, [tmp_path])
    index.refresh()
    names = [hit.passage.path.removesuffix(".txt") for hit in index.search(query, 8)]
    index.close()
    return names


# Any text is a query


@settings(deadline=None)
@given(hostile_texts(60), st.integers(1, 8))
@example('"', 1)
@example("tea OR", 1)
@example("NEAR(tea rice, 2) AND NOT *", 1)
@example("{title heading}: tea ^tea tea*", 1)
@example("' or 1=1; drop table words --", 1)
@example("\0tea\ud800\U0001f375", 1)
@example("(" * 5_000, 1)
@example("a-b:c+d^e*f", 1)
def test_any_text_is_a_safe_query(articles: Index, query: str, limit: int) -> None:
    hits = articles.search(query, limit)
    assert len(hits) <= limit
    assert len({hit.passage.id for hit in hits}) == len(hits)


@pytest.mark.parametrize("text", ["rag " * 250_000, "x" * 1_000_000, '"' * 1_000_000])
def test_a_megabyte_is_a_safe_query(text: str, articles: Index) -> None:
    assert bool(articles.search(text, 8)) == text.startswith("rag")


def test_a_query_of_many_words_uses_the_first_of_them(articles: Index) -> None:
    many = " ".join(f"nonsense{n}" for n in range(50))
    assert articles.search(f"transformer {many}", 1)
    assert articles.search(f"{many} transformer", 1) == []
    assert articles.search("- " * 500 + "transformer", 1)
    assert articles.search("- " * 5_000 + "transformer", 1) == []


def test_words_in_capitals_that_are_operators_elsewhere_are_words(tmp_path: Path) -> None:
    texts = {"one": "neither near nor far", "two": "far away"}
    assert found(tmp_path, "NOT NEAR", **texts) == ["one"]


# What a query finds


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("colour", "the color of tea"),
        ("brewing", "it is brewed"),
        ("cafe", "a café"),
        ("CAFÉ", "a cafe"),
        ("İstanbul", "in İstanbul"),
        ("file system", "a filesystem"),
        ("max_tokens", "set max_tokens to five"),
        ("max tokens", "set max_tokens to five"),
        ("what about the others?", "these and the others"),
        ("3.11", "version 3.11"),
    ],
)
def test_a_query_finds_other_forms_of_its_words(query: str, text: str, tmp_path: Path) -> None:
    assert found(tmp_path, query, one=text, two="nothing of kind here") == ["one"]


def test_a_query_of_words_that_tell_nothing_is_taken_at_its_word(tmp_path: Path) -> None:
    assert found(tmp_path, "to be or not", one="not to be", two="tea") == ["one"]


def test_rarer_words_count_more(tmp_path: Path) -> None:
    texts = dict.fromkeys("abcd", "tea and rice") | {"rare": "maize and salt"}
    assert found(tmp_path, "tea maize", **texts)[0] == "rare"


def test_a_word_in_the_title_counts_more(tmp_path: Path) -> None:
    texts = {"text": "Rice\n====\n\ntea tea tea tea", "title": "Tea\n===\n\nrice rice rice rice"}
    assert found(tmp_path, "tea", **texts) == ["title", "text"]


def test_words_side_by_side_count_more(tmp_path: Path) -> None:
    texts = {"apart": "green rice with black tea", "beside": "black rice with green tea"}
    assert found(tmp_path, "green tea", **texts) == ["beside", "apart"]


def test_a_word_beside_one_that_tells_nothing_counts_more_too(tmp_path: Path) -> None:
    texts = {"a": "he was after the name", "b": "the cup was named after the duke"}
    assert found(tmp_path, "named after", **texts) == ["b", "a"]


def test_hits_come_best_first_and_no_more_than_asked_for(articles: Index) -> None:
    hits = articles.search("language model agents", 8)
    assert len(hits) == 8
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert articles.search("language model agents", 3) == hits[:3]


def test_one_document_cannot_fill_an_answer(tmp_path: Path) -> None:
    (tmp_path / "long.md").write_text(
        "\n\n".join(f"## Tea {n}\n\n{'tea ' * 60}" for n in range(99))
    )
    (tmp_path / "short.md").write_text("a word on rice, salt, oil and one on tea")
    index = Index(None, [tmp_path])
    index.refresh()
    per_document = Counter(hit.passage.path for hit in index.search("tea", 8))
    assert per_document == {"long.md": PER_DOCUMENT, "short.md": 1}
    index.close()


# Where words are in thousands of passages


def test_a_rare_word_among_common_ones_is_found_first(crowd: Index) -> None:
    assert parts(crowd, "tea kettle zyzzyva harvest")[0] == 2_222


def test_common_words_weigh_in_where_a_rarer_word_stands(crowd: Index) -> None:
    assert parts(crowd, "oolong kettle harvest")[0] == 1_007


def test_a_score_is_that_of_bm25_over_words_and_pairs(articles: Index, crowd: Index) -> None:
    every_term = '"language" OR "models" OR "languagemodels" OR "language models"'
    found = best(articles._db, "language models")
    assert {row: score for score, row in found} == pytest.approx(bm25(articles, every_term))
    plain = bm25(crowd, '"oolong" OR "kettle"')
    assert all(
        score == pytest.approx(plain[row]) for score, row in best(crowd._db, "oolong, kettle")
    )


def bm25(index: Index, match: str) -> dict[int, float]:
    """Scores by row, as SQLite has them."""
    scores = "select rowid, -bm25(words, 4.0, 2.5, 1.0) from words where words match ?"
    return dict(index._db.execute(scores, (match,)))


def test_words_that_are_all_common_find_passages_that_hold_all_of_them(crowd: Index) -> None:
    found = parts(crowd, "tea harvest kettle")
    assert len(found) == 8
    assert all({"harvest", "kettle"} <= set(said_in(n).split()) for n in found)


def test_common_words_are_looked_for_where_the_rare_one_is_too_rare(crowd: Index) -> None:
    found = parts(crowd, "zyzzyva kettle harvest")
    assert found[0] == 2_222
    assert len(found) == 8
    assert all({"harvest", "kettle"} <= set(said_in(n).split()) for n in found[1:])


def test_common_words_that_never_stand_together_still_find_passages(crowd: Index) -> None:
    found = parts(crowd, "kettle spoon")
    assert len(found) == 8
    assert any("kettle" in said_in(n) for n in found)


def test_one_common_word_is_looked_for_in_titles_first(crowd: Index) -> None:
    titles = {hit.passage.title for hit in crowd.search("tea", 8)}
    assert titles == {"Tea"}


def test_one_common_word_that_is_in_no_title_is_found(crowd: Index) -> None:
    assert len(parts(crowd, "kettle")) == 8


def test_common_words_side_by_side_count_more(crowd: Index) -> None:
    assert parts(crowd, "harvest kettle")[0] == 1_300
    assert parts(crowd, "kettle after")[0] == 1_501


def test_a_pair_that_is_everywhere_changes_nothing(crowd: Index) -> None:
    assert parts(crowd, "in wood")[0] == 2_990


@pytest.mark.parametrize("query", ["tea", "cup", "tea cup", "tea cup zyzzyva", "oolong tea"])
def test_no_more_passages_are_ranked_than_planned_however_common_the_words(
    query: str, crowd: Index
) -> None:
    assert len(best(crowd._db, query)) <= MOST + ENOUGH


def test_neighbours_are_looked_for_while_the_plan_lasts(crowd: Index) -> None:
    seen: list[str] = []
    crowd._db.set_trace_callback(seen.append)
    crowd.search("table tea house cup tea table cup house table cup", 8)
    crowd._db.set_trace_callback(None)
    pairs = [statement for statement in seen if re.search(r"bm25.*match '\"\w+ \w+\"'", statement)]
    assert len(pairs) == PAIRED // SECTIONS


def test_frequencies_are_exact_up_to_a_number_and_estimated_beyond(crowd: Index) -> None:
    assert _count(crowd._db, '"zyzzyva"', RANKED) == 1
    assert _count(crowd._db, '"tea"', PAIRED) == SECTIONS
    assert _count(crowd._db, '"tea"', 100) == pytest.approx(SECTIONS, rel=0.1)
    assert _count(crowd._db, '"kettle"', 100) == pytest.approx(SECTIONS / 2, rel=0.1)
