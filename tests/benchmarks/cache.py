"""How much of what is sent a prompt cache could serve, and how much of that the markers let it serve.

A prompt is a row of blocks in the order of the API: tools, system, messages. A *prefix* is a row of whole blocks from the start.

* Could serve: the longest prefix that stood at the start of an earlier request whose response had begun when this one arrived.
* Does serve: an entry is written at each marker (four a request at most; more are refused by the API), once its response has begun. A
  marker reads the longest entry that ends at its own block or at one of the twenty before it. What the best marker reads counts.

Characters are counted, without markers. The API's smallest size of an entry and its five minutes are left out on both sides.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

LOOK_BACK = 20
"""Blocks before a marker at which an entry is still found."""
MOST_MARKERS = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was sent."""

    arrived: float
    begun: float
    """When its response began: its entries can be read from then on."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Prefix:
    key: bytes
    size: int
    marked: bool


def share(sent: Sequence[Sent]) -> dict[str, int]:
    """Characters sent, those that a cache could serve, and those that it does serve."""
    known: dict[bytes, float] = {}
    written: dict[bytes, float] = {}
    total = could = does = 0
    for one in sent:
        prefixes = list(_prefixes(orjson.loads(one.raw)))
        markers = [k for k, prefix in enumerate(prefixes) if prefix.marked]
        if len(markers) > MOST_MARKERS:
            raise ValueError("the API takes four cache markers at most")
        total += prefixes[-1].size
        could += max((p.size for p in prefixes if _ready(known, p, one)), default=0)
        near = (p for k in markers for p in prefixes[max(0, k - LOOK_BACK) : k + 1])
        does += max((p.size for p in near if _ready(written, p, one)), default=0)
        for prefix in prefixes:
            for entries in (known, written) if prefix.marked else (known,):
                entries[prefix.key] = min(entries.get(prefix.key, one.begun), one.begun)
    return {"sent": total, "could": could, "does": does}


def _ready(entries: Mapping[bytes, float], prefix: _Prefix, one: Sent) -> bool:
    return entries.get(prefix.key, float("inf")) <= one.arrived


def _prefixes(body: Mapping[str, Any]) -> Iterator[_Prefix]:
    digest, size = hashlib.blake2b(digest_size=16), 0
    for head, block in _blocks(body):
        plain = orjson.dumps({k: v for k, v in block.items() if k != "cache_control"})
        digest.update(head + plain)
        size += len(plain)
        yield _Prefix(digest.digest(), size, "cache_control" in block)


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    for tool in body.get("tools") or ():
        yield b"tool", tool
    for block in _as_blocks(body.get("system") or ()):
        yield b"system", block
    for message in body["messages"]:
        for block in _as_blocks(message["content"]):
            yield message["role"].encode(), block


def _as_blocks(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
