"""What a level costs in tokens, against `raw`: counted in what the models are sent and what they write."""

from functools import cache

import pytest

import delegator
from delegator.lab.summary import MOST_TOKENS
from delegator.lab.world import Counted
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


@cache
def tokens(level: Level) -> int:
    model = Counted(Offline())
    for question in QUESTIONS:
        answer = delegator.ask(question, model=model, trust=level.value)
        assert answer.citations
    return model.tokens


@pytest.mark.parametrize("level", Level)
def test_no_level_takes_half_as_many_tokens_again_as_raw(level: Level) -> None:
    assert tokens(level) <= MOST_TOKENS * tokens(Level.RAW)
