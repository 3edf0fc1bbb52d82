"""What is written in GBNF is read as it was meant, and a client's grammar has bounds."""

from __future__ import annotations

import pytest
from grammar_support import GrammarTexts

from model_service.grammar.gbnf import Grammar, GrammarError, characters, check, complement, literal, without
from model_service.llama.model import Model

JSON_GRAMMAR = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws # "|" * 99
ws ::= | " " | "\n" [ \t]{0,20}
"""


@pytest.fixture(scope="module")
def texts(model: Model) -> GrammarTexts:
    return GrammarTexts(model)


@pytest.mark.parametrize("text", ['a"b', "back\\slash", "\n\t\r", "[x]-^", "é 世界 🙂", "\x01\x7f", "{1,2}"])
def test_a_literal_is_its_text(texts: GrammarTexts, text: str) -> None:
    assert texts.draw(f"root ::= {literal(text)}", 0) == text


@pytest.mark.parametrize("ranges", [[(0x21, 0x2F)], [(0x5B, 0x5E)], [(0x2D, 0x2D)], [(0xE9, 0xE9), (0x4E00, 0x4E0F)]])
def test_a_class_has_exactly_its_characters(texts: GrammarTexts, ranges: list[tuple[int, int]]) -> None:
    for seed in range(10):
        text = texts.draw(f"root ::= {characters(ranges)}", seed)
        assert text is not None
        assert any(low <= ord(text) <= high for low, high in ranges)


def test_a_complement_and_what_it_is_of_share_nothing() -> None:
    ranges = [(10, 20), (15, 30), (40, 40)]
    assert without([(0, 50)], *ranges) == [(0, 9), (31, 39), (41, 50)]
    assert without(complement(ranges), *complement(ranges)) == []


@pytest.mark.parametrize(("least", "most"), [(0, 0), (0, 1), (3, 3), (2, 5), (0, 1200), (1500, 1500), (1001, 2500)])
def test_a_repetition_has_its_bounds(texts: GrammarTexts, least: int, most: int) -> None:
    grammar = Grammar()
    symbol = grammar.rule('"a"')
    text = texts.draw(grammar.text(grammar.repeated(symbol, least, most)), 0, longest=3000)
    assert text is not None
    assert least <= len(text) <= most


def test_an_ordinary_grammar_passes(texts: GrammarTexts) -> None:
    check(JSON_GRAMMAR)
    assert texts.draw(JSON_GRAMMAR, 1) is not None


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= " + "(" * 2000 + '"a"' + ")" * 2000,
        "root ::= " + '"a"{2000} ' * 20,
        'root ::= "' + "a" * (65 << 10) + '"',
        "root ::= " + " | ".join(f'"{index}"' for index in range(100)),
        "root ::= " + "x " * 600 + '\nx ::= "a" | ""',
        'root ::= "\0"',
    ],
    ids=["parentheses", "repetitions", "bytes", "alternatives", "symbols", "NUL"],
)
def test_an_enormous_grammar_does_not(grammar: str) -> None:
    with pytest.raises(GrammarError):
        check(grammar)
