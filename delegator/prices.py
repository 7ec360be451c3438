"""Prices of models: data with a date, in `prices.json`; a person's own come first.

Money is counted in whole nano-dollars, so that sums are exact.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from delegator.budget import NANO, Usage
from delegator.errors import ConfigError

_FILE = Path(__file__).with_name("prices.json")
_DATED = re.compile(r"-\d{8}\Z")
_KINDS = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Nano-dollars for one token of each kind."""

    input: int
    output: int
    cache_read: int
    cache_write: int

    def cost(self, usage: Usage) -> int:
        """What some tokens cost."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's rates, and those for prompts of more than so many tokens."""

    rates: Rates
    above: Rates | None = None
    threshold: int = 0

    def cost(self, usage: Usage) -> int:
        """What one call cost, in nano-dollars."""
        prompt = usage.total - usage.output_tokens
        return self._rates(prompt).cost(usage)

    def worst_input(self, tokens: int) -> int:
        """The most that a prompt of up to so many tokens can cost, in nano-dollars."""
        rates = [self.rates, *([self.above] if self.above and tokens > self.threshold else [])]
        return tokens * max(max(r.input, r.cache_read, r.cache_write) for r in rates)

    def worst_output(self, prompt: int) -> int:
        """The most that one token of a reply can cost, in nano-dollars."""
        return max(self.rates.output, self._rates(prompt).output)

    def _rates(self, prompt: int) -> Rates:
        return self.above if self.above and prompt > self.threshold else self.rates


@cache
def _known() -> Mapping[str, Any]:
    models: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))["models"]
    return models


def price_of(model: str, own: Mapping[str, Price] | None = None) -> Price | None:
    """The price of a model by its id, with or without a date at its end; `None` if nobody knows it."""
    if own and model in own:
        return own[model]
    bare = _DATED.sub("", model.rpartition("anthropic.")[2].partition("@")[0])
    found = _known().get(bare)
    return price_from(found, bare) if found else None


def price_from(given: Mapping[str, Any], name: str) -> Price:
    """A price from dollars per million tokens, as in `prices.json`. Cache rates follow from `input` where they are not given.

    Raises:
        ConfigError: A rate is missing, unknown or no amount of money.
    """
    above = given.get("above")
    rest = {key: value for key, value in given.items() if key != "above"}
    return Price(
        rates=_rates_from(rest, name),
        above=_rates_from({k: v for k, v in above.items() if k != "tokens"}, name)
        if above
        else None,
        threshold=int(above["tokens"]) if above else 0,
    )


def _rates_from(given: Mapping[str, Any], name: str) -> Rates:
    hint = "A price reads {input = 3.0, output = 15.0}, in dollars per million tokens."
    if not {"input", "output"} <= given.keys() <= set(_KINDS):
        raise ConfigError(
            f"the price of {name[:60]} needs input and output, and nothing unknown", hint=hint
        )
    full = {"cache_read": given["input"], "cache_write": given["input"] * 1.25, **given}
    if any(
        isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < NANO
        for v in full.values()
    ):
        raise ConfigError(f"the price of {name[:60]} is no amount of money", hint=hint)
    return Rates(**{kind: round(full[kind] * 1_000) for kind in _KINDS})
