"""Text made safe: one canonical form for storage and models, and one encoder for each sink.

Cleaning removes what a reader cannot see and a machine might obey; it never rewrites what a reader can see. Every pattern here
takes time in proportion to the text, whatever the text is.
"""

import html
import math
import re
import unicodedata
from typing import Any

_USUAL = re.compile(  # nearly all texts: nothing here is hidden, a mark or a joiner
    "[\t\n -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u1fff\u2010-\u2027\u202f-\u205e\u20a0-\u20cf\u2100-\u2bff"
    "\u3000-\u3029\u3041-\u3096\u309b-\u312f\u3400-\u9fff\uac00-\ud7a3\U0001f300-\U0001faff]*\\Z"
)
_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
"""Line breaks that editors and `wc` do not count as one; as a newline they would shift the numbers of lines."""
_HIDDEN = re.compile(  # the group, a flag spelled in tags, stays
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f)|["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # C0 and C1 without white space, DEL
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    "\ud800-\udfff\ue000-\uf8ff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
    "]+"
)
_LONE_SELECTORS = re.compile(
    "(?<![#*0-9\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f]+"
)
_JOINERS = re.compile("[\u200c\u200d]+")
_JOINING = re.compile(  # cursive and Indic scripts, symbols and emoji
    "[\u0600-\u0dff\u1000-\u109f\u1700-\u1cff\u2190-\u2bff\ua800-\uabff\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f\U0001f000-\U0001faff]"
)
MOST_MARKS = 30
"""Combining marks on one letter (Unicode's stream-safe limit): normalizing more takes quadratic time."""
_MANY_MARKS = re.compile(  # a character and a long run outside the blocks that hold no marks; some are two marks in one
    "[\\s\\S][^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u200b\u2010-\u20cf\u2100-\u2cee\u3000-\u3029"
    "\u3030-\u3098\u309b-\ua66e\uac00-\ufb1d\U0001f000-\U0001faff]"
    f"{{{MOST_MARKS // 2 - 1},}}"
)


def clean(text: str) -> str:
    """Canonical text: NFC, one newline form, nothing invisible that a reader would not miss.

    Emoji sequences, joiners next to letters that use them and combining marks stay. Idempotent.
    """
    if _USUAL.match(text):
        return text if text.isascii() else unicodedata.normalize("NFC", text)
    text = _BREAKS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _composed(_HIDDEN.sub(r"\1", text))
    settled = _lone_joiners_removed(_LONE_SELECTORS.sub("", text))
    return text if settled == text else _composed(settled)


def hidden(text: str) -> int:
    """How many characters `clean` takes out because no reader would see them."""
    if _USUAL.match(text):
        return 0
    hid = sum(len(found[0]) - len(found[1] or "") for found in _HIDDEN.finditer(text))
    shown = _composed(_HIDDEN.sub(r"\1", text))
    settled = _LONE_SELECTORS.sub("", shown)
    return hid + len(shown) - len(_lone_joiners_removed(settled))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", _MANY_MARKS.sub(_marks_capped, text))


def _marks_capped(match: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for char in match[0]:
        for part in unicodedata.normalize("NFD", char):
            marks = marks + 1 if unicodedata.combining(part) else 0
        if marks <= MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def _lone_joiners_removed(text: str) -> str:
    """Zero-width joiners stay where a script or an emoji uses them: single, and between two of its characters."""

    def keep(match: re.Match[str]) -> str:
        before, after = match.start() - 1, text[match.end() : match.end() + 1]
        while before > 0 and unicodedata.combining(text[before]):
            before -= 1
        joined = before >= 0 and _JOINING.match(text[before])
        return match[0] if joined and len(match[0]) == 1 and _continues(after) else ""

    return _JOINERS.sub(keep, text)


def _continues(after: str) -> bool:
    return bool(after and (_JOINING.match(after) or unicodedata.combining(after)))


_ESCAPES = re.compile(r"\\[bfru]")


def is_clean_json(encoded: str) -> bool:
    """Whether all strings in some encoded JSON are sure to be as `clean` leaves them: one look at the whole text is quick."""
    if _ESCAPES.search(encoded):
        return False
    if encoded.isascii():
        return "\x7f" not in encoded
    return bool(_USUAL.match(encoded)) and unicodedata.is_normalized("NFC", encoded)


def clean_json(value: object, *, max_depth: int = 24) -> object:
    """`value` with every string in it cleaned, keys included.

    What JSON cannot say (not a number, infinity) and what lies deeper than `max_depth` becomes null.
    """
    return clean_counted(value, max_depth=max_depth)[0]


def clean_counted(value: object, *, max_depth: int = 24) -> tuple[Any, int]:
    """`clean_json`, and how many invisible characters it took out."""
    removed = 0

    def cleaned(text: str) -> str:
        nonlocal removed
        if _USUAL.match(text):
            return text if text.isascii() else unicodedata.normalize("NFC", text)
        removed += hidden(text)
        return clean(text)

    def walk(node: object, depth: int) -> object:
        match node:
            case str():
                return cleaned(node)
            case float() if not math.isfinite(node):
                return None
            case dict() | list() | tuple() if depth == 0:
                return None
            case dict():
                return {cleaned(str(key)): walk(item, depth - 1) for key, item in node.items()}
            case list() | tuple():
                return [walk(item, depth - 1) for item in node]
            case _:
                return node

    return walk(value, max_depth), removed


def for_terminal(text: str) -> str:
    """Text that can only print: no escape sequences, no bidirectional overrides, tabs as spaces."""
    return clean(text).expandtabs(4)


def one_line(text: str, width: int = 200) -> str:
    """Text for one line of a terminal: printable, white space folded, cut at `width` characters."""
    folded = " ".join(for_terminal(text[: 8 * width]).split())
    return folded if len(folded) <= width else folded[: width - 1] + "…"


def fold(text: str) -> str:
    """White space runs as one space: the form in which a quote is compared with its source."""
    return " ".join(clean(text).split())


CODE = (
    r"(?P<code>(?m:^) {0,3}(?P<fence>`{3,}(?=[^`\n]*(?m:$))|~{3,})[\s\S]*?(?:\n {0,3}(?P=fence)[`~]*[ \t]*(?m:$)|\Z)"
    r"|(?<![\\`])(?:``(?!`)[^\n]*?[^`\n]``|`[^`\n]+`)(?!`))"
)
"""A pattern for code in Markdown. Put it first in an alternation to keep something out of code."""

_ENTITIES = re.compile(CODE + "|(?:&[#0-9a-z]*)+;?", re.IGNORECASE)
_LONGEST_ENTITY = 12
_MARKER_CHARACTERS = frozenset("[]0123456789")


_SPAN = r"(?P<code>(?<![\\`])`[^`\n]+`(?!`))"
"""A piece of code on one line, between single backticks."""
_STRAY_TICKS = re.compile(f"{_SPAN}|```|`")
_STRAY_ENTITIES = re.compile(f"{_SPAN}|(?:&[#0-9a-z]*)+;?", re.IGNORECASE)
_BRACKETED = re.compile(
    _SPAN + r"|\[(?=[\s,;:\\\u2013\u2014-]*\d)(?=[\d\s,;:\\\u2013\u2014-]*\])([^\]]*)\]"
)


def unmarked(text: str) -> str:
    """Words that are put into an answer on one line, and can neither cite nor open a piece of code there.

    Code between single backticks that is whole stays as it is.
    """
    words = _STRAY_TICKS.sub(_plain_ticks, fold(text))
    words = _STRAY_ENTITIES.sub(lambda found: found["code"] or _plain_bracket(found), words)
    words = _BRACKETED.sub(lambda found: found["code"] or f"({found[2]})", words)
    return words.replace("~~~", "\\~~~")


def _plain_ticks(found: re.Match[str]) -> str:
    return found["code"] or ("''" if len(found[0]) > 1 else "'")


def plain_brackets(markdown: str) -> str:
    """`markdown` with brackets and digits for the entities that a page would show as such, except in code."""
    return _ENTITIES.sub(_plain_bracket, markdown)


def _plain_bracket(found: re.Match[str]) -> str:
    """Only entities that stand alone: `&#9&#49;;` is not `[` on a page, and must not become `&#91;` here."""
    alone = found[0].count("&") == 1 and found[0].endswith(";") and len(found[0]) <= _LONGEST_ENTITY
    shown = html.unescape(found[0]) if alone else ""
    return shown if shown in _MARKER_CHARACTERS else found[0]


_WORDS = r"\[(?P<words>[^\[\]\n]*)\]"
_DESTINATION = r"\([^()\n]*(?:\([^()\n]*\)[^()\n]*)?\)"
_NAMES = (
    r"(?:a|area|audio|base|body|button|embed|form|frame|frameset|head|html|iframe|image|img|input|link|math|meta"
    r"|noembed|noframes|noscript|object|picture|plaintext|portal|script|select|source|style|svg|template|textarea"
    r"|title|track|video|xmp)\b"
)
_SWALLOWING = (  # these do harm without attributes: they run, hide or swallow what follows
    r"(?:body|button|form|frameset|head|html|iframe|math|noembed|noframes|noscript|plaintext|script|select|style|svg"
    r"|template|textarea|title|xmp)(?![\w-])"
)
_MARKUP = [
    re.compile(f"{CODE}|{pattern}", re.IGNORECASE)
    for pattern in (
        rf"!{_WORDS}(?:{_DESTINATION}|\[(?!\s*\d)[^\[\]\n]*\])",
        rf"(?P<words>\[[\d, ]+\]){_DESTINATION}",  # a citation marker stays one
        rf"{_WORDS}{_DESTINATION}",
        r"(?m:^)[ \t]*(?P<words>)\[[^\[\]\n]+\]:[ \t]*\S+(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*(?m:$)\n?",
        r"<(?P<words>(?:[a-z][a-z0-9+.-]{1,31}:(?!:)|//|[^<>\s@]+@)[^<>\s]*)>",
        rf"(?P<words>)<(?:{_NAMES}[^<>]*=[^<>]*|{_SWALLOWING}[^<>]*|/{_NAMES}\s*)>",
    )
]
# What is broken up at last: what could act even if everything above had been fooled.
_CALL_OR_LINK = re.compile(r"\w\[[^\[\]!\n]*\]\([^:/\\&<>()\n]*\)|\](?=\()")
_DEFINITION = re.compile(
    r"(?m:^)([ \t]*(?:[>*+-][ \t]*|\d{1,9}[.)][ \t]+)*\[(?:[^\[\]\\]|\\[\s\S])*\]):"
)
_TAG = re.compile(r"<[a-z/!?](?:[^>=\n]|\n[>\s]*)*=?", re.IGNORECASE)
"""A tag up to its first attribute. A `>` at the beginning of a line may belong to a block quote instead."""
_MAIL = re.compile(r"<(?=[^<>\s@]+@)")
_TAG_OPENING = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_LIVE_WITHOUT_ATTRIBUTES = re.compile(
    rf"<(?:[!?]|/?{_SWALLOWING}|[a-z][a-z0-9+.-]{{1,31}}:(?!:))", re.IGNORECASE
)


def for_answer(markdown: str) -> str:
    """A Markdown answer without images, links, link definitions or HTML: what they said stays as plain words."""
    text = clean(markdown)
    for pattern in _MARKUP:
        text = pattern.sub(_words, text)
    return inert(text)


def inert(markdown: str) -> str:
    """`markdown` in which nothing acts: a space breaks up every `](`, `]:` and `<tag` that could.

    It does so wherever they stand, in code too, so that nothing depends on having understood the Markdown.
    """
    text = _CALL_OR_LINK.sub(lambda found: "] " if found[0] == "]" else found[0], markdown)
    text = _MAIL.sub("< ", _DEFINITION.sub(r"\1 :", text))
    return _TAG.sub(_broken_tags, text)


def _words(found: re.Match[str]) -> str:
    return found["code"] or found["words"] or ""


def _broken_tags(found: re.Match[str]) -> str:
    """Tags without attributes may stay, as in `Vec<T>`; a space after `<` makes of any other tag plain text."""
    live = found[0].endswith("=") or _LIVE_WITHOUT_ATTRIBUTES.search(found[0])
    return _TAG_OPENING.sub("< ", found[0]) if live else found[0]
