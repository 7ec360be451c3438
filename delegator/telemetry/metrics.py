"""Metrics: tokens, dollars and seconds, under the names that OpenTelemetry's own Python instrumentations write."""

from opentelemetry.context import Context
from opentelemetry.metrics import Meter

from delegator.budget import Usage
from delegator.telemetry.attributes import TOKEN_TYPE, Attributes, prompt_tokens

_CALL_SECONDS = [0.01 * 2**n for n in range(14)]
_AGENT_SECONDS = [0.1 * 2**n for n in range(13)]
_TOKENS = [4**n for n in range(14)]


class Metrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a model call.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._call = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="A model call, with all its attempts.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Until a model call brought its first event.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )
        self._tool = meter.create_histogram(
            "gen_ai.execute_tool.duration",
            unit="s",
            description="A tool call.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )
        self._agent = meter.create_histogram(
            "gen_ai.invoke_agent.duration",
            unit="s",
            description="An agent's work, from its brief to its report; the orchestrator's is the run.",
            explicit_bucket_boundaries_advisory=_AGENT_SECONDS,
        )
        self._cost = meter.create_counter(
            "delegator.cost", unit="{USD}", description="Dollars that model calls cost."
        )

    def call(
        self, seconds: float, first: float | None, about: Attributes, where: Context | None
    ) -> None:
        """A model call is over."""
        self._call.record(seconds, about, where)
        if first is not None:
            self._first.record(first, about, where)

    def used(
        self, used: Usage, usd: float | None, about: Attributes, where: Context | None
    ) -> None:
        """What a model call used, also one that failed."""
        tokens = {"input": prompt_tokens(used), "output": used.output_tokens}
        for kind, number in tokens.items():
            if number:
                self._tokens.record(number, {**about, TOKEN_TYPE: kind}, where)
        if usd:
            self._cost.add(usd, about, where)

    def tool(self, seconds: float, about: Attributes, where: Context | None) -> None:
        """A tool call is over."""
        self._tool.record(seconds, about, where)

    def agent(self, seconds: float, about: Attributes, where: Context | None) -> None:
        """An agent is done."""
        self._agent.record(seconds, about, where)
