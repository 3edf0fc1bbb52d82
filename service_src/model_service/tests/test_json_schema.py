"""Whatever a schema's grammar lets through is JSON that is valid against the schema; what can't be kept to is refused.

Texts are drawn by llama.cpp itself from a real vocabulary, with chance for a model. ``MODEL_TEST_DRAWS`` is how many
of each schema.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import jsonschema
import pytest
from grammar_support import GrammarTexts

from model_service.grammar.formats import FORMATS
from model_service.grammar.gbnf import Grammar, GrammarError
from model_service.grammar.json_schema import SchemaCompiler
from model_service.llama.model import Model

DRAWS = int(os.environ.get("MODEL_TEST_DRAWS", "6"))

NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
}
KEPT: dict[str, Any] = {
    "anything": {},
    "nothing said": True,
    "an object": {"type": "object"},
    "an array": {"type": "array"},
    "no properties": {"type": "object", "properties": {}},
    "optional and required": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "boolean"}, "d": {}},
        "required": ["b", "d"],
    },
    "only optional": {"properties": {name: {"type": "null"} for name in "abcdef"}},
    "required but not declared": {"type": "object", "required": ["x"], "additionalProperties": {"type": "boolean"}},
    "names that need escapes": {
        "type": "object",
        "properties": {'a"b': {"type": "null"}, "c\\d": {"type": "null"}, "é\n": {"type": "null"}},
        "required": ['a"b', "c\\d", "é\n"],
    },
    "other names than the declared": {
        "type": "object",
        "properties": {"name": {"type": "integer"}, "nam": {"type": "null"}, 'n"q': {"type": "null"}},
        "additionalProperties": {"type": "string", "maxLength": 4},
    },
    "any other properties": {"properties": {"a": {"type": "integer"}}, "additionalProperties": True},
    "a length": {"type": "string", "minLength": 2, "maxLength": 9},
    "a long length": {"type": "string", "minLength": 1, "maxLength": 65536},
    "constants": {"enum": ["a\\b", 'é"x', "\n", "🙂", 1, -0.5, None, True, {"k": [1, {}]}, "\ud83d"]},
    "constants of one type": {"type": "string", "enum": ["a", 1, "b"]},
    "integers in bounds": {"type": "integer", "minimum": -17, "maximum": 2305},
    "integers above": {"type": "integer", "exclusiveMinimum": 99},
    "integers below": {"type": "integer", "exclusiveMaximum": -999},
    "one integer": {"type": "integer", "minimum": 7, "maximum": 7},
    "a share": {"type": "number", "minimum": 0, "maximum": 1},
    "numbers in bounds": {"type": "number", "exclusiveMinimum": -1.255, "maximum": 123.45},
    "numbers above": {"type": "number", "minimum": 5.5},
    "a small range": {"type": "number", "minimum": 0.101, "maximum": 0.109},
    "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    "no items": {"type": "array", "maxItems": 0},
    "at most one item": {"type": "array", "items": {"const": "x"}, "maxItems": 1},
    "a tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}], "items": False, "minItems": 2},
    "a tuple and more": {"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "a tuple cut short": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "maxItems": 1},
    "several types": {"type": ["string", "null", "integer"], "maxLength": 3, "minimum": 4},
    "a recursion": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "a recursion to the root": {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    },
    "a definition and a property of one name": {
        "$defs": {"name": {"type": "integer"}},
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "x": {"$ref": "#/$defs/name", "title": "X"}},
        "required": ["name", "x"],
    },
    "keywords beside a reference": {
        "$defs": {"n": {"type": "integer", "minimum": 3}},
        "type": "array",
        "items": {"$ref": "#/$defs/n", "maximum": 12},
    },
    "a pointer with escapes": {"$defs": {"a/b~": {"type": "null"}}, "$ref": "#/$defs/a~1b~0"},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 5}, "b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    "any of": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}}, {"const": "x"}]},
    "any of beside properties": {
        "type": "object",
        "properties": {"z": {"type": "integer"}},
        "required": ["z"],
        "anyOf": [{"required": ["p"]}, {"properties": {"q": {"type": "null"}}, "required": ["q"]}],
    },
    "one of by type": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "one of by a constant": {
        "oneOf": [
            {"properties": {"k": {"const": "x"}, "v": {"type": "integer"}}, "required": ["k", "v"]},
            {"properties": {"k": {"enum": ["y", "z"]}}, "required": ["k"]},
        ],
        "discriminator": {"propertyName": "k"},
    },
    "a pattern": {"type": "string", "pattern": r"^[A-Z]{3}-\d{2,4}(x|yz)?$"},
    "a pattern with classes": {"type": "string", "pattern": r'^[^a"\\]{2}\s.\w\D?[\x21-\x2f]$'},
    "a pattern of JSON's own characters": {"type": "string", "pattern": r'^["\\]\\"\n[\t]$'},
    "a pattern that is found": {"type": "string", "pattern": r"x"},
    "alternatives of a pattern": {"type": "string", "pattern": "^a$|^bc"},
    "a pattern whose length is known": {"type": "string", "pattern": "^[ab]{2,3}$", "minLength": 1, "maxLength": 5},
    "an annotation that looks like a format": {"type": "integer", "format": "int32", "x-order": 1, "minimum": 0},
} | {f"the format {name}": {"type": "string", "format": name} for name in FORMATS}

REFUSED: dict[str, tuple[Any, str]] = {
    "not": ({"not": {"type": "null"}}, "not isn't supported"),
    "unique items": ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    "a multiple": ({"type": "integer", "multipleOf": 5}, "multipleOf"),
    "pattern properties": ({"type": "object", "patternProperties": {"a": {}}}, "patternProperties"),
    "conditions": ({"if": {}, "then": {}}, "if"),
    "one of that may overlap": ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "anyOf"),
    "another document": ({"$ref": "https://example.com/schema.json"}, "another document"),
    "a file": ({"$ref": "file:///etc/passwd"}, "another document"),
    "a reference to nothing": ({"$ref": "#/$defs/none"}, "leads nowhere"),
    "a reference to no schema": ({"$defs": {"a": 1}, "$ref": "#/$defs/a"}, "no schema"),
    "a reference to itself": ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "refers to itself"),
    "references in a circle": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        "refers to itself",
    ),
    "a circle of all of": ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "deep"),
    "an unknown type": ({"type": "date"}, "type"),
    "a number for properties": ({"properties": 5}, "properties"),
    "a list for a schema": ({"properties": {"a": []}}, "a schema is an object"),
    "a negative length": ({"type": "string", "minLength": -1}, "minLength"),
    "a length the wrong way round": ({"type": "string", "minLength": 5, "maxLength": 4}, "maxLength"),
    "items the wrong way round": ({"type": "array", "minItems": 5, "maxItems": 4}, "maxItems"),
    "bounds the wrong way round": ({"type": "integer", "minimum": 5, "maximum": 4}, "bounds"),
    "an enormous length": ({"type": "string", "minLength": 2**30}, "too large"),
    "no constant that fits": ({"type": "string", "enum": [1]}, "fits"),
    "no constant": ({"enum": []}, "enum"),
    "too many constants": ({"enum": list(range(2000))}, "enum"),
    "a required property that is forbidden": (
        {"properties": {"a": {}}, "required": ["b"], "additionalProperties": False},
        "forbidden",
    ),
    "two types at once": ({"allOf": [{"type": "string"}, {"type": "null"}]}, "no value is both"),
    "closed parts of an all of": (
        {
            "allOf": [
                {"properties": {"a": {}}, "additionalProperties": False},
                {"properties": {"b": {}}, "additionalProperties": False},
            ]
        },
        "additionalProperties",
    ),
    "a pattern that looks ahead": ({"type": "string", "pattern": "^(?=a)b$"}, "pattern"),
    "a pattern that refers back": ({"type": "string", "pattern": r"^(a)\1$"}, "pattern"),
    "a broken pattern": ({"type": "string", "pattern": "^(a$"}, "pattern"),
    "a pattern with a unicode class": ({"type": "string", "pattern": r"^\p{L}$"}, "pattern"),
    "a pattern that repeats too much": ({"type": "string", "pattern": "^a{5000000}$"}, "too large"),
    "a pattern longer than its string": ({"type": "string", "pattern": "^a{9}$", "maxLength": 5}, "maxLength"),
    "too many parts": ({"anyOf": [{"const": index} for index in range(15_000)]}, "parts|too large"),
    "too many alternatives": ({"anyOf": [{"const": index} for index in range(65)]}, "alternatives"),
    "constants with nothing in common": ({"enum": [chr(0x4E00 + i) + str(i) for i in range(99)]}, "alternatives"),
    "alternatives that multiply": (
        {"allOf": [{"anyOf": [{"required": [f"{i}-{j}"]} for j in range(9)]} for i in range(9)]},
        "two different anyOf",
    ),
}


def grammar_of(schema: Any) -> str:
    grammar = Grammar()
    return grammar.text(SchemaCompiler(grammar, schema).compile())


@pytest.fixture(scope="module")
def texts(model: Model) -> GrammarTexts:
    return GrammarTexts(model)


@pytest.mark.parametrize("schema", KEPT.values(), ids=KEPT.keys())
def test_every_text_is_valid(texts: GrammarTexts, schema: Any) -> None:
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    grammar = grammar_of(schema)
    drawn = [text for seed in range(DRAWS) if (text := texts.draw(grammar, seed)) is not None]
    for text in drawn:
        validator.validate(json.loads(text))
    # A random text may not end, but seldom. Only where it has to hit upon something it may be all of them.
    assert drawn or schema.get("pattern") in ("x", "^a$|^bc")


@pytest.mark.parametrize(("schema", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_to_is_refused_and_soon(schema: Any, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(GrammarError, match=reason):
        grammar_of(schema)
    assert time.monotonic() - started < 30


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_schemas_may_be_nested_but_not_too_deep(texts: GrammarTexts) -> None:
    assert texts.draw(grammar_of(nested(20)), 0)
    with pytest.raises(GrammarError, match="deep"):
        grammar_of(nested(40))
    with pytest.raises(GrammarError, match="deep"):
        grammar_of(nested(400))


def test_many_properties_make_no_large_grammar(texts: GrammarTexts) -> None:
    properties = {f"property_{index}": {"type": "integer"} for index in range(300)}
    grammar = grammar_of({"type": "object", "properties": properties, "required": list(properties)})
    assert len(grammar) < 300 * 300
    optional = dict(list(properties.items())[:64])
    grammar = grammar_of({"type": "object", "properties": optional})
    assert len(grammar) < 300_000
    assert json.loads(texts.draw(grammar, 0) or "") is not None
    with pytest.raises(GrammarError, match="optional"):
        grammar_of({"type": "object", "properties": properties})


def test_many_constants_make_few_alternatives(texts: GrammarTexts) -> None:
    values = [f"value {index}" for index in range(1000)]
    grammar = grammar_of({"enum": values})
    assert max(line.count("|") for line in grammar.splitlines()) < 10
    assert {json.loads(texts.draw(grammar, seed) or "") for seed in range(DRAWS)} <= set(values)
    assert texts.draw(grammar_of({"enum": [chr(0x4E00 + index) for index in range(1000)]}), 0)


def test_there_is_at_most_one_space_in_a_row(texts: GrammarTexts) -> None:
    for seed in range(DRAWS):
        text = texts.draw(grammar_of({"type": "array", "items": {"type": "integer"}}), seed)
        assert text is None or not any(space in text for space in ("  ", "\n", "\t"))
