"""JSON Schema for every handoff. The only module that touches `jsonschema`.

A problem names a path and a rule and never quotes a value: a value may be an attacker's text, and problems are shown to models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

from delegator.errors import ConfigError, HandoffRejected

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MAX_PROBLEMS = 5
_KEYWORDS_REFUSED = ("patternProperties", "$ref", "$dynamicRef", "unevaluatedProperties")
_OBJECT_KEYWORDS = ("properties", "additionalProperties", "propertyNames", "dependentSchemas")


class Schema:
    """A closed JSON Schema (draft 2020-12), compiled on first use.

    Raises:
        ConfigError: The document is not a schema, or leaves an object open.
    """

    def __init__(self, document: Mapping[str, Any], *, name: str) -> None:
        self.document = document
        self.name = name
        for path, node in _nodes(document, "$"):
            _require_closed(node, path, name)

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - costs 0.1 s

        try:
            Draft202012Validator.check_schema(self.document)
        except SchemaError as error:
            path = error.json_path
            raise ConfigError(f"schema of {self.name} is not valid at {path}") from error
        return Draft202012Validator(self.document)

    def check(self) -> None:
        """Compile now rather than at first use.

        Raises:
            ConfigError: The document is not a valid schema.
        """
        _ = self._validator

    def problems(self, value: object) -> tuple[str, ...]:
        """What is wrong with `value`, as `path: rule`, the first few. Empty if it fits."""
        found: dict[str, None] = {}
        try:
            for error in self._validator.iter_errors(value):
                found |= dict.fromkeys(_describe(error))
                if len(found) >= MAX_PROBLEMS:
                    break
        except (RecursionError, OverflowError):
            found["$: too deep or too large to be checked"] = None
        return tuple(found)[:MAX_PROBLEMS]

    def require(self, value: object) -> None:
        """Refuse a value that does not fit.

        Raises:
            HandoffRejected: It does not fit.
        """
        if problems := self.problems(value):
            raise HandoffRejected(problems)

    def canonical(self, value: Any) -> Any:
        """A value that fits, in the one way in which it is written: whole numbers as such, fields in the schema's order."""
        return _canonical(value, self.document)

    def salvage(self, value: object) -> dict[str, Any]:
        """The fields of a malformed object that are well-formed by themselves, list items included."""
        if not isinstance(value, Mapping):
            return {}
        kept: dict[str, Any] = {}
        for key, sub in self.document.get("properties", {}).items():
            if key not in value:
                continue
            item = value[key]
            if isinstance(item, list) and isinstance(sub, Mapping) and "items" in sub:
                item = [entry for entry in item if self._fits(sub["items"], entry)]
                item = item[: sub.get("maxItems", len(item))]
                if not item:
                    continue
            if self._fits(sub, item):
                kept[key] = item
        return kept

    def _fits(self, part: Mapping[str, Any], value: object) -> bool:
        try:
            return self._validator.evolve(schema=part).is_valid(value)
        except (RecursionError, OverflowError):
            return False


def schema_of(document: Mapping[str, Any], *, name: str) -> Schema:
    """The schema that a document holds; compiled once in a process, for every subagent brings the same few.

    Raises:
        ConfigError: The document is no JSON, or leaves an object open.
    """
    try:
        text = json.dumps(document)
    except (TypeError, ValueError):
        raise ConfigError(f"schema of {name} is not JSON") from None
    return _known(text, name)


@lru_cache(maxsize=1_024)
def _known(text: str, name: str) -> Schema:
    return Schema(json.loads(text), name=name)


def _canonical(value: Any, schema: object) -> Any:
    part: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    if "enum" in part:
        return next((known for known in part["enum"] if known == value), value)
    match value:
        case float() if value.is_integer() and part.get("type") == "integer":
            return int(value)
        case Mapping():
            known = part.get("properties", {})
            named = [name for name in known if name in value]
            rest = [name for name in value if name not in known]
            return {name: _canonical(value[name], known.get(name)) for name in (*named, *rest)}
        case list():
            return [_canonical(item, part.get("items")) for item in value]
        case _:
            return value


def _nodes(node: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every sub-schema, with the place in a value that it describes."""
    if isinstance(node, list):
        for i, entry in enumerate(node):
            yield from _nodes(entry, f"{path}[{i}]")
        return
    if not isinstance(node, Mapping):
        return
    yield path, node
    for key, sub in node.items():
        if key == "properties" and isinstance(sub, Mapping):
            for name, entry in sub.items():
                yield from _nodes(entry, f"{path}.{name}")
        elif key not in ("enum", "const", "default", "examples", "required", "dependentRequired"):
            yield from _nodes(sub, path)


def _require_closed(node: Mapping[str, Any], path: str, name: str) -> None:
    for keyword in _KEYWORDS_REFUSED:
        if keyword in node:
            raise ConfigError(f"schema of {name} uses {keyword} at {path}, which is not supported")
    kinds = node.get("type")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if not is_object and not any(keyword in node for keyword in _OBJECT_KEYWORDS):
        return
    if node.get("additionalProperties") is not False:
        raise ConfigError(
            f"schema of {name} leaves an object open at {path}",
            hint='Add "additionalProperties": false there.',
        )


def _describe(error: ValidationError) -> Iterator[str]:
    path = _path(error.absolute_path)
    rule, bound = str(error.validator), cast("Any", error.validator_value)
    if rule == "None":  # the schema is `false`
        yield f"{path}: not allowed"
    elif rule in ("anyOf", "oneOf", "allOf", "not"):
        yield f"{path}: must match {rule}"
    elif rule == "additionalProperties":
        yield f"{path}: no fields beyond the schema's"
    elif rule == "required":
        given = error.instance if isinstance(error.instance, Mapping) else {}
        missing = [key for key in bound if key not in given]
        yield from (f"{path}.{key}: required" for key in missing)
    elif rule in ("enum", "const"):
        allowed = bound if rule == "enum" else [bound]
        yield f"{path}: one of {', '.join(map(str, allowed))}"
    else:
        yield f"{path}: {rule} {bound}"


def _path(parts: Iterable[object]) -> str:
    """The place, as `$.claims[0].quote`. Closed objects let only the schema's own names in here."""
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
