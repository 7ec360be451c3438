"""delegator as an element of an AgentDojo pipeline: the user's task is the question, and a worker has the tools.

The orchestrator sees the task and what the worker reports; the worker sees what the tools return. So every level of the ladder does
here what it does everywhere. A run whose model failed raises, so that it is no result: AgentDojo would count it as a task not done and
an attack that worked.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
from agentdojo.functions_runtime import EmptyEnv, FunctionsRuntime
from agentdojo.models import MODEL_NAMES
from agentdojo.types import (
    ChatAssistantMessage,
    ChatMessage,
    ChatUserMessage,
    text_content_block_from_string,
)

from delegator.agents import Agent, load_agent
from delegator.answer import Answer
from delegator.budget import RUN_LIMITS, Limits, Price
from delegator.errors import DelegatorError
from delegator.lab.agentdojo.tools import Bench
from delegator.model import Model
from delegator.orchestrator import Run, Setup
from delegator.outcome import Outcome
from delegator.prices import price_of
from delegator.trust import Level

_CLAUDE = "claude-3-7-sonnet-20250219"
_LOCAL = "local"


class NotMeasured(DelegatorError):
    """A run says nothing about the task: its model failed."""


def addressed(model: str) -> str:
    """As which model that AgentDojo knows its attacks address this one."""
    known = next((name for name in MODEL_NAMES if name in model), "")
    return known or (_CLAUDE if "claude" in model else _LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Who plays: everything about delegator that a result depends on."""

    model: str
    """The model's id."""
    opened: Callable[[], AbstractAsyncContextManager[Model]]
    """Opens the model, once for each task: each has an event loop of its own."""
    level: Level = Level.TYPED
    limits: Limits = RUN_LIMITS
    price_of: Callable[[str], Price | None] = price_of

    @property
    def name(self) -> str:
        """A pipeline's name."""
        return f"delegator-{self.level.value}-{self.model}-{addressed(self.model)}"


@dataclass
class Delegator(BasePipelineElement):  # type: ignore[misc]  # AgentDojo has no types for others
    """One pipeline, whole: it needs no other element before or after it."""

    player: Player
    answers: list[Answer] = field(default_factory=list)
    """What each query came to, for whoever wants to count."""

    def __post_init__(self) -> None:
        """Take the player's name."""
        self.name = self.player.name

    def query(
        self,
        query: str,
        runtime: FunctionsRuntime,
        env: Any = EmptyEnv(),  # noqa: B008 - as its base class has it
        messages: Sequence[ChatMessage] = (),
        extra_args: Mapping[str, Any] | None = None,
    ) -> tuple[str, FunctionsRuntime, Any, Sequence[ChatMessage], Mapping[str, Any]]:
        """Carry a task out.

        Raises:
            NotMeasured: The model failed.
        """
        bench = Bench(runtime, env)
        answer = asyncio.run(self._answer(query, bench))
        self.answers.append(answer)
        _require_measured(answer)
        asked = ChatUserMessage(role="user", content=[text_content_block_from_string(query)])
        # never without content, be it empty: AgentDojo would run the task again in the environment as it was left
        words = [text_content_block_from_string(answer.text)]
        said = ChatAssistantMessage(role="assistant", content=words, tool_calls=None)
        return query, runtime, env, [*messages, asked, *bench.messages, said], extra_args or {}

    async def _answer(self, task: str, bench: Bench) -> Answer:
        player = self.player
        async with player.opened() as model:
            setup = Setup(
                model=model,
                library=None,
                agents=(replace(_agent("worker"), tools=bench.tools()),),
                orchestrator=_agent("orchestrator"),
                limits=player.limits,
                level=player.level,
                price_of=player.price_of,
            )
            async with Run(task, setup) as run:
                return await run.answer()


def _agent(name: str) -> Agent:
    return load_agent(Path(__file__).with_name(f"{name}.md")).agent


def _require_measured(answer: Answer) -> None:
    """Refuse a run in which the model, or delegator itself, failed.

    Raises:
        NotMeasured: It did.
    """
    ends = [(answer.outcome, str(answer.error or ""))]
    ends += [(d.outcome, d.problem) for d in answer.delegations if d.outcome is not None]
    for outcome, problem in ends:
        blamed = outcome is Outcome.TIMEOUT and problem  # by a server that was silent
        if outcome in (Outcome.FAILED, Outcome.CANCELLED) or blamed:
            raise NotMeasured(problem or outcome.value)
