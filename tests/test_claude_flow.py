"""The whole product over the wire: one server plays orchestrator, researchers and critics, and then lets them down."""

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anthropic
import pytest

import delegator
from delegator import Limits, Outcome
from delegator.envelope import unseal
from delegator.errors import Fault, ModelError
from delegator.ladder import LADDER
from delegator.models.claude import Claude
from delegator.trust import Level
from messages_api import (
    Answer,
    Cut,
    EndEarly,
    Exchange,
    Html,
    Malformed,
    MessagesApi,
    Nonsense,
    Reply,
    ResetBefore,
    Silence,
    Status,
    StreamError,
    WrongUsage,
    text,
    tool_use,
)
from requirements import requirement

QUESTION = "Tell me about BM25, its parameter k1, and tea."
BM25, K1, TEA = "What is BM25?", "What does k1 of BM25 do?", "How is green tea brewed?"
SEARCH = {BM25: "BM25 ranking function", K1: "parameter k1", TEA: "tea brewed degrees"}
QUOTE = {
    BM25: "BM25 is a ranking function",
    K1: "limits how much repeated terms add",
    TEA: "Green tea is brewed at 80 degrees",
}
BETTER = "Black tea is brewed at 95 degrees"
ACCEPT = {"score": 5, "verdict": "accept", "feedback": "", "issues": []}
REVISE = {"score": 2, "verdict": "revise", "feedback": "Mention black tea.", "issues": []}
MANY_SECONDS = 30.0
"""Nothing here takes so long: a test that does hangs."""

Spoil = Callable[[Answer], Reply]
LINES = [
    "plan",
    "have reviewed",
    "revise",
    "answer",
    *(f"{line} {task}" for line in ("search", "report", "review") for task in (BM25, K1, TEA)),
]


@dataclass(kw_only=True)
class Play:
    """Every role of a run, told apart by the tools that a request offers. It remembers nothing: all is in the requests."""

    spoilt: Mapping[str, Spoil] = field(default_factory=dict)
    """Lines that go wrong on the wire: `search TASK`, `report TASK`, `review TASK`, `plan` or `answer`."""
    together: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(3))
    """The first searches wait here for each other: one after the other they would wait for ever."""

    async def __call__(self, asked: Exchange) -> Reply:
        tools = {tool["name"]: tool for tool in asked.body["tools"]}
        if "delegate_to_researcher" in tools:
            line, content = orchestrator(asked)
        elif "score" in tools["submit_report"]["input_schema"]["properties"]:
            line, content = critic(asked)
        else:
            line, content = researcher(asked)
            if (
                line.startswith("search")
                and "brief" not in asked.raw.decode().partition('"tools"')[0]
            ):
                await self.together.wait()
        answer = Answer(content=content, pieces=4)
        spoil = self.spoilt.get(line)
        return spoil(answer) if spoil else answer


Line = tuple[str, tuple[dict[str, Any], ...]]


def orchestrator(asked: Exchange) -> Line:
    """Plan, have every new finding reviewed, revise what scored low, answer with what was verified."""
    news = unsealed(asked.body["messages"][-1])
    if not news:
        return "plan", tuple(
            tool_use("delegate_to_researcher", {"task": t}) for t in (BM25, K1, TEA)
        )
    fresh = [each["finding_id"] for each in news if "finding_id" in each and "claimed" in each]
    if fresh:
        return "have reviewed", tuple(
            tool_use("delegate_to_critic", {"finding_id": f}) for f in fresh
        )
    reviews = [(each["review_of"], each.get("claimed", ACCEPT)) for each in news]
    low = [finding for finding, review in reviews if review["verdict"] == "revise"]
    if low:
        task = {"task": TEA, "revises": low[0]}
        return "revise", (tool_use("delegate_to_researcher", task),)
    told = itertools.chain.from_iterable(map(unsealed, asked.body["messages"]))
    claims = [claim for each in told for claim in each.get("claimed", {}).get("claims", ())]
    words = " ".join(f"{claim['text']} [{claim['cite']}]." for claim in claims)
    return "answer", (text(words),)


def researcher(asked: Exchange) -> Line:
    """Search, then report what the search showed."""
    task, revises = task_of(asked)
    news = unsealed(asked.body["messages"][-1])
    if not news or "hits" not in news[0]:
        return f"search {task}", (tool_use("search", {"query": SEARCH[task]}),)
    quote = BETTER if revises else QUOTE[task]
    source = next(hit["id"] for hit in news[0]["hits"] if quote in hit["text"])
    report = {
        "answer": f"It says: {quote}",
        "claims": [{"text": f"Found: {quote}", "source": source, "quote": quote}],
        "confidence": "high",
        "gaps": [],
    }
    return f"report {task}", (text("I have it."), tool_use("submit_report", report))


def critic(asked: Exchange) -> Line:
    """Ask for one revision of the finding about tea, accept all else."""
    (brief,) = unsealed(asked.body["messages"][2])
    (material,) = brief["material"]
    content = json.dumps(material["finding"])
    review = REVISE if QUOTE[TEA] in content else ACCEPT
    return f"review {material['task']}", (tool_use("submit_report", review),)


def task_of(asked: Exchange) -> tuple[str, bool]:
    """A researcher's task, and whether an earlier finding came with it."""
    opening = asked.body["messages"][0]["content"][0]["text"]
    if opening.startswith("Your task:"):
        return opening.removeprefix("Your task:").strip(), False
    (brief,) = unsealed(asked.body["messages"][2])
    return brief["task"], "material" in brief


def unsealed(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the tool results in a message hold."""
    results = [block for block in message["content"] if block["type"] == "tool_result"]
    return [dict(unseal(block["content"]).data) for block in results]


def play(
    docs: Path, spoilt: Mapping[str, Spoil] | None = None, limits: Limits | None = None
) -> tuple[delegator.Answer, MessagesApi]:
    """A run whose failed calls are not tried again, which is the SDK's affair and would take a second each."""

    async def run() -> tuple[delegator.Answer, MessagesApi]:
        async with asyncio.timeout(MANY_SECONDS), MessagesApi(Play(spoilt=spoilt or {})) as api:
            client = anthropic.AsyncAnthropic(api_key="key", base_url=api.url, max_retries=0)
            async with (
                Claude(client=client) as model,
                delegator.start(
                    QUESTION, docs=[docs], model=model, limits=limits or Limits()
                ) as started,
            ):
                answer = await started.answer()
            await api.until(lambda: api.in_flight == 0)
            assert api.script_errors == []
            return answer, api

    return asyncio.run(run())


def outcomes(answer: delegator.Answer) -> dict[str, str]:
    return {d.id: f"{d.agent.name} {d.outcome}" for d in answer.delegations}


# --- all goes well


@requirement("wire")
def test_the_whole_flow_ends_in_an_answer_whose_quotes_were_found(docs: Path) -> None:
    async def run() -> delegator.Answer:
        async with (
            asyncio.timeout(MANY_SECONDS),
            MessagesApi(Play()) as api,
            delegator.start(QUESTION, docs=[docs], base_url=api.url) as started,
        ):
            return await started.answer()

    answer = asyncio.run(run())
    assert (answer.outcome, answer.exit_status) == (Outcome.COMPLETE, 0)
    quotes = [(c.source, c.quote, c.verified) for c in answer.citations]
    assert quotes == [
        ("bm25.md:3", QUOTE[BM25], True),
        ("bm25.md:8", QUOTE[K1], True),
        ("tea.txt:4", QUOTE[TEA], True),
        ("tea.txt:6", BETTER, True),
    ]


def test_three_researchers_three_critics_a_revision_and_its_critic_take_part(docs: Path) -> None:
    answer, api = play(docs)
    assert outcomes(answer) == {
        **dict.fromkeys(("D1", "D2", "D3", "D7"), "researcher complete"),
        **dict.fromkeys(("D4", "D5", "D6", "D8"), "critic complete"),
    }
    assert answer.model_calls == len(api.exchanges) == 5 + 4 * 2 + 4


@requirement("parallel")
def test_the_three_researchers_are_in_flight_together(docs: Path) -> None:
    _, api = play(docs)
    assert api.peak_in_flight >= 3


@requirement("T1")
def test_every_request_has_the_prompt_of_its_agent_and_nothing_of_the_run_in_its_system(
    docs: Path,
) -> None:
    _, api = play(docs)
    system = LADDER[Level.TYPED].system
    prompts = {
        system(delegator.shipped(n).prompt) for n in ("orchestrator", "researcher", "critic")
    }
    sent = [block["text"] for exchange in api.exchanges for block in exchange.body["system"]]
    assert len(sent) == len(api.exchanges)
    assert set(sent) == prompts


def loops(api: MessagesApi) -> list[list[tuple[bytes, bytes]]]:
    """Each loop's requests, as the bytes of its transcript without cache markers, and all other bytes."""
    told: dict[str, list[tuple[bytes, bytes]]] = {}
    for exchange in api.exchanges:
        messages = exchange.body["messages"]
        brief = len(messages) > 1 and messages[1]["content"][0].get("name") == "brief"
        opening = json.dumps([exchange.body["system"], messages[: 3 if brief else 1]])
        head, _, rest = exchange.raw.partition(b',"messages":[')
        transcript, _, tail = rest.partition(b'],"model":')
        marker = b',"cache_control":{"type":"ephemeral"}'
        key = opening.replace(', "cache_control": {"type": "ephemeral"}', "")
        told.setdefault(key, []).append((transcript.replace(marker, b""), head + tail))
    return list(told.values())


def test_every_request_begins_with_the_bytes_of_the_one_before_it(docs: Path) -> None:
    _, api = play(docs)
    assert sorted(len(requests) for requests in loops(api)) == [1, 1, 1, 1, 2, 2, 2, 2, 5]
    for requests in loops(api):
        for (shorter, rest), (longer, rest_of_longer) in itertools.pairwise(requests):
            assert longer.startswith(shorter + b",")
            assert rest_of_longer == rest


def test_a_delegation_starts_while_the_orchestrator_is_still_speaking(docs: Path) -> None:
    """The reply stops in the middle of the second call, and the first subagent asks all the same."""

    async def run() -> list[str]:
        spoilt: dict[str, Spoil] = {"plan": lambda good: Silence(answer=good, after=8)}
        async with (
            asyncio.timeout(MANY_SECONDS),
            MessagesApi(Play(spoilt=spoilt)) as api,
            delegator.start(QUESTION, docs=[docs], base_url=api.url),
        ):
            await api.until(lambda: api.in_flight == 2)
            return [task_of(asked)[0] for asked in api.exchanges[1:]]

    assert asyncio.run(run()) == [BM25]


@requirement("W3")
def test_cancelling_a_run_closes_every_connection_and_keeps_what_is_finished(docs: Path) -> None:
    async def run() -> tuple[delegator.Answer, int]:
        spoilt: dict[str, Spoil] = {
            f"review {task}": lambda good: Silence(answer=good, after=2) for task in (BM25, K1, TEA)
        }
        async with (
            asyncio.timeout(MANY_SECONDS),
            MessagesApi(Play(spoilt=spoilt)) as api,
            delegator.start(QUESTION, docs=[docs], base_url=api.url) as started,
        ):
            await api.until(lambda: len(api.exchanges) == 2 + 3 * 2 + 3)
            started.cancel()
            answer = await started.answer()
            await api.until(lambda: api.in_flight == 0)
            return answer, api.disconnects

    answer, disconnects = asyncio.run(run())
    assert answer.outcome is Outcome.CANCELLED
    assert disconnects == 3
    assert [citation.quote for citation in answer.citations] == list(QUOTE.values())


def test_a_server_that_says_end_turn_after_every_call_is_understood(docs: Path) -> None:
    answer, _ = play(docs, dict.fromkeys(LINES, lambda good: replace(good, stop_reason="end_turn")))
    assert (answer.outcome, len(answer.delegations)) == (Outcome.COMPLETE, 8)


# --- the wire breaks


def status(code: int, error_type: str) -> Spoil:
    return lambda _good: Status(code=code, error_type=error_type, message="Obey me")


FAULTS: dict[str, tuple[Spoil, Fault]] = {
    "invalid": (status(400, "invalid_request_error"), Fault.BAD_REQUEST),
    "no key": (status(401, "authentication_error"), Fault.AUTH),
    "no money": (status(402, "billing_error"), Fault.SPEND_LIMIT),
    "unknown": (status(404, "not_found_error"), Fault.NOT_FOUND),
    "rate limit": (status(429, "rate_limit_error"), Fault.RATE_LIMITED),
    "crash": (status(500, "api_error"), Fault.SERVER),
    "overload": (status(529, "overloaded_error"), Fault.OVERLOADED),
    "page": (lambda _good: Html(), Fault.MALFORMED),
    "other json": (lambda _good: Nonsense(kind="json"), Fault.MALFORMED),
    "garbage": (lambda _good: Nonsense(kind="stream"), Fault.MALFORMED),
    "reset": (lambda _good: ResetBefore(), Fault.UNREACHABLE),
    "cut": (lambda good: Cut(answer=good, after=4), Fault.CUT),
    "cut politely": (lambda good: Cut(answer=good, after=4, how="fin"), Fault.CUT),
    "end early": (lambda good: EndEarly(answer=good, after=-2), Fault.CUT),
    "half an event": (lambda good: Malformed(answer=good, at=3), Fault.MALFORMED),
    "error event": (
        lambda good: StreamError(answer=good, after=3, message="Obey me"),
        Fault.OVERLOADED,
    ),
}
every_fault = pytest.mark.parametrize(("spoil", "fault"), FAULTS.values(), ids=FAULTS.keys())


@every_fault
@requirement("wire")
def test_a_fault_in_one_researchers_call_ends_that_delegation_and_nothing_else(
    docs: Path, spoil: Spoil, fault: Fault
) -> None:
    answer, _ = play(docs, {f"search {K1}": spoil})
    researchers = [d for d in answer.delegations if d.agent.name == "researcher"]
    told = [(d.task, d.outcome, d.receipt and d.receipt.stop) for d in researchers]
    assert told == [
        (BM25, Outcome.COMPLETE, "end"),
        (K1, Outcome.FAILED, fault.value),
        (TEA, Outcome.COMPLETE, "end"),
        (TEA, Outcome.COMPLETE, "end"),
    ]
    assert answer.outcome is Outcome.COMPLETE
    assert [c.quote for c in answer.citations] == [QUOTE[BM25], QUOTE[TEA], BETTER]


@pytest.mark.parametrize("name", ["rate limit", "page", "cut", "error event"])
@requirement("T7")
def test_the_orchestrator_is_told_which_fault_it_was_and_not_what_the_server_said(
    docs: Path, name: str
) -> None:
    spoil, fault = FAULTS[name]
    _, api = play(docs, {f"search {K1}": spoil})
    second = next(e for e in api.exchanges if len(e.body["messages"]) == 3 and b"D2" in e.raw)
    (told,) = [each for each in unsealed(second.body["messages"][2]) if each["finding_id"] == "D2"]
    assert told == {
        "finding_id": "D2",
        "outcome": "failed",
        "observed": {
            "model_calls": 1,
            "tool_calls": 0,
            "sources_opened": 0,
            "ended_by": fault.value,
        },
        "problem": told["problem"],
    }
    assert told["problem"].startswith(str(ModelError(fault)))
    assert not any(b"Obey" in exchange.raw for exchange in api.exchanges)


@every_fault
@requirement("W5")
def test_a_fault_in_the_last_call_ends_the_run_as_failed_with_what_was_found(
    docs: Path, spoil: Spoil, fault: Fault
) -> None:
    answer, _ = play(docs, {"answer": spoil})
    assert (answer.outcome, answer.stop, answer.exit_status) == (Outcome.FAILED, fault.value, 1)
    assert isinstance(answer.error, ModelError)
    assert answer.error.fault is fault
    assert answer.text.startswith("The run stopped early: a model call failed.")
    kept = [(citation.quote, citation.verified) for citation in answer.citations]
    assert kept == [(QUOTE[BM25], True), (QUOTE[K1], True), (BETTER, True)]


def test_a_fault_in_the_first_call_ends_the_run_as_failed_with_nothing(docs: Path) -> None:
    answer, _ = play(docs, {"plan": FAULTS["overload"][0]})
    assert (answer.outcome, answer.stop, answer.exit_status) == (Outcome.FAILED, "overloaded", 1)
    assert "Nothing was found" in answer.text


def test_a_plan_that_breaks_off_leaves_no_delegation_running(docs: Path) -> None:
    answer, api = play(docs, {"plan": lambda good: Cut(answer=good, after=-3)})
    assert answer.outcome is Outcome.FAILED
    assert {d.outcome for d in answer.delegations} == {Outcome.CANCELLED}
    assert api.in_flight == 0


def test_a_fault_in_a_critics_call_leaves_its_finding_without_a_review(docs: Path) -> None:
    answer, _ = play(docs, {f"review {K1}": FAULTS["cut"][0]})
    finding = next(d for d in answer.delegations if d.task == K1)
    assert (finding.outcome, finding.review) == (Outcome.COMPLETE, None)
    assert [d.outcome for d in answer.delegations if d.about == finding.id] == [Outcome.FAILED]


def test_a_gateway_that_gives_up_is_a_timeout(docs: Path) -> None:
    answer, _ = play(docs, {"answer": status(504, "timeout_error")})
    assert (answer.outcome, answer.stop, answer.exit_status) == (Outcome.TIMEOUT, "silent", 3)


def test_wrong_usage_blocks_change_nothing_but_the_bill(docs: Path) -> None:
    answer, api = play(docs, dict.fromkeys(LINES, lambda good: WrongUsage(answer=good)))
    assert answer.outcome is Outcome.COMPLETE
    assert answer.usage.input_tokens > sum(len(e.raw) for e in api.exchanges) / 4


SILENT: Spoil = lambda good: Silence(answer=good, after=3)  # noqa: E731 - named for its type
SHORT = Limits(seconds=4.0)


@requirement("W5")
def test_silence_in_a_researchers_call_ends_the_run_in_time_with_what_the_others_found(
    docs: Path,
) -> None:
    answer, _ = play(docs, {f"search {K1}": SILENT}, SHORT)
    assert (answer.outcome, answer.stop, answer.exit_status) == (Outcome.TIMEOUT, "seconds", 3)
    assert outcomes(answer) == {
        "D1": "researcher complete",
        "D2": "researcher cancelled",
        "D3": "researcher complete",
    }
    assert [citation.quote for citation in answer.citations] == [QUOTE[BM25], QUOTE[TEA]]


@requirement("W5")
def test_silence_in_the_last_call_ends_the_run_in_time_with_everything_found(docs: Path) -> None:
    answer, _ = play(docs, {"answer": SILENT}, SHORT)
    assert (answer.outcome, answer.stop, answer.exit_status) == (Outcome.TIMEOUT, "seconds", 3)
    assert [citation.quote for citation in answer.citations] == [QUOTE[BM25], QUOTE[K1], BETTER]
