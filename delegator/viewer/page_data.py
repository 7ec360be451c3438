"""What a page holds, as one JSON value. Every text and every label stands in it once, whoever repeats it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from delegator.sanitize import fold
from delegator.trust import Label
from delegator.viewer.compared import compared
from delegator.viewer.messages import Sent, messages
from delegator.viewer.record import Called, Record
from delegator.viewer.sentences import Block, blocks
from delegator.viewer.spending import Spending, spending
from delegator.viewer.timeline import LEADER, Span, Timeline, asked_by, shares, timeline


def page_data(records: Sequence[Record]) -> dict[str, Any]:
    """One run, or two and what differs between them."""
    kept = _Kept()
    runs = [_Run(record, kept).data() for record in records]
    return {
        "runs": runs,
        "differences": _beside(records, kept),
        "texts": list(kept.texts),
        "labels": [json.loads(label) for label in kept.labels],
    }


def _beside(records: Sequence[Record], kept: "_Kept") -> list[dict[str, Any]] | None:
    found = compared([record.answer for record in records])
    if found is None:
        return None
    return [
        {"what": kept.text(one.what), "sides": [kept.text(one.before), kept.text(one.after)]}
        for one in found
    ]


@dataclass(slots=True)
class _Kept:
    """Texts and labels, numbered in the order in which they came."""

    texts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def text(self, text: object) -> int:
        return self.texts.setdefault(str(text), len(self.texts))

    def label(self, label: Label | None) -> int | None:
        if label is None:
            return None
        told = json.dumps(label.to_json())
        return self.labels.setdefault(told, len(self.labels))


class _Run:
    """One run of a page."""

    def __init__(self, record: Record, kept: _Kept) -> None:
        self._record, self._kept = record, kept
        self._times = timeline(record)
        self._money = spending(record, self._times)
        self._sent = messages(record)
        self._calls: dict[str, list[Called]] = {}
        for call in record.calls:
            self._calls.setdefault(call.agent, []).append(call)

    def data(self) -> dict[str, Any]:
        record, kept, answer = self._record, self._kept, self._record.answer or {}
        started = next((e.data for e in record.events if e.kind == "run_started"), {})
        usage = answer.get("usage", {})
        return {
            "id": kept.text(record.id),
            "name": kept.text(record.name),
            "question": kept.text(record.question),
            "started": record.started,
            "outcome": record.outcome,
            "stop": kept.text(answer.get("stop", "")),
            "level": record.level,
            "model": kept.text(started.get("model", "")),
            "label": kept.label(_label(answer.get("trust", {}).get("label"))),
            "broken": record.broken,
            "replay": record.replay,
            "tokens": sum(n for name, n in usage.items() if name.endswith("_tokens")),
            "usd": float(usage["usd"]) if usage.get("usd") is not None else None,
            "calls": int(usage.get("model_calls", len(record.calls))),
            "events": len(record.events),
            "answer": [self._block(block) for block in blocks(str(answer.get("answer", "")))],
            "citations": list(self._citations(answer)),
            "agents": list(self._agents(answer)),
            "time": self._time(),
            "messages": [self._message(sent) for sent in self._sent],
            "budget": _budget(self._money),
        }

    def _block(self, block: Block) -> dict[str, Any]:
        return {
            "kind": block.kind,
            "quoted": block.quoted,
            "sentences": [
                {
                    "cites": sentence.cites,
                    "parts": [[p.style, self._kept.text(p.text)] for p in sentence.parts],
                }
                for sentence in block.sentences
            ],
        }

    def _citations(self, answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        passages = dict(_passages(self._record))
        claimed: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for one in answer.get("delegations", ()):
            for claim in (one["report"] or {}).get("claims", ()):
                if isinstance(claim, Mapping) and {"quote", "text", "source"} <= claim.keys():
                    claimed.setdefault(fold(str(claim["quote"])), []).append((one["id"], claim))
        for citation in answer.get("citations", ()):
            found = claimed.get(fold(str(citation["quote"])), [])
            first = found[0][1] if found else {}
            passage = passages.get(str(first.get("source", "")))
            yield {
                "n": int(citation["n"]),
                "source": self._kept.text(citation["source"]),
                "quote": self._kept.text(citation["quote"]),
                "verified": bool(citation["verified"]),
                "claim": self._kept.text(first["text"]) if first else None,
                "by": list(dict.fromkeys(id for id, _ in found)),
                "passage": self._kept.text(passage) if passage else None,
            }

    def _agents(self, answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Everybody who worked, the leader first; who reviews or revises another stands below that one."""
        known = {one["id"]: one for one in answer.get("delegations", ())}
        ended = {
            e.data["id"]: e.data for e in self._record.events if e.kind == "delegation_finished"
        }
        lives = {life.id: life for life in self._times.lives}
        yield self._leader(answer)
        for event in self._record.events:
            if event.kind == "delegation_started":
                id = event.data["id"]
                end, life = ended.get(id), lives[id]
                about = event.data["about"]
                review = known.get(id, {}).get("review") or {}
                yield {
                    "id": id,
                    "name": self._kept.text(event.data["name"]),
                    "task": self._kept.text(event.data["task"]),
                    "below": about if about in lives and about != id else LEADER,
                    "source": self._kept.text(event.data["source"]),
                    "outcome": str(end["outcome"]) if end else "",
                    "verdict": self._kept.text(end["verdict"] if end else ""),
                    "problem": self._kept.text(end.get("problem", "") if end else ""),
                    "feedback": self._kept.text(review.get("feedback", "")),
                    "reviewer": str(review.get("by", "")),
                    "label": self._kept.label(_label(end["label"]) if end else None),
                    "start": life.start,
                    "end": life.end,
                    "asked": asked_by(self._record.places.get(id, "")),
                    **self._receipt(id, end["receipt"] if end else None),
                }

    def _leader(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        usage = answer.get("usage", {})
        own = self._calls.get(LEADER, [])
        empty = self._kept.text("")
        return {
            "id": LEADER,
            "name": self._kept.text(LEADER),
            "task": self._kept.text(self._record.question),
            "below": "",
            "source": empty,
            "outcome": self._record.outcome,
            "verdict": empty,
            "problem": empty,
            "feedback": empty,
            "reviewer": "",
            "label": self._kept.label(_label(answer.get("trust", {}).get("label"))),
            "start": 0.0,
            "end": self._times.seconds,
            "asked": "",
            "calls": len(own),
            "tools": sum(s.agent == LEADER and s.kind != "model" for s in self._times.spans),
            "failed": 0,
            "sources": [],
            "tokens": sum(sum(call.used.values()) for call in own),
            "usd": self._money.by_agent.get(LEADER) if usage.get("usd") is not None else None,
            "stop": self._kept.text(answer.get("stop", "")),
        }

    def _receipt(self, id: str, receipt: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the harness saw it do; of one that did not end, what is known by its calls."""
        own = self._calls.get(id, [])
        seen = receipt or {}
        return {
            "calls": int(seen.get("model_calls", len(own))),
            "tools": int(seen.get("tool_calls", 0)),
            "failed": int(seen.get("failed_tool_calls", 0)),
            "sources": [
                [self._kept.text(s["id"]), self._kept.text(s["sha256"])]
                for s in seen.get("sources", ())
            ],
            "tokens": sum(seen["usage"].values()) if seen else 0,
            "usd": self._money.by_agent.get(id, 0.0),
            "stop": self._kept.text(seen.get("stop", "")),
        }

    def _time(self) -> dict[str, Any]:
        times: Timeline = self._times
        return {
            "seconds": times.seconds,
            "breaks": list(self._record.breaks),
            "spans": [self._span(span) for span in times.spans],
            "path": [[s.agent, s.kind, s.start, s.end] for s in times.path],
            "shares": dict(shares(times.path)),
        }

    def _span(self, span: Span) -> dict[str, Any]:
        return {
            "agent": span.agent,
            "kind": span.kind,
            "start": span.start,
            "end": span.end,
            "name": self._kept.text(span.name),
            "call": span.call,
            "n": span.n,
            "state": self._kept.text(span.state),
        }

    def _message(self, sent: Sent) -> dict[str, Any]:
        kept = self._kept
        return {
            "at": sent.at,
            "kind": sent.kind,
            "from": kept.text(sent.sender),
            "to": kept.text(sent.receiver),
            "agent": sent.agent,
            "head": kept.text(sent.head),
            "label": kept.label(sent.label),
            "body": [[kept.text(name), kept.text(text)] for name, text in sent.body],
            "problem": kept.text(sent.problem),
            "n": sent.n,
            "call": sent.call,
        }


def _budget(money: Spending) -> dict[str, Any]:
    return {
        "limits": dict(money.limits),
        "used": dict(money.used),
        "points": [[p.at, p.tokens, p.held, p.usd, p.calls] for p in money.points],
    }


def _passages(record: Record) -> Iterator[tuple[str, str]]:
    """Passages that tools put in front of agents, by id."""
    for result in record.results.values():
        data = (result.get("output") or {}).get("data") or {}
        for entry in (*_listed(data.get("hits")), *_listed(data.get("passages"))):
            if isinstance(entry, Mapping) and isinstance(entry.get("text"), str):
                yield str(entry.get("id", "")), entry["text"]


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _label(told: Mapping[str, Any] | None) -> Label | None:
    return Label.from_json(told) if told else None
