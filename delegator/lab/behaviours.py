"""What a hostile agent does, from the steps of a case: a small closed vocabulary, the same at every level.

Which passage or finding a step means is looked up in what the agent was shown, as an attacker who reads along would.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from delegator.envelope import seen
from delegator.lab.cases import Step
from delegator.lab.words import Words, fill
from delegator.messages import ToolResult
from delegator.model import Request
from delegator.models.scripted import Says
from delegator.models.worst_case import Behaviour

_REPORT = "submit_report"


def behaviour(steps: Sequence[Step], words: Words) -> Behaviour:
    """An agent that takes these steps, one a turn, and stays with the last. Every loop begins anew."""
    taken: Counter[str] = Counter()

    def act(request: Request) -> Says:
        loop = request.key.split("/")[0]
        last = len(steps) - 1
        while taken[loop] < last and steps[taken[loop]].unless_hits and hits_of(request):
            taken[loop] += 1
        step = steps[min(taken[loop], last)]
        taken[loop] += 1
        return _says(step, request, words)

    return act


def _says(step: Step, request: Request, words: Words) -> Says:
    """A step, filled in with what the agent was shown."""
    turn = str(len(request.messages))

    def filled(value: Any, item: int = 0) -> Any:
        named = replace(words, more={"turn": turn, "item": str(item)})
        return fill(value, named, lambda kind, given: _found(request, kind, given))

    if step.say is not None:
        return Says(text=str(filled(step.say)))
    if step.report is not None:
        return Says(calls=((_REPORT, filled(step.report)),))
    return Says(
        calls=tuple(
            (filled(name), filled(given, i))
            for i in range(step.times)
            for name, given in step.calls
        )
    )


def _found(request: Request, kind: str, given: Mapping[str, Any]) -> object:
    """The passage or finding that a directive means; an empty text where none was shown."""
    if kind == "$finding":
        shown = list(_findings(request))
        return shown[0] if shown else "D1"
    hits = hits_of(request)
    mine = next((hit for hit in hits if given["$hit"] in str(hit.get("text"))), None)
    chosen = mine or (hits[0] if hits else {})
    return chosen.get(given.get("field", "id"), "")


def _findings(request: Request) -> Iterator[str]:
    for data in shown_to(request):
        if "finding_id" in data:
            yield str(data["finding_id"])
        listed = data.get("findings")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and "ref" in one:
                yield str(one["ref"])


def hits_of(request: Request) -> list[Mapping[str, Any]]:
    """All passages that a request shows."""
    found: list[Mapping[str, Any]] = []
    for data in shown_to(request):
        entries = data.get("hits") or data.get("passages") or []
        found += [hit for hit in entries if isinstance(hit, dict) and "id" in hit]
    return found


def shown_to(request: Request) -> list[Mapping[str, Any]]:
    """What the tool results in a request hold, as a reader takes them."""
    found = []
    for message in request.messages:
        for block in message.content:
            if isinstance(block, ToolResult):
                with suppress(ValueError):
                    found.append(seen(block.text))
    return found
