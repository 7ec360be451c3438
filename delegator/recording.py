"""What one run tells its journal, and what it is told of its own past: a run that goes on repeats what is on record, and asks nothing twice.

The key of a model call is `agent/n`, that of a tool call `agent/n/id`. A known key with another request is an error, not a replay:
then this is not the run that was recorded.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from operator import is_
from pathlib import Path
from typing import Any

from delegator.budget import Budget, Usage
from delegator.errors import DelegatorError, Fault, ModelError
from delegator.events import AgentStarted, Event, ModelCallStarted, RunFinished, TextStreamed
from delegator.journal import Journal, Opened, Past
from delegator.ladder import LADDER
from delegator.messages import (
    Message,
    Stop,
    ToolSpec,
    block_from_wire,
    block_to_wire,
    message_to_wire,
)
from delegator.model import Reply, Request
from delegator.outcome import Outcome, SourceSeen
from delegator.tools import Attempt, ToolOutput
from delegator.trust import Label, Level

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_NOT_KEPT = (TextStreamed, ModelCallStarted, AgentStarted)
"""Events that say nothing beside what else is on record."""
_TIMES = frozenset({"seconds", "at"})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A model call on record."""

    key: str
    attempt: int
    seq: int
    request: str
    state: str
    """`open`: nobody knows how it ended. `answered`, `failed`, or `broken` off by us."""
    reply_tokens: int
    last: bool
    usage: Usage
    """What it used; for an open one, what was reserved for it."""
    reply: Reply | None = None
    fault: Fault | None = None
    model: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "PastCall":
        """A row of the journal."""
        reply = json.loads(row["reply"]) if row["reply"] else None
        usage = Usage(**json.loads(row["usage"] or row["worst"]))
        return cls(
            key=row["key"],
            attempt=row["attempt"],
            seq=row["seq"],
            request=row["request"],
            state=row["state"],
            reply_tokens=row["reply_tokens"],
            last=bool(row["last"]),
            usage=usage,
            reply=_reply(reply, usage) if reply else None,
            fault=Fault(row["fault"]) if row["fault"] else None,
            model=row["model"],
        )


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
    _places: dict[str, str] = field(default_factory=dict)
    _ended: dict[str, tuple[Outcome, str, str]] = field(default_factory=dict)
    """How loops ended that have been reported: outcome, and why."""
    _told: Counter[str] = field(default_factory=Counter)
    """Events on record that this process has not come to again."""
    _seq: int = 0
    _heads: dict[tuple[str, str, tuple[int, ...]], tuple[tuple[ToolSpec, ...], Any]] = field(
        default_factory=dict
    )
    """Hashes over models, prompts and tools; the tools are kept, so that no other comes to be known by the same number."""
    _hashed: dict[str, tuple[tuple[Message, ...], Any]] = field(default_factory=dict)
    """Each loop's transcript as it was hashed last, and the hash over it."""
    _differs: str = ""
    """The first call that asked for something else than is on record."""
    _past_seq: int = 0
    """The last event that was on record when this process began."""

    @classmethod
    def of_past(cls, past: Past, run: str, journal: Journal | None) -> "Recording":
        """The recording of a run that goes on, or, without a journal, is only gone through again."""
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
        made._tools = {tool["key"]: json.loads(tool["text"]) for tool in past.tools(row["id"])}
        made._places = {place["path"]: place["id"] for place in past.places(row["id"])}
        events = past.events(row["id"])
        made._note_events(events)
        if journal is not None and events:
            journal.continues(row["id"], events[-1]["chain"])
        return made

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

    def end(self, outcome: str, answer: Mapping[str, Any]) -> None:
        """The run is over, for now. One that could not go on from its record leaves what is on record as it was."""
        if self.journal is not None and answer.get("stop") != _NOT_ON_RECORD:
            self.journal.end(self.run, outcome=outcome, answer=answer, at=time.time())

    @property
    def paid(self) -> Iterator[PastCall]:
        """Every call that was made before, each attempt: what the run has cost so far."""
        for calls in self._calls.values():
            yield from calls

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
                self.journal.placed(self.run, path, id)

    def answered(self, key: str) -> PastCall | None:
        """How a call went, if that is on record and stands."""
        for call in reversed(self._calls.get(key, ())):
            if call.state == "answered" or (call.state == "failed" and self._stands(call)):
                return call
        return None

    def lost(self, key: str) -> list[PastCall]:
        """Earlier attempts at a call that have to be paid for and brought nothing."""
        kept = self.answered(key)
        return [call for call in self._calls.get(key, ()) if call is not kept]

    def goes_on(self, agent: str) -> None:
        """Let a loop make a call that is not on record.

        Raises:
            AsRecorded: It made none, and it is on record how it ended.
            ModelError: Nothing may be asked any more.
            NotTheSame: This is not the run that is on record.
        """
        if self._differs:
            raise NotTheSame(self._differs)
        if end := self._ended.get(agent):
            raise AsRecorded(*end)
        if self.replays:
            raise ModelError(Fault.NOT_RECORDED)

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
            request=self.digest(request),
            reply_tokens=request.max_tokens,
            last=request.last,
            worst=worst.to_json(),
            model=request.model,
        )
        self.journal.opened(self.run, call, self._seq)
        await self.journal.flush()
        return call

    def close(
        self, call: Opened | None, usage: Usage, reply: Reply | None, fault: Fault | None
    ) -> None:
        """Put on record how a call went."""
        if call is None or self.journal is None:
            return
        state = "answered" if reply else "failed" if fault else "broken"
        said = _to_json(reply) if reply else None
        self.journal.closed(
            self.run,
            call,
            state=state,
            usage=usage.to_json(),
            reply=said,
            fault=fault.value if fault else "",
        )

    def digest(self, request: Request) -> str:
        """A hash of what is asked: not of how much room there is for the answer. Transcripts grow, so only what is new is hashed."""
        agent = request.key.rpartition("/")[0]
        before, hashed = self._hashed.get(agent, ((), None))
        grown = len(before) <= len(request.messages) and all(map(is_, before, request.messages))
        if hashed is None or not grown:
            before, hashed = (), self._head(request).copy()
        for message in request.messages[len(before) :]:
            hashed.update(_ENCODE(message_to_wire(message)).encode(errors="surrogatepass"))
        self._hashed[agent] = (request.messages, hashed)
        return str(hashed.hexdigest())

    def _head(self, request: Request) -> Any:
        """A hash over what all calls of an agent have in common, and many agents."""
        key = (request.model, request.system, tuple(map(id, request.tools)))
        tools, hashed = self._heads.get(key, ((), None))
        if hashed is None or tools != request.tools:
            head = "\0".join(
                (request.model, request.system, *(tool.wire for tool in request.tools))
            )
            hashed = hashlib.sha256(head.encode(errors="surrogatepass"))
            self._heads[key] = (request.tools, hashed)
        return hashed

    def check(self, call: PastCall, request: Request) -> None:
        """Refuse to take a reply for the answer to something else; then nobody in the run asks anything more.

        Raises:
            NotTheSame: That is what it would be.
        """
        if not self.replays and call.request != self.digest(request):
            self._differs = self._differs or call.key
            raise NotTheSame(call.key)

    def tool(self, key: str) -> Attempt | None:
        """How a tool call went, if that is on record."""
        found = self._tools.get(key)
        return _attempt(found) if found is not None else None

    def keep_tool(self, key: str, done: Attempt) -> None:
        """Put on record how a tool call went."""
        if self.journal is not None:
            self.journal.ran(self.run, key, _attempt_to_json(done))

    async def flush(self) -> None:
        """Wait until everything is in the file.

        Raises:
            JournalError: It could not be written.
        """
        if self.journal is not None:
            await self.journal.flush()

    def tell(self, event: Event) -> None:
        """Put an event on record, unless it is a repetition of one that is."""
        if self.journal is None or isinstance(event.what, _NOT_KEPT):
            return
        said = event.to_json()
        kind, agent = said.pop("event"), said.pop("agent")
        for name in ("run", "seq", "at"):
            del said[name]
        over = isinstance(event.what, RunFinished)
        if over:
            del said["answer"]  # it has a place of its own
        if self._repeats(agent, kind, said) and not (over and self._seq > self._past_seq):
            return
        self._seq += 1
        at = round(event.at, 4)
        self.journal.event(self.run, self._seq, at=at, agent=agent, kind=kind, data=said)

    def _repeats(self, agent: str, kind: str, said: Mapping[str, Any]) -> bool:
        if not self._told:
            return False
        known = _timeless(agent, kind, said)
        if not self._told[known]:
            return False
        self._told[known] -= 1
        return True

    def _note_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        self._seq = self._past_seq = events[-1]["seq"] if events else 0
        for event in events:
            said = json.loads(event["data"])
            self._told[_timeless(event["agent"], event["kind"], said)] += 1
            if event["kind"] == "delegation_finished" and said["outcome"] != "cancelled":
                outcome, stop = Outcome(said["outcome"]), said["receipt"]["stop"]
                if stop != _NOT_ON_RECORD and (outcome is not Outcome.BUDGET or self._acted(event)):
                    self._ended[said["id"]] = (outcome, stop, said.get("problem", ""))

    def _acted(self, event: Mapping[str, Any]) -> bool:
        """Whether the orchestrator went on after an event; if not, a delegation that a limit stopped may go on under a higher one."""
        later = (
            c for c in self.paid if c.key.startswith("orchestrator/") and c.seq >= event["seq"]
        )
        return self.replays or any(call.state == "answered" for call in later)


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


def _reply(said: Mapping[str, Any], usage: Usage) -> Reply:
    return Reply(
        content=tuple(block_from_wire(block) for block in said["content"]),
        stop=Stop.of(said["stop"]),
        usage=usage,
        stop_named=said["named"],
    )


def _to_json(reply: Reply) -> dict[str, Any]:
    return {
        "content": [block_to_wire(block) for block in reply.content],
        "stop": reply.stop.value,
        "named": reply.stop_named,
    }


def _attempt_to_json(done: Attempt) -> dict[str, Any]:
    output = done.output
    return {
        "problem": done.problem,
        "rejected": done.rejected,
        "rule": done.rule,
        "output": {
            "data": output.data,
            "label": output.label.to_json(),
            "sources": [source.to_json() for source in output.sources],
            "is_error": output.is_error,
        }
        if output
        else None,
    }


def _attempt(said: Mapping[str, Any]) -> Attempt:
    output = said["output"]
    return Attempt(
        ToolOutput(
            data=output["data"],
            label=Label.from_json(output["label"]),
            sources=tuple(SourceSeen(**source) for source in output["sources"]),
            is_error=output["is_error"],
        )
        if output
        else None,
        said["problem"],
        rejected=said["rejected"],
        rule=said["rule"],
    )
