"""Numbers between two bounds, digit by digit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from model_service.grammar.gbnf import GrammarError

INTEGER = '"-"? ("0" | [1-9] [0-9]{0,14})'
# No exponent of three digits: such a number may be infinite where it is read.
NUMBER = f'{INTEGER} ("." [0-9]{{1,15}})? ([eE] [-+]? [0-9]{{1,2}})?'

_LARGEST = 10**15 - 1
_FEWEST_DECIMALS, _MOST_DECIMALS = 2, 6


@dataclass(frozen=True, slots=True)
class Bounds:
    """None for no bound; an excluded one isn't itself in the range."""

    least: Decimal | None
    most: Decimal | None
    least_excluded: bool = False
    most_excluded: bool = False

    def scaled(self, decimals: int) -> tuple[int, int]:
        """The least and the most number, times 10 to the power of ``decimals``."""
        scale = 10**decimals
        low, high = -_LARGEST * scale, _LARGEST * scale
        if self.least is not None:
            exact = self.least * scale
            low = max(low, math.floor(exact) + 1 if self.least_excluded else math.ceil(exact))
        if self.most is not None:
            exact = self.most * scale
            high = min(high, math.ceil(exact) - 1 if self.most_excluded else math.floor(exact))
        return low, high


def integer_between(bounds: Bounds) -> str:
    """An expression for the integers in the bounds; GrammarError if there is none."""
    alternatives = _signed(*bounds.scaled(0), 0)
    if not alternatives:
        raise GrammarError("no integer of up to 15 digits is within its bounds")
    return " | ".join(alternatives)


def number_between(bounds: Bounds) -> str:
    """The same for integers and decimal fractions."""
    given = [bound for bound in (bounds.least, bounds.most) if bound is not None]
    decimals = max(-int(bound.normalize().as_tuple().exponent) for bound in given)
    decimals = min(max(decimals, _FEWEST_DECIMALS), _MOST_DECIMALS)
    alternatives = [*_signed(*bounds.scaled(0), 0), *_signed(*bounds.scaled(decimals), decimals)]
    if not alternatives:
        raise GrammarError(f"no number of up to 15 digits and {_MOST_DECIMALS} decimals is within its bounds")
    return " | ".join(alternatives)


def _signed(low: int, high: int, decimals: int) -> list[str]:
    negative = [f'"-" ({part})' for part in _unsigned(max(1, -high), -low, decimals)] if low < 0 else []
    return [*negative, *_unsigned(max(0, low), high, decimals)]


def _unsigned(low: int, high: int, decimals: int) -> list[str]:
    """By the number of digits before the point, as a shorter number doesn't begin with zeros."""
    parts = []
    scale = 10**decimals
    for digits in range(1, len(str(_LARGEST)) + 1):
        first = max(low, 0 if digits == 1 else 10 ** (digits - 1) * scale)
        last = min(high, 10**digits * scale - 1)
        if first <= last:
            parts.append(_between(_written(first, digits, decimals), _written(last, digits, decimals)))
    return parts


def _written(number: int, digits: int, decimals: int) -> str:
    text = str(number).zfill(digits + decimals)
    return f"{text[:digits]}.{text[digits:]}" if decimals else text


def _between(low: str, high: str) -> str:
    """All texts of this length from ``low`` to ``high``, which differ in digits alone."""
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=True)) if one != other), len(low))
    head = f'"{low[:same]}"' if same else ""
    if same == len(low):
        return head
    first, last, low_rest, high_rest = int(low[same]), int(high[same]), low[same + 1 :], high[same + 1 :]
    alternatives = []
    if low_rest.strip("0."):
        alternatives.append(f'"{first}" ({_from(low_rest)})')
        first += 1
    if high_rest.strip("9."):
        alternatives.append(f'"{last}" ({_up_to(high_rest)})')
        last -= 1
    if first <= last:
        alternatives.append(f"[{first}-{last}] {_any(low_rest)}".rstrip())
    return f"{head} ({' | '.join(alternatives)})".lstrip()


def _from(low: str) -> str:
    if not low.strip("0."):
        return _any(low)
    if low[0] == ".":
        return f'"." ({_from(low[1:])})'
    above = [f"[{int(low[0]) + 1}-9] {_any(low[1:])}".rstrip()] if low[0] != "9" else []
    return " | ".join([f'"{low[0]}" ({_from(low[1:])})' if low[1:] else f'"{low[0]}"', *above])


def _up_to(high: str) -> str:
    if not high.strip("9."):
        return _any(high)
    if high[0] == ".":
        return f'"." ({_up_to(high[1:])})'
    below = [f"[0-{int(high[0]) - 1}] {_any(high[1:])}".rstrip()] if high[0] != "0" else []
    return " | ".join([f'"{high[0]}" ({_up_to(high[1:])})' if high[1:] else f'"{high[0]}"', *below])


def _any(like: str) -> str:
    """Any digits, with the point where this text has it."""
    whole, point, decimals = like.partition(".")
    parts = [f"[0-9]{{{len(whole)}}}" if whole else "", '"."' if point else "", f"[0-9]{{{len(decimals)}}}"]
    return " ".join(part for part in (parts if decimals else parts[:2]) if part) or '""'
