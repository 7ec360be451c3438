"""An answer for a person: plain text for a pipe, a page for a terminal, one line of figures, and why it is not complete."""

import sys
from collections.abc import Iterator
from textwrap import fill

from delegator.answer import Answer, source_line
from delegator.budget import Budget
from delegator.errors import ModelError
from delegator.ladder import LADDER, Shown
from delegator.outcome import Outcome
from delegator.sanitize import fold, for_terminal, one_line
from delegator.terminal import streams
from delegator.terminal.board import counted, dollars, short

_WHY = {
    Outcome.PARTIAL: ("the model had no room to finish the answer", "Raise --max-tokens, or ask for less."),
    Outcome.TIMEOUT: ("the time was up before the answer was complete", "Raise --max-seconds."),
    Outcome.REFUSED: ("the model declined to answer", "Ask in other words, or use another --model."),
    Outcome.CANCELLED: ("interrupted", ""),
    Outcome.CONTRACT_FAILED: ("the model made no valid tool call", "Try again, or use another --model."),
    Outcome.BUDGET: ("a limit was reached before the answer was complete", "Raise --max-tokens or --max-calls."),
    Outcome.FAILED: ("the model stopped without an answer", "Ask for less, or use another --model."),
    Outcome.QUARANTINED: ("a request broke a trust rule and was not sent", "Please report it."),
    Outcome.NEEDS_REVIEW: ("a finding stayed below the bar", "Read what stands under “Needs review” before you rely on it."),
}  # fmt: skip
"""For outcomes that come without an error: what is wrong, and what to do."""


def show(answer: Answer) -> None:
    """Print an answer: wrapped and with its Markdown shown at a terminal, plain elsewhere.

    Raises:
        OSError: stdout is full or its reader is gone.
    """
    streams.put(_page(answer) if sys.stdout.isatty() else plain(answer))


def sum_up(answer: Answer) -> None:
    """Say in one line how a run ended and what it took; at a terminal, set apart from the answer."""
    line = figures(answer)
    if sys.stderr.isatty() and sys.stdout.isatty():
        streams.say("")
        line = fill(line, streams.size(sys.stderr)[0])
    streams.say(f"\x1b[2m{line}\x1b[0m" if streams.is_styled(sys.stderr) else line)


def explain(answer: Answer, *, verbose: bool = False) -> None:
    """Say why an answer is not complete, if it is not."""
    error = answer.error
    if error is None:
        if answer.outcome is not Outcome.COMPLETE:
            streams.problem(*_WHY[answer.outcome])
        return
    detail = error.detail if isinstance(error, ModelError) and verbose else ""
    streams.problem(str(error), error.hint, f"the server said: {detail}" if detail else "")


def plain(answer: Answer) -> str:
    """Text, numbered sources and what needs review: safe for a terminal, at home in a file."""
    blocks = [for_terminal(answer.text)]
    if answer.citations:
        blocks.append("Sources\n" + "\n".join(fold(source_line(c)) for c in answer.citations))
    notes = list(_flags(answer))
    if notes:
        blocks.append("Needs review\n" + "\n".join(notes))
    return "\n\n".join(blocks)


def figures(answer: Answer) -> str:
    """`complete · 9 calls · 12.3k tokens · 4.2 s · 4 delegations`."""
    parts = [answer.outcome.value.replace("_", " "), counted(answer.model_calls, "call")]
    if answer.usage.total:
        parts.append(f"{short(answer.usage.total)} tokens")
    if answer.usd:
        parts.append(dollars(answer.usd))
    parts += [f"{answer.seconds:.1f} s", counted(len(answer.delegations), "delegation")]
    return " · ".join(parts)


def _page(answer: Answer) -> str:
    from delegator.terminal.page import Page  # noqa: PLC0415 - imports rich

    width, _height = streams.size(sys.stdout)
    page = Page(width, styled=streams.is_styled(sys.stdout))
    lines = list(page.markdown(answer.text))
    if answer.citations:
        lines += [page.heading(""), page.heading("Sources")]
        lines += [line for citation in answer.citations for line in page.source(citation)]
    notes = list(_flags(answer))
    if notes:
        lines += [page.heading(""), page.heading("Needs review", "bold yellow")]
        lines += [line for note in notes for line in page.markdown(f"- {note}")]
    return page.text(lines)


def _flags(answer: Answer) -> Iterator[str]:
    """Findings that stayed below the bar, with what the last reviewer said."""
    records = {record.id: record for record in answer.delegations}
    for id in answer.flagged:
        node = records[id]
        while node.review is None and node.about in records:
            node = records[
                node.about
            ]  # a revision that nobody reviewed: the review of what it revises
        review = node.review
        said = f" ({review.verdict}, {review.score}/5)" if review else ""
        if review and LADDER[answer.level].shown is not Shown.REFERENCES:
            said += f": {review.feedback}"  # else a source would speak in the system's own voice
        yield one_line(f"{id} {records[id].task}{said}", 300)


def spent(session: Budget) -> str:
    """What the runs of a session have used, and of how much."""
    limits = session.limits
    tokens = f"{short(session.spent.total)} tokens"
    if limits.tokens is not None:
        tokens = f"{short(session.spent.total)} of {short(limits.tokens)} tokens"
    parts = [tokens]
    if session.usd and limits.usd is None:
        parts.append(dollars(session.usd))
    elif limits.usd is not None:
        parts.append(f"{dollars(session.usd or 0.0)} of {dollars(limits.usd)}")
    return " · ".join(parts)
