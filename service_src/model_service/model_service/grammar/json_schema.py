"""A JSON schema as a grammar of JSON values that are valid against it.

The values may be fewer than the schema's: properties come in the order of their declaration, others only where
``additionalProperties`` asks for them, and there is little white space, as a small model may write nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from model_service.grammar import numbers, regex
from model_service.grammar.choices import either, text_choice
from model_service.grammar.formats import FORMATS
from model_service.grammar.gbnf import EMPTY, Grammar, GrammarError, characters, complement, literal
from model_service.grammar.json_values import (
    ESCAPE,
    PLAIN,
    STRING,
    TYPES,
    any_array,
    any_object,
    any_value,
    one_of,
)
from model_service.grammar.numbers import Bounds
from model_service.grammar.schema_merge import ANNOTATIONS, Schema, merged
from model_service.grammar.schema_shape import are_disjoint, check_keywords, check_size

MAX_DEPTH = 32
MAX_PARTS = 5000
MAX_SECONDS = 0.5
# Each of them may be the next, so all of them are written down at each of them.
MAX_OPTIONAL = 64

# A separator, and a space as most JSON has it after one.
_COMMA, _COLON = '"," " "?', '":" " "?'
# Keywords that are kept to only where they ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "multipleOf": (),
    "minProperties": (0,),
    "unevaluatedProperties": (True, False),
    "unevaluatedItems": (True, False),
    **dict.fromkeys(("not", "if", "then", "else", "patternProperties", "propertyNames", "contains"), ()),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies", "maxProperties"), ()),
    **dict.fromkeys(("minContains", "maxContains", "additionalItems", "$dynamicRef", "$recursiveRef"), ()),
}
_TYPE_OF_KEYWORD = {
    **dict.fromkeys(("properties", "required", "additionalProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems"), "array"),
    **dict.fromkeys(("pattern", "minLength", "maxLength", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "number"),
}


class SchemaCompiler:
    """Compiles one schema into a grammar's rules; ``root`` is what its references refer to."""

    def __init__(self, grammar: Grammar, root: Schema) -> None:
        check_size(root)
        self._grammar = grammar
        self._root = root
        self._references: dict[str, str] = {}
        self._parts = 0
        self._deadline = time.monotonic() + MAX_SECONDS
        self._types: dict[str, Callable[[Schema, int], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._number,
        }

    def compile(self) -> str:
        """The symbol of a value that is valid; GrammarError for a schema that can't be kept to."""
        return self._value(self._root, 0, ())

    def _value(self, schema: Any, depth: int, unread: tuple[str, ...] = ()) -> str:
        """``unread`` are the references that led here without a character between them."""
        self._count()
        if depth > MAX_DEPTH:
            raise GrammarError(f"it is nested more than {MAX_DEPTH} deep")
        if schema is False:
            raise GrammarError("a value that is required is also forbidden")
        if schema is True:
            return any_value(self._grammar)
        check_keywords(schema)
        reference = schema.get("$ref")
        if reference is not None and all(keyword in ANNOTATIONS for keyword in schema if keyword != "$ref"):
            return self._referenced(reference, depth, unread)
        schema, unread = self._flattened(schema, unread)
        return self._grammar.rule(self._expression(schema, depth, unread))

    def _referenced(self, reference: str, depth: int, unread: tuple[str, ...]) -> str:
        if reference in unread:
            raise GrammarError(f"{reference} refers to itself")
        symbol = self._references.get(reference)
        if symbol is None:
            symbol = self._references[reference] = self._grammar.declare()
            value = self._value(self._target(reference), depth + 1, (*unread, reference))
            self._grammar.define(symbol, value)
        return symbol

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise GrammarError(f"the reference {reference[:100]} is to another document")
        target: Any = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(name)] if isinstance(target, list) else target[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise GrammarError(f"the reference {reference[:100]} leads nowhere") from None
        if (reference != "#" and not reference.startswith("#/")) or not isinstance(target, dict | bool):
            raise GrammarError(f"the reference {reference[:100]} leads to no schema")
        return target

    def _flattened(self, schema: Schema, unread: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema without ``$ref`` and ``allOf``, whose content it gets."""
        for _ in range(MAX_DEPTH):
            reference, parts = schema.get("$ref"), schema.get("allOf", [])
            if reference is None and not parts:
                return schema, unread
            schema = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            if reference is not None:
                if reference in unread:
                    raise GrammarError(f"{reference} refers to itself")
                unread = (*unread, reference)
                parts = [*parts, self._target(reference)]
            for part in parts:
                schema = self._with(schema, part)
        raise GrammarError(f"it is nested more than {MAX_DEPTH} deep")

    def _with(self, schema: Schema, part: Any) -> Schema:
        self._count()
        check_keywords(part)
        if part is False:
            raise GrammarError("a value that is required is also forbidden")
        if part is True:
            return schema
        both = [*schema.get("allOf", []), *part.get("allOf", [])]
        references = [{"$ref": part["$ref"]}] if "$ref" in part else []
        rest = {key: value for key, value in part.items() if key not in ("$ref", "allOf")}
        result = merged({key: value for key, value in schema.items() if key != "allOf"}, rest)
        return result | {"allOf": [*both, *references]} if both or references else result

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS or time.monotonic() > self._deadline:
            raise GrammarError("it is too large")

    def _expression(self, schema: Schema, depth: int, unread: tuple[str, ...]) -> str:
        for keyword, value in schema.items():
            neutral = _NEUTRAL.get(keyword)
            if neutral is not None and value not in neutral:
                raise GrammarError(f"{keyword} isn't supported")
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, depth, unread)
        kind = schema.get("type")
        if "const" in schema or "enum" in schema:
            return self._constants(schema)
        if kind is None:
            kinds = {_TYPE_OF_KEYWORD[keyword] for keyword in schema if keyword in _TYPE_OF_KEYWORD}
            if len(kinds) > 1:
                raise GrammarError("it has no type, and keywords of several")
            return self._typed(schema, kinds.pop(), depth) if kinds else any_value(self._grammar)
        if isinstance(kind, list):
            return " | ".join(self._grammar.rule(self._typed(schema, each, depth)) for each in dict.fromkeys(kind))
        return self._typed(schema, kind, depth)

    def _typed(self, schema: Schema, kind: str, depth: int) -> str:
        match kind:
            case "null":
                return literal("null")
            case "boolean":
                return '"true" | "false"'
            case "integer" | "number":
                return self._number({**schema, "type": kind}, depth)
            case _:
                return self._types[kind](schema, depth)

    def _alternatives(self, schema: Schema, keyword: str, depth: int, unread: tuple[str, ...]) -> str:
        beside = {key: value for key, value in schema.items() if key != keyword and key not in ANNOTATIONS}
        symbols, flat = [], []
        for alternative in schema[keyword]:
            if beside and isinstance(alternative, dict):
                alternative = {"allOf": [beside, alternative]}
            if keyword == "oneOf" and isinstance(alternative, dict):
                alternative = self._flattened(alternative, unread)[0]
                flat.append(alternative)
            symbols.append(self._value(alternative, depth + 1, unread))
        if keyword == "oneOf" and len(symbols) > 1 and not (len(flat) == len(symbols) and are_disjoint(flat)):
            raise GrammarError("a value may fit several alternatives of its oneOf; use anyOf")
        return either(self._grammar, symbols)

    def _constants(self, schema: Schema) -> str:
        values = schema.get("enum", [schema.get("const")])
        if "const" in schema:
            values = [value for value in values if value == schema["const"]]
        beside = set(schema) - {"enum", "const", "type"}
        constraint = next((keyword for keyword in sorted(beside) if keyword in _TYPE_OF_KEYWORD), None)
        if constraint:
            raise GrammarError(f"{constraint} beside enum or const isn't supported")
        kinds = schema.get("type", list(TYPES))
        return one_of(self._grammar, values, [kinds] if isinstance(kinds, str) else kinds)

    def _object(self, schema: Schema, depth: int) -> str:
        required = dict.fromkeys(schema.get("required", ()))
        additional = schema.get("additionalProperties")
        if "properties" not in schema and not required and additional in (None, True):
            return any_object(self._grammar)
        properties = dict(schema.get("properties", {}))
        for name in required:
            properties.setdefault(name, True if additional is None else additional)
        values = {
            json.dumps(name, ensure_ascii=False): (f"{_COLON} {self._value(value, depth + 1)}", name in required)
            for name, value in properties.items()
            if value is not False or name in required
        }
        other = ""
        if additional not in (None, False):
            key = self._other_key(list(properties))
            other = self._grammar.rule(f"{key} {_COLON} {self._value(additional, depth + 1)}")
        return self._members(values, other)

    def _members(self, values: dict[str, tuple[str, bool]], other: str) -> str:
        """Members in order, with commas between those that are there; ``other`` any number of times after them."""
        more = f"({_COMMA} {other})*" if other else ""
        first, rest = (f"({other} {more})?" if other else EMPTY), more or EMPTY
        first, rest = self._grammar.rule(first), self._grammar.rule(rest)
        # What can come next: the keys up to the first that has to be there, else what is after the last.
        nexts: dict[str, str] = {}
        at_first, at_end = first, rest
        for key, (value, is_required) in reversed(values.items()):
            if is_required:
                nexts, at_first, at_end = {}, "", ""
            nexts = {key: f"{value} {rest}", **nexts}
            if len(nexts) > MAX_OPTIONAL:
                raise GrammarError(f"it has more than {MAX_OPTIONAL} optional properties in a row")
            key_and_rest = text_choice(self._grammar, nexts)
            first = either(self._grammar, [key_and_rest, *([at_first] if at_first else [])])
            rest = either(self._grammar, [f"{_COMMA} {key_and_rest}", *([at_end] if at_end else [])])
        return f'"{{" {first} "}}"'

    def _other_key(self, names: list[str]) -> str:
        """A key that is none of these names, and has no escapes, with which it could be one of them after all."""
        plain = self._grammar.rule(PLAIN)
        quote = literal('"')

        def after(prefix: str) -> str:
            following = sorted({name[len(prefix)] for name in names if name.startswith(prefix) and name != prefix})
            taken = [(ord(character), ord(character)) for character in following]
            allowed = complement([(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), *taken])
            alternatives = [f"{characters(allowed)} {plain}*"]
            alternatives += [f"{literal(each)} {after(prefix + each)}" for each in following if each not in '"\\']
            if prefix not in names:
                alternatives.append(EMPTY)
            return self._grammar.rule(" | ".join(alternatives))

        if sum(map(len, names)) > MAX_PARTS or max(map(len, names), default=0) > 200:
            raise GrammarError("the names of its properties are too long beside additionalProperties")
        return f"{quote} {after('')} {quote}" if names else STRING

    def _array(self, schema: Schema, depth: int) -> str:
        items = schema.get("items", True)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        prefix = schema.get("prefixItems", [])
        if isinstance(items, list):
            raise GrammarError("items as a list isn't supported; it is called prefixItems")
        if not prefix and items is True and not least and most is None:
            return any_array(self._grammar)
        if most is not None and most < least:
            raise GrammarError("its maxItems is less than its minItems")
        fixed = [self._value(item, depth + 1) for item in prefix[:most]]
        least, most = max(0, least - len(fixed)), None if most is None else most - len(fixed)
        if items is False:
            if least:
                raise GrammarError("its minItems is more than its items allow")
            most = 0
        head = f" {_COMMA} ".join(fixed)
        if most == 0:
            return f'"[" {head} "]"'
        item = self._value(items, depth + 1)
        following = self._grammar.rule(f"{_COMMA} {item}")
        if fixed:
            return f'"[" {head} {self._grammar.repeated(following, least, most)} "]"'
        more = self._grammar.repeated(following, max(0, least - 1), None if most is None else most - 1)
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _string(self, schema: Schema, _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if most is not None and most < least:
            raise GrammarError("its maxLength is less than its minLength")
        pattern = schema.get("pattern")
        if pattern is None and schema.get("format") in FORMATS:
            pattern = f"^{FORMATS[schema['format']]}$"
        elif pattern is not None and schema.get("format") in FORMATS:
            raise GrammarError("a pattern beside a format isn't supported")
        if pattern is None:
            if not least and most is None:
                return STRING
            character = self._grammar.rule(f"{PLAIN} | {ESCAPE}")
            return f'"\\"" {self._grammar.repeated(character, least, most)} "\\""'
        shortest, longest = regex.width(pattern)
        if not regex.is_anchored(pattern):
            longest = None
        if shortest < least or (most is not None and (longest is None or longest > most)):
            raise GrammarError("minLength or maxLength that a pattern or format doesn't imply isn't supported")
        return regex.string_matching(self._grammar, pattern)

    def _number(self, schema: Schema, _depth: int) -> str:
        is_integer = schema["type"] == "integer"
        least, least_excluded = _bound(schema, "minimum", "exclusiveMinimum", max)
        most, most_excluded = _bound(schema, "maximum", "exclusiveMaximum", min)
        if least is None and most is None:
            return numbers.INTEGER if is_integer else numbers.NUMBER
        bounds = Bounds(least, most, least_excluded, most_excluded)
        return numbers.integer_between(bounds) if is_integer else numbers.number_between(bounds)


def _bound(
    schema: Schema, inclusive: str, exclusive: str, stricter: Callable[[Decimal, Decimal], Decimal]
) -> tuple[Decimal | None, bool]:
    values = [schema.get(inclusive), schema.get(exclusive)]
    included, excluded = (None if value is None else Decimal(str(value)) for value in values)
    if included is None or excluded is None:
        return (included, False) if excluded is None else (excluded, True)
    bound = stricter(included, excluded)
    return bound, bound == excluded
