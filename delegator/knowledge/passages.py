"""Documents into passages: pieces small enough to show a model whole, cut where the text itself pauses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from delegator.knowledge.reading import MAX_TITLE, Line

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
    size, section, heading = 0, "", ""
    for line in lines:
        pause = not line.text.strip()
        full = size + len(line.text) > LONGEST
        if gathered and (
            full or (pause and size >= TARGET) or (line.heading and size >= SHORT_SECTION)
        ):
            yield from _pieces(gathered, heading)
            gathered, size = [], 0
        if line.heading:
            section = line.text[:MAX_TITLE]
        if not gathered:
            if pause:
                continue
            heading = section
        gathered.append(line)
        size += len(line.text) + 1
    if gathered:
        yield from _pieces(gathered, heading)


def _pieces(lines: Sequence[Line], heading: str) -> Iterator[Piece]:
    """The lines as one piece, or a single line that is too long as several."""
    text = "\n".join(line.text for line in lines).rstrip()
    first = lines[0].number
    last = max(line.number for line in lines if line.text.strip())
    start = 0
    while len(text) - start > LONGEST:
        cut = text.rfind(" ", start + TARGET, start + LONGEST)
        cut = cut if cut > 0 else start + LONGEST
        yield Piece(heading, first, last, text[start:cut].rstrip())
        start = cut
        while text[start].isspace():
            start += 1
    yield Piece(heading, first, last, text[start:])
