"""A regular expression as a grammar of the JSON strings that match it."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

from model_service.grammar.choices import either
from model_service.grammar.gbnf import LAST_CODE_POINT, Grammar, GrammarError, Range, characters, complement, literal

# Python's own parser; there is no public one. Its patterns are near enough to JSON Schema's, which are ECMAScript's.
_parser: Any = importlib.import_module("re._parser")

MAX_PATTERN_LENGTH = 1000
_UNBOUNDED = 1 << 20

_DIGITS: list[Range] = [(0x30, 0x39)]
_WORD: list[Range] = [*_DIGITS, (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: list[Range] = [(0x09, 0x0D), (0x20, 0x20)]
_CATEGORIES = {
    "CATEGORY_DIGIT": _DIGITS,
    "CATEGORY_NOT_DIGIT": complement(_DIGITS),
    "CATEGORY_WORD": _WORD,
    "CATEGORY_NOT_WORD": complement(_WORD),
    "CATEGORY_SPACE": _SPACE,
    "CATEGORY_NOT_SPACE": complement(_SPACE),
}
_LINE_ENDS: list[Range] = [(0x0A, 0x0A), (0x0D, 0x0D)]
_ALL: list[Range] = [(0, LAST_CODE_POINT)]
_ESCAPED_IN_JSON = [*range(0x20), 0x22, 0x5C, 0x7F]
# Of control characters, those that a set as a whole brings in; a literal one may be any.
_USUAL_CONTROLS = (0x09, 0x0A, 0x0D)


def width(pattern: str) -> tuple[int, int | None]:
    """The fewest and the most characters of a string that matches the whole pattern, None for any number."""
    least, most = _parsed(pattern).getwidth()
    return least, most if most < _UNBOUNDED else None


def is_anchored(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and "|" not in pattern


def string_matching(grammar: Grammar, pattern: str) -> str:
    """An expression for JSON strings in which the pattern is found; GrammarError for what a grammar can't say."""
    return _Converter(grammar).string(_parsed(pattern))


def _parsed(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise GrammarError(f"its pattern has more than {MAX_PATTERN_LENGTH} characters")
    try:
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise GrammarError(f"its pattern can't be used: {error}") from error
    if parsed.state.flags & ~re.UNICODE:
        raise GrammarError("its pattern has flags, which aren't supported")
    return parsed


class _Converter:
    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    def string(self, parsed: Any) -> str:
        quote = literal('"')
        return f"{quote} {self._found(list(parsed), begun=False)} {quote}"

    def _found(self, items: list[Any], begun: bool) -> str:
        """The pattern with anything before and after it, save where it is anchored."""
        if items and _is(items[0], "AT", "AT_BEGINNING"):
            begun, items = True, items[1:]
        if len(items) == 1 and _is(items[0], "BRANCH"):
            return self._either([self._found(list(branch), begun) for branch in items[0][1][1]])
        ended = bool(items) and _is(items[-1], "AT", "AT_END")
        anything = f"{self._grammar.rule(_one_of(_ALL))}*"
        parts = [self._sequence(items[:-1] if ended else items)]
        return " ".join([*([] if begun else [anything]), *parts, *([] if ended else [anything])])

    def _sequence(self, items: Any) -> str:
        parts, letters = [], ""
        for item in items:
            if _is(item, "LITERAL"):
                letters += _in_json(item[1])
                continue
            parts += [literal(letters)] if letters else []
            letters = ""
            parts.append(self._item(str(item[0]), item[1]))
        parts += [literal(letters)] if letters or not parts else []
        return " ".join(parts)

    def _item(self, operation: str, argument: Any) -> str:
        match operation:
            case "ANY":
                return self._grammar.rule(_one_of(complement(_LINE_ENDS)))
            case "NOT_LITERAL":
                return self._grammar.rule(_one_of(complement([(argument, argument)])))
            case "IN":
                return self._grammar.rule(_one_of(_set(argument)))
            case "BRANCH":
                return self._either([self._sequence(branch) for branch in argument[1]])
            case "SUBPATTERN" if not argument[1] and not argument[2]:
                return self._grammar.rule(self._sequence(argument[3]))
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, repeated = argument
                symbol = self._grammar.rule(self._sequence(repeated))
                return self._grammar.repeated(symbol, least, None if most >= _UNBOUNDED else most)
            case _:
                raise GrammarError(f"its pattern has {operation.lower()}, which isn't supported")

    def _either(self, alternatives: list[str]) -> str:
        return either(self._grammar, alternatives)


def _is(item: Any, operation: str, argument: str | None = None) -> bool:
    return str(item[0]) == operation and (argument is None or str(item[1]) == argument)


def _set(items: Any) -> list[Range]:
    ranges: list[Range] = []
    negated = False
    for operation, argument in items:
        match str(operation):
            case "NEGATE":
                negated = True
            case "LITERAL":
                ranges.append((argument, argument))
            case "RANGE":
                ranges.append(argument)
            case "CATEGORY":
                ranges += _CATEGORIES[str(argument)]
    return complement(ranges) if negated else ranges


def _one_of(ranges: list[Range]) -> str:
    """One character of these, as JSON writes it."""
    plain = characters(complement([*complement(ranges), *((code, code) for code in _ESCAPED_IN_JSON)]))
    written = [plain] if plain else []
    for code in (0x22, 0x5C, *_USUAL_CONTROLS):
        if any(first <= code <= last for first, last in ranges):
            written.append(literal(_in_json(code)))
    if not written:
        raise GrammarError("its pattern has a set of characters that a text can't have")
    return " | ".join(written)


def _in_json(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise GrammarError("its pattern has half a surrogate pair")
    return json.dumps(chr(code), ensure_ascii=False)[1:-1]
