"""Every message of a run in the order in which it was sent: who to whom, what it says, and what its words are worth.

Labels are joined here as they were in the run: a reply is worth the minimum of all that its author had read by then.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from delegator.calls import place_of
from delegator.handoff import DELEGATE, SUBMIT
from delegator.messages import ToolUse
from delegator.policy import REASONS
from delegator.trust import OPERATOR, USER, Label
from delegator.viewer.record import Called, Happened, Record
from delegator.viewer.timeline import LEADER, asked_by

PERSON = "person"
HARNESS = "harness"
_DEEPEST = 24
Body = tuple[tuple[str, str], ...]
"""What a message says: names and texts, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message, a decision, or a word of the harness."""

    seq: float
    at: float
    kind: str
    sender: str
    receiver: str
    head: str
    """What it is, in words of ours and names of tools."""
    label: Label | None
    body: Body = ()
    problem: str = ""
    agent: str = LEADER
    """In whose transcript it stands."""
    n: int = 0
    """The turn of a model."""
    call: str = ""
    """The place of the tool call that it belongs to."""


def messages(record: Record) -> tuple[Sent, ...]:
    """Every message of a run, in order."""
    teller = _Teller(record)
    told = [sent for event in record.events for sent in teller.tell(event)]
    return tuple(sorted([*told, *teller.unanswered()], key=lambda sent: sent.seq))


def flat(value: object, path: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, str]]:
    """What lies at the ends of some JSON data, with the way there."""
    match value:
        case Mapping() if value and depth:
            for key, item in value.items():
                yield from flat(item, f"{path}.{key}" if path else str(key), depth - 1)
        case list() | tuple() if value and depth:
            for i, item in enumerate(value):
                yield from flat(item, f"{path}[{i}]", depth - 1)
        case str():
            yield path, value
        case _:
            yield path, json.dumps(value)


def uses(call: Called) -> Iterator[tuple[str, ToolUse]]:
    """The tool calls of a reply, with their places in the run."""
    seen: Counter[str] = Counter()
    for block in (call.reply or {}).get("content", ()):
        if block["type"] == "tool_use":
            use = ToolUse(id=block["id"], name=block["name"], input=block["input"])
            place = place_of(call.agent, call.n, use)
            seen[place] += 1
            yield (place if seen[place] == 1 else f"{place}-{seen[place]}"), use


@dataclass(slots=True)
class _Teller:
    """Turns events into messages, and knows what each agent has read by then."""

    record: Record
    _calls: dict[tuple[str, int], Called] = field(init=False)
    _inputs: dict[str, Mapping[str, Any]] = field(init=False)
    _reports: dict[str, Mapping[str, Any]] = field(init=False)
    _made: dict[str, list[str]] = field(default_factory=dict)
    """The delegations that go back to a tool call."""
    _replies: dict[str, list[Called]] = field(default_factory=dict)
    """What an agent answered, the last first."""
    _read: dict[str, Label] = field(init=False)
    """The label of all that an agent had read before its current turn."""
    _reading: dict[str, list[tuple[int, Label]]] = field(default_factory=dict)
    """What it has read since, by turn."""

    def __post_init__(self) -> None:
        record = self.record
        answered = [call for call in record.calls if call.state == "answered"]
        self._calls = {(call.agent, call.n): call for call in answered}
        self._inputs = {place: use.input for call in answered for place, use in uses(call)}
        delegations = (record.answer or {}).get("delegations", ())
        self._reports = {one["id"]: one for one in delegations}
        for id, path in record.places.items():
            self._made.setdefault(asked_by(path), []).append(id)
        for call in sorted(answered, key=lambda call: -call.n):
            self._replies.setdefault(call.agent, []).append(call)
        opening = USER
        for turn in record.settings.get("history", ()):
            opening &= Label.from_json(turn["label"])
        self._read = {LEADER: opening}

    def tell(self, event: Happened) -> Iterator[Sent]:
        """The messages that an event stands for."""
        match event.kind:
            case "run_started":
                yield from self._opening(event)
            case "model_call_finished":
                yield self._reply(event)
            case "tool_finished":
                yield self._result(event)
            case "decided":
                yield self._decision(event)
            case "delegation_started":
                yield self._brief(event)
            case "delegation_finished":
                yield self._report(event)
            case "reminded" | "noticed" | "model_call_retried":
                yield _word(event)
            case "run_finished":
                yield self._end(event)
            case _:  # what is started is told when it is over
                pass

    def unanswered(self) -> Iterator[Sent]:
        """Model calls without an answer: failed, broken off, or under way when the process ended."""
        at = {event.seq: event.at for event in self.record.events}
        for call in self.record.calls:
            if call.state != "answered":
                yield Sent(
                    seq=call.after + 0.5,
                    at=at.get(call.after, 0.0),
                    kind="call",
                    sender=HARNESS,
                    receiver=call.agent,
                    agent=call.agent,
                    head=f"model call {call.n}, attempt {call.attempt}",
                    label=None,
                    problem=_UNANSWERED.get(call.state, call.state) + f" {call.fault}".rstrip(),
                    n=call.n,
                )

    def _opening(self, event: Happened) -> Iterator[Sent]:
        for i, turn in enumerate(self.record.settings.get("history", ()), 1):
            yield Sent(
                seq=event.seq - 1 + i / 1000,
                at=event.at,
                kind="history",
                sender=PERSON,
                receiver=LEADER,
                head=f"earlier turn {i}",
                label=Label.from_json(turn["label"]),
                body=(("question", turn["question"]), ("answer", turn["answer"])),
            )
        yield Sent(
            seq=event.seq,
            at=event.at,
            kind="question",
            sender=PERSON,
            receiver=LEADER,
            head="question",
            label=USER,
            body=(("", str(event.data["question"])),),
        )

    def _reply(self, event: Happened) -> Sent:
        n = int(event.data["n"])
        call = self._calls.get((event.agent, n))
        content = (call.reply or {}).get("content", ()) if call else ()
        asked = [b["name"] for b in content if b["type"] == "tool_use"]
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="reply",
            sender=event.agent,
            receiver=HARNESS,
            agent=event.agent,
            head=f"reply {n}: {', '.join(asked)}" if asked else f"reply {n}",
            label=self._worth(event.agent, n),
            body=tuple(pair for block in content for pair in _said(block)),
            problem="" if event.data["stop"] in _USUAL else str(event.data["stop"]),
            n=n,
        )

    def _worth(self, agent: str, turn: int) -> Label:
        """What an agent's words in a turn are worth: all that it had read in earlier ones."""
        label = self._read.get(agent, USER)
        later = []
        for read_in, read in self._reading.pop(agent, ()):
            if read_in < turn:
                label &= read
            else:  # a tool that was quicker than the end of the reply that asked for it
                later.append((read_in, read))
        self._read[agent], self._reading[agent] = label, later
        return label

    def _result(self, event: Happened) -> Sent:
        place, tool = str(event.data.get("call", "")), str(event.data["tool"])
        label = Label.from_json(event.data["label"])
        turn = int(place.split("/")[1]) if place else 0
        self._reading.setdefault(event.agent, []).append((turn, label))
        removed = event.data.get("removed", 0)
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="result",
            sender=f"tool {tool}",
            receiver=event.agent,
            agent=event.agent,
            head=f"{tool}, {removed} invisible characters taken out" if removed else tool,
            label=label,
            body=(*self._asked(place), *self._found(place, tool)),
            problem=str(event.data["problem"]),
            call=place,
        )

    def _asked(self, place: str) -> Body:
        return tuple((f"asked: {name}", text) for name, text in flat(self._inputs.get(place, {})))

    def _found(self, place: str, tool: str) -> Body:
        if tool.startswith(DELEGATE):
            return tuple(("delegation", id) for id in self._made.get(place, ()))
        output = self.record.results.get(place, {}).get("output") or {}
        return tuple(flat(output.get("data", {})))

    def _decision(self, event: Happened) -> Sent:
        data, place = event.data, str(event.data.get("call", ""))
        decision, rule = str(data["decision"]), str(data["rule"])
        why = _WHY.get(decision, "") or REASONS.get(rule, "")
        exact = (("digest of the exact call", str(data["digest"])),) if data["digest"] else ()
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="decision",
            sender=event.agent,
            receiver=f"tool {data['tool']}",
            agent=event.agent,
            head=f"{decision}: {data['tool']}" + (f" ({rule})" if rule else ""),
            label=Label.from_json(data["label"]),
            body=(("why", why), *self._asked(place), *exact),
            problem=f"denied by {rule}" if decision == "denied" else "",
            call=place,
        )

    def _brief(self, event: Happened) -> Sent:
        data, id = event.data, str(event.data["id"])
        label = Label.from_json(data["label"])
        self._read[id] = label
        named = ((name, str(data[name])) for name in ("about", "source") if data[name])
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="brief",
            sender=LEADER,
            receiver=id,
            agent=id,
            head=f"brief of {data['name']} {id}",
            label=label,
            body=(("task", str(data["task"])), *named),
            call=asked_by(self.record.places.get(id, "")),
        )

    def _report(self, event: Happened) -> Sent:
        data, id = event.data, str(event.data["id"])
        outcome = str(data["outcome"])
        verdict = f", {data['verdict']}" if data["verdict"] else ""
        known = self._reports.get(id, {}).get("report")
        said = tuple(flat(known)) if known else self._withheld(id)
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="report",
            sender=id,
            receiver=LEADER,
            agent=id,
            head=f"report of {id}: {outcome.replace('_', ' ')}{verdict}",
            label=Label.from_json(data["label"]),
            body=said,
            problem=str(data.get("problem", "")) or _unless_complete(outcome),
            call=asked_by(self.record.places.get(id, "")),
        )

    def _withheld(self, id: str) -> Body:
        """What a subagent said that did not count as its report."""
        for call in self._replies.get(id, ()):
            for _, use in uses(call):
                if use.name == SUBMIT:
                    return tuple((f"withheld: {name}", text) for name, text in flat(use.input))
        return ()

    def _end(self, event: Happened) -> Sent:
        answer = self.record.answer or {}
        worth = answer.get("trust", {}).get("label")
        outcome = str(event.data["outcome"])
        return Sent(
            seq=event.seq,
            at=event.at,
            kind="answer",
            sender=LEADER,
            receiver=PERSON,
            head=f"answer: {outcome.replace('_', ' ')}",
            label=Label.from_json(worth) if worth else None,
            body=(("", str(answer.get("answer", ""))),),
            problem=_unless_complete(outcome),
        )


def _unless_complete(outcome: str) -> str:
    return (
        _WITHHELD
        if outcome == "quarantined"
        else ""
        if outcome == "complete"
        else f"ended as {outcome.replace('_', ' ')}"
    )


def _said(block: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A block of a reply."""
    if block["type"] == "text":
        yield "", str(block["text"])
    elif block["type"] == "tool_use":
        pairs = tuple(flat(block["input"]))
        for name, text in pairs or (("", "{}"),):
            yield f"{block['name']}({name})", text
    else:
        yield str(block["type"]), "not shown"


def _word(event: Happened) -> Sent:
    """Something that the harness said by itself."""
    head, text = _WORDS[event.kind]
    return Sent(
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        sender=HARNESS,
        receiver=PERSON if event.kind == "noticed" else event.agent,
        agent=event.agent,
        head=head,
        label=OPERATOR if event.kind == "reminded" else None,
        body=((text, str(event.data[text])),),
        problem=head if event.kind != "noticed" else "",
    )


_USUAL = frozenset({"end_turn", "tool_use", "stop_sequence"})
_WITHHELD = "withheld: it claims work that was not seen"
_UNANSWERED = {"open": "no answer on record", "broken": "broken off", "failed": "failed:"}
_WORDS = {
    "reminded": ("asked once to mend its reply", "why"),
    "noticed": ("notice", "text"),
    "model_call_retried": ("tried again", "fault"),
}
_WHY = {
    "allowed": "people wrote all that it depends on, and nothing goes where it is too secret for",
    "approved": "a rule forbids it, and a person let this exact call through once",
}
