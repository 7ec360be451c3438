"""The offline model: no language model and no network, yet every role is played for real.

It decomposes by the concepts a question names, searches, extracts and quotes the sentences that answer, reviews by overlap and
support, and composes a cited answer. It knows English word order a little and no topic at all.
"""

from collections.abc import AsyncIterator

from delegator.budget import Usage
from delegator.messages import Block, Stop, Text, ToolUse
from delegator.model import ModelEvent, Reply, Request, TextDelta, ToolUseReady
from delegator.models.offline import orchestrate, research, review
from delegator.models.offline.transcript import Move, Transcript, read


class Offline:
    """Plays every role from the request alone. It counts no tokens, for it uses none."""

    id = "offline"
    free = True
    """It uses no tokens."""

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Answer one request."""
        transcript = read(request)
        move = _move(transcript)
        content: list[Block] = []
        if move.text:
            yield TextDelta(text=move.text)
            content.append(Text(text=move.text))
        for i, (name, given) in enumerate(move.calls):
            call = ToolUse(id=f"toolu_{request.key}_{i}".replace("/", "_"), name=name, input=given)
            yield ToolUseReady(call=call)
            content.append(call)
        stop = Stop.TOOL_USE if move.calls else Stop.END_TURN
        yield Reply(content=tuple(content), stop=stop, usage=Usage())


def _move(transcript: Transcript) -> Move:
    """What to do next, in the role that the tools show."""
    if transcript.delegates:
        return orchestrate.move(transcript)
    if transcript.report_fields >= {"score", "verdict"}:
        return review.move(transcript)
    return research.move(transcript)
