"""The answer of a run: checked text, citations, and the record of who did what. A value; what `--json` prints."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from delegator.budget import Usage
from delegator.citations import UNSUPPORTED, Citation, Claim, resolve
from delegator.errors import DelegatorError
from delegator.outcome import EXIT_STATUS, Outcome
from delegator.records import Delegation
from delegator.sanitize import fold, for_answer, inert, unmarked
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
    usd: float | None = None
    """What it cost; `None` where a price is not known."""
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
                "usd": None if self.usd is None else round(self.usd, 6),
                "seconds": round(self.seconds, 3),
            },
            "trust": {"level": self.level.value, "label": self.label.to_json()},
        }


def source_line(citation: Citation) -> str:
    """`[1] file.md:3-9 "the quote"`, on one line."""
    quote, source = inert(fold(citation.quote)), inert(fold(citation.source))
    doubt = "" if citation.verified else "  (quote not found in its source)"
    return f'[{citation.n}] {source} "{quote}"{doubt}'


def check(
    text: str, records: Sequence[Delegation], *, slots: bool = False
) -> tuple[str, tuple[Citation, ...]]:
    """An orchestrator's words as an answer: safe Markdown, markers checked against the claims of usable findings.

    With `slots` the words are a template: references in double braces give way to what was found, under its source's name.
    """
    safe = for_answer(text).strip()
    return resolve(_filled(safe, records) if slots else safe, _claims(records))


_SLOT = re.compile(r"\{\{\s*([\w-]{1,40})\s*\}\}")


def _filled(template: str, records: Sequence[Delegation]) -> str:
    """A template with every slot filled by code. Findings that it has no slot for come last, if it has none at all."""
    findings = {r.ref: r for r in records if r.usable and not r.agent.reviews and quoted(r)}
    own, _ = resolve(template, {})  # its words know no claim: a number in them cites nothing
    if not _SLOT.search(own):
        heads = (ref for ref, record in findings.items() if not record.revised_by)
        own = "\n\n".join([own, *(f"{{{{{ref}}}}}" for ref in heads)]).strip()

    def fill(slot: re.Match[str]) -> str:
        record = findings.get(slot[1])
        return f"\n\n{quoted(record)}\n\n" if record else UNSUPPORTED

    return _GAP.sub("\n\n", _SLOT.sub(fill, own)).strip()


_GAP = re.compile(r"[ \t]*\n[ \t]*\n\s*")


def quoted(record: Delegation) -> str:
    """What a finding's sources say, as a quotation under their name; empty if nothing of it was verified."""
    source = f"**{unmarked(record.place or record.agent.name)}**"
    if record.agent.cites:
        lines = [f"- {_words_of(claim.quote)} [{claim.cite}]" for claim in record.verified]
    else:
        lines = [f"- {unmarked(words)}" for words in _strings(record)]
        source += ", in a subagent's own words:"
    return "\n".join(f"> {line}" for line in (source, *lines)) if lines else ""


_LEADING = re.compile(r"(?:[-*+>#]+ |\d{1,9}[.)] |\[[ xX]?\] )+")
"""What makes a list, a heading or a quotation of the line that a quote begins in."""


def _words_of(quote: str) -> str:
    """A quote's own words, letter by letter but for what would act in an answer."""
    words = fold(quote)
    lead = _LEADING.match(words)
    return unmarked(words[lead.end() :] if lead else words)


def _strings(record: Delegation) -> list[str]:
    value = record.report.value if record.usable and record.report else {}
    return [words for words in value.values() if isinstance(words, str)]


def compose(records: Iterable[Delegation], why: str, *, attributed: bool = False) -> str:
    """What a run that stopped early can still say: its findings, with their markers, written by code.

    `attributed`: as a template whose slots `check` fills with quotations under their source's name.
    """
    found = [r for r in records if r.usable and not r.revised_by and not r.agent.reviews]
    if attributed:  # a template: what was found comes last
        words = [f"{{{{{record.ref}}}}}" for record in found if quoted(record)]
    else:
        words = [listed for record in found if (listed := _listed(record))]
    ending = words or ["Nothing was found before that."]
    return "\n\n".join([f"The run stopped early: {why}", *ending])


def _listed(record: Delegation) -> str:
    """A finding as a list below its task."""
    words = [f"{unmarked(claim.text)} [{claim.cite}]" for claim in record.verified]
    if not record.claims:
        words = [unmarked(words) for words in _strings(record)]
    return f"**{unmarked(record.task)}**\n" + "\n".join(f"- {w}" for w in words) if words else ""


def _claims(records: Iterable[Delegation]) -> dict[int, Claim]:
    return {claim.cite: claim for record in records if record.usable for claim in record.claims}
