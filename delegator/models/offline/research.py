"""The offline researcher: search, read on, extract the sentences that answer, quote them."""

from collections.abc import Mapping
from typing import Any

from delegator.handoff import SUBMIT
from delegator.models.offline.extract import Unit, answers, plain, rank, sources
from delegator.models.offline.question import Question, analyse, vague
from delegator.models.offline.transcript import Move, Transcript

HITS = 8
WELL_COVERED = 0.8
_MAX_TEXT = 480


def move(transcript: Transcript) -> Move:
    """The researcher's next move; any agent that is neither orchestrator nor reviewer works like this."""
    question = analyse(transcript.task)
    wanted = _wanted_words(transcript)
    if "search" not in transcript.tools:
        return _report(transcript, question, _material_units(transcript, question))
    searches = transcript.results("search")
    if not searches:
        queries = [
            question.text,
            *([" ".join(wanted)] if wanted else []),
        ]
        return Move(calls=tuple(("search", {"query": q[:400], "limit": HITS}) for q in queries))
    found = sources(step.data for step in transcript.steps)
    ranked = rank(question, found)
    if not transcript.results("read") and ranked and len(searches) <= len(wanted) + 1:
        further = _look_further(transcript, question, ranked)
        if further.calls:
            return further
    return _report(transcript, question, answers(question, ranked))


def _wanted_words(transcript: Transcript) -> list[str]:
    """Words that a reviewer missed in an earlier finding."""
    for entry in transcript.material:
        review = entry.get("review")
        feedback = str(review.get("feedback", "")) if isinstance(review, Mapping) else ""
        if ":" in feedback:
            return [word.strip(" .") for word in feedback.split(":", 1)[1].split(",")][:6]
    return []


def _look_further(transcript: Transcript, question: Question, ranked: list[Unit]) -> Move:
    """Read on from the best passages; search again for what they do not mention."""
    seen = {unit.source.id for unit in ranked}
    nearest = dict.fromkeys(unit.source.id for unit in ranked[:4])
    best = [id for id in nearest if _next(id) not in seen][:2]
    calls: list[tuple[str, Mapping[str, Any]]] = []
    if "read" in transcript.tools:
        calls += [("read", {"id": id}) for id in best]
    if ranked[0].cover < WELL_COVERED:
        missing = [
            word
            for word, term in zip(question.words, question.terms, strict=True)
            if term not in ranked[0].stems | ranked[0].context and not vague(term)
        ]
        anchors = [
            w for w, t in zip(question.words, question.terms, strict=True) if t in question.names
        ]
        if missing:
            query = " ".join(dict.fromkeys([*anchors, *missing]))
            calls.append(("search", {"query": query[:400], "limit": HITS}))
    return Move(calls=tuple(calls))


def _next(id: str) -> str:
    """The id of the passage after this one, as ids are made."""
    document, _, number = id.rpartition(".")
    return f"{document}.{int(number) + 1}" if number.isdecimal() else ""


def _report(transcript: Transcript, question: Question, chosen: list[Unit]) -> Move:
    fields = transcript.report_fields
    if {"answer", "claims", "confidence", "gaps"} <= fields:
        return Move(calls=((SUBMIT, _finding(question, chosen)),))
    text = " ".join(unit.plain for unit in chosen) or "The material does not say."
    if fields:
        return Move(calls=((SUBMIT, fill(transcript.report_schema, text)),))
    return Move(text=text)


def _finding(question: Question, chosen: list[Unit]) -> dict[str, Any]:
    if not chosen:
        said = "The documents do not answer this."
        return {"answer": said, "claims": [], "confidence": "low", "gaps": [_gap(question.text)]}
    covered = frozenset().union(*(unit.stems | unit.context for unit in chosen))
    missing = [
        word
        for word, term in zip(question.words, question.terms, strict=True)
        if term not in covered and not vague(term)
    ]
    claims = [
        {"text": unit.plain[:_MAX_TEXT], "source": unit.source.id, "quote": unit.quote}
        for unit in chosen
    ]
    return {
        "answer": " ".join(str(claim["text"]) for claim in claims)[:2000],
        "claims": claims,
        "confidence": "high" if chosen[0].cover >= WELL_COVERED else "medium",
        "gaps": [f"Not mentioned in what was found: {', '.join(missing)[:200]}"] if missing else [],
    }


def _gap(text: str) -> str:
    return text if len(text) <= 280 else text[:279] + "…"  # noqa: PLR2004 - a gap holds 300


def _material_units(transcript: Transcript, question: Question) -> list[Unit]:
    """Sentences of the brief's own material, for an agent that has nothing to search."""
    text = "\n\n".join(_strings(entry) for entry in transcript.material) or transcript.task
    shown = {"passages": [{"id": "brief", "title": "", "section": "", "text": text}]}
    ranked = rank(question, sources([shown]))
    return ranked[:3]


def _strings(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n\n".join(text for v in value.values() if (text := _strings(v)))
    if isinstance(value, list):
        return "\n\n".join(text for v in value if (text := _strings(v)))
    return ""


def fill(schema: Mapping[str, Any], text: str) -> Any:
    """The smallest value that fits a schema, with `text` wherever words are wanted."""
    for choice in ("enum", "anyOf", "oneOf"):
        if choice in schema:
            first = schema[choice][0]
            return first if choice == "enum" else fill(first, text)
    kind = str(schema.get("type"))
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: fill(properties[name], text) for name in schema.get("required", properties)}
    if kind == "array":
        return [fill(schema.get("items", {}), text)] * schema.get("minItems", 0)
    if kind == "string":
        words = plain(text)[: schema.get("maxLength", len(text))]
        return words.ljust(schema.get("minLength", 0), ".")
    plainest = {"boolean": False, "null": None}
    return plainest.get(kind, schema.get("minimum", schema.get("maximum", 0)))
