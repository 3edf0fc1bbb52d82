"""GBNF's own syntax: literals, character classes, repetitions, and bounds on what a client sends.

https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Range = tuple[int, int]  # of code points, both ends included

LAST_CODE_POINT = 0x10FFFF
EMPTY = '""'
_SURROGATES = (0xD800, 0xDFFF)

MAX_GRAMMAR_BYTES = 64 << 10
# llama.cpp's parser recurses with each parenthesis, and copies what is repeated: an unbounded grammar ends the process.
_MAX_PARENTHESES = 1000
_MAX_REPETITIONS = 20_000
# llama.cpp takes at most 2,000 at once, and silently makes a larger maximum none.
_MAX_REPETITION = 1000

# Each alternative that is open is asked about the whole vocabulary, while everybody else's request waits.
_MAX_ALTERNATIVES = 64
_MAX_SYMBOLS = 512

_TEXTS = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*')
_RULE = re.compile(r"[A-Za-z0-9_-]+\s*::=")
_REPETITION = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*))?")
_PLAIN = re.compile(r"[ !#-\[\]-~]")


class GrammarError(Exception):
    """A grammar, or a schema, that can't be served; says why."""


class Grammar:
    """Rules under construction. A symbol is what stands for a rule in another one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._bodies: dict[str, str] = {}
        self._repetitions = 0
        # The symbols of any value, object and array, once they are there.
        self.any_value: tuple[str, str, str] | None = None

    def rule(self, body: str) -> str:
        """The symbol of a rule with this body."""
        name = self._names.get(body)
        if name is None:
            name = self.declare()
            self.define(name, body)
        return name

    def declare(self) -> str:
        """A symbol whose body is defined later, so that it can contain the symbol itself."""
        name = f"r{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        self._bodies[name] = body
        self._names.setdefault(body, name)

    def repeated(self, symbol: str, least: int, most: int | None) -> str:
        """An expression for ``least`` to ``most`` of the symbol, None for any number."""
        if most is None:
            return f"{self._times(symbol, least, least)} {symbol}*" if least else f"{symbol}*"
        return f"{self._times(symbol, least, least)} {self._times(symbol, 0, most - least)}".strip() or EMPTY

    def text(self, root: str) -> str:
        """The whole grammar; ``root`` is the body of its first rule."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())])

    def _times(self, symbol: str, least: int, most: int) -> str:
        blocks, rest = divmod(most, _MAX_REPETITION)
        self._repetitions += blocks + rest + (_MAX_REPETITION if blocks else 0)
        if self._repetitions > _MAX_REPETITIONS or blocks > _MAX_REPETITION:
            raise GrammarError("its lengths and counts are too large")
        parts = []
        if blocks:
            block = self.rule(f"{symbol}{{{_MAX_REPETITION}}}")
            parts.append(f"{block}{{{blocks if least else 0},{blocks}}}")
        if rest:
            parts.append(f"{symbol}{{{rest if least else 0},{rest}}}")
        return " ".join(parts)


def literal(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def characters(ranges: Iterable[Range]) -> str:
    """A class of exactly these characters, surrogates left out; empty if there are none."""
    parts = []
    for first, last in without(ranges, _SURROGATES):
        parts.append(_code(first) if first == last else f"{_code(first)}-{_code(last)}")
    return f"[{''.join(parts)}]" if parts else ""


def without(ranges: Iterable[Range], *removed: Range) -> list[Range]:
    """The characters of the first ranges that are in none of the others."""
    left = list(ranges)
    for low, high in removed:
        kept: list[Range] = []
        for first, last in left:
            kept += [(first, min(last, low - 1))] if first < low else []
            kept += [(max(first, high + 1), last)] if last > high else []
        left = kept
    return left


def complement(ranges: Iterable[Range]) -> list[Range]:
    return without([(0, LAST_CODE_POINT)], *ranges)


def check(grammar: str) -> None:
    """Raises GrammarError for a client's grammar that is too large to be parsed, or to be asked for each token."""
    if len(grammar.encode()) > MAX_GRAMMAR_BYTES:
        raise GrammarError(f"it is over {MAX_GRAMMAR_BYTES} bytes")
    if "\0" in grammar:
        raise GrammarError("it has a NUL character")
    syntax = _TEXTS.sub(" . ", grammar)
    if syntax.count("(") > _MAX_PARENTHESES:
        raise GrammarError(f"it has more than {_MAX_PARENTHESES} parentheses")
    counts = (int(count[:9] or 0) for found in _REPETITION.findall(syntax) for count in found)
    if sum(counts) > _MAX_REPETITIONS:
        raise GrammarError(f"its repetitions are more than {_MAX_REPETITIONS} together")
    for rule in _RULE.split(syntax):
        if rule.count("|") >= _MAX_ALTERNATIVES or len(rule.split()) > _MAX_SYMBOLS:
            raise GrammarError(f"a rule of it has more than {_MAX_ALTERNATIVES} alternatives or {_MAX_SYMBOLS} symbols")


def _escaped(character: str) -> str:
    return character if _PLAIN.fullmatch(character) else _code(ord(character))


def _code(point: int) -> str:
    if point < 0x80 and chr(point).isalnum():
        return chr(point)
    return f"\\x{point:02X}" if point < 0x100 else f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"
