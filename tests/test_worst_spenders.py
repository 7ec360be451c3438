"""Models that want to spend everything stay within every limit and leave a partial answer; honest ones can use nearly all of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import delegator
from delegator.answer import Answer
from delegator.budget import Limits, Usage
from delegator.errors import ConfigError
from delegator.knowledge import Index
from delegator.model import ModelEvent, Reply, Request
from delegator.models.offline import Offline
from delegator.models.scripted import Says, Scripted, call, calls, say
from delegator.models.worst_case import Behaviour
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from delegator.prices import price_of
from requirements import requirement


class Counted(Offline):
    """The offline model on a server that counts: four bytes a token, and replies padded to what was allowed if it is verbose."""

    free = False
    id = "claude-sonnet-5-5"

    def __init__(self, *, verbose: bool = False, hostile: Behaviour | None = None) -> None:
        self.billed = Usage()
        self.highest = 0
        self._verbose = verbose
        self._hostile = hostile

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        prompt = await self.count_tokens(request)
        async for event in self._said(request):
            if isinstance(event, Reply):
                said = len(str(event.content)) // 4 + 1
                used = Usage(
                    input_tokens=prompt,
                    output_tokens=request.max_tokens
                    if self._verbose
                    else min(said, request.max_tokens),
                )
                self.billed += used
                yield Reply(content=event.content, stop=event.stop, usage=used)
            else:
                yield event

    async def count_tokens(self, request: Request) -> int:
        prompt = len(request.system) + sum(len(str(t.input_schema)) for t in request.tools)
        return (prompt + sum(len(str(b)) for m in request.messages for b in m.content)) // 4

    async def _said(self, request: Request) -> AsyncIterator[ModelEvent]:
        if self._hostile is None:
            async for event in super().stream(request):
                yield event
            return
        says = self._hostile(request)
        async for event in Scripted({request.agent: lambda _r: says}).stream(request):
            yield event


def _delegates_for_ever(request: Request) -> Says:
    if "delegate_to_researcher" not in {tool.name for tool in request.tools}:
        return call("search", query=f"BM25 {request.key}")
    return call("delegate_to_researcher", task=f"BM25 {request.key}")


def _a_thousand_at_once(request: Request) -> Says:
    if "delegate_to_researcher" not in {tool.name for tool in request.tools}:
        return call("search", query=f"BM25 {request.key}")
    return calls(*(("delegate_to_researcher", {"task": f"{request.key} {i}"}) for i in range(1000)))


def _talks(request: Request) -> Says:
    if "delegate_to_researcher" in {tool.name for tool in request.tools}:
        return _delegates_for_ever(request)
    return say("word " * 2_000)


def ask(model: Counted, docs: Path, limits: Limits, question: str = "What is BM25?") -> Answer:
    return delegator.ask(question, docs=[docs], model=model, limits=limits)


@requirement("B1")
@requirement("B3")
@pytest.mark.parametrize("hostile", [_delegates_for_ever, _a_thousand_at_once, _talks])
@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(tokens=60_000, delegations=500, model_calls=5_000),
        Limits(usd=0.2, delegations=500, model_calls=5_000),
        Limits(model_calls=25, delegations=500),
        Limits(delegations=3, model_calls=40),
    ],
    ids=["tokens", "dollars", "calls", "delegations"],
)
def test_whoever_wants_to_spend_everything_ends_within_every_limit(
    docs: Path, hostile: Behaviour, verbose: bool, limits: Limits
) -> None:
    model = Counted(verbose=verbose, hostile=hostile)
    answer = ask(model, docs, limits)
    price = price_of(model.id)
    assert price is not None
    assert answer.usage == model.billed
    assert limits.tokens is None or model.billed.total <= limits.tokens
    assert limits.usd is None or (answer.usd or 0) <= limits.usd
    assert answer.model_calls <= (limits.model_calls or 120)
    assert len(answer.delegations) <= (limits.delegations or 24)
    assert answer.outcome is Outcome.BUDGET
    assert answer.exit_status == 3
    assert answer.text.startswith("The run stopped early")


@requirement("B3")
@pytest.mark.parametrize(("kind", "share"), [("tokens", 0.9), ("usd", 0.85)])
def test_an_ordinary_run_completes_when_most_of_the_limit_is_what_it_needs(
    kind: str, share: float
) -> None:
    question = (
        "What is RLHF, who introduced the Transformer, and what is retrieval-augmented generation?"
    )
    free = Counted()
    needed = delegator.ask(question, model=free)
    assert needed.outcome is Outcome.COMPLETE
    need = needed.usage.total if kind == "tokens" else needed.usd or 0
    limits = Limits(tokens=int(need / share)) if kind == "tokens" else Limits(usd=need / share)
    tight = delegator.ask(question, model=Counted(), limits=limits)
    assert tight.outcome is Outcome.COMPLETE
    assert len(tight.citations) == len(needed.citations)


@requirement("W3")
def test_five_hundred_live_subagents_end_together_and_give_back_all_they_held(docs: Path) -> None:
    fleet = Limits(delegations=500, parallel=500, model_calls=5_000, tokens=20_000_000)
    tasks = [("delegate_to_researcher", {"task": f"BM25 {n}"}) for n in range(500)]
    model = Scripted(
        {"orchestrator": [calls(*tasks)], "researcher": lambda _r: say("late", delay=600)}
    )

    async def cancelled() -> tuple[Answer, Run, int]:
        index = Index(None, [docs])
        index.refresh()
        run = Run("What is BM25?", Setup(model=model, library=index, limits=fleet))
        async with run:
            while len(model.shown("researcher")) < 500:
                await asyncio.sleep(0.01)
            live = len(asyncio.all_tasks())
            run.cancel()
            async with asyncio.timeout(10):
                answer = await run.answer()
        return answer, run, live - len(asyncio.all_tasks())

    answer, run, ended = asyncio.run(cancelled())
    assert answer.outcome is Outcome.CANCELLED
    assert {d.outcome for d in answer.delegations} == {Outcome.CANCELLED}
    assert ended >= 500
    assert (run._budget.held_tokens, run._budget.held_nano) == (0, 0)
    assert model.peak == 500


@requirement("B1")
def test_a_limit_in_dollars_needs_a_price_for_every_model(docs: Path) -> None:
    model = Counted()
    model.id = "somebodys-model"  # an id that no price list knows
    with pytest.raises(ConfigError, match="nobody knows what somebodys-model costs") as caught:
        ask(model, docs, Limits(usd=1.0))
    assert "--max-tokens" in caught.value.hint
    assert ask(model, docs, Limits(tokens=500_000)).usd is None
