"""The capacity of a channel in bits: how many different values a closed schema lets through, as a power of two."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

ALPHABET = 0x110000 - 0x800
"""Unicode's characters: what each place of a text may hold, hidden ones included, so that the bound is above the truth."""


def bits(schema: Mapping[str, Any] | bool) -> float:
    """Bits that a value of this schema can carry at most; infinity where the schema sets no bound.

    Objects add up their fields, lists their items; a field that may be missing has one value more.
    """
    if isinstance(schema, bool):
        return math.inf if schema else 0.0
    if "enum" in schema or "const" in schema:
        return math.log2(max(len(schema.get("enum", [None])), 1))
    if options := schema.get("anyOf", schema.get("oneOf")):
        return _sum_of(map(bits, options))
    count = _BY_TYPE.get(str(schema.get("type")))
    return count(schema) if count else math.inf


def text(characters: int) -> float:
    """Bits of any text of up to so many characters."""
    return _repeated(math.log2(ALPHABET), characters)


def _string(schema: Mapping[str, Any]) -> float:
    return text(schema["maxLength"]) if "maxLength" in schema else math.inf


def _whole(schema: Mapping[str, Any]) -> float:
    if not {"minimum", "maximum"} <= schema.keys():
        return math.inf
    return math.log2(max(schema["maximum"] - schema["minimum"] + 1, 1))


def _list(schema: Mapping[str, Any]) -> float:
    plain = isinstance(schema.get("items"), Mapping) and "prefixItems" not in schema
    item = bits(schema["items"]) if plain else math.inf
    return _repeated(item, schema["maxItems"]) if "maxItems" in schema else math.inf


def _object(schema: Mapping[str, Any]) -> float:
    required = set(schema.get("required", ()))
    return sum(
        bits(sub) if name in required else _sum_of((bits(sub), 0.0))
        for name, sub in schema.get("properties", {}).items()
    )


def _repeated(each: float, most: int) -> float:
    """log2 of the number of sequences of up to `most` things that carry `each` bits."""
    if math.isinf(each):
        return math.inf if most else 0.0
    if each == 0:
        return math.log2(most + 1)
    # a geometric series: b^n (1 + 1/b + ...), whose rest is at most b/(b-1)
    rest = math.log2(-math.expm1(-each * (most + 1) * math.log(2))) - math.log2(
        -math.expm1(-each * math.log(2))
    )
    return each * most + rest


def _sum_of(options: Iterable[float]) -> float:
    """log2 of the sum of the counts of several choices."""
    all_bits = list(options)
    most = max(all_bits, default=0.0)
    if math.isinf(most):
        return most
    return most + math.log2(sum(2 ** (each - most) for each in all_bits))


_BY_TYPE: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "boolean": lambda _schema: 1.0,
    "null": lambda _schema: 0.0,
    "integer": _whole,
    "string": _string,
    "array": _list,
    "object": _object,
}
