"""An answer as a page of a terminal: wrapped at word boundaries, Markdown shown instead of spelled out.

The text is cleaned before it comes here; nothing in it is taken as markup of the terminal library.
"""

import io
import re
from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from delegator.citations import Citation
from delegator.sanitize import fold, for_terminal, one_line

WIDEST = 96
"""Columns: longer lines are hard to read."""
QUOTE_CHARACTERS = 240
_FENCE = re.compile(r"\s*(```|~~~)")
_VERBATIM = re.compile(r"\s*\|| {4,}(?![-*+•] |\d+[.)] )\S")
"""Tables and indented code: their line ends mean something."""
_LINE = re.compile(r"( *)(#{1,6} +|[-*+•] +|\d{1,3}[.)] +)?(.*)")
_QUOTED = re.compile(r" {0,3}> ?")
_SPAN = re.compile(
    r"\*\*(?=\S)(?P<bold>[^*\n]+?)(?<=\S)\*\*|`(?P<code>[^`\n]+)`"
    r"|(?P<cite>\[\d+\])|(?P<doubt>\[unsupported\]|\[\d+: unverified\])"
)
_STYLES = {"bold": "bold", "code": "cyan", "cite": "cyan", "doubt": "yellow"}


class Page:
    """Lines for a terminal of some width, with or without styles."""

    def __init__(self, width: int, *, styled: bool) -> None:
        self._width = min(width, WIDEST)
        self._styled = styled
        self._console = Console(
            file=io.StringIO(), width=self._width, height=100, force_terminal=styled, legacy_windows=False,
            color_system="standard" if styled else None, highlight=False, markup=False, emoji=False,
        )  # fmt: skip

    def markdown(self, text: str) -> Iterator[Text]:
        """The lines of a Markdown text. What is not known of Markdown stays as it was written."""
        fenced = False
        for line in for_terminal(text).split("\n"):
            fence = _FENCE.match(line) is not None
            fenced ^= fence
            if fenced or fence or _VERBATIM.match(line):
                yield Text(line)
                continue
            quoted = _QUOTED.match(line)
            bar = ("│ " if self._styled else "> ") if quoted else ""
            yield from self._line(line[quoted.end() :] if quoted else line, Text(bar, style="dim"))

    def _line(self, line: str, bar: Text) -> Iterator[Text]:
        """A line of text behind the bar of a quotation, if it is in one."""
        indent, mark, rest = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr]  # matches every line
        if mark.startswith("#"):
            heading = self._spans(rest if self._styled else mark + rest)
            heading.stylize("bold")
            yield from self.hanging(indent, heading, bar)
        else:
            yield from self.hanging(indent + mark, self._spans(rest), bar)

    def source(self, citation: Citation) -> Iterator[Text]:
        """A source with its quote, and a doubt where the quote was not found."""
        head, place = Text(f"[{citation.n}] ", style="cyan"), fold(for_terminal(citation.source))
        words = Text.assemble(
            (place, "bold"), "  ", f"“{one_line(citation.quote, QUOTE_CHARACTERS)}”"
        )
        if not citation.verified:
            words.append("  (quote not found in its source)", style="yellow")
        yield from self.hanging(head, words)

    def heading(self, text: str, style: str = "bold") -> Text:
        """A heading of ours."""
        return Text(text, style=style)

    def hanging(self, head: Text | str, body: Text, bar: Text | None = None) -> Iterator[Text]:
        """`body` wrapped beside `head`, further lines below its first letter, all of them behind `bar`."""
        first, before = Text(head) if isinstance(head, str) else head, bar or Text()
        indent = cell_len(first.plain)
        room = self._width - indent - cell_len(before.plain)
        lines = body.wrap(self._console, max(room, 10)) or [Text()]
        for i, line in enumerate(lines):
            line.rstrip()
            yield Text.assemble(before, Text(" " * indent) if i else first, line)

    def text(self, lines: Iterable[Text]) -> str:
        """The lines as they go to the terminal."""
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line, no_wrap=True, overflow="ignore", crop=False)
        return captured.get().removesuffix("\n")

    def _spans(self, text: str) -> Text:
        """Emphasis, code and citation markers as styles; as written where there are none."""
        if not self._styled:
            return Text(text)
        spans, end = Text(), 0
        for match in _SPAN.finditer(text):
            kind = match.lastgroup or ""
            spans.append(text[end : match.start()]).append(match[kind], style=_STYLES[kind])
            end = match.end()
        return spans.append(text[end:])
