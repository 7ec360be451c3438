"""The worst case as a model: honest until it can read the attacker, then it does whatever the attacker wants.

A call turns when its context holds the attacker's words, wherever they stand and however they are written. Agents may also be hostile
from their first call. It is no language model: what it shows is what a level guarantees whoever obeys.
"""

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from urllib.parse import unquote

from delegator.envelope import seen
from delegator.messages import Text, ToolResult, ToolUse
from delegator.model import Model, ModelEvent, Request
from delegator.models.scripted import Says, Scripted

Behaviour = Callable[[Request], Says]
_TAGS = {0xE0000 + code: code for code in range(0x20, 0x7F)}
_LOOKALIKES = str.maketrans("аеорсухіјѕԁԛԝ", "aeopcyxijsdqw")  # noqa: RUF001 - that is what they are
_RUNS = re.compile(r"[A-Za-z0-9+/=_-]{12,}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){6,}")


class WorstCase:
    """An honest model around which an attacker's behaviour waits.

    Args:
        honest: Who answers while nothing has turned it.
        trigger: Parts of the attacker's words: a call that can read all of them obeys.
        hostile: What an agent does then, by its loop's id (`orchestrator`, `D1`) or its agent's name.
        from_the_start: Agents that are hostile whatever they read.
    """

    def __init__(
        self,
        honest: Model,
        *,
        trigger: Collection[str] = (),
        hostile: Mapping[str, Behaviour],
        from_the_start: Collection[str] = (),
    ) -> None:
        self.id = "worst-case" if hostile else honest.id
        self.requests: list[Request] = []
        self.reached: list[Request] = []
        """The requests from which the attacker's words can be read."""
        self.turned: list[Request] = []
        """The requests whose context turned the model, or whose agent was hostile."""
        self._honest = honest
        self._trigger = frozenset(trigger)
        self._hostile = Scripted(hostile)
        self._roles = frozenset(hostile)
        self._from_the_start = frozenset(from_the_start)

    def exposed(self, who: str) -> list[Request]:
        """Requests of an agent, by its loop's id or its name, from which the attacker's words can be read."""
        return [request for request in self.reached if who in _names(request)]

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Answer honestly, or as the attacker wants."""
        self.requests.append(request)
        names = _names(request)
        if reads := self._reads_attacker(request):
            self.reached.append(request)
        turned = reads or not self._from_the_start.isdisjoint(names)
        if turned:
            self.turned.append(request)
        model = self._hostile if turned and not self._roles.isdisjoint(names) else self._honest
        async for event in model.stream(request):
            yield event

    def _reads_attacker(self, request: Request) -> bool:
        if not self._trigger:
            return False
        missing = set(self._trigger)
        for text in _texts(request):
            for reading in readings(text):
                missing -= {part for part in missing if part in reading}
        return not missing


def _names(request: Request) -> tuple[str, str]:
    return (request.key.split("/")[0], request.agent)


def _texts(request: Request) -> Iterator[str]:
    """Everything in a request that the operator did not write."""
    for message in request.messages:
        for block in message.content:
            match block:
                case Text():
                    yield block.text
                case ToolUse():
                    yield from _strings(block.input)
                case ToolResult():
                    yield block.text
                    with suppress(ValueError):
                        yield from _strings(seen(block.text))
                case _:
                    pass


def _strings(value: object) -> Iterator[str]:
    """All texts in a value, however deep they lie."""
    left = [value]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case Mapping() as fields:
                yield from map(str, fields)
                left += fields.values()
            case list() | tuple() as items:
                left += items
            case _:
                pass


def readings(text: str) -> Iterator[str]:
    """A text in every way in which a clever reader may take it: decoded, unhidden, joined, turned around."""
    folded = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES).lower()
    yield text
    yield folded
    yield "".join(char for char in folded if char.isalnum())
    yield folded[::-1]
    yield codecs.decode(folded, "rot13")
    yield html.unescape(unquote(text)).lower()
    yield "".join(chr(_TAGS[ord(char)]) for char in text if ord(char) in _TAGS).lower()
    yield from _decoded(text)


def _decoded(text: str) -> Iterator[str]:
    for run in _RUNS.findall(text):
        padded = run.rstrip("=") + "=" * (-len(run.rstrip("=")) % 4)
        with suppress(binascii.Error, ValueError):
            yield (
                base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_"))
                .decode("utf-8", "ignore")
                .lower()
            )
    for run in _HEX.findall(text):
        yield bytes.fromhex(run).decode("utf-8", "ignore").lower()
