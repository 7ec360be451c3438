"""Documents to index and words to search for: made up, always the same, with words as unevenly common as in any language.

A child process does the work, so that it starts with nothing in memory and runs on the core of whoever is measured.
"""

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks.bench import run

CHARACTERS = 2_000
VOCABULARY = 20_000
QUERY_WORDS = 3
_FOLDER = 1_000
_SYLLABLES = "ba co di fe gu ha jo ki lu me no pa qui ro su te va wo xi zu".split()


@dataclass(frozen=True, slots=True)
class Found:
    """How fast documents were indexed, and how long searches took."""

    rate: float
    searches: Sequence[float]

    def search(self, share: float) -> float:
        """Seconds within which this share of the searches was answered."""
        return sorted(self.searches)[min(int(share * len(self.searches)), len(self.searches) - 1)]


def measure(folder: Path, documents: int, searches: int = 0) -> Found:
    """Write so many documents, then index and search them."""
    _write(folder / "documents", documents)
    arguments = [sys.executable, "-m", "benchmarks.corpus", str(folder), str(searches)]
    return Found(**json.loads(run(arguments).splitlines()[-1]))


def _write(folder: Path, documents: int) -> None:
    chance = random.Random(documents)  # noqa: S311 - the same documents every time
    words, weights = _vocabulary(chance)
    for i in range(documents):
        if i % _FOLDER == 0:
            (folder / f"{i // _FOLDER:03d}").mkdir(parents=True)
        drawn = chance.choices(words, cum_weights=weights, k=CHARACTERS // 7)
        text = "\n".join(" ".join(drawn[k : k + 14]) for k in range(0, len(drawn), 14))
        path = folder / f"{i // _FOLDER:03d}" / f"{i:06d}.md"
        path.write_text(f"# {drawn[0]} {drawn[1]}\n\n{text[:CHARACTERS]}\n", encoding="ascii")


def _vocabulary(chance: random.Random) -> tuple[list[str], list[float]]:
    """Words, and how common they are by Zipf's law, added up."""
    words = list(
        {
            "".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))): None
            for _ in range(VOCABULARY)
        }
    )
    return words, list(accumulate(1 / rank for rank in range(2, len(words) + 2)))


def _main(folder: Path, searches: int) -> None:
    from delegator.knowledge import Index  # noqa: PLC0415 - only the child indexes

    index = Index(folder / "index.sqlite", [folder / "documents"])
    started = time.perf_counter()
    refreshed = index.refresh()
    rate = refreshed.added / (time.perf_counter() - started)
    chance = random.Random(1)  # noqa: S311 - the same searches every time
    words, weights = _vocabulary(chance)
    taken = []
    for _ in range(searches):
        query = " ".join(chance.choices(words, cum_weights=weights, k=QUERY_WORDS))
        started = time.perf_counter()
        index.search(query, 8)
        taken.append(time.perf_counter() - started)
    index.close()
    print(json.dumps({"rate": rate, "searches": taken}))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
