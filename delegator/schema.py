"""JSON Schema for every handoff. The only module that touches `jsonschema`.

A problem names a path and a rule and never quotes a value: a value may be an attacker's text, and problems are shown to models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from delegator.errors import ConfigError, HandoffRejected

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MAX_PROBLEMS = 5
_DIALECT_KEYWORDS_REFUSED = ("patternProperties", "$ref", "$dynamicRef", "unevaluatedProperties")


class Schema:
    """A closed JSON Schema (draft 2020-12), compiled on first use.

    Raises:
        ConfigError: The document is not a schema, or leaves an object open.
    """

    def __init__(self, document: Mapping[str, Any], *, name: str) -> None:
        self.document = document
        self.name = name
        for path, node in _objects(document, "$"):
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
        found: list[str] = []
        for error in self._validator.iter_errors(value):
            for line in _describe(error):
                if line not in found:
                    found.append(line)
            if len(found) >= MAX_PROBLEMS:
                break
        return tuple(found[:MAX_PROBLEMS])

    def require(self, value: object) -> None:
        """Refuse a value that does not fit.

        Raises:
            HandoffRejected: It does not fit.
        """
        if problems := self.problems(value):
            raise HandoffRejected(problems)

    def salvage(self, value: object) -> dict[str, Any]:
        """The fields of a malformed object that are well-formed by themselves, list items included."""
        if not isinstance(value, Mapping):
            return {}
        kept: dict[str, Any] = {}
        for key, sub in self.document.get("properties", {}).items():
            if key not in value:
                continue
            part = Schema(sub, name=f"{self.name}.{key}")
            item = value[key]
            if isinstance(item, list) and isinstance(sub.get("items"), Mapping):
                items = Schema(sub["items"], name=part.name)
                item = [entry for entry in item if not items.problems(entry)]
                item = item[: sub.get("maxItems", len(item))]
                if not item:
                    continue
            if not part.problems(item):
                kept[key] = item
        return kept


def _objects(node: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every sub-schema that describes an object."""
    if isinstance(node, list):
        for i, entry in enumerate(node):
            yield from _objects(entry, f"{path}[{i}]")
        return
    if not isinstance(node, Mapping):
        return
    if node.get("type") == "object" or "properties" in node:
        yield path, node
    for key, sub in node.items():
        if key == "properties" and isinstance(sub, Mapping):
            for name, entry in sub.items():
                yield from _objects(entry, f"{path}.{name}")
        elif key not in ("enum", "const", "default", "examples", "required"):
            yield from _objects(sub, path)


def _require_closed(node: Mapping[str, Any], path: str, name: str) -> None:
    for keyword in _DIALECT_KEYWORDS_REFUSED:
        if keyword in node:
            raise ConfigError(f"schema of {name} uses {keyword} at {path}, which is not supported")
    if node.get("additionalProperties") is not False:
        raise ConfigError(
            f"schema of {name} leaves an object open at {path}",
            hint='Add "additionalProperties": false there.',
        )


def _describe(error: ValidationError) -> Iterator[str]:
    path = _path(error.absolute_path)
    rule, bound = str(error.validator), cast("Any", error.validator_value)
    if rule in ("anyOf", "oneOf", "allOf", "not"):
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
