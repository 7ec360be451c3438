"""Text made safe: one canonical form for storage and models, and one encoder for each sink.

Cleaning removes what a reader cannot see and a machine might obey; it never rewrites what a reader can see.
"""

import re
import unicodedata

_TAG_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f")
_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\uffff"
    "\ud800-\udfff\ue000-\uf8ff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
    "]"
)
_JOINERS = re.compile("[\u200c\u200d]")
_SEPARATORS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})
_PLAIN = re.compile(r"[\t\n -~]*\Z")


def clean(text: str) -> str:
    """Canonical text: NFC, one newline form, nothing invisible that a reader would not miss.

    Emoji sequences, joiners next to letters that use them and combining marks stay. Idempotent.
    """
    if _PLAIN.match(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_SEPARATORS)
    kept: list[str] = []
    end = 0
    for flag in _TAG_FLAG.finditer(text):
        kept += [_INVISIBLE.sub("", text[end : flag.start()]), flag[0]]
        end = flag.end()
    kept.append(_INVISIBLE.sub("", text[end:]))
    return unicodedata.normalize("NFC", _lone_joiners_removed("".join(kept)))


def _lone_joiners_removed(text: str) -> str:
    """Zero-width joiners stay between characters that are not ASCII: Indic and Arabic scripts, and emoji."""

    def keep(match: re.Match[str]) -> str:
        before = text[match.start() - 1] if match.start() else ""
        after = text[match.end()] if match.end() < len(text) else ""
        both = before and after and not before.isascii() and not after.isascii()
        return match[0] if both and not _JOINERS.match(before) else ""

    return _JOINERS.sub(keep, text)


def clean_json(value: object, *, max_depth: int = 24) -> object:
    """`value` with every string in it cleaned, keys included. What lies deeper than `max_depth` becomes null."""
    if isinstance(value, str):
        return clean(value)
    if max_depth == 0:
        return None
    if isinstance(value, dict):
        return {clean(str(k)): clean_json(v, max_depth=max_depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(v, max_depth=max_depth - 1) for v in value]
    return value


def for_terminal(text: str) -> str:
    """Text that can only print: no escape sequences, no bidirectional overrides, tabs as spaces."""
    return clean(text).expandtabs(4)


def one_line(text: str, width: int = 200) -> str:
    """Text for one line of a terminal: printable, white space folded, cut at `width` characters."""
    folded = " ".join(for_terminal(text[: 8 * width]).split())
    return folded if len(folded) <= width else folded[: width - 1] + "…"


_IMAGE = re.compile(r"!\[([^\]\n]{0,500})\](?:\([^)\n]{0,2000}\)|\[[^\]\n]{0,500}\])")
_LINK = re.compile(r"(?<!!)\[([^\]\n]{1,500})\]\(\s*<?([^)\s>]{1,2000})>?[^)\n]{0,200}\)")
_REFERENCE = re.compile(r"(?m)^[ \t]{0,3}\[[^\]\n]{1,500}\]:[ \t]*\S{1,2000}.*$\n?")
_AUTOLINK = re.compile(r"<((?:https?:)?//[^>\s]{1,2000})>")
_TAG = re.compile(  # by name, so that `Vec<T>` in an answer about code stays what it is
    r"</?(?:a|area|audio|base|body|button|embed|form|frame|frameset|head|html|iframe|image|img|input|link|meta"
    r"|object|picture|portal|script|source|style|svg|track|video)\b[^<>]{0,2000}>",
    re.IGNORECASE,
)


def for_answer(markdown: str) -> str:
    """A Markdown answer without images, links, link definitions or HTML: what they said stays as plain words."""
    text = _IMAGE.sub(r"\1", clean(markdown))
    text = _REFERENCE.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    return _TAG.sub("", text)


def fold(text: str) -> str:
    """White space runs as one space: the form in which a quote is compared with its source."""
    return " ".join(clean(text).split())
