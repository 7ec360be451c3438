"""The offline critic: relevance by overlap, groundedness by support, conciseness by length."""

from collections.abc import Mapping
from typing import Any

from delegator.handoff import SUBMIT
from delegator.language import stems
from delegator.models.offline.question import analyse, vague
from delegator.models.offline.research import fill
from delegator.models.offline.transcript import Move, Transcript

_SUPPORTED = 0.6
_LONG = 1_600


def move(transcript: Transcript) -> Move:
    """Review the first finding in the brief."""
    entry = transcript.material[0] if transcript.material else {}
    review = judge(entry)
    known = transcript.report_fields
    base = fill(transcript.report_schema, review["feedback"])
    return Move(calls=((SUBMIT, {**base, **{k: v for k, v in review.items() if k in known}}),))


def judge(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Score, verdict, feedback and issues for a finding with its evidence."""
    finding = entry.get("finding") or {}
    claims = [c for c in finding.get("claims") or () if isinstance(c, Mapping)]
    gaps = " ".join(map(str, finding.get("gaps") or ()))
    passages = {e.get("claim"): str(e.get("passage", "")) for e in entry.get("evidence") or ()}
    issues = [
        {"claim": n, "problem": problem}
        for n, claim in enumerate(claims[:9], 1)
        if (problem := _problem(claim, passages.get(n, "")))
    ]
    missing = _missing(str(entry.get("task", "")), finding, claims, gaps, passages)
    score = 5 - bool(issues) - 2 * (len(issues) * 2 > len(claims) > 0) - bool(missing)
    score -= len(str(finding.get("answer", ""))) > _LONG
    if "claims" in finding and not claims:
        score = 4 if gaps else 1
    elif missing and score > 3:  # noqa: PLR2004 - something asked for is not there
        score = 3
    verdict = "accept" if score >= 4 else "revise" if score >= 2 else "reject"  # noqa: PLR2004
    return {
        "score": max(score, 1),
        "verdict": verdict,
        "feedback": _feedback(missing, issues, bool(claims)),
        "issues": issues,
    }


def _problem(claim: Mapping[str, Any], passage: str) -> str:
    if not claim.get("verified"):
        return "the quote is not verified"
    said, quoted = stems(str(claim.get("text", ""))), stems(f"{claim.get('quote', '')} {passage}")
    if said and len(said & quoted) < _SUPPORTED * len(said):
        return "the quote does not support the claim"
    return ""


def _missing(
    task: str,
    finding: Mapping[str, Any],
    claims: list[Mapping[str, Any]],
    gaps: str,
    passages: Mapping[Any, str],
) -> list[str]:
    """Words of the task that neither the finding nor its evidence mentions, nor its gaps own up to."""
    question = analyse(task)
    said = stems(
        " ".join([str(finding.get("answer", "")), *(str(c.get("text", "")) for c in claims), gaps])
    )
    said |= stems(" ".join(passages.values()))
    return [
        word
        for word, term in zip(question.words, question.terms, strict=True)
        if term not in said and not vague(term)
    ]


def _feedback(missing: list[str], issues: list[dict[str, Any]], found: bool) -> str:
    if missing and found:
        return f"Look for what is not covered: {', '.join(missing[:6])}."
    if issues:
        return "Replace the claims whose quotes do not support them."
    return "" if found else "Nothing was claimed; the gap is stated."
