# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prompts that nobody has seen before: the same for each server in a round, others in the next round."""

from __future__ import annotations

import random

TOKENS_A_WORD = 1.23  # of SmolLM2, in these sentences


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OPENINGS = _words("After Before Because While Although Unless Since Whenever")
_ADJECTIVES = _words("old quiet green sudden narrow distant clever broken early heavy silver patient")
_NOUNS = _words("harbour teacher engine river market lantern doctor bridge forest letter captain garden winter road")
_VERBS = _words("carried followed repaired painted remembered measured crossed lifted counted answered opened sold")
_PLACES = _words("village valley station library mountain island kitchen theatre factory square")


def sentences(seed: str, words: int) -> str:
    """About so many words, the same for the same seed."""
    chosen = random.Random(seed)
    said: list[str] = []
    count = 0
    while count < words:
        pick = chosen.choice
        said.append(
            f"{pick(_OPENINGS)} the {pick(_ADJECTIVES)} {pick(_NOUNS)} {pick(_VERBS)} the {pick(_NOUNS)} near the "
            f"{pick(_PLACES)}, a {pick(_ADJECTIVES)} {pick(_NOUNS)} {pick(_VERBS)} {chosen.randrange(2, 99)} of them."
        )
        count += 17
    return " ".join(said)


def unique(seed: str) -> str:
    """About 100 tokens with the template; it asks for a long answer, as not all servers can ignore the end token."""
    return f"Tell a very long story of many chapters that goes on like this: {sentences(seed, 45)}"


def long(seed: str, tokens: int) -> str:
    """About so many tokens, mostly a text to read."""
    return f"{sentences(seed, round(tokens / TOKENS_A_WORD))}\n\nWhat is this about?"


def shared(seed: str) -> str:
    """A prefix of 600 words."""
    return f"Use what follows to answer the question.\n\n{sentences(seed, 600)}"


def question(prefix: str, seed: str) -> str:
    pick = random.Random(seed).choice
    return (
        f"{prefix}\n\nQuestion {seed}: what did the {pick(_ADJECTIVES)} {pick(_NOUNS)} do in the {pick(_PLACES)}? "
        "Explain it at length."
    )
