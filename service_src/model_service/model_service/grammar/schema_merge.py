"""Two JSON schemas that both hold, as one: what ``allOf``, and keywords beside ``$ref`` or ``anyOf``, come down to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_service.grammar.gbnf import GrammarError

Schema = dict[str, Any]

# They describe, and allow or forbid nothing.
ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "discriminator"),
        *("contentMediaType", "contentEncoding", "contentSchema"),
    }
)
_LARGER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_SMALLER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def merged(one: Schema, other: Schema) -> Schema:
    """A schema for what fits both; GrammarError where that can't be said."""
    _check_additional(one, other)
    _check_additional(other, one)
    result = dict(one)
    for keyword, value in other.items():
        if keyword not in result or result[keyword] == value:
            result[keyword] = value
        elif keyword not in ANNOTATIONS:
            result[keyword] = _both(keyword)(result[keyword], value)
    return result


def _both(keyword: str) -> Callable[[Any, Any], Any]:
    if keyword in _LARGER:
        return max
    if keyword in _SMALLER:
        return min
    match keyword:
        case "properties":
            return _all_properties
        case "required":
            return lambda one, other: list(dict.fromkeys([*one, *other]))
        case "items" | "additionalProperties":
            return _both_schemas
        case "enum":
            return lambda one, other: [value for value in one if value in other]
        case "type":
            return _common_type
        case _:
            raise GrammarError(f"two different {keyword} hold for one value")


def _all_properties(one: Schema, other: Schema) -> Schema:
    common = {name: _both_schemas(one[name], other[name]) for name in one if name in other}
    return {**one, **other, **common}


def _both_schemas(one: Any, other: Any) -> Any:
    if one is False or other is False:
        return False
    return other if one is True else one if other is True else one if one == other else {"allOf": [one, other]}


def _common_type(one: Any, other: Any) -> Any:
    ones, others = ([kind] if isinstance(kind, str) else kind for kind in (one, other))
    common = [kind for kind in ones if kind in others]
    if "integer" not in common and {"integer", "number"} <= {*ones, *others}:
        common.append("integer")
    if not common:
        raise GrammarError(f"no value is both {one} and {other}")
    return common[0] if len(common) == 1 else common


def _check_additional(one: Schema, other: Schema) -> None:
    """What one says of additional properties is about its own ones alone."""
    if one.get("additionalProperties", True) is True:
        return
    if not set(other.get("properties", ())) <= set(one.get("properties", ())):
        raise GrammarError("additionalProperties beside other properties of an allOf, anyOf or $ref isn't supported")
