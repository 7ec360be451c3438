"""The envelope: the only way by which untrusted text enters a prompt.

One function in (`Fence.seal`), one parser out (`unseal`). Inside, text is a JSON string in a JSON object, so nothing it says can
close the envelope; at `marked` it stands as it came between marks. A nonce is drawn for each envelope after its text is known,
so no text can hold it. At `raw` there is no envelope: what that costs is what the level is there to show.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from delegator.ladder import Encoding
from delegator.sanitize import clean_counted, is_clean_json
from delegator.trust import Label

_JSON = '{"envelope":"'
_MARK = "[["
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an envelope held."""

    nonce: str
    origin: str
    trust: str
    data: Mapping[str, Any]
    removed: int = 0
    """Characters that a reader could not have seen, and that were taken out."""


def _drawn(_text: str) -> str:
    return secrets.token_hex(8)


class Fence:
    """Seals what enters the prompts of one run, and knows what it has sealed."""

    def __init__(
        self, encoding: Encoding = Encoding.JSON, *, draw: Callable[[str], str] = _drawn
    ) -> None:
        self.encoding = encoding
        self.removed = 0
        """Invisible characters taken out of everything sealed so far."""
        self._draw = draw
        self._sealed: dict[str, int] = {}
        """Hashes of the texts sealed so far, by how they begin: up to the end of the nonce."""
        self._nonce_ends = 0

    def seal(self, data: Mapping[str, Any], *, label: Label, origin: str) -> str:
        """`data` as labelled text for a tool result. `origin` is the harness's own name for where it came from."""
        if self.encoding is Encoding.PLAIN:
            return _encodable(
                "\n".join(f"{_dotted(path)} = {_words(leaf)}" for path, leaf in _leaves(data))
            )
        trust = label.integrity.name.lower()
        if self.encoding is Encoding.MARKED:
            return self._marked(data, origin, trust)
        body = self._body({"origin": origin, "trust": trust}, data)
        opening = _JSON + self._draw(body)
        return self._kept(opening, f'{opening}",{body[1:]}')

    def _body(self, head: dict[str, Any], data: Mapping[str, Any]) -> str:
        """Head and data as canonical JSON. Nearly all data is canonical already."""
        try:
            body = _ENCODE({**head, "data": data})
        except (ValueError, TypeError, RecursionError):  # what JSON cannot say
            body = ""
        if body and is_clean_json(body):
            return body
        cleaned, removed = clean_counted(dict(data))
        self.removed += removed
        return _ENCODE({**head, **({"removed": removed} if removed else {}), "data": cleaned})

    def _marked(self, data: Mapping[str, Any], origin: str, trust: str) -> str:
        parts = [(path, leaf) for path, leaf in _leaves(data)]
        held = "\n".join(_words(leaf) for _, leaf in parts) + json.dumps(
            [path for path, _ in parts]
        )
        nonce = self._draw(held)
        while nonce in held:
            nonce = self._draw(held + nonce)
        opening = _MARK + nonce
        lines = [f"{opening} open {json.dumps([origin, trust])}"]
        for path, leaf in parts:
            kind = "text" if isinstance(leaf, str) else "json"
            lines.append(f"{opening} {kind} {json.dumps(path)}\n{_words(leaf)}")
        return self._kept(opening, _encodable("\n".join([*lines, f"{opening} close]]"])))

    def _kept(self, opening: str, text: str) -> str:
        self._sealed[opening] = hash(text)
        self._nonce_ends = len(opening)
        return text

    def sealed(self, text: str) -> bool:
        """Whether this fence sealed just this text. A text knows its hash, so asking again costs nothing."""
        return self._sealed.get(text[: self._nonce_ends]) == hash(text)


def unseal(text: str) -> Envelope:
    """What `seal` was given: in canonical form from JSON, as it came from marks.

    Raises:
        ValueError: It is not an envelope.
    """
    return _from_marks(text) if text.startswith(_MARK) else _from_json(text)


def seen(text: str) -> Mapping[str, Any]:
    """What a reader of a prompt takes a text to hold: an envelope's data, or whatever plain lines look like.

    Raises:
        ValueError: It looks like nothing that `seal` writes.
    """
    enveloped = text.startswith((_JSON, _MARK))
    return unseal(text).data if enveloped else _from_lines(text)


def _from_json(text: str) -> Envelope:
    try:
        value = json.loads(text)
    except RecursionError:
        value = None
    names = ("envelope", "origin", "trust")
    if not (
        isinstance(value, dict)
        and {*names, "data"} <= value.keys() <= {*names, "removed", "data"}
        and all(isinstance(value[name], str) for name in names)
        and isinstance(value["data"], dict)
        and type(value.get("removed", 0)) is int
    ):
        raise _not_one()
    nonce, origin, trust = (value[name] for name in names)
    removed = value.get("removed", 0)
    return Envelope(nonce=nonce, origin=origin, trust=trust, data=value["data"], removed=removed)


_OPENED = re.compile(r"\[\[([0-9a-z]+) open (\[.*\])")
_PART = re.compile(r"(text|json) (\[.*\])\n")


def _from_marks(text: str) -> Envelope:
    head, _, rest = text.partition("\n")
    opened = _OPENED.fullmatch(head)
    named = json.loads(opened[2]) if opened else []
    if opened is None or list(map(type, named)) != [str, str]:
        raise _not_one()
    nonce, (origin, trust) = opened[1], named
    first, *parts = f"\n{rest}".split(f"\n{_MARK}{nonce} ")
    if first or not parts or parts.pop() != "close]]":
        raise _not_one()
    leaves = []
    for part in parts:
        found = _PART.match(part)
        if found is None:
            raise _not_one()
        words = part[found.end() :]
        leaves.append(
            (tuple(json.loads(found[2])), words if found[1] == "text" else json.loads(words))
        )
    return Envelope(nonce=nonce, origin=origin, trust=trust, data=_object(leaves))


_LINE = re.compile(r"^([A-Za-z_]\w*(?:\.\w+)*) = ", re.MULTILINE | re.ASCII)
_LITERALS = re.compile(r"(?:true|false|null|\[\]|\{\}|-?[0-9]{1,15}(?:\.[0-9]+)?)\Z")


def _from_lines(text: str) -> Mapping[str, Any]:
    """Whatever looks like a line of `seal` counts as one, whoever wrote it: there is no telling."""
    first, *found = _LINE.split(text)
    if first:
        raise _not_one()
    leaves = []
    for path, said in zip(found[::2], found[1::2], strict=True):
        steps = tuple(int(step) if step.isdecimal() else step for step in path.split("."))
        words = said.removesuffix("\n")
        leaves.append((steps, json.loads(words) if _LITERALS.match(words) else words))
    return _object(leaves)


def _not_one() -> ValueError:
    return ValueError("not an envelope")


def _leaves(value: object, path: _Path = ()) -> Iterator[tuple[_Path, object]]:
    """What lies at the ends of some JSON data, with the way there."""
    match value:
        case Mapping() if value or not path:
            for key, item in value.items():
                yield from _leaves(item, (*path, str(key)))
        case list() | tuple() if value:
            for i, item in enumerate(value):
                yield from _leaves(item, (*path, i))
        case _:
            yield path, value


def _object(leaves: list[tuple[_Path, object]]) -> dict[str, Any]:
    """The data whose ends these are."""
    top: dict[Any, Any] = {}
    for path, leaf in leaves:
        node = top
        for step in path[:-1]:
            below = node.setdefault(step, {})
            node[step] = node = below if isinstance(below, dict) else {}
        if path:
            node[path[-1]] = leaf
    return {str(key): _listed(item) for key, item in top.items()}


def _listed(node: object) -> object:
    """Numbered entries as a list."""
    if not isinstance(node, dict) or not node:
        return node
    if all(isinstance(key, int) for key in node):
        return [_listed(node[key]) for key in sorted(node)]
    return {str(key): _listed(item) for key, item in node.items()}


def _dotted(path: _Path) -> str:
    return ".".join(map(str, path))


def _words(leaf: object) -> str:
    return leaf if isinstance(leaf, str) else json.dumps(leaf)


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which no request can hold."""
    return text.encode("utf-8", errors="replace").decode() if not text.isascii() else text
