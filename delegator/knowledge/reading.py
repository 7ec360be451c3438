"""Files into numbered lines of clean text, whatever their format.

Every line keeps the number it has in the file, so a citation can be looked up by hand. No file takes more time than its size
calls for: it may have been written to be slow.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from delegator.sanitize import clean

MAX_FILE_BYTES = 8_000_000
TEXT_SUFFIXES = frozenset(
    (
        ".adoc .asciidoc .c .cfg .conf .cpp .css .csv .go .h .htm .html .ini .java .js .json .log "
        ".markdown .md .mdx .org .po .py .pyi .rb .rs .rst .sh .sql .tex .text .toml .ts .tsv "
        ".txt .xhtml .xml .yaml .yml"
    ).split()
)
_HTML = frozenset({".html", ".htm", ".xhtml"})
_HEAD_BYTES = 8_192
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_RULERS = frozenset("=-~^\"'`#*+.:_")
_SHORTEST_RULE = 3
_FENCES = ("```", "~~~")
_MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".txt", ".text", ""})
_DEEPEST_HEADING = 6
MAX_TITLE = 160


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a document: its number in the file, its text, and whether it is a heading."""

    number: int
    text: str
    heading: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A file as text."""

    title: str
    lines: tuple[Line, ...]


class NotText(Exception):
    """The file holds no text; `why` names the count it goes under."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def read_text_bytes(path: Path) -> bytes:
    """A file's bytes, unless its first bytes show that it holds no text.

    Raises:
        NotText: It is binary.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if b"\0" in head and not head.startswith(_UTF16):
            raise NotText("binary")
        return head + file.read()


def decode(path: Path, data: bytes) -> str:
    """The text in a file's bytes.

    Raises:
        NotText: It is binary, or of an unknown type that is not UTF-8.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if path.suffix.lower() not in TEXT_SUFFIXES:
            raise NotText("binary") from None
        return data.decode("cp1252", errors="replace")


def read_document(path: Path, data: bytes) -> Document:
    """A file's title and lines.

    Raises:
        NotText: There is no text in it.
    """
    text = decode(path, data)
    if path.suffix.lower() in _HTML:
        lines, title = _html(text)
    else:
        lines, title = _plain(clean(text), markdown=path.suffix.lower() in _MARKDOWN), ""
    if not any(line.text.strip() for line in lines):
        raise NotText("empty")
    if not title:
        title = next((line.text for line in lines if line.heading), clean(path.stem))
    return Document(title=" ".join(title[: 4 * MAX_TITLE].split())[:MAX_TITLE], lines=lines)


def _plain(text: str, *, markdown: bool) -> tuple[Line, ...]:
    """Headings are lines with a rule below them and, in Markdown, lines that start with # outside of fenced code."""
    raw = text.split("\n")
    rules = [line[:1] in _RULERS and _is_rule(line) for line in raw]
    fences = markdown and any(fence in text for fence in _FENCES)
    lines: list[Line] = []
    fence = ""
    above = Line(0, "")
    for i, line in enumerate(raw):
        mark = _fence(line) if fences and not above.heading else ""
        if fence or mark:
            fence = "" if mark == fence else fence or mark
            above = Line(i + 1, line)
        elif rules[i] and (above.heading or not above.text.strip()):
            above = Line(i + 1, "")  # the rule under or over a heading
        elif markdown and line.startswith("#") and (heading := _after_hashes(line)):
            above = Line(i + 1, heading, heading=True)
        else:
            ruled = i + 1 < len(raw) and rules[i + 1] and _underlined(line, raw[i + 1])
            above = Line(i + 1, line, heading=ruled)
        lines.append(above)
    return tuple(lines)


def _is_rule(line: str) -> bool:
    mark = line.rstrip()
    return len(mark) >= _SHORTEST_RULE and mark[0] in _RULERS and not mark.strip(mark[0])


def _fence(line: str) -> str:
    """The mark that opens or closes fenced code, or nothing."""
    code = line.lstrip()
    return code[:3] if code.startswith(_FENCES) and "`" not in code.lstrip("`") else ""


def _after_hashes(line: str) -> str:
    """The heading of a line of Markdown that starts with #, or nothing."""
    words = line.lstrip("#")
    if len(line) - len(words) > _DEEPEST_HEADING or not words[:1].isspace():
        return ""
    words = words.strip()
    closed = words.rstrip("#")
    return closed.rstrip() if not closed or closed[-1].isspace() else words


def _underlined(line: str, below: str) -> bool:
    words = line.strip()
    return (
        0 < len(words) <= MAX_TITLE
        and not line.startswith((" ", "\t", "|", "+", "-", "*", ">"))
        and len(below.rstrip()) >= min(len(words), 4)
        and not _is_rule(line)
    )


class _Html(HTMLParser):
    """Words of a page, block by block. Scripts, styles and navigation are left out."""

    _SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "nav", "head"})
    _IN_HEAD = frozenset("base head link meta noscript script style template title".split())
    _HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
    _INLINE = frozenset(
        (
            "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small "
            "span strike strong sub sup time tt u var wbr"
        ).split()
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[Line] = []
        self.title: list[str] = []
        self._words: list[str] = []
        self._at = 0
        """The line of the first of these words; 0 before it."""
        self._skipping, self._depth = "", 0
        self._heading = self._pre = self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in ("body", "main") or (self._skipping == "head" and tag not in self._IN_HEAD):
            self._skipping = ""  # what was never closed hides nothing
        if tag == "title":
            self._in_title = self._skipping in ("", "head")  # drawings have titles too
        elif tag == self._skipping:
            self._depth += 1
        elif tag in self._SKIPPED and not self._skipping:
            self._skipping, self._depth = tag, 1
        if tag not in self._INLINE:
            self.flush()
        self._heading |= tag in self._HEADINGS
        self._pre |= tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag == self._skipping:
            self._depth -= 1
            self._skipping = self._skipping if self._depth else ""
        if tag not in self._INLINE:
            self.flush()
        self._heading &= tag not in self._HEADINGS
        self._pre &= tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._skipping:
            words = data.lstrip()
            if words and not self._at:
                self._at = self.getpos()[0] + data.count("\n", 0, len(data) - len(words))
            self._words.append(data)

    def flush(self) -> None:
        text, self._words = clean("".join(self._words)), []
        at, self._at = self._at, 0
        if not text.strip():
            return
        if self._pre:
            rows = [row.rstrip() for row in text.split("\n")]
            blank = next(i for i, row in enumerate(rows) if row)
            end = self.getpos()[0]  # `&#10;` is a line of text, but not of the file
            self.lines += [Line(min(at + i, end), row) for i, row in enumerate(rows[blank:])]
        else:
            self.lines.append(Line(at, " ".join(text.split()), heading=self._heading))
            self.lines.append(Line(at, ""))
        self._heading = False


_SECTION = re.compile(r"<!\[(?:CDATA\[|[^\[\]<>\n]{0,200}\]>)?")
_ENDLESS_NUMBER = re.compile(r"&#(?=[0-9]{9})")


def _html(text: str) -> tuple[tuple[Line, ...], str]:
    page = _Html()
    page.feed(_tame(text))
    page.close()
    page.flush()
    return tuple(page.lines), clean("".join(page.title)).strip()


def _tame(text: str) -> str:
    """Markup without what the parser fails at, or looks for the end of from every start anew; all words are kept."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _ENDLESS_NUMBER.sub("&amp;#", _SECTION.sub("", text))
    for start, end in (("<!--", "-->"), ("<", ">")):
        rest = text.rfind(end) + 1
        text = text[:rest] + text[rest:].replace(start, "&lt;" + start[1:])
    return text
