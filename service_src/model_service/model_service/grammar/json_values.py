"""JSON values as grammars: any, or a given one."""

from __future__ import annotations

import json
from typing import Any

from model_service.grammar.choices import text_choice
from model_service.grammar.gbnf import Grammar, GrammarError
from model_service.grammar.numbers import NUMBER

# Control characters are no JSON, and half a surrogate pair is no text.
PLAIN = r'[^"\\\x00-\x1F\x7F]'
_HEX = "[0-9a-fA-F]"
ESCAPE = rf'"\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}}))'
STRING = rf'"\"" ({PLAIN} | {ESCAPE})* "\""'

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_COMMA, _COLON = '"," " "?', '":" " "?'


def any_value(grammar: Grammar) -> str:
    """The symbol of any JSON value."""
    return _any(grammar)[0]


def any_object(grammar: Grammar) -> str:
    """The symbol of any JSON object."""
    return _any(grammar)[1]


def any_array(grammar: Grammar) -> str:
    """The symbol of any JSON array."""
    return _any(grammar)[2]


def _any(grammar: Grammar) -> tuple[str, str, str]:
    # They contain each other, so the value is declared before it is defined; once in a grammar.
    if grammar.any_value is None:
        value = grammar.declare()
        string = grammar.rule(STRING)
        pair = grammar.rule(f"{string} {_COLON} {value}")
        members = grammar.rule(f'"{{" ({pair} ({_COMMA} {pair})*)? "}}"')
        items = grammar.rule(f'"[" ({value} ({_COMMA} {value})*)? "]"')
        scalars = f'{string} | {grammar.rule(NUMBER)} | "true" | "false" | "null"'
        grammar.define(value, f"{members} | {items} | {scalars}")
        grammar.any_value = (value, members, items)
    return grammar.any_value


def one_of(grammar: Grammar, values: list[Any], kinds: list[str]) -> str:
    """The symbol of those of the values that are of these types."""
    fitting = [value for value in values if _is_of(value, kinds)]
    if not fitting:
        raise GrammarError("no value of its enum or const fits")
    return text_choice(grammar, {_written(value): "" for value in fitting})


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair can only be written as an escape.
    return text if _is_encodable(text) else json.dumps(value)


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_of(value: Any, kinds: list[str]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case int():
            return "integer" in kinds or "number" in kinds
        case float():
            return "number" in kinds or ("integer" in kinds and value.is_integer())
        case str():
            return "string" in kinds
        case list():
            return "array" in kinds
        case _:
            return "object" in kinds
