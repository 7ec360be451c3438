"""Strategies for texts and JSON values as an attacker would choose them."""

from typing import Any

from hypothesis import strategies as st

_PIECES = (
    # what hides, joins, marks, flags and turns around
    "\u200b \u200c \u200d \u200e \u202e \u2066 \u2069 \u00ad \u034f \ufe0e \ufe0f \ufe01 \u20e3 \ufeff \U000e0041 \U000e007f "
    "\U0001f3f4 \U000e0067 \u0301 \u0316 \u0327 \u0344 \u0f73 \u093c \u094d \u0915 \u0905 \u06cc \u0645 \u200b\u200d "
    "\U0001f469 \U0001f4bb \U0001f3fd \u2764 \u2640 \u2190 \u0338 \u212a \u037e \u1100 \u1161 \u115f \u3099 \u304b "
    "\u01d8 \u00e9 \ue000 \ud800 \udfff \ufffd \x1b \x9b \x07 \x08 \x7f \x85 e A 1 #漢 ж "
    # what closes, quotes and separates
    '\\ " \' { } [ ] ( ) < > ! : ; , - ` ~ & = / @ {" "} \\u0022 '
).split(" ")
_SPACES = [" ", "\n", "\r", "\t", "\r\n", "\x0b", "\x0c", "\u2028", "\u2029", "\u00a0"]


def hostile_texts(max_size: int = 24) -> st.SearchStrategy[str]:
    """Any text at all, and texts of pieces that are trouble."""
    pieces = st.lists(st.sampled_from([*_PIECES, *_SPACES]), max_size=max_size).map("".join)
    return st.text(st.characters(), max_size=max_size) | pieces


def json_values(
    texts: st.SearchStrategy[str] | None = None, keys: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[Any]:
    """Any JSON value, with what Python's parser lets through besides."""
    texts = hostile_texts() if texts is None else texts
    keys = texts if keys is None else keys
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda parts: st.lists(parts, max_size=4) | st.dictionaries(keys, parts, max_size=4),
        max_leaves=12,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON object."""
    return st.dictionaries(hostile_texts(), json_values(), max_size=4)


def canaries() -> st.SearchStrategy[str]:
    """Words that nobody writes by chance: where one turns up, a value was quoted."""
    return st.text("jqxz", min_size=12, max_size=12)
