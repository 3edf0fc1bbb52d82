"""Whether a client's JSON schema is one, and of a bearable size, before anything is made of it."""

from __future__ import annotations

from typing import Any

from model_service.grammar.gbnf import GrammarError
from model_service.grammar.json_values import TYPES

MAX_NODES = 20_000
MAX_NESTING = 100
MAX_ENUM_VALUES = 1000
_LARGEST_COUNT = 1 << 31

_SCHEMAS = ("items", "additionalProperties")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def check_size(schema: Any) -> None:
    """Raises GrammarError for a schema that would take long to look at."""
    level, nodes = [schema], 0
    for _ in range(MAX_NESTING):
        nodes += len(level)
        if nodes > MAX_NODES:
            raise GrammarError(f"it has more than {MAX_NODES} parts")
        below: list[Any] = []
        for node in level:
            below += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if not below:
            return
        level = below
    raise GrammarError(f"it is nested more than {MAX_NESTING} deep")


def check_keywords(schema: Any) -> None:
    """Raises GrammarError where a keyword's value isn't what JSON Schema asks for."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise GrammarError("a schema is an object, or true or false")
    for keyword, value in schema.items():
        if not _is_fit(keyword, value):
            raise GrammarError(f"the value of {keyword} is none that JSON Schema allows")


def _is_fit(keyword: str, value: Any) -> bool:
    match keyword:
        case "type":
            kinds = value if isinstance(value, list) else [value]
            return bool(kinds) and all(isinstance(kind, str) and kind in TYPES for kind in kinds)
        case "properties":
            return isinstance(value, dict)
        case "required":
            return isinstance(value, list) and all(isinstance(name, str) for name in value)
        case "enum":
            return isinstance(value, list) and 0 < len(value) <= MAX_ENUM_VALUES
        case "pattern" | "format" | "$ref":
            return isinstance(value, str)
        case _ if keyword in _LISTS_OF_SCHEMAS:
            return isinstance(value, list) and (bool(value) or keyword == "prefixItems")
        case _ if keyword in _COUNTS:
            return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_COUNT
        case _ if keyword in _BOUNDS:
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        case _ if keyword in _SCHEMAS:
            return isinstance(value, dict | bool)
        case _:
            return True


def are_disjoint(schemas: list[dict[str, Any]]) -> bool:
    """Whether it is plain that no value fits two of these: by their types, or by a required property's constants."""
    return all(_differ(one, other) for index, one in enumerate(schemas) for other in schemas[index + 1 :])


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    kinds = [_kinds(each) for each in (one, other)]
    if not kinds[0] & kinds[1]:
        return True
    if _constants(one) is not None and _constants(other) is not None:
        return not _overlap(_constants(one), _constants(other))
    if kinds[0] | kinds[1] != {"object"}:
        return False
    required = set(one.get("required", ())) & set(other.get("required", ()))
    values = [[_constants(each.get("properties", {}).get(name, {})) for each in (one, other)] for name in required]
    return any(mine is not None and yours is not None and not _overlap(mine, yours) for mine, yours in values)


def _kinds(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", ["object"] if "properties" in schema else list(TYPES))
    found = set(kinds if isinstance(kinds, list) else [kinds])
    return found | {"integer"} if "number" in found else found


def _constants(schema: Any) -> list[Any] | None:
    if not isinstance(schema, dict):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return values if isinstance(values, list) else None


def _overlap(one: list[Any] | None, other: list[Any] | None) -> bool:
    return any(value in (other or ()) for value in one or ())
