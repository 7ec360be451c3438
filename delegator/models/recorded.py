"""The model of a replay: it says again what is on record, and nothing more."""

from collections.abc import AsyncIterator, Callable

from delegator.messages import ToolUse
from delegator.model import ModelEvent, Reply, Request, ToolUseReady
from delegator.models import DEFAULT_MODEL


class Recorded:
    """Stands for the model that answered when a run was recorded.

    Args:
        model: Its id.
        said: The reply on record for a call, by the call's key. Raises `ModelError` if the call failed, or is not on record.
        free: Whether it used no tokens.
    """

    def __init__(self, model: str, said: Callable[[str], Reply], *, free: bool = False) -> None:
        self.id = model or DEFAULT_MODEL
        self.free = free
        self._said = said

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """The reply on record.

        Raises:
            ModelError: There is none.
        """
        reply = self._said(request.key)
        for block in reply.content:
            if isinstance(block, ToolUse):
                yield ToolUseReady(call=block)
        yield reply
