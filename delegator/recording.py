"""What one run tells its journal, and what it is told of its own past: a run that goes on repeats what is on record, and asks nothing twice.

The key of a model call is `agent/n`, that of a tool call `agent/n/hash`. A known key with another request is an error, not a replay:
then this is not the run that was recorded.
"""

import asyncio
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delegator.budget import Budget, Usage
from delegator.digests import Digests
from delegator.entries import Paid, PastCall, attempt_of, attempt_to_json, reply_to_json
from delegator.errors import ConfigError, DelegatorError, Fault, ModelError
from delegator.events import (
    AgentStarted,
    DelegationFinished,
    Event,
    ModelCallFinished,
    ModelCallStarted,
    RunFinished,
    TextStreamed,
)
from delegator.journal import Journal, Opened, Past
from delegator.ladder import LADDER
from delegator.model import Reply, Request
from delegator.outcome import Outcome
from delegator.tools import Attempt
from delegator.trust import Level

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_NOT_KEPT = (TextStreamed, ModelCallStarted, ModelCallFinished, AgentStarted)
"""Events that say nothing beside what else is on record."""
_TIMES = frozenset({"seconds", "at"})
_UNCERTAIN = (
    "the program ended while this ran; whether it took effect is not known, and it is not run again"
)
_NOT_ON_RECORD = "journal"
"""Why a loop stopped that could not put something on record, or found something else there: that is no end to hold it to."""


class NotTheSame(DelegatorError):
    """A call is on record under this key, but something else was asked."""

    def __init__(self, key: str) -> None:
        super().__init__(f"call {key} asks for something else than is on record")
        self.hint = "Documents, agents or settings have changed since; ask anew instead."


class AsRecorded(Exception):
    """A loop made no further call, because it ended otherwise: so it is on record."""

    def __init__(self, outcome: Outcome, stop: str, problem: str) -> None:
        super().__init__(stop)
        self.outcome = outcome
        self.stop = stop
        self.error = DelegatorError(problem) if problem else None


@dataclass(slots=True)
class Recording:
    """One run's line to the journal. Without a journal nothing is kept and nothing is known."""

    run: str = ""
    journal: Journal | None = None
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    """What everything random in a run is made from, so that it comes out again."""
    held: bool = False
    """Whether this process holds the run already."""
    replays: bool = False
    """Whether nothing may be asked that is not on record."""
    settled: Budget | None = None
    """The budget in which all that was paid before is counted already."""
    named_at_random: bool | None = None
    """Whether findings had random names when it was recorded; what was said then names them so."""
    trace: str = ""
    """Where the run stands in the trace in which it began, if it has one."""
    _calls: dict[str, list[PastCall]] = field(default_factory=dict)
    _tools: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _acted: set[str] = field(default_factory=set)
    """Tool calls with effects that were about to be made."""
    _places: dict[str, str] = field(default_factory=dict)
    _ended: dict[str, tuple[Outcome, str, str]] = field(default_factory=dict)
    """How loops ended that have been reported: outcome, and why."""
    _told: Counter[str] = field(default_factory=Counter)
    """Events on record that this process has not come to again."""
    _digests: Digests = field(default_factory=Digests)
    _differs: str = ""
    """The first call that asked for something else than is on record."""
    _over: bool = False
    """Whether the run has ended: what is told later is told to nobody."""
    _grown: bool = False
    """Whether this process has told of an event that was not on record."""
    _before: float = 0.0
    """Seconds that the run took in earlier processes."""
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def of_past(cls, past: Past, run: str, journal: Journal | None) -> "Recording":
        """The recording of a run that goes on, or, without a journal, is only gone through again.

        Raises:
            ConfigError: There is none, or it does not read like one.
        """
        with readable():
            return cls._of_past(past, run, journal)

    @classmethod
    def _of_past(cls, past: Past, run: str, journal: Journal | None) -> "Recording":
        row = past.run(run)
        made = cls(
            run=row["id"],
            journal=journal,
            seed=bytes.fromhex(row["seed"]),
            replays=journal is None,
        )
        for call in map(PastCall.of, past.calls(row["id"])):
            made._calls.setdefault(call.key, []).append(call)
        settings = json.loads(row["settings"])
        made.named_at_random = LADDER[Level(settings["level"])].one_source_each
        made.trace = str(settings.get("trace", ""))  # a file of somebody's may say anything
        made._tools = dict(past.tools(row["id"]))
        made._acted = past.effects(row["id"])
        made._places = {place["path"]: place["id"] for place in past.places(row["id"])}
        made._note_events(past.events(row["id"]))
        if journal is not None and (last := past.last(row["id"])):
            made._before = last["at"]
            calls, places = sum(map(len, made._calls.values())), len(made._places)
            journal.continues(row["id"], last["n"], last["chain"], calls=calls, places=places)
        return made

    @property
    def _at(self) -> float:
        """Seconds since the run began; while no process was at work on it, none passed."""
        return round(self._before + time.monotonic() - self._began, 4)

    def drawn(self, what: str) -> str:
        """Sixteen hexadecimal digits that nobody can know who does not know the seed; the same for the same words."""
        return hmac.digest(self.seed, what.encode(errors="replace"), "sha256")[:8].hex()

    def claimed(self) -> AbstractContextManager[None]:
        """Hold the run for this process.

        Raises:
            ConfigError: Another process has it.
        """
        if self.journal is None or self.held:
            return nullcontext()
        return self.journal.claimed(self.run)

    def begin(self, question: str, settings: Mapping[str, Any]) -> None:
        """The run starts."""
        if self.journal is not None:
            seed = self.seed.hex()
            self.journal.begin(
                self.run, question=question, settings=settings, seed=seed, at=time.time()
            )

    def set(self, settings: Mapping[str, Any]) -> None:
        """The run goes on under other settings, and would if it was resumed."""
        if self.journal is not None and not self._over:
            self.journal.set(self.run, settings)

    def end(self, outcome: str, answer: Mapping[str, Any]) -> None:
        """The run is over, for now. One that could not go on from its record leaves what is on record as it was."""
        self._over = True
        if self.journal is not None and answer.get("stop") != _NOT_ON_RECORD:
            self.journal.end(self.run, outcome=outcome, answer=answer, at=time.time())

    @property
    def paid(self) -> Iterator[PastCall]:
        """Every call that was made before, each attempt: what the run has cost so far. A replay pays as it goes."""
        if not self.replays:
            for calls in self._calls.values():
                yield from calls

    def unasked(self, agent: str) -> Sequence[PastCall]:
        """For a replay: the calls of a loop that is not gone through again."""
        calls = (call for made in self._calls.values() for call in made)
        return [c for c in calls if self.replays and c.key.startswith(f"{agent}/")]

    @property
    def free(self) -> bool:
        """Whether no call on record used any tokens."""
        return not any(call.usage.total for calls in self._calls.values() for call in calls)

    def said(self, key: str) -> Reply:
        """The reply to a call, as it is on record.

        Raises:
            ModelError: It failed, or it is not on record.
        """
        call = self._recorded(key)
        if call is None or call.reply is None:
            raise ModelError((call and call.fault) or Fault.NOT_RECORDED)
        return call.reply

    def bound(self, key: str) -> int | None:
        """For a replay: how long the prompt of a call was taken to be at most."""
        call = self._recorded(key) if self.replays else None
        return call.worst.input_tokens if call else None

    def place(self, path: str, taken: Sequence[str]) -> str:
        """The id of the delegation at a place in the run: the one on record, or the next that is free."""
        if known := self._places.get(path):
            return known
        if self.replays and (known := self._places.get(_elsewhere(path))):
            return known  # another level splits work over readers, or does not
        numbers = [int(id[1:]) for id in (*taken, *self._places.values())]
        return f"D{max(numbers, default=0) + 1}"

    def keep_place(self, path: str, id: str) -> None:
        """A delegation has its id for good."""
        if self._places.get(path) != id:
            self._places[path] = id
            if self.journal is not None:
                self.journal.placed(self.run, path, id, at=self._at)

    def answered(self, key: str) -> PastCall | None:
        """How a call went, if that is on record and stands: then it is not made again. A replay makes it, of a model that knows it."""
        return None if self.replays else self._recorded(key)

    def _recorded(self, key: str) -> PastCall | None:
        for call in reversed(self._calls.get(key, ())):
            if call.state == "answered" or (call.state == "failed" and self._stands(call)):
                return call
        return None

    def lost(self, key: str) -> list[PastCall]:
        """Earlier attempts at a call that have to be paid for and brought nothing."""
        kept = self._recorded(key)
        return [call for call in self._calls.get(key, ()) if call is not kept]

    def goes_on(self, agent: str, key: str) -> None:
        """Let a loop make a call whose end is not on record.

        Raises:
            AsRecorded: It made none, and it is on record how it ended.
            NotTheSame: This is not the run that is on record.
        """
        if self._differs:
            raise NotTheSame(self._differs)
        if (end := self._ended.get(agent)) and not (self.replays and self._recorded(key)):
            raise AsRecorded(*end)

    def _stands(self, call: PastCall) -> bool:
        """Whether the run went on after a call had failed: then its failure is part of the story."""
        agent = call.key.rpartition("/")[0]
        return self.replays or agent in self._ended

    async def open(self, request: Request, worst: Usage) -> Opened | None:
        """Put a call on record before it is made.

        Raises:
            JournalError: It could not be written.
        """
        if self.journal is None:
            return None
        call = Opened(
            key=request.key,
            attempt=len(self._calls.get(request.key, ())) + 1,
            request=self._digests.of(request),
            reply_tokens=request.max_tokens,
            last=request.last,
            worst=worst.to_json(),
            model=request.model,
        )
        self.journal.opened(self.run, call, at=self._at)
        try:
            await self.journal.flush()
        except asyncio.CancelledError:  # it is not made
            self.close(call, Paid(usage=Usage(), usd=None, seconds=0.0), None, None)
            raise
        return call

    def close(
        self, call: Opened | None, paid: Paid, reply: Reply | None, fault: Fault | None
    ) -> None:
        """Put on record how a call went."""
        if call is None or self.journal is None:
            return
        state = "answered" if reply else "failed" if fault else "broken"
        self.journal.closed(
            self.run,
            call,
            state=state,
            at=self._at,
            paid=paid.to_json(),
            reply=reply_to_json(reply) if reply else None,
            fault=fault.value if fault else "",
        )

    def check(self, call: PastCall, request: Request) -> None:
        """Refuse to take a reply for the answer to something else; then nobody in the run asks anything more.

        Raises:
            NotTheSame: That is what it would be.
        """
        if call.request != self._digests.of(request):
            self._differs = self._differs or call.key
            raise NotTheSame(call.key)

    def tool(self, key: str) -> Attempt | None:
        """How a tool call went, if that is on record."""
        if (found := self._tools.get(key)) is not None:
            return attempt_of(found)
        return Attempt(None, _UNCERTAIN) if key in self._acted else None

    async def before_effect(self, key: str) -> None:
        """Put on record that a tool call with effects is about to be made: should we end while it runs, it is not made again.

        Raises:
            JournalError: It could not be written.
        """
        if self.journal is not None:
            self.journal.acts(self.run, key, at=self._at)
            await self.journal.flush()

    def keep_tool(self, key: str, done: Attempt) -> None:
        """Put on record how a tool call went."""
        if self.journal is not None:
            self.journal.ran(self.run, key, attempt_to_json(done), at=self._at)

    async def flush(self) -> None:
        """Wait until everything is in the file.

        Raises:
            JournalError: It could not be written.
        """
        if self.journal is not None:
            await self.journal.flush()

    def tell(self, event: Event) -> None:
        """Put an event on record, unless it is a repetition of one that is."""
        if self.journal is None or self._over or isinstance(event.what, _NOT_KEPT):
            return
        if isinstance(event.what, DelegationFinished):
            self._digests.ended(event.what.id)
        said, kind = event.said(), event.kind
        over = isinstance(event.what, RunFinished)
        if over:
            del said["answer"]  # it has a place of its own
        if self._repeats(event.agent, kind, said) and not (over and self._grown):
            return
        self._grown = True
        self.journal.event(self.run, at=self._at, agent=event.agent, kind=kind, data=said)

    def _repeats(self, agent: str, kind: str, said: Mapping[str, Any]) -> bool:
        if not self._told:
            return False
        known = _timeless(agent, kind, said)
        if not self._told[known]:
            return False
        self._told[known] -= 1
        return True

    def _note_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            said = json.loads(event["data"])
            self._told[_timeless(event["agent"], event["kind"], said)] += 1
            if event["kind"] == "delegation_finished" and said["outcome"] != "cancelled":
                outcome, stop = Outcome(said["outcome"]), said["receipt"]["stop"]
                if stop != _NOT_ON_RECORD and (
                    outcome is not Outcome.BUDGET or self._went_on(event)
                ):
                    self._ended[said["id"]] = (outcome, stop, said.get("problem", ""))

    def _went_on(self, event: Mapping[str, Any]) -> bool:
        """Whether the orchestrator went on after an event; if not, a delegation that a limit stopped may go on under a higher one."""
        later = (
            c for c in self.paid if c.key.startswith("orchestrator/") and c.seq >= event["seq"]
        )
        return self.replays or any(call.state == "answered" for call in later)


@contextmanager
def readable() -> Iterator[None]:
    """Name a record that does not read like one for what it is.

    Raises:
        ConfigError: It does not.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(
            "the record of this run cannot be read", hint="It was changed, or damaged."
        ) from error


@contextmanager
def resumed(run: str, home: Path, journal: Journal) -> Iterator["Recording"]:
    """The recording of a run that goes on, held by this process.

    Raises:
        ConfigError: There is no such run, or another process has it.
    """
    with journal.claimed(run), Past(home) as past:
        recording = Recording.of_past(past, run, journal)
        recording.held = True
        yield recording


def _elsewhere(path: str) -> str:
    """Where a delegation stands at a level that has one reader for each source, or at one that has not."""
    head, split, rest = path.partition("#1")
    if split:
        return head + rest
    head, dot, rest = path.partition(".")
    return f"{head}#1{dot}{rest}"


def _timeless(agent: str, kind: str, said: Mapping[str, Any]) -> str:
    """An event without its times: they differ whenever it happens."""
    return f"{agent} {kind} {_ENCODE(_without_times(said))}"


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(v) for name, v in value.items() if name not in _TIMES}
    return value
