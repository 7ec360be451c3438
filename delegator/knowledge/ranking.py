"""The passages that match some plain words best: BM25, and more for words that stand side by side.

Every word is quoted, so no text can be query syntax. Ranking costs by the passage, so it is bounded: words that are everywhere
weigh in, but only in passages that hold a rarer word, or several of them.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import log

from delegator.language import STOPWORDS, american
from delegator.sanitize import clean

MAX_QUERY_CHARACTERS = 2_000
MAX_QUERY_WORDS = 24
RANKED = 1_000
"""Passages ranked for the rarer words of a query, at most."""
MOST = 2_000
"""Passages ranked where every word is common, at most."""
ENOUGH = 32
"""With fewer passages to rank, common words are looked for as well."""
PAIRED = 15_000
"""Passages looked at for neighbours, at most."""
_SEEK = 10
"""How much dearer it is to find a word's passages among those of a word that is everywhere."""

_COUNT = (
    "select count(*), max(rowid), (select max(rowid) from passage) "
    "from (select rowid from words where words match ? limit ?)"
)
_SCORE = "select rowid, -bm25(words, 4.0, 2.5, 1.0) from words where words match ? limit ?"
_WITHIN = (
    "select -bm25(words, 4.0, 2.5, 1.0) as score, rowid from words "
    "where words match ? and rowid between ? and ? order by score desc limit ?"
)

Pair = tuple[str, str]
Scores = dict[int, float]
"""By row id."""


def best(db: sqlite3.Connection, query: str) -> list[tuple[float, int]]:
    """Scores and row ids of the passages that match a query, best first; any text is a safe query.

    Any telling word may match. Neighbours that stand together in the text too, or as one word, count extra, and so does the
    other spelling of a word.
    """
    words, pairs = _terms(query)
    counts = {word: n for word in words if (n := _count(db, _quoted(word), RANKED + 1))}
    by_rarity = sorted(counts, key=counts.__getitem__)
    totals = accumulate(counts[word] for word in by_rarity)
    telling = [word for word, total in zip(by_rarity, totals, strict=True) if total <= RANKED]
    common = by_rarity[len(telling) :]
    scores = _scored(db, _any_of(telling), telling, common) if telling else {}
    if common and len(scores) < ENOUGH:
        scores |= _scored(db, *_together(db, common), by_rarity)
    for found, apart in _neighbours(db, pairs, counts):
        for row, score in found.items():
            scores[row] = scores.get(row, apart) + score
    return sorted(((score, row) for row, score in scores.items()), reverse=True)


def best_within(
    db: sqlite3.Connection, query: str, rows: tuple[int, int], limit: int
) -> list[tuple[float, int]]:
    """Scores and row ids of the best matching passages among some rows only."""
    words, _ = _terms(query)
    if not words:
        return []
    return db.execute(_WITHIN, (_any_of(words), *rows, limit)).fetchall()


def _scored(
    db: sqlite3.Connection, match: str, required: Sequence[str], words: Iterable[str]
) -> Scores:
    """BM25 of the passages that match, by the words that `match` is made of and by others they may hold."""
    others = [word for word in words if word not in required]
    if not others:
        return dict(db.execute(_SCORE, (match, MOST)))
    # BM25 counts a word as often as it stands in a query: the required ones stand twice, so the others do too
    both = f"({match}) AND ({_any_of([*required, *others, *others])})"
    return {row: score / 2 for row, score in db.execute(_SCORE, (both, MOST))}


def _together(db: sqlite3.Connection, words: Sequence[str]) -> tuple[str, list[str]]:
    """As many of the words as stand together in enough passages; if only one does, its titles if they are enough."""
    match, chosen = _quoted(words[0]), [words[0]]
    for word in words[1:]:
        closer = f"{match} AND {_quoted(word)}"
        if _count(db, closer, ENOUGH) >= ENOUGH:
            match = closer
            chosen.append(word)
    titled = f"{{title heading}}: {match}"
    if len(chosen) == 1 and _count(db, titled, ENOUGH) >= ENOUGH:
        match = titled
    return match, chosen


def _neighbours(
    db: sqlite3.Connection, pairs: Iterable[Pair], counts: dict[str, int]
) -> Iterator[tuple[Scores, float]]:
    """BM25 of the passages where two words stand side by side, and about what the two are worth apart."""
    size = db.execute("select max(rowid) from passage").fetchone()[0]

    def cost(pair: Pair) -> int:
        known = [counts[word] for word in pair if word in counts]
        return min(known) if len(known) > 1 else min(_SEEK * known[0], size)

    looked_at = 0
    for left, right in sorted((pair for pair in pairs if counts.keys() & pair), key=cost):
        looked_at += cost((left, right))
        if looked_at > PAIRED:
            return
        found = dict(db.execute(_SCORE, (_quoted(f"{left} {right}"), RANKED)))
        if len(found) < RANKED:  # a pair that is everywhere tells nothing
            yield found, sum(_worth(counts[word], size) for word in {left, right} & counts.keys())


def _worth(n: int, size: int) -> float:
    """BM25 of a word that stands once in a passage of usual length, and in `n` of `size` passages."""
    return max(log((size - n + 0.5) / (n + 0.5)), 0.0) if n < size else 0.0


def _terms(query: str) -> tuple[list[str], list[Pair]]:
    """The telling words, their other spellings, and neighbours as one word; and the pairs with a telling word."""
    said = [word.lower() for word in re.findall(r"\w+", clean(query[:MAX_QUERY_CHARACTERS]))]
    telling = [word for word in said if word not in STOPWORDS] or said
    words = dict.fromkeys(telling[:MAX_QUERY_WORDS])
    words |= dict.fromkeys(american(word) for word in words)
    pairs = dict.fromkeys(pairwise(said[: 2 * MAX_QUERY_WORDS]))
    joined = [left + right for left, right in pairs if left in words and right in words]
    return list(dict.fromkeys([*words, *joined])), [pair for pair in pairs if words.keys() & pair]


def _count(db: sqlite3.Connection, match: str, most: int) -> int:
    """How many passages match: counted up to `most`, beyond that estimated from how far the counting came."""
    n, reached, last = db.execute(_COUNT, (match, most)).fetchone()
    return int(n if n < most else n * last // reached)


def _any_of(words: Iterable[str]) -> str:
    return " OR ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    return f'"{word}"'
