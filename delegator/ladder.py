"""The defence ladder: seven levels, each a row of one table. Code asks the row; nothing else knows a level by name.

Each level keeps what the one below it does and adds something. What a level guarantees holds for a model that obeys everything
it reads; what it leaves open is said beside it.
"""

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache, lru_cache
from pathlib import Path

from delegator.trust import Level

_NOTICES = Path(__file__).with_name("notices")


class Encoding(Enum):
    """How untrusted data is written into a prompt."""

    PLAIN = auto()
    """As `path = value` lines, one after the other."""
    MARKED = auto()
    """Between marks with a nonce drawn for each envelope, letter by letter as it came."""
    JSON = auto()
    """As canonical text in the strings of a JSON object with a nonce."""


class Shown(Enum):
    """What the orchestrator is shown of a report."""

    WORDS = auto()
    """Whatever the subagent said, also where it fits no schema."""
    FIELDS = auto()
    """The fields that fit the schema, without quotes that are not in their source."""
    REFERENCES = auto()
    """Random references, a status, and the fields that hold a few bits."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What a level does."""

    level: Level
    inline: bool = False
    """Whether untrusted text may stand in a user turn, beside the words of people."""
    encoding: Encoding
    shown: Shown
    one_source_each: bool = False
    """Whether a subagent that reads documents reads one of them, and its siblings the others."""
    decides: bool = False
    """Whether a policy looks at every consequential tool call before it runs."""
    fixed_plan: bool = False
    """Whether delegations are fixed before anything untrusted was read."""
    notices: tuple[str, ...] = ()
    """What is added to every system prompt, by the names of the files in `notices/`."""
    effects_notice: str = ""
    """What is added for an agent whose tools have effects outside."""
    orchestrator: str = "orchestrator"
    """The shipped agent that leads a run."""
    adds: str
    guarantees: str
    leaves_open: str

    def system(self, prompt: str, *, effects: bool = False) -> str:
        """An agent's system prompt at this level: operator text, the same to the byte in every request.

        Args:
            prompt: The agent's own prompt.
            effects: Whether one of its tools has effects outside.
        """
        names = (*self.notices, *([self.effects_notice] if effects and self.effects_notice else []))
        return _joined(prompt, names)


@lru_cache(maxsize=256)
def _joined(prompt: str, names: tuple[str, ...]) -> str:
    """One string for all subagents of an agent, however many are alive."""
    return prompt + "".join(f"\n{_notice(name)}" for name in names)


@cache
def _notice(name: str) -> str:
    return (_NOTICES / f"{name}.md").read_text(encoding="utf-8")


LADDER: dict[Level, Rung] = {
    rung.level: rung
    for rung in (
        Rung(
            level=Level.RAW,
            inline=True,
            encoding=Encoding.PLAIN,
            shown=Shown.WORDS,
            adds="nothing: texts are put one after the other",
            guarantees="the floor: prompts, tools, agents and limits are fixed before the run; sinks encode",
            leaves_open="any text steers any agent inside the floor",
        ),
        Rung(
            level=Level.MARKED,
            encoding=Encoding.MARKED,
            shown=Shown.WORDS,
            notices=("marked",),
            adds="untrusted text stands in tool results only, between fresh random marks, its origin named",
            guarantees="where untrusted text begins and ends is never in doubt",
            leaves_open="how a model behaves; what it reads that a person cannot see",
        ),
        Rung(
            level=Level.CLEAN,
            encoding=Encoding.JSON,
            shown=Shown.WORDS,
            notices=("envelope",),
            adds="canonical text without control or invisible characters, as JSON strings, capped",
            guarantees="a person sees what the model sees",
            leaves_open="visible instructions, base64, other languages",
        ),
        Rung(
            level=Level.TYPED,
            encoding=Encoding.JSON,
            shown=Shown.FIELDS,
            notices=("envelope",),
            adds="reports are closed schemas; quotes are compared with their source",
            guarantees="shapes, ranges, ids, and that every quote shown stands in its source",
            leaves_open="text fields still carry instructions",
        ),
        Rung(
            level=Level.SEALED,
            encoding=Encoding.JSON,
            shown=Shown.REFERENCES,
            one_source_each=True,
            notices=("envelope",),
            orchestrator="dispatcher",
            adds="the orchestrator sees references, a status and a few typed fields; one reader for each source; code writes the answer from quotes",
            guarantees="the orchestrator's choices depend on the question and a few bits; no source that a reader of its own has read speaks for the system, for another source, or in a later turn",
            leaves_open="what attributed text says or leaves out; those bits; which sources rank high enough to be read; a reader made to spend the run's budget; agents with tools beside search and read, once they have read",
        ),
        Rung(
            level=Level.GUARDED,
            encoding=Encoding.JSON,
            shown=Shown.REFERENCES,
            one_source_each=True,
            decides=True,
            notices=("envelope",),
            effects_notice="guarded",
            orchestrator="dispatcher",
            adds="a policy before every consequential tool call, on the labels of everything it depends on",
            guarantees="no effect outside depends on untrusted text and no private text leaves, except what a person approved word for word",
            leaves_open="truth, availability, timing and counts, tired approvers",
        ),
        Rung(
            level=Level.PLANNED,
            encoding=Encoding.JSON,
            shown=Shown.REFERENCES,
            one_source_each=True,
            decides=True,
            fixed_plan=True,
            notices=("envelope",),
            effects_notice="guarded",
            orchestrator="planner",
            adds="delegations are fixed from the question before the first source is read",
            guarantees="set, order and arguments of delegations do not depend on untrusted text",
            leaves_open="questions that need a second look: nothing is asked again",
        ),
    )
}
