"""Hashes of requests: by them a run that goes on knows that it asks what is on record."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from delegator.messages import Block, Message, Text, ToolResult, ToolSpec, block_to_wire
from delegator.model import Request

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Digests:
    """Hashes what is asked, not how much room there is for the answer. Transcripts grow, so only what is new is hashed."""

    _heads: dict[tuple[str, str, tuple[int, ...]], tuple[tuple[ToolSpec, ...], Any]] = field(
        default_factory=dict
    )
    """Hashes over models, prompts and tools; the tools are kept, so that no other comes to be known by the same number."""
    _transcripts: dict[str, tuple[tuple[Message, ...], Any]] = field(default_factory=dict)
    """Each loop's transcript as it was hashed last, and the hash over it."""

    def of(self, request: Request) -> str:
        """The hash of a request, in hexadecimal digits."""
        loop = request.key.rpartition("/")[0]
        before, hashed = self._transcripts.get(loop, ((), None))
        grown = len(before) <= len(request.messages) and all(map(is_, before, request.messages))
        if hashed is None or not grown:
            before, hashed = (), self._head(request).copy()
        for message in request.messages[len(before) :]:
            for piece in _pieces(message):
                hashed.update(piece)
        self._transcripts[loop] = (request.messages, hashed)
        return str(hashed.hexdigest())

    def ended(self, loop: str) -> None:
        """Forget a loop that asks nothing more."""
        self._transcripts.pop(loop, None)

    def _head(self, request: Request) -> Any:
        """A hash over what all calls of an agent have in common, and many agents."""
        key = (request.model, request.system, tuple(map(id, request.tools)))
        tools, hashed = self._heads.get(key, ((), None))
        if hashed is None or tools != request.tools:
            head = "\0".join(
                (request.model, request.system, *(tool.wire for tool in request.tools))
            )
            hashed = hashlib.sha256(head.encode(errors="surrogatepass"))
            self._heads[key] = (request.tools, hashed)
        return hashed


def _pieces(message: Message) -> Iterator[bytes]:
    """A message as bytes that no other message has. Long texts stand in it as they are: to quote them takes longer than to hash them."""
    yield f"\0{message.role} {len(message.content)}\0".encode()
    for block in message.content:
        text, rest = _parts(block)
        long = text.encode(errors="surrogatepass")
        yield f"{len(long)} {rest}\0".encode(errors="surrogatepass")
        yield long


def _parts(block: Block) -> tuple[str, str]:
    """A block's text, and the rest of it: a word, a pair or an object."""
    match block:
        case Text():
            return block.text, "text"
        case ToolResult():
            return block.text, repr((block.tool_use_id, block.is_error))
        case _:
            return "", _ENCODE(block_to_wire(block))
