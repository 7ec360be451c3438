"""What a level costs in tokens, against `raw`: counted in what the models are sent and what they write."""

import json
from collections.abc import AsyncIterator
from functools import cache

import pytest

import delegator
from delegator.messages import message_to_wire, tool_to_wire
from delegator.model import ModelEvent, Reply, Request
from delegator.models.offline import Offline
from delegator.trust import Level

QUESTIONS = (
    "What is RLHF?",
    "Who introduced the Transformer, and when?",
    "How does DPO differ from RLHF?",
    "What is retrieval-augmented generation?",
    "How do ReAct agents decide what to do next?",
    "What is the Model Context Protocol for?",
    "What are the risks of prompt injection, and how can they be reduced?",
    "How do modern LLM agents learn to follow instructions and use tools effectively?",
)
CHARACTERS_PER_TOKEN = 4


class Counting(Offline):
    """The offline model; counts characters as a provider would count tokens."""

    def __init__(self) -> None:
        self.characters = 0

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        sent = [
            request.system,
            *(json.dumps(message_to_wire(message)) for message in request.messages),
            *(json.dumps(tool_to_wire(tool)) for tool in request.tools),
        ]
        self.characters += sum(map(len, sent))
        async for event in super().stream(request):
            if isinstance(event, Reply):
                self.characters += len(str(event.content))
            yield event


@cache
def tokens(level: Level) -> int:
    model = Counting()
    for question in QUESTIONS:
        answer = delegator.ask(question, model=model, trust=level.value)
        assert answer.citations
    return model.characters // CHARACTERS_PER_TOKEN


@pytest.mark.parametrize("level", Level)
def test_no_level_takes_half_as_many_tokens_again_as_raw(level: Level) -> None:
    assert tokens(level) <= 1.5 * tokens(Level.RAW)
