"""An answer's Markdown as blocks of sentences, each with the numbers that it cites. Only what an answer may hold is understood."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from delegator.citations import UNSUPPORTED
from delegator.language import sentences as split

_MARKER = r"\[\d{1,9}(?:\s*[,;]\s*\d{1,9})*\]"
_LEADING = re.compile(rf"(?:(?:{_MARKER}|{re.escape(UNSUPPORTED)})\s*)+")
_INLINE = re.compile(
    rf"(?P<cite>{_MARKER})|(?P<doubt>{re.escape(UNSUPPORTED)})|\*\*(?P<strong>[^*\n]+)\*\*|`(?P<code>[^`\n]+)`"
)
_QUOTE = re.compile(r" {0,3}>[ \t]?")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])[ \t]+")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_BOLD = re.compile(r"\A {0,3}\*\*([^*\n]+)\*\*\s*\Z")
"""A line that is bold as a whole is a heading."""
_FENCE = re.compile(r" {0,3}(?:```|~~~)")

Style = Literal["text", "strong", "code", "cite", "doubt"]
Kind = Literal["paragraph", "item", "heading", "code"]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a sentence in one style; a `cite` holds its numbers as text."""

    style: Style
    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with the numbers of the citations that stand in or behind it."""

    parts: tuple[Part, ...]
    cites: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, an item of a list, a heading or a piece of code; perhaps inside of a quotation."""

    kind: Kind
    quoted: bool
    sentences: tuple[Sentence, ...]


def blocks(markdown: str) -> tuple[Block, ...]:
    """An answer, block by block."""
    return tuple(
        Block(kind=kind, quoted=quoted, sentences=_read(text, kind))
        for kind, quoted, text in _blocks(markdown.split("\n"))
    )


def _blocks(lines: Iterable[str]) -> Iterator[tuple[Kind, bool, str]]:
    """Lines that belong together, without what makes them so."""
    kind: Kind = "paragraph"
    quoted, fenced = False, False
    kept: list[str] = []
    for line in lines:
        now_quoted = not fenced and _QUOTE.match(line) is not None
        rest = _QUOTE.sub("", line, count=1) if now_quoted else line
        if fenced or _FENCE.match(rest):
            if not fenced:
                yield from _block(kind, quoted, kept)
                kind, quoted, kept, fenced = "code", now_quoted, [], True
            elif _FENCE.match(rest):
                yield from _block(kind, quoted, kept)
                kind, kept, fenced = "paragraph", [], False
            else:
                kept.append(rest)
            continue
        rest = _BOLD.sub(r"# \1", rest)
        opened = _ITEM.match(rest) or _HEADING.match(rest)
        if opened or not rest.strip() or now_quoted != quoted:
            yield from _block(kind, quoted, kept)
            kind, quoted, kept = "paragraph", now_quoted, []
        if opened:
            kind = "item" if _ITEM.match(rest) else "heading"
            rest = rest[opened.end() :]
        kept.append(rest)
        if kind == "heading":
            yield from _block(kind, quoted, kept)
            kind, kept = "paragraph", []
    yield from _block(kind, quoted, kept)


def _block(kind: Kind, quoted: bool, lines: list[str]) -> Iterator[tuple[Kind, bool, str]]:
    text = "\n".join(lines)
    if text.strip():
        yield kind, quoted, text


def _read(text: str, kind: Kind) -> tuple[Sentence, ...]:
    if kind == "code":
        return (Sentence((Part("code", text),), ()),)
    return tuple(_sentence(" ".join(piece.split())) for piece in _sentences(text))


def _sentences(text: str) -> list[str]:
    """Sentences with the markers that follow them."""
    found: list[str] = []
    for piece in split(text):
        markers = _LEADING.match(piece) if found else None
        rest = piece[markers.end() :] if markers else piece
        if markers:
            found[-1] += f" {markers[0].strip()}"
        if rest:
            found.append(rest)
    return found


def _sentence(text: str) -> Sentence:
    parts = tuple(_parts(text))
    numbers = (n for part in parts if part.style == "cite" for n in re.findall(r"\d+", part.text))
    return Sentence(parts, tuple(dict.fromkeys(map(int, numbers))))


def _parts(text: str) -> Iterator[Part]:
    done = 0
    for found in _INLINE.finditer(text):
        if found.start() > done:
            yield Part("text", text[done : found.start()])
        for style in ("cite", "doubt", "strong", "code"):
            if (words := found[style]) is not None:
                yield Part(style, words)
        done = found.end()
    if done < len(text):
        yield Part("text", text[done:])
