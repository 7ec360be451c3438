"""Files into numbered lines of clean text, whatever their format.

Every line keeps the number it has in the file, so a citation can be looked up by hand.
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
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*\Z")
_MARKDOWN_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*\Z")
_MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".txt", ".text", ""})
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
        title = next((line.text for line in lines if line.heading), path.stem)
    return Document(title=" ".join(title.split())[:MAX_TITLE], lines=lines)


def _plain(text: str, *, markdown: bool) -> tuple[Line, ...]:
    raw = text.split("\n")
    lines: list[Line] = []
    fenced = False
    for i, line in enumerate(raw):
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        below = raw[i + 1] if i + 1 < len(raw) else ""
        if fenced:
            lines.append(Line(i + 1, line))
        elif markdown and line.startswith("#") and (match := _MARKDOWN_HEADING.match(line)):
            lines.append(Line(i + 1, match[2], heading=True))
        elif _UNDERLINE.match(line) and lines and (lines[-1].heading or not lines[-1].text.strip()):
            lines.append(Line(i + 1, ""))  # the rule under or over a heading
        else:
            lines.append(Line(i + 1, line, heading=_underlined(line, below)))
    return tuple(lines)


def _underlined(line: str, below: str) -> bool:
    words = line.strip()
    return (
        0 < len(words) <= MAX_TITLE
        and not line.startswith((" ", "\t", "|", "+", "-", "*", ">"))
        and _UNDERLINE.match(below) is not None
        and len(below.rstrip()) >= min(len(words), 4)
        and not _UNDERLINE.match(line)
    )


class _Html(HTMLParser):
    """Words of a page, block by block. Scripts, styles and navigation are left out."""

    _SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "nav", "head"})
    _INLINE = frozenset(
        (
            "a abbr b bdi bdo cite code data dfn em font i kbd mark q s samp small span strong sub sup "
            "time tt u var wbr"
        ).split()
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[Line] = []
        self.title = ""
        self._words: list[str] = []
        self._at = 1
        self._skipping: list[str] = []
        self._heading = self._pre = self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "title":
            self._in_title = True
        elif tag == "body":
            self._skipping.clear()  # a head that was never closed hides nothing
        elif tag in self._SKIPPED:
            self._skipping.append(tag)
        if tag not in self._INLINE:
            self.flush()
        self._heading |= tag in ("h1", "h2", "h3", "h4", "h5", "h6")
        self._pre |= tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif self._skipping and tag == self._skipping[-1]:
            self._skipping.pop()
        if tag not in self._INLINE:
            self.flush()
        if tag == "pre":
            self._pre = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skipping:
            if not self._words:
                self._at = self.getpos()[0] + len(data) - len(data.lstrip("\n"))
            self._words.append(data)

    def flush(self) -> None:
        text, self._words = clean("".join(self._words)), []
        if not text.strip():
            return
        if self._pre:
            rows = text.strip("\n").split("\n")
            self.lines += [Line(self._at + i, row.rstrip()) for i, row in enumerate(rows)]
        else:
            self.lines.append(Line(self._at, " ".join(text.split()), heading=self._heading))
            self.lines.append(Line(self._at, ""))
        self._heading = False


def _html(text: str) -> tuple[tuple[Line, ...], str]:
    page = _Html()
    page.feed(text)
    page.close()
    page.flush()
    return tuple(page.lines), clean(page.title).strip()
