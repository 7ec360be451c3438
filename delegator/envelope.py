"""The envelope: the only way by which untrusted text enters a prompt.

One function in (`Fence.seal`), one parser out (`unseal`). The text inside is a JSON string in a JSON object, so nothing it
says can close the envelope; the nonce is drawn for each run, so nothing written before the run can pose as one.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delegator.sanitize import clean_json
from delegator.trust import Label

_OPENING = '{"envelope":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an envelope held."""

    nonce: str
    origin: str
    trust: str
    data: Mapping[str, Any]


class Fence:
    """Seals what enters the prompts of one run."""

    def __init__(self, nonce: str = "") -> None:
        self._opening = f'{_OPENING}{nonce or secrets.token_hex(8)}",'

    def seal(self, data: Mapping[str, Any], *, label: Label, origin: str) -> str:
        """`data` as labelled text for a tool result. `origin` is the harness's own name for where it came from."""
        body = json.dumps(
            {
                "origin": origin,
                "trust": label.integrity.name.lower(),
                "data": clean_json(dict(data)),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return self._opening + body[1:]

    def sealed(self, text: str) -> bool:
        """Whether this fence sealed `text`."""
        return text.startswith(self._opening)


def unseal(text: str) -> Envelope:
    """What `seal` was given, in canonical form.

    Raises:
        ValueError: It is not an envelope.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        value = None
    names = ("envelope", "origin", "trust")
    if not (
        isinstance(value, dict)
        and value.keys() == {*names, "data"}
        and all(isinstance(value[name], str) for name in names)
        and isinstance(value["data"], dict)
    ):
        msg = "not an envelope"
        raise ValueError(msg)
    return Envelope(
        nonce=value["envelope"], origin=value["origin"], trust=value["trust"], data=value["data"]
    )
