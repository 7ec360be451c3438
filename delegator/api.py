"""The Python interface: settings in, runs and answers out. Picks the model, opens the documents, wires the rest.

answer = delegator.ask("What is RLHF?")                 # one line, synchronous

async with delegator.start("What is RLHF?") as run:     # to watch
    async for event in run:
        print(event.kind, event.agent)
    answer = await run.answer()
"""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from delegator.agents import Agent, shipped
from delegator.answer import Answer
from delegator.budget import NO_LIMITS, RUN_LIMITS, Budget, Limits
from delegator.calls import Surroundings
from delegator.envelope import Fence
from delegator.errors import RUN, SESSION, ConfigError
from delegator.events import DelegationFinished, DelegationStarted, Emitter, Event
from delegator.handoff import Brief
from delegator.home import data_home
from delegator.journal import Journal
from delegator.knowledge import Index
from delegator.model import Guard, Model
from delegator.models import CREDENTIALS
from delegator.orchestrator import MAX_QUESTION_CHARACTERS, Run, Setup, Turn
from delegator.outcome import Outcome
from delegator.policy import Approver, nobody
from delegator.prices import Price, price_of
from delegator.recording import Recording
from delegator.sanitize import clean
from delegator.subagent import Result, Staff, Subagent, system_of
from delegator.tracing import Tracing
from delegator.trust import USER, Level

ARTICLES = Path(__file__).with_name("articles")

Notice = Callable[[str], None]


def _quiet(_text: str) -> None:
    """The default ear for notices: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the person chose, from command line, environment and file alike."""

    docs: tuple[Path, ...] = ()
    model: str = ""
    base_url: str = ""
    offline: bool = False
    limits: Limits = RUN_LIMITS
    session: Limits = NO_LIMITS
    """What all runs under these settings may use together."""
    agents: tuple[Agent, ...] = ()
    """Agents beside the researcher and the critic, or in their place where the names are the same."""
    home: Path | None = None
    level: Level = Level.TYPED
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Prices of a person's own, by model id; they come before those that ship."""
    private: tuple[Path, ...] = ()
    """Folders and files below the documents that only some people may see."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """What a journal keeps of these settings; see `Setup`."""

    @property
    def plays_offline(self) -> bool:
        """Whether the offline model answers: asked for, or nothing else is configured."""
        if self.offline:
            return True
        configured = self.base_url or self.model
        return not (
            configured or any(os.environ.get(name) for name in (*CREDENTIALS, "ANTHROPIC_BASE_URL"))
        )


def level_named(name: str) -> Level:
    """A level by its name.

    Raises:
        ConfigError: There is none of this name.
    """
    try:
        return Level(name)
    except ValueError:
        known = ", ".join(level.value for level in Level)
        raise ConfigError("there is no such trust level", hint=f"Levels: {known}.") from None


def checked_question(text: str) -> str:
    """A question in canonical form.

    Raises:
        ConfigError: There is nothing in it, or too much.
    """
    question = clean(text[: 2 * MAX_QUESTION_CHARACTERS]).strip()
    if not question:
        raise ConfigError("the question is empty", hint='Try: delegator ask "What is RLHF?"')
    if len(text) > MAX_QUESTION_CHARACTERS:
        raise ConfigError(
            f"the question has {len(text):,} characters; at most {MAX_QUESTION_CHARACTERS:,} are taken",
            hint="Put long material into files and name their folder with --docs.",
        )
    return question


def open_index(
    docs: Sequence[Path],
    home: Path | None = None,
    *,
    private: Sequence[Path] = (),
    progress: Callable[[int], None] = lambda _n: None,
    notice: Notice = _quiet,
) -> Index:
    """The index over some folders (the shipped articles if none are named), brought up to date.

    Raises:
        ConfigError: A folder is missing or unreadable, or holds no text.
    """
    roots = [Path(path).expanduser() for path in docs] or [ARTICLES]
    for root in roots:
        if not root.exists():
            raise ConfigError(f"no such file or folder: {root}", hint="Check --docs.")
        if not os.access(root, os.R_OK | (os.X_OK if root.is_dir() else 0)):
            raise ConfigError(f"cannot read {root}: permission denied", hint="Check --docs.")
    names = "\0".join(sorted(str(root.resolve()) for root in roots))
    key = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:20]
    database = (home or data_home()) / "index" / f"{key}.sqlite"
    try:
        index = Index(database, roots, private=private)
    except (OSError, sqlite3.OperationalError):
        notice(f"cannot write to {database.parent}; the index is kept in memory")
        index = Index(None, roots, private=private)
    try:
        index.refresh(progress)
    except BaseException:
        index.close()
        raise
    return index


@asynccontextmanager
async def open_model(settings: Settings) -> AsyncIterator[Model]:
    """The model that the settings choose, closed at the end."""
    if settings.plays_offline:
        from delegator.models.offline import Offline  # noqa: PLC0415 - only when used

        yield Offline()
        return
    from delegator.models.claude import Claude  # noqa: PLC0415 - costs over a second

    async with Claude(settings.model, base_url=settings.base_url) as model:
        yield model


def staffed(own: Iterable[Agent]) -> tuple[Agent, ...]:
    """Researcher, critic and a person's own agents; an own one takes the place of its namesake."""
    staff = {agent.name: agent for agent in (shipped("researcher"), shipped("critic"), *own)}
    return tuple(staff.values())


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    index: Index | None = None,
    model: Model | None = None,
    approve: Approver = nobody,
    journal: Journal | None = None,
) -> AsyncIterator[Setup]:
    """Everything that runs under these settings share, to be used for as many as wanted.

    Raises:
        ConfigError: The settings do not work.
    """
    async with AsyncExitStack() as stack:
        if index is None:
            index = open_index(settings.docs, settings.home, private=settings.private)
            stack.callback(index.close)
        if model is None:
            model = await stack.enter_async_context(open_model(settings))
        yield Setup(
            model=model,
            library=index,
            agents=staffed(settings.agents),
            limits=settings.limits,
            session=Budget(owner=SESSION, limits=settings.session),
            level=settings.level,
            price_of=lambda model: price_of(model, settings.prices),
            approve=approve,
            journal=journal,
            remembered=settings.remembered,
        )


@asynccontextmanager
async def start(
    question: str,
    *,
    docs: Sequence[str | Path] = (),
    model: str | Model = "",
    base_url: str = "",
    offline: bool = False,
    agents: Sequence[Agent] = (),
    limits: Limits = RUN_LIMITS,
    trust: str = Level.TYPED,
    private: Sequence[str | Path] = (),
    approve: Approver = nobody,
    history: tuple[Turn, ...] = (),
    journal: Journal | None = None,
    recording: Recording | None = None,
) -> AsyncIterator[Run]:
    """A run, started: iterate over it for events, await its `answer()`. Leaving the block cancels it.

    Args:
        question: What to ask.
        docs: Folders or files to answer from; the shipped articles if none are named.
        model: A model id, or a `Model` of your own.
        base_url: A server that speaks the Messages API.
        offline: Use the offline model. It is also used where no key and no server is configured.
        agents: More subagents; each becomes a `delegate_to_<name>` tool.
        limits: Ceilings for the run.
        trust: The level of the defence ladder: raw, marked, clean, typed, sealed, guarded or planned.
        private: Folders and files below `docs` that only some people may see.
        approve: Asks a person about a call that the level's policy denies; see `delegator.policy`.
        history: Earlier turns of the conversation.
        journal: Where the run is put on record, so that it can be resumed.
        recording: The past of a run that goes on: `Recording.of_past(...)`, with the same question and settings.

    Raises:
        ConfigError: The question or the settings do not work.
    """
    settings = Settings(
        docs=tuple(Path(path) for path in docs),
        model=model if isinstance(model, str) else "",
        base_url=base_url,
        offline=offline,
        agents=tuple(agents),
        limits=limits,
        level=level_named(trust),
        private=tuple(Path(path) for path in private),
    )
    own = None if isinstance(model, str) else model
    asked = checked_question(question)
    async with (
        opened(settings, model=own, approve=approve, journal=journal) as setup,
        Run(asked, setup, history, recording) as run,
    ):
        yield run


def ask(
    question: str,
    *,
    docs: Sequence[str | Path] = (),
    model: str | Model = "",
    base_url: str = "",
    offline: bool = False,
    agents: Sequence[Agent] = (),
    limits: Limits = RUN_LIMITS,
    trust: str = Level.TYPED,
    private: Sequence[str | Path] = (),
    approve: Approver = nobody,
    on_event: Callable[[Event], None] | None = None,
) -> Answer:
    """Ask one question and wait for the answer. Arguments as for `start`; `on_event` hears every event.

    Raises:
        ConfigError: The question or the settings do not work.
    """

    async def run() -> Answer:
        async with start(
            question,
            docs=docs,
            model=model,
            base_url=base_url,
            offline=offline,
            agents=agents,
            limits=limits,
            trust=trust,
            private=private,
            approve=approve,
        ) as started:
            async for event in started:
                if on_event is not None:
                    on_event(event)
            return await started.answer()

    return _run(run)


def _run(work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run to the end; in a thread of its own where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(max_workers=1) as pool:
        context = (
            copy_context()
        )  # which span is current, and which cell of a notebook shows what happens
        return pool.submit(context.run, lambda: asyncio.run(work())).result()


async def run_agent(
    agent: Agent,
    task: str,
    *,
    docs: Sequence[str | Path] = (),
    model: str | Model = "",
    base_url: str = "",
    offline: bool = False,
    limits: Limits = RUN_LIMITS,
    trust: str = Level.TYPED,
    private: Sequence[str | Path] = (),
    approve: Approver = nobody,
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Run one subagent by itself: no orchestrator, the same loop, contract, quote check, receipt and events.

    Raises:
        ConfigError: The task or the settings do not work.
    """
    settings = Settings(
        docs=tuple(Path(path) for path in docs),
        model=model if isinstance(model, str) else "",
        base_url=base_url,
        offline=offline,
        level=level_named(trust),
        private=tuple(Path(path) for path in private),
    )
    own = None if isinstance(model, str) else model
    async with opened(settings, model=own, approve=approve) as setup:
        rung, fence = setup.rung, Fence(setup.rung.encoding)
        around = Surroundings(
            model=setup.model,
            rung=rung,
            fence=fence,
            guard=Guard(
                prompts=frozenset({system_of(agent, rung, setup.library)}),
                fence=fence,
                inline=rung.inline,
            ),
            counts=not getattr(setup.model, "free", False),
            price_of=setup.price_of,
            emit=Emitter("direct", lambda event: _tell(event, setup.tracing, on_event)),
            approve=approve,
            tracing=setup.tracing,
        )
        staff = Staff(agents=(agent,), library=setup.library, around=around)
        brief = Brief(task=checked_question(task), label=USER)
        budget = Budget(owner=RUN, limits=limits.over(RUN_LIMITS))
        return await _watched(staff.subagent(agent, brief, id="D1", budget=budget), brief)


def _tell(event: Event, tracing: Tracing, on_event: Callable[[Event], None] | None) -> None:
    tracing.heard(event)
    if on_event is not None:
        on_event(event)


async def _watched(subagent: Subagent, brief: Brief) -> Result:
    """Run a subagent that nobody delegated to, and tell of it as of a delegation."""
    loop = subagent.loop
    id, name, emit = loop.role.id, loop.role.name, loop.around.emit

    def finished(result: Result) -> DelegationFinished:
        return DelegationFinished(
            id=id,
            outcome=result.outcome,
            receipt=result.receipt,
            verdict="",
            label=result.label,
            problem=result.problem,
        )

    started = DelegationStarted(
        id=id, name=name, task=brief.task, about="", source="", label=loop.label
    )
    emit(id, started)
    try:
        result = await subagent.run()
    except asyncio.CancelledError:
        emit(id, finished(replace(subagent.crashed(), outcome=Outcome.CANCELLED, problem="")))
        raise
    except Exception:
        emit(id, finished(subagent.crashed()))
        raise
    emit(id, finished(result))
    return result
