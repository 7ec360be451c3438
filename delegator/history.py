"""Runs on record, as text or JSON: which there are, what happened in one, and how a replay differs."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from delegator.journal import Past
from delegator.sanitize import for_terminal, one_line

_UNFINISHED = "unfinished"
_KIND = "delegator run"
_LEAST_QUESTION = 30
"""Characters of a question that tell one run from another."""


def runs_json(runs: Sequence[Mapping[str, Any]]) -> str:
    """Runs as a JSON array, the newest first."""
    return json.dumps([_run(row) for row in runs], ensure_ascii=False, indent=2)


def runs_text(runs: Sequence[Mapping[str, Any]], width: int) -> str:
    """Runs, one a line, the newest first; where that is too narrow, the question has a line of its own."""
    if not runs:
        return "No run is on record yet."
    lines = []
    for row in runs:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started"]))
        head = f"{row['id']}  {when}  {_outcome(row):<15}"
        room = width - len(head) - 2
        if room >= _LEAST_QUESTION:
            lines.append(f"{head}  {one_line(row['question'], room)}")
        else:
            lines += [head.rstrip(), f"  {one_line(row['question'], width - 2)}"]
    return "\n".join(lines)


def run_json(past: Past, row: Mapping[str, Any]) -> str:
    """One run: what was asked, how it ended, every event, every call."""
    whole = {
        **_run(row),
        "settings": json.loads(row["settings"]),
        "answer": json.loads(row["answer"]) if row["answer"] else None,
        "calls": [_call(call) for call in past.calls(row["id"])],
        "events": [_event(event) for event in past.events(row["id"])],
        "intact": past.broken_link(row["id"]) is None,
    }
    return json.dumps(whole, ensure_ascii=False, indent=2)


def run_text(past: Past, row: Mapping[str, Any], width: int) -> str:
    """One run for a person: the question, who did what, what it cost, the answer."""
    settings = json.loads(row["settings"])
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started"]))
    lines = [
        one_line(row["question"], 4 * width),
        f"{row['id']} · {when} · {_outcome(row)} · level {settings.get('level', 'typed')}",
        "",
        *_tree(past.events(row["id"]), width),
    ]
    if (broken := past.broken_link(row["id"])) is not None:
        lines += [
            "",
            f"The record was changed: entry {broken} is missing, or does not follow from the one before.",
        ]
    if row["answer"]:
        answer = json.loads(row["answer"])
        lines += ["", _cost(answer["usage"]), "", for_terminal(answer["answer"])]
        lines += [
            one_line(f'[{c["n"]}] {c["source"]} "{c["quote"]}"', width) for c in answer["citations"]
        ]
    else:
        lines += ["", f"It did not end: delegator resume {row['id']} goes on from here."]
    return "\n".join(lines).rstrip()


def exported(past: Past, row: Mapping[str, Any]) -> str:
    """A run as one JSON document, to be replayed elsewhere."""
    return json.dumps(
        {"kind": _KIND, "version": 2, **past.exported(row)}, ensure_ascii=False, indent=1
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a replay makes of a run otherwise: field by field, delegations by their ids."""
    found = []
    for name in ("outcome", "stop", "answer", "citations"):
        found += _differs(name, before[name], after[name])
    for name in ("level", "label"):
        found += _differs(f"trust {name}", before["trust"][name], after["trust"][name])
    old = {one["id"]: one for one in before["delegations"]}
    new = {one["id"]: one for one in after["delegations"]}
    for id in sorted({*old, *new}, key=lambda id: int(id[1:])):
        if id not in new or id not in old:
            found.append({"what": id, "before": id in old, "after": id in new})
            continue
        for name in ("agent", "outcome", "report", "review"):
            found += _differs(f"{id} {name}", old[id][name], new[id][name])
    return found


def differences_text(found: Sequence[Mapping[str, Any]], width: int) -> str:
    """What differs, two lines for each thing."""
    if not found:
        return "Nothing differs."
    lines = []
    for one in found:
        lines.append(f"{one['what']}:")
        for sign, name in (("-", "before"), ("+", "after")):
            lines.append(f"  {sign} {one_line(_told(one[name]), width - 4)}")
    return "\n".join(lines)


def _differs(what: str, before: object, after: object) -> list[dict[str, Any]]:
    return [] if before == after else [{"what": what, "before": before, "after": after}]


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "there" if value else "not there"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _run(row: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: row[name] for name in ("delegations", "calls") if name in row}
    return {
        "run_id": row["id"],
        "question": row["question"],
        "started": row["started"],
        "ended": row["ended"],
        "outcome": row["outcome"],
        **more,
    }


def _call(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("key", "attempt", "state", "model", "request", "reply_tokens", "fault", "at", "ended")
    return {**{name: row[name] for name in kept}, "usage": row["usage"] or row["worst"]}


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    place = {name: row[name] for name in ("seq", "at", "agent")}
    return {**place, "event": row["kind"], **json.loads(row["data"])}


def _outcome(row: Mapping[str, Any]) -> str:
    return str(row["outcome"] or _UNFINISHED).replace("_", " ")


def _cost(usage: Mapping[str, Any]) -> str:
    tokens = sum(n for name, n in usage.items() if name.endswith("_tokens"))
    parts = [_calls(usage), f"{tokens:,} tokens"]
    if usage["usd"]:
        parts.append(f"${usage['usd']:.4f}")
    return " · ".join([*parts, f"{usage['seconds']:.1f} s"])


def _calls(of: Mapping[str, Any]) -> str:
    calls = of["model_calls"]
    return f"{calls} call{'' if calls == 1 else 's'}"


def _tree(events: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Delegations, each below the one that it is about."""
    started: dict[str, dict[str, Any]] = {}
    ended: dict[str, dict[str, Any]] = {}
    for event in events:
        data = json.loads(event["data"])
        if event["kind"] == "delegation_started":
            started[data["id"]] = data
        elif event["kind"] == "delegation_finished":
            ended[data["id"]] = data

    def lines(about: str, indent: str) -> Iterator[str]:
        for id, one in started.items():
            known = one["about"] if one["about"] in started else ""
            if known == about:
                room = width - len(indent)
                yield indent + one_line(f"{id} {one['name']}: {one['task']}", room)
                yield indent + "   " + one_line(_ending(ended.get(id)), room - 3)
                yield from lines(id, indent + "   ")

    yield from lines("", "")


def _ending(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return _UNFINISHED
    receipt, label = data["receipt"], data["label"]
    tokens = sum(receipt["usage"].values())
    verdict = f", {data['verdict']}" if data["verdict"] else ""
    figures = f"{_calls(receipt)} · {tokens:,} tokens · {receipt['seconds']:.1f} s"
    return f"{data['outcome']}{verdict} · {figures} · {label['integrity']}"
