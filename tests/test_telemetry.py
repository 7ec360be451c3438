"""Telemetry: every agent, model call and tool call of a run has a span with the right parent, and nothing that was said leaves unasked."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from anthropic import AsyncAnthropic
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import delegator
from delegator import telemetry
from delegator.errors import Fault
from delegator.knowledge import Index
from delegator.model import ModelEvent, Request
from delegator.models.claude import Claude
from delegator.models.scripted import Says, Scripted, call, calls, fail, say
from delegator.orchestrator import Run, Setup
from delegator.recording import resumed
from messages_api import Answer, MessagesApi, text
from requirements import requirement
from scripts import ask, delegate, one_delegation, researcher, search
from serving import delegate as replied_delegation
from serving import playing, serving
from serving import say as replied

SECONDS = 60.0
"""Nothing here takes so long: a test that does hangs."""
CANARY = "zebra-4711"


class Seen:
    """What was exported: spans in memory, and metrics when they are asked for."""

    def __init__(self) -> None:
        self._memory, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self._reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._memory))

    def instrument(self, **more: Any) -> telemetry.Instrumented:
        return telemetry.instrument(
            tracer_provider=self.tracers, meter_provider=self.meters, **more
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._memory.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def path(self, span: ReadableSpan) -> str:
        """The names from the root down to a span; agents with their ids."""
        by_id = {s.context.span_id: s for s in self.spans if s.context}
        names: list[str] = []
        node: ReadableSpan | None = span
        while node is not None:
            agent = about(node).get("delegator.agent.id", "")
            names.append(f"{node.name} {agent}" if node.name.startswith("invoke") else node.name)
            node = by_id.get(node.parent.span_id) if node.parent else None
        return " > ".join(reversed(names))

    @property
    def metrics(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        scopes = [s for r in data.resource_metrics for s in r.scope_metrics] if data else []
        return {m.name: list(m.data.data_points) for s in scopes for m in s.metrics}


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def said(seen: Seen) -> str:
    """Everything that was exported, as one text."""
    return "\n".join(span.to_json() for span in seen.spans) + repr(seen.metrics)


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
def everywhere(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """As the process's own provider, which the SDK uses as well."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", seen.tracers)
    return seen


class Together(Scripted):
    """A script whose researchers have all made their first call before any of them gets a reply."""

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        if request.key in ("D1/1", "D2/1", "D3/1"):
            self.met = getattr(self, "met", None) or asyncio.Barrier(3)
            await self.met.wait()
        async for event in super().stream(request):
            yield event


def three() -> Together:
    return Together(
        {
            "orchestrator": [delegate("a", "b", "c"), say("BM25 ranks [11].")],
            **{id: researcher() for id in ("D1", "D2", "D3")},
        }
    )


@requirement("traces")
def test_every_span_of_children_that_run_together_is_below_its_own_agent(
    seen: Seen, docs: Path
) -> None:
    with seen.instrument():
        ask(three(), docs)
    root = "invoke_agent orchestrator orchestrator"
    below = {f"{root} > execute_tool delegate_to_researcher > invoke_agent researcher D{n}" for n in (1, 2, 3)}  # fmt: skip
    assert sorted(map(seen.path, seen.spans)) == sorted(
        [
            root,
            *[f"{root} > chat scripted"] * 2,
            *[f"{root} > execute_tool delegate_to_researcher"] * 3,
            *below,
            *[f"{path} > chat scripted" for path in below for _ in range(2)],
            *[f"{path} > execute_tool search" for path in below],
        ]
    )


@requirement("traces")
def test_a_span_says_whose_it_is_and_what_it_is_by_the_conventions(seen: Seen, docs: Path) -> None:
    with seen.instrument():
        answer, _ = ask(one_delegation(researcher()), docs)
    tool = seen.one("execute_tool search")
    assert about(tool) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "researcher",
        "gen_ai.conversation.id": answer.run_id,
        "delegator.agent.id": "D1",
        "delegator.label.integrity": "untrusted",
        "delegator.label.confidentiality": "conversation",
    }
    child, receipt = about(seen.one("invoke_agent researcher")), answer.delegations[0].receipt
    assert receipt is not None
    assert child.pop("delegator.receipt.sources") >= 1
    assert child == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "researcher",
        "gen_ai.conversation.id": answer.run_id,
        "gen_ai.usage.input_tokens": receipt.usage.input_tokens,
        "gen_ai.usage.output_tokens": receipt.usage.output_tokens,
        "delegator.agent.id": "D1",
        "delegator.outcome": "complete",
        "delegator.stop": "end",
        "delegator.receipt.model_calls": 2,
        "delegator.receipt.tool_calls": 1,
        "delegator.receipt.failed_tool_calls": 0,
        "delegator.label.integrity": "untrusted",
        "delegator.label.confidentiality": "conversation",
    }
    root = about(seen.one("invoke_agent orchestrator"))
    assert root["delegator.level"] == "typed"
    assert root["delegator.outcome"] == "complete"
    assert root["delegator.run.tokens"] == answer.usage.total
    assert (root["delegator.run.model_calls"], root["delegator.run.delegations"]) == (4, 1)


def served(seen: Seen, docs: Path, **more: Any) -> tuple[delegator.Answer, list[dict[str, str]]]:
    """A run against a server, and the headers that it was sent."""
    with serving(playing(replied_delegation("What is BM25?"), replied("BM25 ranks [11]."))) as api:
        with seen.instrument(**more):
            answer = delegator.ask(
                "What is BM25 about?", docs=[docs], base_url=api.url, model="claude-sonnet-5-5"
            )
        return answer, [exchange.headers for exchange in api.api.exchanges]


@requirement("traces")
def test_a_model_call_says_what_was_asked_reserved_used_and_answered(
    seen: Seen, docs: Path
) -> None:
    answer, _ = served(seen, docs)
    first = min(seen.named("chat claude-sonnet-5-5"), key=lambda span: span.start_time or 0)
    told = about(first)
    assert first.kind is SpanKind.CLIENT
    assert 0 <= told.pop("gen_ai.response.time_to_first_chunk") < SECONDS
    assert told.pop("server.port") > 0
    assert told.pop("gen_ai.response.id").startswith("msg_")
    assert told.pop("delegator.reserved.tokens") > told["delegator.settled.tokens"]
    assert told.pop("delegator.reserved.usd") > told.pop("delegator.settled.usd") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.response.model": "claude-sonnet-5-5",
        "gen_ai.request.max_tokens": 8000,
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("tool_use",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.conversation.id": answer.run_id,
        "gen_ai.agent.name": "orchestrator",
        "server.address": "127.0.0.1",
        "delegator.agent.id": "orchestrator",
        "delegator.call": 1,
        "delegator.settled.tokens": 120,
    }


@requirement("traces")
def test_metrics_add_up_to_what_the_answer_says(seen: Seen, docs: Path) -> None:
    answer, _ = served(seen, docs)
    points = seen.metrics
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in points["gen_ai.client.token.usage"]}
    assert tokens == {"input": answer.usage.input_tokens, "output": answer.usage.output_tokens}
    assert sum(p.value for p in points["delegator.cost"]) == pytest.approx(answer.usd)
    counted = {name: sum(p.count for p in points[name]) for name in points if name != "delegator.cost"}  # fmt: skip
    assert counted == {
        "gen_ai.client.token.usage": 2 * answer.model_calls,
        "gen_ai.client.operation.duration": answer.model_calls,
        "gen_ai.client.operation.time_to_first_chunk": answer.model_calls,
        "gen_ai.execute_tool.duration": 2,
        "gen_ai.invoke_agent.duration": 2,
    }


def canaries(docs: Path) -> Scripted:
    """A run in which everybody says the canary: document, orchestrator, researcher, tool input."""
    (docs / f"{CANARY}.md").write_text(f"# {CANARY}\n\nThe {CANARY} is a ranking function.\n")
    quote = f"The {CANARY} is a ranking function"
    return one_delegation(
        [search(CANARY), *researcher(quote, CANARY)[1:]], answer=f"{CANARY} [11]."
    )


@requirement("traces")
def test_nothing_that_was_said_is_exported_unasked(seen: Seen, docs: Path) -> None:
    with seen.instrument():
        answer, _ = ask(canaries(docs), docs, question=f"What is {CANARY} about?")
    assert CANARY in str(answer)
    assert len(seen.spans) > 5
    assert CANARY not in said(seen)


@requirement("traces")
def test_what_was_said_is_exported_on_request_as_attributes_and_never_as_a_name(
    seen: Seen, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    question = f"What is {CANARY} about?"
    with seen.instrument():
        ask(canaries(docs), docs, question=question)
    root = about(seen.one("invoke_agent orchestrator"))
    spoken = [{"role": "user", "parts": [{"type": "text", "content": question}]}]
    assert json.loads(root["gen_ai.input.messages"]) == spoken
    last = max(seen.named("chat scripted"), key=lambda span: span.start_time or 0)
    (output,) = json.loads(about(last)["gen_ai.output.messages"])
    assert output["parts"] == [{"type": "text", "content": f"{CANARY} [11]."}]
    kinds = {p["type"] for m in json.loads(about(last)["gen_ai.input.messages"]) for p in m["parts"]}  # fmt: skip
    assert kinds == {"text", "tool_call", "tool_call_response"}
    assert not [span.name for span in seen.spans if CANARY in span.name]


def test_only_a_known_word_turns_content_on(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("false", "NO_CONTENT", "EVENT_ONLY", "", "yes please"):
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", word)
        with seen.instrument():
            ask(Scripted({"orchestrator": [say("Hello.")]}), question="hello there")
    assert "gen_ai.input.messages" not in said(seen)


@requirement("traces")
def test_text_that_cannot_be_encoded_does_not_lose_the_span(seen: Seen) -> None:
    script = Scripted({"orchestrator": [say("lone \ud800 \x1b]8;; half")]})
    with seen.instrument(content=True):
        ask(script, question="hello there")
    for span in seen.spans:
        span.to_json().encode()
        for value in about(span).values():
            assert "\x1b" not in str(value)
            str(value).encode()


@requirement("traces")
def test_a_tool_s_own_spans_are_below_its_call_also_in_a_thread(seen: Seen) -> None:
    mine = seen.tracers.get_tracer("mine")

    @delegator.tool
    def blocking() -> str:
        """Works in a thread."""
        with mine.start_as_current_span("in a thread"):
            return threading.current_thread().name

    @delegator.tool
    async def waiting() -> str:
        """Works in the loop."""
        with mine.start_as_current_span("in the loop"):
            return "done"

    agent = delegator.Agent(
        name="worker", description="Works.", prompt="Work.", tools=(blocking, waiting),
        output_schema={"type": "object", "properties": {}, "additionalProperties": False},
    )  # fmt: skip
    script = Scripted({"worker": [calls(("blocking", {}), ("waiting", {})), call("submit_report")]})
    with seen.instrument():
        result = asyncio.run(delegator.run_agent(agent, "work", model=script))
    assert result.outcome == "complete"
    for name, tool in (("in a thread", "blocking"), ("in the loop", "waiting")):
        path = seen.path(seen.one(name))
        assert path == f"invoke_agent worker D1 > execute_tool {tool} > {name}"


class Instrumented(Scripted):
    """A model whose transport makes spans of its own, in whatever is current."""

    def __init__(self, script: Any, tracers: TracerProvider) -> None:
        super().__init__(script)
        self._tracer = tracers.get_tracer("http")

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        with self._tracer.start_as_current_span("POST"):
            await asyncio.sleep(0)
        async for event in super().stream(request):
            yield event


@requirement("traces")
def test_a_transport_s_own_spans_are_below_the_model_call(seen: Seen, docs: Path) -> None:
    script = {"orchestrator": [delegate("a"), say("Done [11].")], "D1": researcher()}
    with seen.instrument():
        ask(Instrumented(script, seen.tracers), docs)
    posts = seen.named("POST")
    assert len(posts) == 4
    assert all(seen.path(post).endswith("> chat scripted > POST") for post in posts)


@requirement("traces")
def test_a_run_is_part_of_the_trace_of_whoever_asks(seen: Seen) -> None:
    async def in_a_loop() -> None:  # there `ask` takes a thread of its own
        with seen.tracers.get_tracer("app").start_as_current_span("request"):
            ask(Scripted({"orchestrator": [say("Hello.")]}), question="hello there")

    with seen.instrument():
        asyncio.run(in_a_loop())
    path = seen.path(seen.one("invoke_agent orchestrator"))
    assert path == "request > invoke_agent orchestrator orchestrator"


@requirement("traces")
def test_a_call_that_fails_ends_its_span_with_the_fault_and_its_agent_with_the_outcome(
    seen: Seen, docs: Path
) -> None:
    with seen.instrument():
        ask(one_delegation([search(), fail(Fault.OVERLOADED)]), docs)
    failed = [span for span in seen.named("chat scripted") if not span.status.is_ok]
    assert [about(span)["error.type"] for span in failed] == ["overloaded"]
    child = seen.one("invoke_agent researcher")
    assert child.status.status_code is StatusCode.ERROR
    assert about(child)["error.type"] == about(child)["delegator.outcome"] == "failed"
    assert seen.one("invoke_agent orchestrator").status.is_ok
    points = seen.metrics["gen_ai.client.operation.duration"]
    assert sum(p.count for p in points if p.attributes.get("error.type") == "overloaded") == 1


@requirement("traces")
def test_a_tool_that_fails_says_so_without_its_own_words(seen: Seen) -> None:
    @delegator.tool
    def broken() -> str:
        """Breaks."""
        raise ValueError(CANARY)

    agent = delegator.Agent(name="worker", description="Works.", prompt="Work.", tools=(broken,))
    script = Scripted({"worker": [call("broken"), say(""), say("")]})
    with seen.instrument():
        asyncio.run(delegator.run_agent(agent, "work", model=script))
    span = seen.one("execute_tool broken")
    assert (about(span)["error.type"], span.status.status_code) == ("tool_error", StatusCode.ERROR)
    assert CANARY not in said(seen)


class Hanging(Scripted):
    """A script whose step `D1/2` never comes."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.hangs = asyncio.Event()

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        if request.key == "D1/2":
            self.hangs.set()
            await asyncio.Event().wait()
        async for event in super().stream(request):
            yield event


@requirement("traces")
def test_cancelling_a_run_ends_every_span_with_status_and_outcome(seen: Seen, docs: Path) -> None:
    index = Index(None, [docs])
    index.refresh()
    script = {"orchestrator": [delegate("a")], "D1": [search()]}

    async def cancelled() -> None:
        model = Hanging(script)
        async with asyncio.timeout(SECONDS), Run("q?", Setup(model=model, library=index)) as run:
            await model.hangs.wait()
            run.cancel()
            assert (await run.answer()).outcome == "cancelled"

    with seen.instrument():
        asyncio.run(cancelled())
    ends = {seen.path(s).rpartition(" > ")[2]: about(s).get("error.type") for s in seen.spans if not s.status.is_ok}  # fmt: skip
    assert ends == {
        "invoke_agent orchestrator orchestrator": "cancelled",
        "execute_tool delegate_to_researcher": "cancelled",
        "invoke_agent researcher D1": "cancelled",
        "chat scripted": "cancelled",
    }
    assert about(seen.one("invoke_agent researcher"))["delegator.receipt.tool_calls"] == 1


@requirement("traces")
def test_a_run_that_goes_on_is_linked_to_the_trace_in_which_it_began(
    seen: Seen, docs: Path, tmp_path: Path
) -> None:
    from delegator.journal import Journal  # noqa: PLC0415 - the other tests keep none

    index = Index(None, [docs])
    index.refresh()

    def setup(steps: list[Says], journal: Journal) -> Setup:
        return Setup(model=Scripted({"orchestrator": steps}), library=index, journal=journal)

    async def twice() -> None:
        with Journal(tmp_path) as journal:
            first = await Run("hello there", setup([fail(Fault.SERVER)], journal)).answer()
        with Journal(tmp_path) as journal, resumed(first.run_id, tmp_path, journal) as recording:
            again = Run("hello there", setup([say("Hello.")], journal), recording=recording)
            assert (await again.answer()).outcome == "complete"

    with seen.instrument():
        asyncio.run(twice())
    earlier, later = seen.named("invoke_agent orchestrator")
    assert earlier.context
    assert later.context
    assert not earlier.links
    assert [link.context.span_id for link in later.links] == [earlier.context.span_id]
    assert earlier.context.trace_id != later.context.trace_id
    ids = {about(span)["gen_ai.conversation.id"] for span in (earlier, later)}
    assert len(ids) == 1


def through_sdk(cloud: str, **more: Any) -> dict[str, str]:
    """One call through the SDK's own method, as for a cloud; the headers that were sent."""

    async def run() -> dict[str, str]:
        reply = Answer(content=(text("Hello."),))
        async with asyncio.timeout(SECONDS), MessagesApi(lambda _asked: reply) as api:
            client = AsyncAnthropic(api_key="key", base_url=api.url, max_retries=0, **more)
            async with Claude(f"{cloud}:claude-x", client=client) as model:
                run = Run("hello there", Setup(model=model, library=None, agents=()))
                assert (await run.answer()).outcome == "complete"
            return api.exchanges[0].headers

    return asyncio.run(run())


@requirement("traces")
def test_where_the_sdk_says_all_of_a_call_its_span_is_the_only_one(everywhere: Seen) -> None:
    with telemetry.instrument(meter_provider=everywhere.meters):
        through_sdk("bedrock")
    (chat,) = [s for s in everywhere.spans if about(s)["gen_ai.operation.name"] == "chat"]
    assert chat.name == "anthropic.messages.create"
    assert about(chat)["gen_ai.usage.output_tokens"] == 20
    path = "invoke_agent orchestrator orchestrator > anthropic.messages.create"
    assert everywhere.path(chat) == path
    counted = everywhere.metrics["gen_ai.client.operation.duration"]  # the SDK counts nothing
    assert [point.count for point in counted] == [1]


@requirement("traces")
@pytest.mark.parametrize("more", [{"chat": True}, {"open_telemetry": False}])
def test_without_the_sdk_s_span_there_is_ours(everywhere: Seen, more: dict[str, Any]) -> None:
    with telemetry.instrument(chat=more.pop("chat", None)):
        through_sdk("bedrock", **more)
    assert about(everywhere.one("chat claude-x"))["gen_ai.provider.name"] == "aws.bedrock"


@requirement("traces")
def test_where_the_sdk_does_not_know_what_was_used_its_span_is_below_ours(everywhere: Seen) -> None:
    with telemetry.instrument():
        through_sdk("foundry")
    inner = everywhere.one("anthropic.messages.create")
    assert everywhere.path(inner).endswith(" > chat claude-x > anthropic.messages.create")
    assert "gen_ai.usage.output_tokens" not in about(inner)


@requirement("traces")
def test_calls_that_others_follow_can_be_left_to_them(seen: Seen, docs: Path) -> None:
    with seen.instrument(chat=False):
        ask(one_delegation(researcher()), docs)
    assert not seen.named("chat scripted")
    assert len(seen.named("execute_tool search")) == 1
    assert not [name for name in seen.metrics if name.startswith("gen_ai.client")]


@requirement("traces")
def test_no_server_is_told_of_a_trace_unless_a_person_wants_that(seen: Seen, docs: Path) -> None:
    _, sent = served(seen, docs)
    assert not [headers for headers in sent if "traceparent" in headers]
    _, sent = served(seen, docs, propagate=True)
    told = {headers["traceparent"].rpartition("-")[0] for headers in sent}
    contexts = [span.context for span in seen.named("chat claude-sonnet-5-5") if span.context]
    assert told < {f"00-{c.trace_id:032x}-{c.span_id:016x}" for c in contexts}
    assert len(told) == len(sent) == 4


@requirement("traces")
def test_a_cloud_s_client_does_not_tell_of_a_trace_by_itself(
    everywhere: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> dict[str, str]:
        reply = Answer(content=(text("Hello."),))
        async with asyncio.timeout(SECONDS), MessagesApi(lambda _asked: reply) as api:
            monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", "key")
            monkeypatch.setenv("ANTHROPIC_FOUNDRY_BASE_URL", api.url)
            async with Claude("foundry:claude-x") as model:
                run = Run("hello there", Setup(model=model, library=None, agents=()))
                assert (await run.answer()).outcome == "complete"
            return api.exchanges[0].headers

    with telemetry.instrument():
        assert "traceparent" not in asyncio.run(run())
    with telemetry.instrument(propagate=True):
        told = asyncio.run(run())["traceparent"]
    ours = everywhere.named("chat claude-x")[-1].context
    assert ours is not None
    assert f"{ours.trace_id:032x}-{ours.span_id:016x}" in told
    assert len(everywhere.named("anthropic.messages.create")) == 2


def test_telemetry_that_was_stopped_follows_nothing(seen: Seen) -> None:
    on = seen.instrument()
    on.stop()
    on.stop()
    ask(Scripted({"orchestrator": [say("Hello.")]}), question="hello there")
    assert not seen.spans


class Faulty(Scripted):
    """A model that breaks in a way of its own."""

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(request):
            yield event
            raise KeyError(CANARY)


@requirement("traces")
def test_a_crash_is_named_by_its_kind_alone(seen: Seen, docs: Path) -> None:
    with seen.instrument():
        ask(Faulty({"orchestrator": [say("Hello.")]}), docs)
    assert about(seen.one("chat scripted"))["error.type"] == "KeyError"
    assert about(seen.one("invoke_agent orchestrator"))["error.type"] == "failed"
    assert CANARY not in said(seen)
