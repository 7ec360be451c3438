"""Documents into passages: pieces small enough to show a model whole, cut where the text itself pauses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from delegator.knowledge.reading import Line

TARGET = 900
"""Characters after which a passage ends at the next blank line."""
LONGEST = 1_400
"""No passage is longer than this."""
SHORT_SECTION = 100
"""A section shorter than this shares its passage with the next one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it has an id."""

    heading: str
    first: int
    last: int
    text: str


def split(lines: Sequence[Line]) -> Iterator[Piece]:
    """The passages of a document, in order. Together they hold all its words."""
    gathered: list[Line] = []
    size, heading = 0, ""
    for line in lines:
        pause = not line.text.strip()
        full = size + len(line.text) > LONGEST
        if gathered and (
            full or (pause and size >= TARGET) or (line.heading and size >= SHORT_SECTION)
        ):
            yield from _piece(gathered, heading)
            gathered, size = [], 0
        if line.heading:
            heading = line.text if not gathered else heading
        gathered.append(line)
        size += len(line.text) + 1
    yield from _piece(gathered, heading)


def _piece(lines: list[Line], heading: str) -> Iterator[Piece]:
    while lines and not lines[-1].text.strip():
        lines.pop()
    while lines and not lines[0].text.strip():
        lines.pop(0)
    if not lines:
        return
    text = "\n".join(line.text for line in lines)
    first, last = lines[0].number, lines[-1].number
    while len(text) > LONGEST:  # only a single long line can be
        cut = text.rfind(" ", TARGET, LONGEST)
        cut = cut if cut > 0 else LONGEST
        yield Piece(heading, first, last, text[:cut].rstrip())
        text = text[cut:].lstrip()
    yield Piece(heading, first, last, text)
