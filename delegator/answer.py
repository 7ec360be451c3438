"""The answer of a run: checked text, citations, and the record of who did what. A value; what `--json` prints."""

from collections.abc import Iterable
from dataclasses import dataclass

from delegator.budget import Usage
from delegator.citations import Citation, Claim, resolve
from delegator.delegation import Delegation
from delegator.errors import DelegatorError
from delegator.outcome import EXIT_STATUS, Outcome
from delegator.sanitize import for_answer, unmarked
from delegator.trust import Label, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a run ended and what it says. `str()` is the text with its numbered sources."""

    run_id: str
    question: str
    outcome: Outcome
    stop: str
    text: str
    citations: tuple[Citation, ...]
    delegations: tuple[Delegation, ...]
    flagged: tuple[str, ...]
    """Ids of findings that stayed below the bar after the last round."""
    usage: Usage
    model_calls: int
    seconds: float
    label: Label
    level: Level = Level.TYPED
    error: DelegatorError | None = None

    @property
    def exit_status(self) -> int:
        """What `delegator ask` exits with."""
        return EXIT_STATUS[self.outcome]

    def __str__(self) -> str:
        """The text, then the sources it cites, one a line."""
        if not self.citations:
            return self.text
        return f"{self.text}\n\nSources\n" + "\n".join(source_line(c) for c in self.citations)

    def to_json(self) -> dict[str, object]:
        """The object that `--json` prints; its schema is `answer.schema.json` in the package."""
        return {
            "run_id": self.run_id,
            "question": self.question,
            "outcome": self.outcome.value,
            "stop": self.stop,
            "answer": self.text,
            "citations": [citation.to_json() for citation in self.citations],
            "delegations": [record.to_json() for record in self.delegations],
            "usage": {
                **self.usage.to_json(),
                "model_calls": self.model_calls,
                "usd": None,
                "seconds": round(self.seconds, 3),
            },
            "trust": {"level": self.level.value, "label": self.label.to_json()},
        }


def source_line(citation: Citation) -> str:
    """`[1] file.md:3-9 "the quote"`, on one line."""
    quote = " ".join(citation.quote.split())
    doubt = "" if citation.verified else "  (quote not found in its source)"
    return f'[{citation.n}] {citation.source} "{quote}"{doubt}'


def check(text: str, records: Iterable[Delegation]) -> tuple[str, tuple[Citation, ...]]:
    """An orchestrator's words as an answer: safe Markdown, markers checked against the claims of usable findings."""
    return resolve(for_answer(text).strip(), _claims(records))


def compose(records: Iterable[Delegation], why: str) -> str:
    """What a run that stopped early can still say: its findings, with their markers, written by code."""
    lines = [f"The run stopped early: {why}"]
    for record in records:
        if record.usable and not record.revised_by and not record.agent.reviews:
            verified = [claim for claim in record.claims if claim.verified]
            words = [f"{unmarked(claim.text)} [{claim.cite}]" for claim in verified]
            if not record.claims and record.report:
                words = [unmarked(v) for v in record.report.value.values() if isinstance(v, str)]
            if words:
                lines.append(f"**{unmarked(record.task)}**\n" + "\n".join(f"- {w}" for w in words))
    if len(lines) == 1:
        lines.append("Nothing was found before that.")
    return "\n\n".join(lines)


def _claims(records: Iterable[Delegation]) -> dict[int, Claim]:
    return {claim.cite: claim for record in records if record.usable for claim in record.claims}
