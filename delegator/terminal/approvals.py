"""Asking a person about a call that a policy denies: the exact call, made safe for a terminal, nothing left out in silence."""

import json
from collections.abc import Awaitable, Callable, Iterator

from delegator.policy import ApprovalRequest
from delegator.sanitize import clean_json, for_terminal, one_line
from delegator.terminal import streams

QUESTION = "Run exactly this call? [y/N] "
YES = frozenset({"y", "yes"})
MOST_CHARACTERS = 8_000
"""A longer call is not put to a person: nobody reads it to the end."""
MOST_LINES = 100
_SHORT_ENOUGH = 24
_NAME = 80


async def put(request: ApprovalRequest, read: Callable[[str], Awaitable[str]]) -> str:
    """Show a call and ask; the call's digest if the answer is yes, or an empty string."""
    if not showed(request):
        return ""
    try:
        answer = await read(QUESTION)
    except (EOFError, KeyboardInterrupt):
        return ""
    return request.digest if answer.strip().lower() in YES else ""


def showed(request: ApprovalRequest, say: Callable[[str], None] = streams.say) -> bool:
    """Show a call to a person, if it can be judged by looking at it; else say that it is denied."""
    lines = list(shown(request))
    why = _unreadable(request, lines)
    if why:
        lines = [f"{request.agent} {one_line(request.tool, _NAME)}: denied, {why}"]
    say("\n".join(lines))
    return not why


def _unreadable(request: ApprovalRequest, lines: list[str]) -> str:
    """Why a person can not judge a call by looking at it; empty if they can."""
    if sum(map(len, lines)) > MOST_CHARACTERS or len(lines) > MOST_LINES:
        return "too long to be approved by eye"
    given = dict(request.input)
    return "" if clean_json(given) == given else "it holds characters that cannot be seen"


def shown(request: ApprovalRequest) -> Iterator[str]:
    """A request, line by line."""
    denied, label = request.denied, request.label
    yield f"{request.agent} wants to call {one_line(request.tool, _NAME)}. Policy {denied.rule} denies it: {denied.reason}."
    for name, value in request.input.items():
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"  {one_line(name, _NAME)}:"
        yield from (f"  | {line}" for line in for_terminal(words).split("\n"))
    worth = f"{label.integrity.name.lower()}, {label.confidentiality.name.lower()}"
    sources = sorted(label.sources)
    named = ", ".join(one_line(source, _NAME) for source in sources[:_SHORT_ENOUGH])
    more = f" and {len(sources) - _SHORT_ENOUGH} more" if len(sources) > _SHORT_ENOUGH else ""
    yield f"  It depends on: {worth}{'; ' if named else ''}{named}{more}"
    yield f"  Call {request.digest[:16]}; the approval holds for this call only."
