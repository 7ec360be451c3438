"""What the mock model says: a function of the request and nothing else, so the critical path is known exactly.

A question carries a tag: `[q7n3]` delegates three tasks, has every finding reviewed, and answers; `[q7n3r]` may have each one
revised once. Every delegated task carries `[q7t0]`, `[q7t1]` and so on, by which its requests are told apart.

    orchestrator -> n x (researcher -> search -> researcher) -> orchestrator -> n x critic -> orchestrator

Sizes are those of real work, at four characters a token: a delegation has 35 tokens, a search 25, a call of the critic 20; a report
has 240, a review 120, an answer 200, give or take two thirds of that, evenly spread by a hash of the task. In a question that
revises, about every fourth finding is sent back, by a hash as well, and its revision is accepted.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

DELEGATE, SEARCH, REVIEW = 35, 25, 20
"""Output tokens of the tool calls, by what they ask for."""
REPORT, VERDICT, ANSWER = 240, 120, 200
"""Mean output tokens of what ends a loop."""
VARY = 0.67
"""Ends are so much longer or shorter than their mean at most."""
LOW_SHARE = 0.25
"""The share of findings that a critic sends back, where the question lets it."""
CHARACTERS = 4
"""Of one token."""
REVISED = "[revised]"
"""Stands in a revised finding, so that its critic knows."""

_QUESTION = re.compile(rb"\[q(\d+)n(\d+)(r?)\]")
_TASK = re.compile(rb"\[q(\d+)t(\d+)(r?)\]")
_LOREM = (
    "the report names what was measured, by whom, under which conditions and how often it held "
)

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One delegated task of a question."""

    question: int
    number: int
    revising: bool

    @property
    def tag(self) -> str:
        """How its text begins."""
        return f"[q{self.question}t{self.number}{'r' * self.revising}]"

    @property
    def low(self) -> bool:
        """Whether its first finding is sent back."""
        return self.revising and _unit(self.question, "low", self.number) < LOW_SHARE

    def report(self, version: int = 0) -> int:
        """Output tokens of its report."""
        return _varied(REPORT, self.question, f"report{version}", self.number)

    def verdict(self, version: int = 0) -> int:
        """Output tokens of its review."""
        return _varied(VERDICT, self.question, f"verdict{version}", self.number)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as its tag says it."""

    id: int
    n: int
    revising: bool = False

    @property
    def text(self) -> str:
        """The whole question."""
        tag = f"[q{self.id}n{self.n}{'r' * self.revising}]"
        return (
            f"{tag} What do the documents say about the {self.n} subjects, and how do they differ?"
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it delegates, in order."""
        return tuple(Task(self.id, i, self.revising) for i in range(self.n))

    @property
    def low(self) -> tuple[Task, ...]:
        """The tasks whose first finding is sent back."""
        return tuple(task for task in self.tasks if task.low)

    @property
    def answer(self) -> int:
        """Output tokens of its answer."""
        return _varied(ANSWER, self.id, "answer", 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the mock says, and how many tokens each block has."""

    role: str
    blocks: list[Block]
    tokens: list[int]

    @property
    def stop_reason(self) -> str:
        """Why it stops there."""
        return "tool_use" if self.blocks[-1]["type"] == "tool_use" else "end_turn"


@dataclass(slots=True)
class _Seen:
    """What a request's transcript holds."""

    called: list[str] = field(default_factory=list)
    results: list[Mapping[str, Any]] = field(default_factory=list)
    """Of tools, without their envelopes, in order."""


def reply(raw: bytes, body: Mapping[str, Any]) -> Reply:
    """The answer to a request."""
    tools = {tool["name"]: tool for tool in body.get("tools") or ()}
    seen = _seen(body["messages"])
    if any(name.startswith("delegate_to_") for name in tools):
        return _orchestrator(_question_of(raw), seen, tools)
    found = _TASK.search(raw)
    if found is None:
        raise ValueError("a subagent was asked without its task")
    task = Task(int(found[1]), int(found[2]), bool(found[3]))
    if "search" in tools:
        return _researcher(task, seen, version=int(b"earlier_finding" in raw))
    return _critic(task, version=int(REVISED.encode() in raw))


def _question_of(raw: bytes) -> Question:
    found = _QUESTION.search(raw)
    if found is None:
        raise ValueError("an orchestrator was asked without a question")
    return Question(int(found[1]), int(found[2]), bool(found[3]))


def _seen(messages: Sequence[Mapping[str, Any]]) -> _Seen:
    seen = _Seen()
    for block in (b for m in messages if not isinstance(m["content"], str) for b in m["content"]):
        if block["type"] == "tool_use":
            seen.called.append(block["name"])
        elif block["type"] == "tool_result":
            text = block["content"]
            text = text if isinstance(text, str) else "".join(part["text"] for part in text)
            seen.results.append(orjson.loads(text).get("data", {}))
    return seen


def _orchestrator(question: Question, seen: _Seen, tools: Mapping[str, Any]) -> Reply:
    """Research, review, and, where reviews were not part of the research, revise and review again; then answer."""
    pipelined = "reviewed" in tools["delegate_to_researcher"]["input_schema"]["properties"]
    findings = [r["finding_id"] for r in seen.results if "finding_id" in r]
    reviewed, first = seen.called.count("delegate_to_critic"), question.n
    if not findings:
        extra = {"reviewed": True} if question.revising and pipelined else {}
        return _calls("delegate_to_researcher", [_asked(t, extra) for t in question.tasks], 0)
    if question.revising and pipelined:
        return _answer(question, seen)
    if reviewed < len(findings):
        todo = [{"finding_id": id} for id in findings[reviewed:]]
        return _calls("delegate_to_critic", todo, len(seen.called))
    if question.low and len(findings) == first:
        again = [_asked(t, {"revises": findings[t.number]}) for t in question.low]
        return _calls("delegate_to_researcher", again, len(seen.called))
    return _answer(question, seen)


def _asked(task: Task, extra: Mapping[str, Any]) -> Block:
    return {
        "task": _prose(DELEGATE - 5, f"{task.tag} Find out about subject {task.number}:"),
        **extra,
    }


def _calls(tool: str, inputs: Sequence[Block], seen: int) -> Reply:
    tokens = DELEGATE if tool == "delegate_to_researcher" else REVIEW
    blocks = [_use(f"toolu_{seen + i:012d}", tool, given) for i, given in enumerate(inputs)]
    return Reply("orchestrator", blocks, [tokens] * len(blocks))


def _answer(question: Question, seen: _Seen) -> Reply:
    cited = [
        claim["cite"]
        for result in seen.results
        for claim in result.get("claimed", {}).get("claims", ())
    ]
    head = " ".join(f"Subject {i} holds [{cite}]." for i, cite in enumerate(cited[:8]))
    block = {"type": "text", "text": _prose(question.answer, head)}
    return Reply("orchestrator", [block], [question.answer])


def _researcher(task: Task, seen: _Seen, version: int) -> Reply:
    if "search" not in seen.called:
        given = {"query": f"subject {task.number} measured conditions"}
        return Reply("researcher", [_use("toolu_search0001", "search", given)], [SEARCH])
    tokens = task.report(version)
    hits = seen.results[-1]["hits"]
    claims = [
        {"text": f"Claim {i} holds as measured.", "source": hit["id"], "quote": hit["text"][:80]}
        for i, hit in enumerate(hits[: 1 + tokens // 150])
    ]
    head = f"{REVISED * version} Found:"
    room = tokens - len(orjson.dumps(claims)) // CHARACTERS - 20
    report = {"answer": _prose(room, head), "claims": claims, "confidence": "high", "gaps": []}
    return Reply("researcher", [_use("toolu_report0001", "submit_report", report)], [tokens])


def _critic(task: Task, version: int) -> Reply:
    again = task.low and not version
    tokens = task.verdict(version)
    review: Block = {
        "score": 2 if again else 5,
        "verdict": "revise" if again else "accept",
        "feedback": _prose(tokens - 15, "Reviewed:"),
        "issues": [],
    }
    return Reply("critic", [_use("toolu_review0001", "submit_report", review)], [tokens])


def _use(id: str, tool: str, given: Block) -> Block:
    return {"type": "tool_use", "id": id, "name": tool, "input": given}


def _prose(tokens: int, head: str) -> str:
    """Words of about so many tokens, with `head` before them."""
    size = max(tokens * CHARACTERS, len(head))
    return f"{head} {_LOREM * (size // len(_LOREM) + 1)}"[:size].rstrip()


def _unit(*key: object) -> float:
    """From 0 to 1, evenly spread and always the same for the same key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _varied(mean: int, *key: object) -> int:
    return round(mean * (1 + VARY * (2 * _unit(*key) - 1)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the mock speaks."""

    ttft: float = 0.0
    """Seconds to the first token."""
    tpt: float = 0.0
    """Seconds for each token."""

    def call(self, tokens: int) -> float:
        """Seconds of one call."""
        return self.ttft + self.tpt * tokens

    def research(self, task: Task, version: int = 0) -> float:
        """Seconds of one researcher."""
        return self.call(SEARCH) + self.call(task.report(version))

    def review(self, task: Task, version: int = 0) -> float:
        """Seconds of one critic."""
        return self.call(task.verdict(version))

    def waiting(self, question: Question) -> float:
        """The critical path of a client that waits for whole replies, and reviews after the slowest researcher.

        The low findings are revised after the slowest review, and reviewed after the slowest revision; the orchestrator asks for each
        of these steps.
        """
        rounds = [(question.tasks, 0), *([(question.low, 1)] if question.low else [])]
        path = self.call(question.answer)
        for tasks, version in rounds:
            path += self.call(DELEGATE * len(tasks)) + max(self.research(t, version) for t in tasks)
            path += self.call(REVIEW * len(tasks)) + max(self.review(t, version) for t in tasks)
        return path

    def by_code(self, question: Question) -> float:
        """The same, if code started the reviews and revisions, and the orchestrator waited for the last of them."""
        rounds = [(question.tasks, 0), *([(question.low, 1)] if question.low else [])]
        path = self.call(DELEGATE * question.n) + self.call(question.answer)
        for tasks, version in rounds:
            path += max(self.research(t, version) for t in tasks)
            path += max(self.review(t, version) for t in tasks)
        return path

    def eager(self, question: Question) -> float:
        """The critical path of a client that starts each call as soon as it is complete: nothing can beat it."""
        answer = self.call(question.answer)
        if question.revising:
            return self._phase(DELEGATE, [self._whole(t) for t in question.tasks]) + answer
        research = self._phase(DELEGATE, [self.research(t) for t in question.tasks])
        return research + self._phase(REVIEW, [self.review(t) for t in question.tasks]) + answer

    def _whole(self, task: Task) -> float:
        again = (self.research(task, 1) + self.review(task, 1)) if task.low else 0.0
        return self.research(task) + self.review(task) + again

    def _phase(self, tokens: int, durations: Sequence[float]) -> float:
        ends = (self.call(tokens * (i + 1)) + d for i, d in enumerate(durations))
        return max(self.call(tokens * len(durations)), *ends)


def calls(question: Question, *, pipelined: bool) -> int:
    """Model calls that a question takes: 3n + 3, and what revisions add."""
    low = len(question.low)
    if not question.revising:
        return 3 * question.n + 3
    turns = 2 if pipelined else 3 + 2 * bool(low)
    return 3 * question.n + 3 * low + turns


def passages() -> Iterator[tuple[str, str]]:
    """Ids and texts of what every search finds: five passages of usual size."""
    for i in range(5):
        words = " ".join(f"Sentence {i}.{k} says {_LOREM.strip()}." for k in range(8))
        yield f"doc{i}.1", words[:900]
