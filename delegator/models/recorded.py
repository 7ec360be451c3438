"""The model of a replay: everything it said is on record, and it says nothing more."""

from collections.abc import AsyncIterator

from delegator.errors import Fault, ModelError
from delegator.model import ModelEvent, Request
from delegator.models import DEFAULT_MODEL


class Recorded:
    """Stands for the model that answered when a run was recorded."""

    def __init__(self, model: str) -> None:
        self.id = model or DEFAULT_MODEL

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:  # noqa: ARG002
        """Refuse.

        Raises:
            ModelError: Always.
        """
        nothing: tuple[ModelEvent, ...] = ()
        for event in nothing:
            yield event
        raise ModelError(Fault.NOT_RECORDED)
