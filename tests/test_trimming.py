"""The orchestrator's context stays bounded, however much it delegates; the question and the newest turns stay whole."""

import asyncio
from pathlib import Path

import delegator
from delegator.budget import Limits
from delegator.model import Request
from delegator.models.scripted import Says, Scripted, call, prompt_text, results, say
from delegator.orchestrator import CONTEXT_TOKENS
from delegator.outcome import Outcome
from scripts import delegate

LONG = "BM25 says a great deal. " * 80
ROOMY = Limits(delegations=250, model_calls=2_000, tokens=200_000_000)


def _wordy(_request: Request) -> Says:
    return call("submit_report", answer=LONG)


def test_two_hundred_delegations_go_through_one_conversation_of_bounded_length(docs: Path) -> None:
    talker = delegator.Agent(name="talker", description="d", prompt="p")
    lead = delegator.Agent(
        name="orchestrator",
        description="d",
        prompt=delegator.shipped("orchestrator").prompt,
        limits=Limits(model_calls=400),
    )
    turns = [call("delegate_to_talker", task=f"part {n} " + "x " * 500) for n in range(200)]
    model = Scripted({"orchestrator": [*turns, say("Done.")], "talker": _wordy})
    index = delegator.Index(None, [docs])
    index.refresh()
    setup = delegator.Setup(
        model=model,
        library=index,
        agents=(talker,),
        orchestrator=lead,
        limits=Limits(delegations=250, model_calls=2_000, tokens=200_000_000, seconds=300),
    )

    async def asked() -> delegator.Answer:
        return await delegator.Run("question-canary", setup).answer()

    answer = asyncio.run(asked())
    assert answer.outcome is Outcome.COMPLETE
    assert len(answer.delegations) == 200
    sizes = [len(prompt_text(request)) for request in model.shown("orchestrator")]
    assert max(sizes) < 4 * CONTEXT_TOKENS
    assert sizes[-1] < sizes[0] + 4 * CONTEXT_TOKENS
    for request in model.shown("orchestrator"):
        assert "question-canary" in prompt_text(request)
    assert results(model.shown("orchestrator")[-1])[0]["claimed"]["answer"].startswith("BM25 says")
    first = model.shown("orchestrator")[-1].messages[2]
    assert "D1" in str(first.content)
    assert LONG[:60] not in str(first.content)


def test_a_short_conversation_stays_as_it_is(docs: Path) -> None:
    model = Scripted({"orchestrator": [delegate("BM25"), say("Done.")], "researcher": _wordy})
    delegator.ask("q?", docs=[docs], model=model, limits=ROOMY)
    assert "dropped" not in prompt_text(model.requests[-1])
