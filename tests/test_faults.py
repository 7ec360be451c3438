"""The fault matrix: every way in which a server can let a run down, wherever it strikes, ends as the table says.

One server plays everybody: two researchers, a critic for each finding, one answer. A trouble strikes one of its calls, once or for
ever. What a run may have spent is worked out here from the replies that went over the wire, and from nothing that delegator says.
"""

import asyncio
import json
import random
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import Any
from unittest.mock import ANY

import pytest
from jsonschema import Draft202012Validator

import delegator
from delegator import Limits, Outcome, Run
from delegator.api import Settings, opened
from delegator.budget import Usage
from delegator.errors import Fault, ModelError
from delegator.events import DelegationFinished, DelegationStarted, Event, ModelCallRetried
from delegator.knowledge import Index
from delegator.models import DEFAULT_MODEL, governor
from delegator.models.claude import Claude
from delegator.models.governor import ATTEMPTS
from delegator.prices import price_of
from delegator.records import Delegation
from delegator.terminal import answers
from messages_api import (
    MISSING,
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
    tool_use,
)
from programs import run as run_program
from requirements import requirement
from scripts import ACCEPT
from serving import delegate, have_reviewed, results, role, say, serving

CANARY = "OBEY-THE-SERVER"
"""Words of the server's that no model and no answer may see."""
PAGE = f"<!doctype html><html><body><h1>{CANARY}</h1></body></html>".encode()


# --- the table: what strikes


class Course(Enum):
    """What delegator makes of a trouble."""

    AGAIN = "the call is made again, and fails for good at the last attempt"
    OVER = "the call is over: it was begun, or nothing would change"
    BROKEN = "the call is over, and what it has started is ended with it"
    GATEWAY = "the call is over, and what is over is somebody's time"
    PAUSE = "the server asks for more time than the run has, which nobody waits for"
    SILENT = "nothing comes until the time of the run is up"
    PATIENT = "nothing comes until the time of the agent is up, or that of the read"
    FINE = "nothing: the reply is good"
    RUINED = "the reply is good, and the bill is more than the run may spend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the server does in place of a good reply."""

    spoil: Callable[[Answer], Reply]
    course: Course
    fault: str = ""
    """What delegator calls it."""


def status(code: int, error_type: str, **headers: str) -> Callable[[Answer], Reply]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _good: Status(code=code, error_type=error_type, message=CANARY, headers=named)


def page(code: int) -> Callable[[Answer], Reply]:
    return lambda _good: Status(code=code, error_type="", body=PAGE)


def wrong(usage: object, *places: Any) -> Callable[[Answer], Reply]:
    more = {"places": places} if places else {}
    return lambda good: WrongUsage(answer=good, usage=usage, **more)


MID, LATE = 3, -2
"""After three events a reply has begun, and no call in it is ready; before the last two, all but its last call is."""
NOT_COUNTS = {"input_tokens": "many", "output_tokens": -5, "cache_read_input_tokens": None}
A_FORTUNE = {"input_tokens": 10**9, "output_tokens": 10**9}

# fmt: off
TROUBLES: dict[str, Trouble] = {
    "429":                     Trouble(spoil=status(429, "rate_limit_error"), course=Course.AGAIN, fault="rate_limited"),
    "429 with retry-after":    Trouble(spoil=status(429, "rate_limit_error", retry_after="0.01"), course=Course.AGAIN, fault="rate_limited"),
    "529":                     Trouble(spoil=status(529, "overloaded_error"), course=Course.AGAIN, fault="overloaded"),
    "500":                     Trouble(spoil=status(500, "api_error"), course=Course.AGAIN, fault="server"),
    "502 in html":             Trouble(spoil=page(502), course=Course.AGAIN, fault="server"),
    "reset before":            Trouble(spoil=lambda _: ResetBefore(), course=Course.AGAIN, fault="unreachable"),
    "hung up before":          Trouble(spoil=lambda _: ResetBefore(how="fin"), course=Course.AGAIN, fault="unreachable"),
    "reset after the head":    Trouble(spoil=lambda good: Cut(answer=good, after=0), course=Course.AGAIN, fault="cut"),
    "error event first":       Trouble(spoil=lambda good: StreamError(answer=good, after=0, message=CANARY), course=Course.AGAIN, fault="overloaded"),
    "reset in the middle":     Trouble(spoil=lambda good: Cut(answer=good, after=MID), course=Course.OVER, fault="cut"),
    "hung up in the middle":   Trouble(spoil=lambda good: Cut(answer=good, after=MID, how="fin"), course=Course.OVER, fault="cut"),
    "cut late":                Trouble(spoil=lambda good: Cut(answer=good, after=LATE), course=Course.BROKEN, fault="cut"),
    "ends early":              Trouble(spoil=lambda good: EndEarly(answer=good, after=MID), course=Course.OVER, fault="cut"),
    "error event later":       Trouble(spoil=lambda good: StreamError(answer=good, after=MID, message=CANARY), course=Course.OVER, fault="overloaded"),
    "malformed first event":   Trouble(spoil=lambda good: Malformed(answer=good, at=0), course=Course.OVER, fault="malformed"),
    "malformed event":         Trouble(spoil=lambda good: Malformed(answer=good, at=MID), course=Course.OVER, fault="malformed"),
    "html":                    Trouble(spoil=lambda _: Html(page=PAGE), course=Course.OVER, fault="malformed"),
    "other json":              Trouble(spoil=lambda _: Nonsense(), course=Course.OVER, fault="malformed"),
    "other events":            Trouble(spoil=lambda _: Nonsense(kind="stream", garbage=f"data: {CANARY}\n\n".encode()), course=Course.OVER, fault="malformed"),
    "400":                     Trouble(spoil=status(400, "invalid_request_error"), course=Course.OVER, fault="bad_request"),
    "504":                     Trouble(spoil=status(504, "timeout_error"), course=Course.GATEWAY, fault="silent"),
    "429 for an hour":         Trouble(spoil=status(429, "rate_limit_error", retry_after="3600"), course=Course.PAUSE, fault="rate_limited"),
    "silent":                  Trouble(spoil=lambda good: Silence(answer=good, after=0), course=Course.SILENT),
    "goes silent":             Trouble(spoil=lambda good: Silence(answer=good, after=MID), course=Course.SILENT),
    "silent for long":         Trouble(spoil=lambda good: Silence(answer=good, after=0), course=Course.PATIENT),
    "goes silent for long":    Trouble(spoil=lambda good: Silence(answer=good, after=MID), course=Course.PATIENT),
    "no usage":                Trouble(spoil=wrong(MISSING), course=Course.FINE),
    "no usage at the end":     Trouble(spoil=wrong(MISSING, "message_delta"), course=Course.FINE),
    "usage not of numbers":    Trouble(spoil=wrong(NOT_COUNTS), course=Course.FINE),
    "usage not an object":     Trouble(spoil=wrong(["much"]), course=Course.FINE),
    "usage beyond all limits": Trouble(spoil=wrong(A_FORTUNE), course=Course.RUINED),
}


# --- the table: where it strikes, and how the run ends then


PLACES = ("plan", "have reviewed", "search", "report", "review")
"""The orchestrator's first and second call, the first researcher's first and second, and the call of its finding's critic."""

DELEGATED = PLACES[2:]


@dataclass(frozen=True, slots=True)
class End:
    """How a run ends: its outcome, why it stopped, its model calls, and what became of the delegation that was struck.

    `ANY` number of calls: what the struck reply has started may have asked already, or not.
    """

    run: str
    stop: str
    calls: int
    struck: str = ""
    why: str = ""


WELL = End("complete", "end", 9, "complete", "end")
FAULT = "FAULT"
"""Stands for the fault's own name."""

# What strikes for ever ends so; what strikes once and is tried again ends `WELL`.
ENDS: dict[Course, dict[str, End]] = {
    Course.FINE: dict.fromkeys(PLACES, WELL),
    Course.OVER: {
        "plan":          End("failed", FAULT, 1),
        "have reviewed": End("failed", FAULT, 6),
        "search":        End("complete", "end", 7, "failed", FAULT),
        "report":        End("complete", "end", 8, "failed", FAULT),
        "review":        End("needs_review", "end", 9, "failed", FAULT),
    },
    Course.GATEWAY: {
        "plan":          End("timeout", FAULT, 1),
        "have reviewed": End("timeout", FAULT, 6),
        "search":        End("complete", "end", 7, "timeout", FAULT),
        "report":        End("complete", "end", 8, "timeout", FAULT),
        "review":        End("needs_review", "end", 9, "timeout", FAULT),
    },
    Course.SILENT: {
        "plan":          End("timeout", "seconds", 1),
        "have reviewed": End("timeout", "seconds", 6),
        "search":        End("timeout", "seconds", 4, "cancelled", "cancelled"),
        "report":        End("timeout", "seconds", 5, "cancelled", "cancelled"),
        "review":        End("timeout", "seconds", 8, "cancelled", "cancelled"),
    },
    Course.PATIENT: {
        "plan":          End("timeout", "silent", 1),
        "have reviewed": End("timeout", "silent", 6),
        "search":        End("complete", "end", 7, "timeout", "seconds"),
        "report":        End("complete", "end", 8, "timeout", "seconds"),
        "review":        End("needs_review", "end", 9, "timeout", "seconds"),
    },
    Course.RUINED: {
        "plan":          End("budget", "tokens", ANY),
        "have reviewed": End("budget", "tokens", ANY),
        "search":        End("budget", "tokens", 4, "budget", "tokens"),
        "report":        End("budget", "tokens", 5, "complete", "end"),
        "review":        End("budget", "tokens", 8, "complete", "end"),
    },
}
ENDS[Course.BROKEN] = ENDS[Course.OVER] | {
    "plan":          End("failed", FAULT, ANY),
    "have reviewed": End("failed", FAULT, ANY),
}
ENDS[Course.AGAIN] = ENDS[Course.OVER]
ENDS[Course.PAUSE] = ENDS[Course.OVER] | {
    "search":        End("failed", FAULT, ANY, "failed", FAULT),
    "report":        End("failed", FAULT, ANY, "failed", FAULT),
    "review":        End("failed", FAULT, ANY, "failed", FAULT),
}
# fmt: on

HURRIED, PATIENT = 60.0, 5000.0
"""Seconds that a run has: less than any agent's own, or more than two of them."""
UP = {"plan": 601.0, "have reviewed": 601.0, "search": 301.0, "report": 301.0, "review": 181.0}
"""When a patient run has had enough of a silence: with the agent's own time, or with the SDK's for one read."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A trouble at a place, once or for ever."""

    trouble: str
    place: str
    once: bool

    @property
    def of(self) -> Trouble:
        return TROUBLES[self.trouble]

    @property
    def end(self) -> End:
        end = ENDS[self.of.course][self.place]
        if self.of.course is Course.AGAIN and self.once:
            end = WELL
        if self.place not in DELEGATED:
            end = replace(end, struck="", why="")
        stop, why = (self.of.fault if word == FAULT else word for word in (end.stop, end.why))
        return replace(end, stop=stop, why=why)

    @property
    def tries(self) -> int:
        """How often the struck call is made."""
        if self.of.course is not Course.AGAIN:
            return 1
        return 2 if self.once else ATTEMPTS

    @property
    def patient(self) -> bool | None:
        """Whether the run must have much time, or must not, or `None`."""
        return {Course.PATIENT: True, Course.SILENT: False, Course.PAUSE: False}.get(self.of.course)

    def __str__(self) -> str:
        return f"{self.trouble}, {self.place}, {'once' if self.once else 'for ever'}"


STRIKES = [
    Strike(trouble, place, once)
    for trouble, what in TROUBLES.items()
    for place in PLACES
    for once in ((True, False) if what.course is Course.AGAIN else (False,))
]
PAIRS = random.Random(4).sample(  # noqa: S311 - a sample, no secret
    [
        (one, other)
        for one, other in combinations(STRIKES, 2)
        if one.place != other.place and {one.patient, other.patient} != {True, False}
    ],
    30,
)
every_strike = pytest.mark.parametrize("strike", STRIKES, ids=str)
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " + ".join(map(str, pair)))


# --- the play


FIRST, SECOND = "What is BM25?", "How is green tea brewed?"
QUERIES = {FIRST: "BM25 ranking function", SECOND: "tea brewed degrees"}
QUOTES = {
    FIRST: "BM25 is a ranking function that scores a document",
    SECOND: "Green tea is brewed at 80 degrees",
}
DOCUMENTS = {
    "bm25.md": "# BM25\n\nBM25 is a ranking function that scores a document by the query terms in it.\n",
    "tea.md": "# Tea\n\nGreen tea is brewed at 80 degrees for two minutes.\n",
}
MANY_SECONDS = 15.0
"""Nothing here takes so long: a test that does hangs."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward, so that no test waits for a deadline."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A reply, whose it was in the play, and whether delegator left before its end."""

    asked: Exchange
    line: str
    reply: Reply
    left: bool


@dataclass(kw_only=True)
class Play:
    """Everybody's lines. The first researcher and its critic are struck when their siblings are done, so that runs are alike."""

    strikes: Mapping[str, Strike]
    wait_out: Callable[[float], None]
    """Lets so many seconds pass, when everything that can happen has happened."""
    sent: list[Sent] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    over: bool = False
    """Whether the orchestrator's reply broke off: what it started is not answered any more."""

    async def __call__(self, asked: Exchange) -> Reply:
        if self.over:
            await asyncio.Event().wait()
        line, answer = said(asked)
        answer = replace(answer, usage=bill(asked))
        strike = self.strikes.get(line)
        if strike is None or (strike.once and any(line == before.line for before in self.sent)):
            return self._send(asked, line, answer)
        if role(asked) != "orchestrator":
            await self._siblings(role(asked))
        self.over |= role(asked) == "orchestrator" and strike.of.course is Course.BROKEN
        if strike.patient is not None:
            self.wait_out(UP[line] if strike.patient else HURRIED + 1)
        read_out = strike.of.course is Course.PATIENT and role(asked) == "orchestrator"
        return self._send(asked, line, strike.of.spoil(answer), left=not read_out)

    def _send(self, asked: Exchange, line: str, reply: Reply, *, left: bool = False) -> Reply:
        self.sent.append(Sent(asked=asked, line=line, reply=reply, left=left))
        return reply

    async def _siblings(self, who: str) -> None:
        second = {"researcher": "D2", "critic": "D4"}[who]
        async with self.news:
            await self.news.wait_for(lambda: second in self.finished)

    async def hear(self, event: Event) -> None:
        if isinstance(event.what, DelegationFinished):
            async with self.news:
                self.finished.add(event.what.id)
                self.news.notify_all()


def said(asked: Exchange) -> tuple[str, Answer]:
    """Whose line it is in the play, and the line."""
    turn, shown = len(asked.body["messages"]), results(asked)
    match role(asked):
        case "orchestrator" if turn == 1:
            return "plan", delegate(FIRST, SECOND)
        case "orchestrator" if turn == 3:
            return "have reviewed", have_reviewed(
                *(each["finding_id"] for each in shown if "claimed" in each)
            )
        case "orchestrator":
            claims = [
                claim for each in shown for claim in each.get("claimed", {}).get("claims", ())
            ]
            return "answer", say(" ".join(f"{c['text']} [{c['cite']}]." for c in claims))
        case "critic":
            first = QUOTES[FIRST] in json.dumps(shown)
            return _whose("review", first), Answer(content=(tool_use("submit_report", ACCEPT),))
        case _:
            return researched(asked, turn, shown)


def researched(asked: Exchange, turn: int, shown: list[dict[str, Any]]) -> tuple[str, Answer]:
    """A researcher searches, and then quotes what it found."""
    task = FIRST if FIRST in asked.body["messages"][0]["content"][0]["text"] else SECOND
    if turn == 1:
        reply = tool_use("search", {"query": QUERIES[task]})
        return _whose("search", task == FIRST), Answer(content=(reply,))
    source = next(hit["id"] for hit in shown[0]["hits"] if QUOTES[task] in hit["text"])
    claim = {"text": f"So {task[:-1]}", "source": source, "quote": QUOTES[task]}
    report = {"answer": "See there.", "claims": [claim], "confidence": "high", "gaps": []}
    return _whose("report", task == FIRST), Answer(content=(tool_use("submit_report", report),))


def _whose(line: str, first: bool) -> str:
    return line if first else f"{line} of the second"


def bill(asked: Exchange) -> dict[str, int]:
    """Tokens of a reply: no two have the same."""
    return {
        "input_tokens": 100 + asked.n,
        "cache_creation_input_tokens": 1000 + 7 * asked.n,
        "cache_read_input_tokens": 10 + 3 * asked.n,
        "output_tokens": 20 + 11 * asked.n,
    }


# --- what the server counted


def paid(sent: Sent) -> Usage:
    """What a reply costs, by what went over the wire. Where the server gives no number, a third of the characters."""
    asked = sent.asked
    match sent.reply:
        case Answer() as good:
            return counted(asked, good.events(asked))
        case (
            Cut(answer=good)
            | EndEarly(answer=good)
            | StreamError(answer=good)
            | Silence(answer=good)
        ):
            return counted(asked, good.events(asked)[: sent.reply.after])
        case Malformed(answer=good):
            return counted(asked, good.events(asked)[: sent.reply.at])
        case WrongUsage():
            lines = b"".join(sent.reply.plan(asked).parts).splitlines()
            return counted(asked, [json.loads(x[6:]) for x in lines if x.startswith(b"data: ")])
        case _:
            return Usage()


def counted(asked: Exchange, events: Iterable[Mapping[str, Any]]) -> Usage:
    """The numbers in some events of a stream: those of the start, and over them those of the end."""
    told: dict[str, int] = {}
    characters, begun = 0, False
    for event in events:
        match event["type"]:
            case "message_start":
                begun = True
                told |= _numbers(event["message"].get("usage"))
                told.pop("output_tokens", None)  # of a reply that is not written yet
            case "message_delta":
                told |= _numbers(event.get("usage"))
            case "content_block_delta":
                delta = event["delta"]
                characters += len(delta.get("text", "") + delta.get("partial_json", ""))
            case _:
                pass
    if not begun:
        return Usage()
    prompt = len(json.dumps(asked.body, ensure_ascii=False))
    return Usage(
        input_tokens=told.get("input_tokens", prompt // 3),
        output_tokens=told.get("output_tokens", characters // 3 + 1),
        cache_read_tokens=told.get("cache_read_input_tokens", 0),
        cache_write_tokens=told.get("cache_creation_input_tokens", 0),
    )


def _numbers(usage: object) -> dict[str, int]:
    pairs = usage.items() if isinstance(usage, Mapping) else ()
    return {name: n for name, n in pairs if type(n) is int and n >= 0}


# --- a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run that is over, and everything that can be known of it."""

    answer: delegator.Answer
    events: list[Event]
    run: Run
    sent: list[Sent]
    received: list[Exchange]
    left_over: set[asyncio.Task[Any]]
    """Tasks that nobody has ended."""

    @property
    def retried(self) -> list[str]:
        return [e.what.fault for e in self.events if isinstance(e.what, ModelCallRetried)]

    def struck(self, place: str) -> Delegation | None:
        """The delegation whose call was struck."""
        if place == "review":
            return next(d for d in self.answer.delegations if d.about == "D1")
        return self.answer.delegations[0] if place in ("search", "report") else None


async def play(index: Index, strikes: tuple[Strike, ...]) -> Ran:
    loop, waits = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    assert isinstance(loop, SkippingLoop)
    patient = any(strike.patient for strike in strikes)
    events: list[Event] = []

    async def skip(seconds: float) -> None:
        for _ in range(100):  # by then what was sent is read
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        hanging.reschedule((hanging.when() or 0.0) + seconds)
        loop.skipped += seconds

    def wait_out(seconds: float) -> None:
        waits.add(asyncio.create_task(skip(seconds)))

    acts = Play(strikes={strike.place: strike for strike in strikes}, wait_out=wait_out)
    async with asyncio.timeout(MANY_SECONDS) as hanging:
        async with MessagesApi(acts) as api:
            limits = Limits(seconds=PATIENT if patient else HURRIED)
            async with (
                Claude(base_url=api.url) as model,
                opened(Settings(limits=limits), index=index, model=model) as setup,
                Run("Q?", setup) as run,
            ):
                async for event in run:
                    events.append(event)
                    await acts.hear(event)
                answer = await run.answer()
            await api.until(lambda: api.in_flight == 0)
        await asyncio.gather(*waits)
    assert api.script_errors == []
    return Ran(
        answer=answer,
        events=events,
        run=run,
        sent=acts.sent,
        received=api.exchanges,
        left_over=asyncio.all_tasks() - {asyncio.current_task()},
    )


Runs = Callable[..., Ran]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The run with some strikes; each is made once, and looked at by several tests."""
    folder = tmp_path_factory.mktemp("docs")
    for name, words in DOCUMENTS.items():
        (folder / name).write_text(words)

    index = Index(None, [folder])
    index.refresh()
    context = cache(ssl.create_default_context)  # every client makes one, and none here needs it

    @cache
    def ran(*strikes: Strike) -> Ran:
        with (
            pytest.MonkeyPatch.context() as patch,
            asyncio.Runner(loop_factory=SkippingLoop) as runner,
        ):
            patch.setattr(governor, "FIRST_PAUSE", 0.001)
            patch.setattr(ssl, "create_default_context", context)
            return runner.run(play(index, strikes))

    yield ran
    index.close()


# --- what holds whatever happens


SCHEMA = Draft202012Validator(
    json.loads(files("delegator").joinpath("answer.schema.json").read_text())
)


def pays_once(ran: Ran) -> None:
    """The ledger is what the server counted, in tokens and in money, and nothing is held back."""
    bills = [paid(sent) for sent in ran.sent]
    assert ran.answer.usage == sum(bills, Usage())
    price = price_of(DEFAULT_MODEL)
    assert price is not None
    assert ran.answer.usd == pytest.approx(sum(map(price.cost, bills)) / 1e9)
    ledger = ran.run._budget
    assert (ledger.held_tokens, ledger.held_nano, ledger._waiting) == (0, 0, [])
    assert len(ran.received) <= ran.answer.model_calls + len(ran.retried)


def leaves_nothing(ran: Ran) -> None:
    """No task and no open end, and an answer that fits its schema. (`play` waits for the last connection to go.)"""
    assert ran.left_over == set()
    assert [e.kind for e in ran.events].count("run_finished") == 1
    assert ran.events[-1].to_json()["outcome"] == ran.answer.outcome
    assert ran.answer.outcome in Outcome
    assert all(d.outcome and d.receipt for d in ran.answer.delegations)
    SCHEMA.validate(ran.answer.to_json())


def keeps_the_canary(ran: Ran) -> None:
    """The server's own words reach no model, no event and no answer."""
    assert not any(CANARY.encode() in asked.raw for asked in ran.received)
    shown = [e.to_json() for e in ran.events] + [ran.answer.to_json()]
    assert CANARY not in json.dumps(shown, default=str)
    error = ran.answer.error
    words = [str(ran.answer), str(error), error.hint if error else ""]
    assert CANARY not in " ".join([*words, *(d.problem for d in ran.answer.delegations)])


def unfinished(ran: Ran) -> Counter[str]:
    """Delegations with an event for their start and none for their end."""
    whats = [event.what for event in ran.events]
    begun = Counter(what.id for what in whats if isinstance(what, DelegationStarted))
    return begun - Counter(what.id for what in whats if isinstance(what, DelegationFinished))


# --- the matrix


@every_strike
@requirement("faults")
def test_the_run_ends_as_the_table_says(runs: Runs, strike: Strike) -> None:
    ran = runs(strike)
    struck = ran.struck(strike.place)
    assert strike.end == End(
        ran.answer.outcome.value,
        ran.answer.stop,
        ran.answer.model_calls,
        struck.outcome.value if struck and struck.outcome else "",
        struck.receipt.stop if struck and struck.receipt else "",
    )


@every_strike
@requirement("faults")
def test_only_what_cost_nothing_is_asked_again_and_the_fault_is_named(
    runs: Runs, strike: Strike
) -> None:
    ran = runs(strike)
    assert [sent.line for sent in ran.sent].count(strike.place) == strike.tries
    assert ran.retried == [strike.of.fault] * (strike.tries - 1)
    if strike.end.calls != ANY:
        assert len(ran.received) == strike.end.calls + strike.tries - 1


@every_strike
@requirement("faults")
def test_the_ledger_is_what_the_server_counted_and_nothing_is_left_open(
    runs: Runs, strike: Strike
) -> None:
    pays_once(runs(strike))
    leaves_nothing(runs(strike))


def says_something(strike: Strike) -> bool:
    """Whether the server's own words are part of the trouble."""
    asked = Exchange(path="", headers={}, body={"stream": True}, raw=b"", n=0)
    return any(
        CANARY.encode() in part for part in strike.of.spoil(delegate(FIRST)).plan(asked).parts
    )


@pytest.mark.parametrize("strike", [s for s in STRIKES if says_something(s)], ids=str)
@requirement("T7")
def test_no_model_and_no_answer_sees_the_servers_words(runs: Runs, strike: Strike) -> None:
    keeps_the_canary(runs(strike))


@every_strike
@requirement("faults")
def test_every_delegation_that_starts_has_an_event_for_its_end(runs: Runs, strike: Strike) -> None:
    assert unfinished(runs(strike)) == Counter()


@pytest.mark.parametrize("strike", [s for s in STRIKES if s.place in DELEGATED], ids=str)
@requirement("faults")
def test_the_receipt_of_the_struck_delegation_shows_what_was_paid_for_it(
    runs: Runs, strike: Strike
) -> None:
    ran = runs(strike)
    struck = ran.struck(strike.place)
    own = {"review"} if strike.place == "review" else {"search", "report"}
    assert struck is not None
    assert struck.receipt is not None
    bills = [paid(sent) for sent in ran.sent if sent.line in own]
    assert struck.receipt.usage == sum(bills, Usage())


def told(ran: Ran, capsys: pytest.CaptureFixture[str]) -> str:
    """What a person reads below the answer."""
    capsys.readouterr()
    answers.explain(ran.answer)
    return capsys.readouterr().err


@pytest.mark.parametrize("strike", [s for s in STRIKES if s.end.stop == s.of.fault], ids=str)
@requirement("cli:errors")
def test_a_person_is_told_which_fault_ended_the_run_and_what_to_do(
    runs: Runs, strike: Strike, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ModelError(Fault(strike.of.fault))
    what, advice = told(runs(strike), capsys).splitlines()
    assert what.startswith(f"delegator: {error}")
    assert advice.strip() == error.hint


@pytest.mark.parametrize("strike", [s for s in STRIKES if s.patient is False], ids=str)
@requirement("cli:errors")
def test_a_person_whose_time_a_server_took_is_told_that_it_was_the_server(
    runs: Runs, strike: Strike, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "server" in told(runs(strike), capsys)


def test_the_canary_would_be_seen_if_it_got_through(runs: Runs) -> None:
    error = runs(Strike("429", "plan", once=False)).answer.error
    assert isinstance(error, ModelError)
    assert CANARY in error.detail


# --- two at once


@every_pair
@requirement("faults")
def test_two_troubles_end_in_a_named_outcome_and_no_call_is_paid_for_twice(
    runs: Runs, pair: tuple[Strike, Strike]
) -> None:
    ran = runs(*pair)
    leaves_nothing(ran)
    pays_once(ran)
    keeps_the_canary(ran)


# --- the program


ERROR = re.compile(r"delegator: \S.*\n(?: {11}\S.*\n)?")
"""What is wrong, and on a second line what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a person is told whose server does this to every call."""

    reply: Reply
    seconds: int
    status: int
    stop: str
    words: str
    advice: str


SPOILT = say("nobody reads this")
TOLD: dict[str, Told] = {
    "429": Told(
        reply=status(429, "rate_limit_error", retry_after="0")(SPOILT),
        seconds=30,
        status=1,
        stop="rate_limited",
        words="The model server is limiting the request rate. (HTTP 429)",
        advice="Wait, or lower --max-parallel.",
    ),
    "html": Told(
        reply=Html(page=PAGE),
        seconds=30,
        status=1,
        stop="malformed",
        words="The model server answered with something that is not the Messages API.",
        advice="Check that --base-url points at a server that speaks /v1/messages.",
    ),
    "silent": Told(
        reply=Silence(answer=SPOILT, after=0),
        seconds=1,
        status=3,
        stop="seconds",
        words="The model server stopped answering.",
        advice="Try again, or raise --max-seconds.",
    ),
}
Asks = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def asks(tmp_path_factory: pytest.TempPathFactory) -> Asks:
    """The program run against each of these servers, all at the same time: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "tea.md").write_text(DOCUMENTS["tea.md"])

    def one(case: Told) -> tuple[int, str, str]:
        with serving(lambda _asked: case.reply) as served:
            options = ("--docs", str(folder), "--max-seconds", str(case.seconds), "--quiet")
            return run_program("ask", "--json", "--base-url", served.url, *options, "What is tea?")

    @cache
    def everybody() -> dict[str, tuple[int, str, str]]:
        with ThreadPoolExecutor(len(TOLD)) as pool:
            return dict(zip(TOLD, pool.map(one, TOLD.values()), strict=True))

    return lambda name: everybody()[name]


every_told = pytest.mark.parametrize("name", TOLD)


@every_told
@requirement("cli:exit")
def test_the_program_ends_by_itself_and_says_how(asks: Asks, name: str) -> None:
    (code, out, _), expected = asks(name), TOLD[name]
    SCHEMA.validate(answer := json.loads(out))
    assert (code, answer["stop"]) == (expected.status, expected.stop)
    assert CANARY not in out


@every_told
@requirement("cli:errors")
def test_the_program_names_what_is_wrong_and_what_to_do_in_two_lines(asks: Asks, name: str) -> None:
    (_, _, err), expected = asks(name), TOLD[name]
    assert ERROR.fullmatch(err)
    assert err == f"delegator: {expected.words}\n           {expected.advice}\n"
