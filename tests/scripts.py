"""Pieces of scripts that several tests play: researchers that search and quote, critics that score, ways to ask."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import delegator
from delegator.answer import Answer
from delegator.events import DelegationFinished, DelegationStarted, Event, Reminded
from delegator.model import Request
from delegator.models.scripted import Says, Scripted, call, calls, results, say

FACT = "BM25 is a ranking function"
ACCEPT = {"score": 5, "verdict": "accept", "feedback": "", "issues": []}
REVISE = {"score": 2, "verdict": "revise", "feedback": "Say who made it.", "issues": []}


def ask(
    model: Scripted, docs: Path | None = None, question: str = "What is BM25 about?", **more: Any
) -> tuple[Answer, list[Event]]:
    """Ask through the highest public call, with a scripted model; the answer and all events."""
    events: list[Event] = []
    folders: Sequence[Path] = [docs] if docs is not None else ()
    answer = delegator.ask(question, docs=folders, model=model, on_event=events.append, **more)
    return answer, events


def search(query: str = "BM25 ranking function") -> Says:
    """A researcher's search."""
    return call("search", query=query)


def claim(request: Request, quote: str = FACT, text: str = "BM25 ranks.") -> dict[str, str]:
    """A claim that quotes the newest search: the passage that holds the quote, or else the first."""
    hits = results(request)[0]["hits"]
    source = next((hit for hit in hits if quote in hit["text"]), hits[0])
    return {"text": text, "source": source["id"], "quote": quote}


def report(claims: list[dict[str, str]], **more: Any) -> Says:
    """A researcher's report."""
    given = {"answer": "It ranks.", "claims": claims, "confidence": "high", "gaps": []}
    return call("submit_report", **{**given, **more})


def finds(quote: str = FACT, text: str = "BM25 ranks.") -> Callable[[Request], Says]:
    """A report whose one claim quotes what the search just returned."""
    return lambda request: report([claim(request, quote, text)])


def researcher(quote: str = FACT, text: str = "BM25 ranks.") -> list[Any]:
    """A whole researcher: search, then report."""
    return [search(), finds(quote, text)]


def critic(review: dict[str, Any] | None = None) -> list[Any]:
    """A whole critic."""
    return [call("submit_report", **(review or ACCEPT))]


def delegate(*tasks: str) -> Says:
    """One reply that delegates every task."""
    return calls(*(("delegate_to_researcher", {"task": task}) for task in tasks))


def have_reviewed(*findings: str) -> Says:
    """One reply that has every finding reviewed."""
    return calls(*(("delegate_to_critic", {"finding_id": id}) for id in findings))


def one_delegation(steps: Sequence[Any], answer: str = "BM25 ranks [11].") -> Scripted:
    """A run with one delegation to the researcher, then an answer."""
    return Scripted({"orchestrator": [delegate("What is BM25?"), say(answer)], "D1": steps})


def headlines(events: list[Event]) -> str:
    """What a person watching would remember of a run, a line each."""
    lines = []
    for event in events:
        match event.what:
            case DelegationStarted(id=id, name=name, task=task, about=about):
                lines.append(f"{id} {name}{f' on {about}' if about else ''} starts: {task}")
            case DelegationFinished(id=id, outcome=outcome, verdict=verdict):
                lines.append(f"{id} {outcome}{f', {verdict}' if verdict else ''}")
            case Reminded(why=why):
                lines.append(f"{event.agent} reminded: {why}")
            case _:
                continue
    return "\n".join(lines)


def run(coroutine: Any) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)
