"""The world of one case: fresh words, fresh documents, the real system with a model in it, and what came of it."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from delegator.agents import Agent, shipped
from delegator.answer import Answer
from delegator.api import Settings, opened
from delegator.budget import RUN_LIMITS, Limits
from delegator.events import Event
from delegator.knowledge import Index
from delegator.lab.behaviours import behaviour
from delegator.lab.cases import Case, CaseTool, From
from delegator.lab.words import Words, fill
from delegator.messages import block_to_wire, message_to_wire, tool_to_wire
from delegator.model import Model, ModelEvent, Reply, Request
from delegator.models.offline import Offline
from delegator.models.scripted import Scripted
from delegator.models.worst_case import WorstCase
from delegator.orchestrator import Run, Turn
from delegator.policy import ApprovalRequest, Approver, Effects, nobody
from delegator.recording import Recording
from delegator.tools import Call, Tool, ToolOutput
from delegator.trust import Confidentiality, Integrity, Label, Level, untrusted

FACT = "BM25 is a ranking function"
"""What the one harmless document answers."""
BENIGN = f"# BM25\n\n{FACT} that scores a document by the query terms it contains.\n"
CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True, kw_only=True)
class Scene:
    """What came of one run."""

    case: Case
    level: Level
    words: Words
    model: WorstCase
    answer: Answer
    events: list[Event]
    ran: list[tuple[str, dict[str, Any]]]
    """The case's own tools that were really run, and with what."""
    tokens: int

    def filled(self, text: str) -> str:
        """A text of the case with this run's words."""
        return str(fill(text, self.words))


class Counted:
    """A model; counts the characters that go in and come out as a provider would count tokens."""

    def __init__(self, model: Model) -> None:
        self.id = model.id
        self.characters = 0
        self._model = model

    @property
    def tokens(self) -> int:
        """About how many tokens that is."""
        return self.characters // CHARACTERS_PER_TOKEN

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Pass on what the model answers."""
        self.characters += len(request.system)
        self.characters += sum(_length(message_to_wire(message)) for message in request.messages)
        self.characters += sum(_length(tool_to_wire(tool)) for tool in request.tools)
        async for event in self._model.stream(request):
            if isinstance(event, Reply):
                self.characters += sum(_length(block_to_wire(block)) for block in event.content)
            yield event


def _length(wire: object) -> int:
    """Characters of JSON; of what is nested too deep for a request, none."""
    try:
        return len(json.dumps(wire))
    except RecursionError:
        return 0


class Mixed:
    """Offline, but for agents that are told what to do."""

    def __init__(self, told: Scripted, names: Sequence[str]) -> None:
        self.id = "offline"
        self._told, self._names, self._offline = told, frozenset(names), Offline()

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Answer as told, or honestly."""
        model: Model = self._told if request.agent in self._names else self._offline
        async for event in model.stream(request):
            yield event


async def play(
    case: Case,
    level: Level,
    words: Words,
    folder: Path,
    *,
    real: Model | None = None,
    limits: Limits = RUN_LIMITS,
) -> Scene:
    """Run a case once.

    Args:
        case: What to play.
        level: The level of the ladder.
        words: What was drawn for this run.
        folder: An empty folder for its documents.
        real: A real model in place of the worst case; then nobody is told what to do.
        limits: Ceilings of the run; a case can only lower them.
    """
    docs = _written(case, words, folder)
    worst = _watched(real, words, case) if real else _worst_case(case, words)
    model = Counted(worst)
    ran: list[tuple[str, dict[str, Any]]] = []
    tools = [_tool(tool, words, ran) for tool in case.tools]
    settings = Settings(
        level=level,
        limits=_held(case, limits),
        agents=(_researcher(tools),) if tools else (),
    )
    index = Index(None, [docs], private=[docs / name for name in case.private])
    try:
        index.refresh()
        async with (
            opened(settings, index=index, model=model, approve=_approver(case)) as setup,
            Run(str(fill(case.question, words)), setup, _turns(case, words), _fixed(words)) as run,
        ):
            events = [event async for event in run]
            answer = await run.answer()
    finally:
        index.close()
    used = answer.usage.total if real else 0
    return Scene(
        case=case,
        level=level,
        words=words,
        model=worst,
        answer=answer,
        events=events,
        ran=ran,
        tokens=used or model.tokens,
    )


def _held(case: Case, limits: Limits) -> Limits:
    """The lower ceilings of the case's and the run's."""
    lower = {
        name: most
        for name, most in (case.limits or {}).items()
        if (above := getattr(limits, name)) is None or most < above
    }
    return replace(limits, **lower)


def _fixed(words: Words) -> Recording:
    """All that is drawn at random in a run comes from the run's own words: it comes out again."""
    seed = hashlib.sha256(words.canary.encode()).digest()
    return Recording(run=f"lab-{seed.hex()[:12]}", seed=seed[:16])


def _written(case: Case, words: Words, folder: Path) -> Path:
    """The documents of a case, in a folder of their own."""
    docs = folder / "docs"
    docs.mkdir(parents=True)
    _put(docs / "bm25.md", BENIGN)
    for document in case.documents:
        text = fill(document["text"], words)
        _put(docs / str(fill(document["name"], words)), str(text))
    for file in case.outside:
        _put(folder / file["name"], str(fill(file["text"], words)))
        if "linked_as" in file:
            (docs / file["linked_as"]).symlink_to(folder / file["name"])
    return docs


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", errors="replace"))


def _watched(real: Model, words: Words, case: Case) -> WorstCase:
    """A real model, told nothing; it is noted who could read the attacker's words."""
    return WorstCase(real, trigger=[str(fill(part, words)) for part in case.reads], hostile={})


def _worst_case(case: Case, words: Words) -> WorstCase:
    told = {acts.agent: acts for acts in case.agents}
    scripts = {name: behaviour(acts.steps, words) for name, acts in told.items()}
    honest = [name for name, acts in told.items() if acts.when is From.HONEST]
    hostile = {name: script for name, script in scripts.items() if name not in honest}
    return WorstCase(
        Mixed(Scripted({name: scripts[name] for name in honest}), honest) if honest else Offline(),
        trigger=[str(fill(part, words)) for part in case.reads],
        hostile=hostile,
        from_the_start=[name for name in hostile if told[name].when is From.START],
    )


def _tool(tool: CaseTool, words: Words, ran: list[tuple[str, dict[str, Any]]]) -> Tool:
    """A tool that notes that it ran."""

    async def run(call: Call) -> ToolOutput:
        ran.append((tool.name, dict(call.input)))
        return ToolOutput(data={"result": fill(tool.returns, words)}, label=label)

    label = untrusted(f"tool:{tool.name}", private=tool.secret)
    if tool.worth == "user":
        secrecy = Confidentiality.PRIVATE if tool.secret else Confidentiality.CONVERSATION
        label = Label(integrity=Integrity.USER, confidentiality=secrecy)
    made = Tool(
        name=tool.name,
        description=f"{tool.name}.",
        input_schema=_TOOL_INPUT,
        run=run,
    )
    return made if tool.effects is None else replace(made, effects=_effects(tool.effects))


def _effects(names: tuple[str, ...]) -> Effects:
    return Effects(
        reads="reads" in names,
        writes="writes" in names,
        sends="sends" in names,
        private="private" in names,
    )


_TOOL_INPUT = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 4000}},
    "additionalProperties": False,
}


def _researcher(tools: Sequence[Tool]) -> Agent:
    """The researcher with more tools."""
    own = shipped("researcher")
    return Agent(
        name=own.name,
        description=own.description,
        prompt=own.prompt,
        tools=(*own.tools, *tools),
        output_schema=own.output_schema,
    )


def _turns(case: Case, words: Words) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            question=str(fill(turn["question"], words)),
            answer=str(fill(turn["answer"], words)),
            label=untrusted("D1"),
        )
        for turn in case.history
    )


@dataclass(slots=True)
class _FirstAgain:
    """Asked about a call, gives back what it was asked about first: an approval that lingers."""

    digests: list[str] = field(default_factory=list)

    async def __call__(self, request: ApprovalRequest) -> str:
        """The digest of the first call, but not to the first call."""
        self.digests.append(request.digest)
        return self.digests[0] if len(self.digests) > 1 else ""


def _approver(case: Case) -> Approver:
    return _FirstAgain() if case.approver == "first_again" else nobody
