"""The product as a contender: whole runs at the default level, with a journal, over a library that answers at once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import script
from delegator import Limits, Outcome, Run, Setup
from delegator.journal import Journal
from delegator.knowledge import Hit, Passage
from delegator.models.claude import Claude


class Shelf:
    """A library that finds the same passages whatever is asked: search is measured by itself, and the floor has none."""

    private = False

    def __init__(self) -> None:
        self._passages = {
            id: Passage(id=id, path=id, title="t", heading="", first=1, last=9, text=text)
            for id, text in script.passages()
        }

    def search(self, query: str, limit: int, *, document: str = "") -> list[Hit]:  # noqa: ARG002
        """All passages."""
        return [Hit(passage=passage, score=1.0) for passage in self._passages.values()]

    def passage(self, id: str) -> Passage | None:
        """A passage by its id."""
        return self._passages.get(id)

    def following(self, id: str, count: int) -> list[Passage]:  # noqa: ARG002
        """A passage."""
        return [self._passages[id]] if id in self._passages else []


@asynccontextmanager
async def asking(url: str, n: int) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Asks questions of up to `n` delegations, all at once, under limits that leave room for them."""
    limits = Limits(
        tokens=10**12,
        model_calls=10**6,
        delegations=10**5,
        parallel=4 * max(n, 3),
        seconds=3_600,
        reply_tokens=64_000,
    )
    with TemporaryDirectory(prefix="benchmarks-") as home, Journal(Path(home)) as journal:
        async with Claude("mock", base_url=url) as model:
            yield _ask(Setup(model=model, library=Shelf(), limits=limits, journal=journal))


def _ask(setup: Setup) -> Callable[[str], Awaitable[str]]:
    async def ask(question: str) -> str:
        async with Run(question, setup) as run:
            async for _event in run:
                pass
            answer = await run.answer()
        if answer.outcome is not Outcome.COMPLETE:
            raise RuntimeError(f"{answer.outcome}: {answer.stop} {answer.error}")
        return answer.text

    return ask
