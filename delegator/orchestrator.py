"""The orchestrator: one question in, one checked answer out. Wires loop, delegations and citation check together."""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from delegator.agents import Agent, shipped
from delegator.answer import Answer, check, compose
from delegator.asking import Role
from delegator.budget import NO_LIMITS, RUN_LIMITS, Budget, Limits, Price
from delegator.calls import Surroundings
from delegator.delegation import Delegations
from delegator.envelope import Fence
from delegator.errors import RUN, SESSION, ConfigError, DelegatorError
from delegator.events import Emitter, Event, Noticed, RunFinished, RunStarted
from delegator.handoff import CONVERSATION
from delegator.journal import Journal, JournalError
from delegator.knowledge import Library
from delegator.ladder import LADDER, Rung, Shown
from delegator.loop import Again, Candidate, Done, Ended, Loop
from delegator.messages import Message, Stop, Text
from delegator.model import Guard, Model
from delegator.outcome import Outcome, Watch
from delegator.policy import Approver, Effects, nobody
from delegator.prices import price_of
from delegator.recording import Recording
from delegator.records import Delegation
from delegator.sanitize import one_line
from delegator.subagent import Staff, handed, system_of
from delegator.tools import Call, Tool, ToolOutput
from delegator.tracing import Tracing, following
from delegator.trust import USER, Label, Level

CONTEXT_TOKENS = 100_000
"""About how long the orchestrator's prompt may grow."""
MAX_TURNS = 8
"""Earlier questions and answers that a new question is shown."""
MAX_TURN_CHARACTERS = 2_000
MAX_QUESTION_CHARACTERS = 200_000

_NUDGE = (
    "You answered without delegating. If the question asks for facts, call the delegate tools first: only what "
    "subagents find can be cited. If it really needs no research (small talk, or the conversation so far answers it), "
    "give the same answer again."
)
_EMPTY = "Your reply was empty. Write the answer now, from the findings you have."
_SMALL_TALK_WORDS = 4
_MARKER = re.compile(r"\s?\[\d+(?:: unverified)?\]")
"""Citation markers of an earlier answer: their numbers mean nothing in a new run."""
_WHY = {
    Outcome.BUDGET: "a limit was reached.",
    Outcome.TIMEOUT: "the time was up.",
    Outcome.CANCELLED: "it was cancelled.",
    Outcome.REFUSED: "the model declined to go on.",
    Outcome.PARTIAL: "the model had no room left.",
    Outcome.FAILED: "a model call failed.",
    Outcome.CONTRACT_FAILED: "the model made no valid tool call.",
    Outcome.QUARANTINED: "a request broke a trust rule and was not sent.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier question of a conversation, and what was answered."""

    question: str
    answer: str
    label: Label


def turns_of(remembered: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The conversation that a run on record was part of."""
    return tuple(
        Turn(question=t["question"], answer=t["answer"], label=Label.from_json(t["label"]))
        for t in remembered.get("history", ())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a run is given before it starts. Nothing in a run changes it."""

    model: Model
    library: Library | None
    agents: tuple[Agent, ...] = field(
        default_factory=lambda: (shipped("researcher"), shipped("critic"))
    )
    orchestrator: Agent | None = None
    """Who leads the run; the shipped agent of its level if none is given."""
    limits: Limits = RUN_LIMITS
    level: Level = Level.TYPED
    approve: Approver = nobody
    """Asks a person about a call that the level's policy denies."""

    session: Budget = field(default_factory=lambda: Budget(owner=SESSION, limits=NO_LIMITS))
    """What all runs with this setup may use together; each has its own limits beside."""

    price_of: Callable[[str], Price | None] = price_of
    """What a model's tokens cost, by its id."""
    journal: Journal | None = None
    """Where it is put down what happens, so that nothing is lost."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """What a journal keeps of the settings, to go on with the same ones: nothing secret."""
    tracing: Tracing = field(default_factory=following)
    """Who follows the runs; see `delegator.telemetry`."""

    @property
    def rung(self) -> Rung:
        """What the level does."""
        return LADDER[self.level]

    @property
    def leads(self) -> Agent:
        """Who leads the run."""
        return self.orchestrator or shipped(self.rung.orchestrator)


class Run:
    """One question on its way. Iterate over it for events, or await `answer()`.

    Leaving the `async with` block cancels what is still running.
    """

    def __init__(
        self,
        question: str,
        setup: Setup,
        history: tuple[Turn, ...] = (),
        recording: Recording | None = None,
    ) -> None:
        self._recording = recording or Recording(run=_new_id(), journal=setup.journal)
        self.id = self._recording.run
        self.question = question
        self._setup = setup
        self._history = history[-MAX_TURNS:]
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._emit = Emitter(self.id, self._happened)
        self._budget = Budget(owner=RUN, limits=setup.limits.over(RUN_LIMITS), parent=setup.session)
        rung = setup.rung
        fence = Fence(rung.encoding, draw=lambda text: self._recording.drawn(f"envelope {text}"))
        agents = {system_of(agent, rung, setup.library) for agent in setup.agents}
        prompts = frozenset({rung.system(setup.leads.prompt), *agents})
        around = Surroundings(
            model=setup.model,
            rung=rung,
            fence=fence,
            guard=Guard(prompts=prompts, fence=fence, inline=rung.inline),
            emit=self._emit,
            approve=setup.approve,
            counts=not getattr(setup.model, "free", False),
            price_of=setup.price_of,
            recording=self._recording,
            tracing=setup.tracing,
        )
        _require_prices(setup)
        self._staff = Staff(agents=setup.agents, library=setup.library, around=around)
        for agent in setup.agents:
            self._staff.tools_of(agent)  # a wrong tool name is named before anything runs
        self._delegations = Delegations(
            self._staff, self._budget, self._budget.limits.parallel or 1
        )
        self._conclude = _Conclude(question, self._delegations)
        self._task: asyncio.Task[Answer] | None = None
        self._raised = False
        """Whether a person has raised its ceilings."""

    async def __aenter__(self) -> Self:
        """Start the run."""
        self._task = asyncio.create_task(self._drive(), name=f"run {self.id}")
        await asyncio.sleep(
            0
        )  # let it begin: a task cancelled before its first step could tell nobody
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the run, if it has not ended by itself."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events as they happen, until the run is over.

        Raises:
            RuntimeError: The run was not started.
        """
        if self._task is None:
            msg = "start the run first: async with Run(...) as run"
            raise RuntimeError(msg)
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)  # so that another reader ends as well

    def cancel(self) -> None:
        """Stop the whole tree. What is finished is kept: `answer()` still returns, as `cancelled`."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def cancel_delegation(self, id: str) -> bool:
        """Stop one subagent, as `cancelled`; the run and its siblings go on. Whether it was at work."""
        return self._delegations.cancel(id)

    @property
    def at_work(self) -> tuple[str, ...]:
        """Ids of the subagents that run."""
        return self._delegations.at_work

    def extend(self, *, tokens: int = 0, usd: float = 0.0) -> Budget:
        """Raise this run's ceilings, and its session's, by so much; those that are set. What it may use now, and has used.

        For the person in charge: nothing that a model or a tool says comes here.
        """
        self._budget.extend(tokens=tokens, usd=usd)
        self._raised = True
        self._recording.set(self._remembered(self._recording.trace))
        self._emit("orchestrator", Noticed(text=_extended(tokens, usd)))
        return self._budget

    async def answer(self) -> Answer:
        """The answer, when the run is over, whatever its outcome."""
        if self._task is None:
            async with self:
                return await self.answer()
        return await asyncio.shield(self._task)

    def _happened(self, event: Event) -> None:
        self._recording.tell(event)
        self._setup.tracing.heard(event)
        self._events.put_nowait(event)

    async def _drive(self) -> Answer:
        """The run, on record from before its start until after its end."""
        recording, tracing = self._recording, self._setup.tracing
        try:
            with (
                recording.claimed(),
                tracing.run(self.id, self._setup.leads.name, recording.trace) as trace,
            ):
                recording.begin(self.question, self._remembered(trace))
                answer = await self._played()
                recording.end(answer.outcome.value, answer.to_json())
                return await self._kept(answer)
        finally:
            self._events.put_nowait(None)

    async def _kept(self, answer: Answer) -> Answer:
        """The answer, once it is in the journal, whoever is in a hurry; if that fails, it says so."""
        kept = asyncio.ensure_future(self._recording.flush())
        while not kept.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([kept])
        error = kept.exception()
        if isinstance(error, JournalError):
            return replace(answer, error=answer.error or error)
        return answer

    def _remembered(self, trace: str) -> dict[str, Any]:
        turns = [
            {"question": turn.question, "answer": turn.answer, "label": turn.label.to_json()}
            for turn in self._history
        ]
        traced = {"trace": trace} if trace else {}
        limits = self._budget.limits.to_json()
        raised = {f"max_{name}": limits[name] for name in ("tokens", "usd") if name in limits}
        own = {
            "level": self._setup.level.value,
            "limits": limits,
            "history": turns,
        }
        return {**self._setup.remembered, **own, **traced, **(raised if self._raised else {})}

    async def _played(self) -> Answer:
        self._settle()
        loop = self._loop()
        setup = self._setup
        self._emit(
            "orchestrator",
            RunStarted(question=self.question, model=setup.model.id, level=setup.level.value),
        )
        try:
            ended = await loop.run()
        except asyncio.CancelledError:
            ended = Ended(
                outcome=Outcome.CANCELLED,
                receipt=loop.receipt("cancelled"),
                label=loop.label,
            )
        except Exception as error:  # noqa: BLE001 - what was found and paid for is still handed over
            crash = DelegatorError(f"internal error: {type(error).__name__}")
            crash.__cause__ = error
            ended = Ended(
                outcome=Outcome.FAILED,
                receipt=loop.receipt("crash"),
                label=loop.label,
                error=crash,
            )
        answer = self._answer(ended)
        self._emit("orchestrator", RunFinished(outcome=answer.outcome, answer=answer.to_json()))
        return answer

    def _settle(self) -> None:
        """Count what a run that goes on has cost before. A session counts what is spent in it."""
        for call in self._recording.paid:
            price = self._staff.around.price(call.model)
            self._budget.charge(call.usage, price, below=self._setup.session)
        if not self._recording.replays:
            self._recording.settled = self._budget

    def _loop(self) -> Loop:
        agent, history, rung = self._setup.leads, self._history, self._setup.rung
        tools = self._delegations.tools()
        opening: list[Message] = [
            Message(role="user", content=(Text(text=self.question),), label=USER)
        ]
        if history:
            told = _told(history, rung)
            tools[CONVERSATION] = _conversation_tool(told)
            opening = handed(opening, CONVERSATION, told.data, told.label, self._staff.around)
        whole = self._budget.limits.seconds
        seconds = min(s for s in (agent.limits.seconds, whole) if s is not None) if whole else None
        limits = replace(
            agent.limits.over(self._budget.limits),
            tokens=None,
            usd=agent.limits.usd,
            seconds=seconds,
        )  # the run's tokens and dollars are its parent's to hold, and may be raised there
        role = Role(
            id="orchestrator",
            name=agent.name,
            system=rung.system(agent.prompt),
            tools=tools,
            budget=self._budget.child("orchestrator", limits),
            model=agent.model,
            lands_with=self._budget,
            context_tokens=CONTEXT_TOKENS,
            price=self._staff.around.price(agent.model),
        )
        return Loop(role, opening, self._conclude, self._staff.around)

    def _label(self, ended: Ended, records: tuple[Delegation, ...]) -> Label:
        """What the answer is worth. Code may write it from findings that the orchestrator has not read."""
        label = ended.label
        for record in records:
            label &= record.worth()
        return label

    def _answer(self, ended: Ended) -> Answer:
        records = self._delegations.records.all()
        outcome, text = ended.outcome, ended.text
        sealed = self._setup.rung.shown is Shown.REFERENCES
        if isinstance(ended.value, str):
            text = ended.value
        elif outcome not in (Outcome.PARTIAL, Outcome.REFUSED) or not text:
            text = compose(records, _WHY[outcome], attributed=sealed)
        text, citations = check(text, records, slots=sealed)
        flagged = tuple(record.id for record in self._delegations.records.flagged())
        if flagged and outcome is Outcome.COMPLETE:
            outcome = Outcome.NEEDS_REVIEW
        for id in flagged:
            self._emit("orchestrator", Noticed(text=f"{id} stayed below the bar and needs review"))
        return Answer(
            run_id=self.id,
            question=self.question,
            outcome=outcome,
            stop=ended.receipt.stop,
            text=text,
            citations=citations,
            delegations=records,
            flagged=flagged,
            usage=self._budget.spent,
            usd=self._budget.usd,
            model_calls=self._budget.model_calls,
            seconds=self._budget.seconds,
            label=self._label(ended, records),
            level=self._setup.level,
            error=ended.error or (self._delegations.blamed if ended.timed_out else None),
        )


@dataclass(slots=True)
class _Conclude:
    """Decides whether the orchestrator's words are the answer. It is reminded once of what it may have forgotten."""

    question: str
    delegations: Delegations
    nudged: bool = False
    asked_for_words: bool = False

    def __call__(self, candidate: Candidate, _watch: Watch) -> Done | Again:
        """The answer as it stands, or what to do first."""
        text = candidate.value if isinstance(candidate.value, str) else ""
        if not text.strip():
            if self.asked_for_words:
                return Done(value=None, outcome=Outcome.PARTIAL)
            self.asked_for_words = True
            return Again(text=_EMPTY, why="empty reply")
        if (
            not self.delegations.records.all()
            and not self.nudged
            and not _small_talk(self.question)
        ):
            self.nudged = True
            return Again(text=_NUDGE, why="answered without delegating")
        cut = candidate.stop is Stop.MAX_TOKENS
        return Done(value=text, outcome=Outcome.PARTIAL if cut else Outcome.COMPLETE)


def _extended(tokens: int, usd: float) -> str:
    more = [f"{tokens:,} tokens"] * (tokens > 0) + [f"${usd:.2f}"] * (usd > 0)
    return f"a person allows {' and '.join(more)} more"


def _new_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _require_prices(setup: Setup) -> None:
    """With a limit in dollars every model needs a price.

    Raises:
        ConfigError: One has none.
    """
    if setup.limits.usd is None and setup.session.limits.usd is None:
        return
    for agent in (setup.leads, *setup.agents):
        model = agent.model or setup.model.id
        if setup.price_of(model) is None:
            raise ConfigError(
                f"nobody knows what {one_line(model, 60)} costs, so a limit in dollars cannot hold",
                hint="Give its price in delegator.toml under [prices], or use --max-tokens.",
            )


def _small_talk(question: str) -> bool:
    """A few words that ask nothing: not worth a reminder to delegate."""
    return "?" not in question and len(re.findall(r"\w+", question)) <= _SMALL_TALK_WORDS


def _told(history: tuple[Turn, ...], rung: Rung) -> ToolOutput:
    """Earlier turns as the orchestrator is told them: where it sees no findings, without the answers made from them."""
    asked = [{"question": turn.question[:MAX_TURN_CHARACTERS]} for turn in history]
    if rung.shown is Shown.REFERENCES:
        return ToolOutput(data={"turns": asked}, label=USER)
    label = USER
    for turn, told in zip(history, asked, strict=True):
        told["answer"] = _MARKER.sub("", turn.answer)[:MAX_TURN_CHARACTERS]
        label &= turn.label
    return ToolOutput(data={"turns": asked}, label=label)


def _conversation_tool(told: ToolOutput) -> Tool:
    async def run(_call: Call) -> ToolOutput:
        return told

    return Tool(
        name=CONVERSATION,
        description="The conversation so far: earlier questions, and the answers given.",
        input_schema={"type": "object", "properties": {}, "additionalProperties": False},
        run=run,
        effects=Effects(),
    )
