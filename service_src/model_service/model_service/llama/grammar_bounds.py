"""Which grammars llama.cpp can follow: it has no bounds of its own.

It walks all the ways in which a rule can begin, one by one and again at each character; left recursion makes them
infinite where it doesn't find it, and a few lines of GBNF can have more of them than memory holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Parentheses within each other; llama.cpp recurses into them on the thread's stack.
MAX_DEPTH = 500
# Ways in which a rule can begin. An enumeration of so many values has as many.
MAX_BEGINNINGS = 20_000

_TOKEN = re.compile(
    r"""(?P<literal>"(?:\\.|[^"\\])*")
    | (?P<terminal>\[(?:\\.|[^\]\\])*\] | !?<[^>]*> | \.)
    | \#[^\n\r]*
    | (?P<defined>[\w-]+)\s*::=
    | (?P<name>[\w-]+)
    | (?P<repetition>[*?+] | \{[^}]*\})
    | (?P<sign>[()|])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_MAY_BE_NONE = re.compile(r"[*?]|\{\s*0")
_NUMBER = re.compile(r"\d+", re.ASCII)


class GrammarTooComplexError(Exception):
    """A grammar that llama.cpp could not follow in a bounded time; the message says why."""


@dataclass(slots=True)
class _Element:
    """A terminal, where ``rule`` is None, or a rule."""

    rule: str | None
    may_be_empty: bool = False
    times: int = 1


@dataclass(slots=True)
class _Rule:
    alternatives: list[list[_Element]] = field(default_factory=lambda: [[]])
    may_be_empty: bool = False


def check_bounds(grammar: str) -> None:
    """Raises GrammarTooComplexError. What isn't GBNF at all is left to llama.cpp's parser."""
    rules = _parse(grammar)
    _find_what_may_be_empty(rules)
    beginnings: dict[str, int] = {}
    for name in rules:
        _count_beginnings(name, rules, beginnings)


def _parse(grammar: str) -> dict[str, _Rule]:
    """The rules by name; each group in parentheses is one of its own."""
    rules: dict[str, _Rule] = {}
    current = _Rule()  # what stands before the first rule belongs to none
    outer: list[_Rule] = []
    for found in _TOKEN.finditer(grammar):
        kind, text = found.lastgroup, found[0]
        last = current.alternatives[-1]
        if kind == "defined":
            current, outer = _Rule(), []
            rules[found["defined"]] = current
        elif text == "(":
            if len(outer) >= MAX_DEPTH:
                raise GrammarTooComplexError(f"it has more than {MAX_DEPTH} parentheses within each other")
            name = f"({len(rules)}"
            last.append(_Element(name))
            outer.append(current)
            current = rules[name] = _Rule()
        elif text == ")":
            current = outer.pop() if outer else current
        elif text == "|":
            current.alternatives.append([])
        elif kind == "repetition":
            if last:
                last[-1].may_be_empty |= bool(_MAY_BE_NONE.match(text))
                last[-1].times *= max((int(number[:9]) for number in _NUMBER.findall(text)), default=1)
        elif kind in ("literal", "terminal"):
            last.append(_Element(None, may_be_empty=text == '""'))
        elif kind == "name":
            last.append(_Element(text))
    return rules


def _find_what_may_be_empty(rules: dict[str, _Rule]) -> None:
    """Marks the rules, then the elements that stand for them."""
    users: dict[str, list[tuple[str, list[_Element]]]] = {}
    for name, rule in rules.items():
        for alternative in rule.alternatives:
            for element in alternative:
                if element.rule is not None:
                    users.setdefault(element.rule, []).append((name, alternative))
    found = [name for name, rule in rules.items() if any(map(_may_be_empty, rule.alternatives))]
    while found:
        name = found.pop()
        if rules[name].may_be_empty:
            continue
        rules[name].may_be_empty = True
        for user, alternative in users.get(name, ()):
            for element in alternative:
                element.may_be_empty = element.may_be_empty or element.rule == name
            if _may_be_empty(alternative):
                found.append(user)


def _may_be_empty(alternative: list[_Element]) -> bool:
    return all(element.may_be_empty for element in alternative)


def _count_beginnings(name: str, rules: dict[str, _Rule], known: dict[str, int]) -> None:
    """Depth first, on a stack of its own: a chain of rules may be as long as the grammar."""
    if name in known:
        return
    counts, repeated, under_way = [0], list[int](), {name}
    walks = [(name, _first_elements(rules[name]))]
    while walks:
        at, elements = walks[-1]
        element = next(elements, None)
        if element is None:
            walks.pop()
            under_way.discard(at)
            known[at] = counts.pop() + 1
            if walks:
                counts[-1] += known[at] * repeated.pop()
        elif element.rule is None or element.rule not in rules:
            counts[-1] += 1
        elif element.rule in known:
            counts[-1] += known[element.rule] * _times(element, rules)
        elif element.rule in under_way:
            raise GrammarTooComplexError(f"its rule {element.rule.split('(')[0] or at} is left-recursive")
        else:
            under_way.add(element.rule)
            counts.append(0)
            repeated.append(_times(element, rules))
            walks.append((element.rule, _first_elements(rules[element.rule])))
        if counts and counts[-1] > MAX_BEGINNINGS:
            raise GrammarTooComplexError(f"it has a rule with more than {MAX_BEGINNINGS} ways to begin")


def _times(element: _Element, rules: dict[str, _Rule]) -> int:
    """Of what may be empty, any repetition may be the first that isn't."""
    return element.times if element.rule is not None and rules[element.rule].may_be_empty else 1


def _first_elements(rule: _Rule) -> Iterator[_Element]:
    """What the rule's text can begin with."""
    for alternative in rule.alternatives:
        for element in alternative:
            yield element
            if not element.may_be_empty:
                break
