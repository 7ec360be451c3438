"""The page as one file: static text, style and script, and beside them the data, which is never parsed as anything but JSON.

The content security policy allows this one script and this one style by their hashes, and nothing else: no network, no markup from
strings, no frames, no forms.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from delegator.viewer.page_data import page_data
from delegator.viewer.record import Record, Unreadable

_SCRIPTS = (
    "dom",
    "store",
    "virtual",
    "inspector",
    "answer",
    "summary",
    "timeline",
    "tree",
    "messages",
    "budget",
    "decisions",
    "compare",
    "main",
)
"""In this order: each uses what stands before it."""
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_AS_JSON = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page(records: Sequence[Record]) -> str:
    """One run, or two side by side, as an HTML page in ASCII.

    Raises:
        Unreadable: A run from a file is none.
    """
    style, script = _read("page.css"), "\n".join(_read(f"{name}.js") for name in _SCRIPTS)
    policy = (
        "default-src 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script, "data": _data(records)}
    # in one go: what is put in is not looked at again
    return _SLOT.sub(lambda slot: parts[slot[1]], _read("page.html"))


def _data(records: Sequence[Record]) -> str:
    try:
        return island(page_data(records))
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        if any(record.imported for record in records):  # it may hold anything
            raise Unreadable from error
        raise


def island(value: object) -> str:
    """JSON that can stand inside of a `script` element: no text in it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_AS_JSON)


@cache
def _read(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="ascii")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("ascii")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
