"""Alternatives that begin with a text, with common beginnings written once.

llama.cpp follows each alternative by itself, and asks each of them about the whole vocabulary for a token: a thousand
constants cost more than a second a token, during which nobody else's request goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from model_service.grammar.gbnf import EMPTY, Grammar, GrammarError, characters, literal

MAX_ALTERNATIVES = 64


def either(grammar: Grammar, alternatives: Iterable[str]) -> str:
    """The symbol of any of these expressions; GrammarError where they are too many."""
    different = list(dict.fromkeys(alternatives))
    if len(different) > MAX_ALTERNATIVES:
        raise GrammarError(f"it has more than {MAX_ALTERNATIVES} alternatives in one place")
    return grammar.rule(" | ".join(different))


def text_choice(grammar: Grammar, following: Mapping[str, str]) -> str:
    """The symbol of any of the texts, each with the expression that follows it, which may be empty."""
    return _choice(grammar, sorted(following.items()), 0)


def _choice(grammar: Grammar, texts: Sequence[tuple[str, str]], start: int) -> str:
    """For texts in their order, that are the same up to ``start``."""
    first, last = texts[0][0], texts[-1][0]  # sorted: what these two share, all share
    shared = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    head = [literal(texts[0][0][start:shared])] if shared > start else []
    if len(texts) == 1:
        return grammar.rule(" ".join([*head, texts[0][1]]).strip() or EMPTY)
    alternatives = []
    if len(texts[0][0]) == shared:
        alternatives.append(texts[0][1] or EMPTY)
        texts = texts[1:]
    by_rest: dict[str, list[int]] = {}
    for character, group in _by_character(texts, shared).items():
        by_rest.setdefault(_choice(grammar, group, shared + 1), []).append(ord(character))
    alternatives += [f"{characters((code, code) for code in codes)} {rest}" for rest, codes in by_rest.items()]
    return grammar.rule(" ".join([*head, either(grammar, alternatives)]))


def _by_character(texts: Sequence[tuple[str, str]], at: int) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for text in texts:
        groups.setdefault(text[0][at], []).append(text)
    return groups
