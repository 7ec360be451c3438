"""Trust labels: who said this, who may see it, and where it came from.

Labels join along data flow and only ever go down. Nothing in this package raises one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Self


class Integrity(IntEnum):
    """How far a text may steer the run. Lower is worse."""

    UNTRUSTED = 0
    USER = 1
    OPERATOR = 2


class Confidentiality(IntEnum):
    """Who may see a text. Higher is more secret."""

    PUBLIC = 0
    CONVERSATION = 1
    PRIVATE = 2


class Level(StrEnum):
    """The rung of the defence ladder that a run uses, lowest first."""

    RAW = "raw"
    MARKED = "marked"
    CLEAN = "clean"
    TYPED = "typed"
    SEALED = "sealed"
    GUARDED = "guarded"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a value is worth: the minimum of everything its author had read."""

    integrity: Integrity
    confidentiality: Confidentiality = Confidentiality.CONVERSATION
    sources: frozenset[str] = frozenset()
    """Ids of the documents, tools and agents whose text had a part in it."""

    def __and__(self, other: Self) -> "Label":
        """The label of anything derived from both."""
        if self is other or self._covers(other):
            return self
        if other._covers(self):
            return other
        return Label(
            integrity=min(self.integrity, other.integrity),
            confidentiality=max(self.confidentiality, other.confidentiality),
            sources=self.sources | other.sources,
        )

    def _covers(self, other: "Label") -> bool:
        """Whether joining `other` to it changes nothing: most joins do not, and a new label costs."""
        return (
            self.integrity <= other.integrity
            and self.confidentiality >= other.confidentiality
            and self.sources >= other.sources
        )

    @property
    def trusted(self) -> bool:
        """Whether a person (operator or user) wrote every part of it."""
        return self.integrity >= Integrity.USER

    def to_json(self) -> dict[str, object]:
        """As a JSON object: lower-case names, sources sorted."""
        return {
            "integrity": self.integrity.name.lower(),
            "confidentiality": self.confidentiality.name.lower(),
            "sources": sorted(self.sources),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Label":
        """What `to_json` wrote.

        Raises:
            KeyError: It is not that.
        """
        return cls(
            integrity=Integrity[value["integrity"].upper()],
            confidentiality=Confidentiality[value["confidentiality"].upper()],
            sources=frozenset(value["sources"]),
        )


OPERATOR = Label(integrity=Integrity.OPERATOR, confidentiality=Confidentiality.PUBLIC)
USER = Label(integrity=Integrity.USER)
UNTRUSTED = Label(integrity=Integrity.UNTRUSTED)


def untrusted(*sources: str, private: bool = False) -> Label:
    """The label of a text that came from `sources`, whatever it says about itself."""
    return Label(
        integrity=Integrity.UNTRUSTED,
        confidentiality=Confidentiality.PRIVATE if private else Confidentiality.CONVERSATION,
        sources=frozenset(sources),
    )
