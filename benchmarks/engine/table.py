# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table: medians over the rounds and what they range from and to, ratios, and the goals beside them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from servers import LLAMA_CPP_SERVER, LLAMA_SERVER, OURS


@dataclass(frozen=True)
class Record:
    """One measured value."""

    round: int
    server: str
    scenario: str
    what: str
    value: float


@dataclass(frozen=True)
class Goal:
    """What ours shall reach, in relation to ``against`` or as such."""

    scenario: str
    what: str
    against: str | None
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{bound} x {self.against}" if self.against else bound

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


_PROMPTS = "prompt tokens computed / unique ones"
GOALS = (
    *(Goal(f"unique, C={users}", "tok/s", LLAMA_SERVER, at_least=1.05) for users in (1, 4, 8, 16)),
    Goal("unique, C=8", "tok/s", LLAMA_CPP_SERVER, at_least=3.5),
    Goal("unique, C=16", "TTFT p99 s", LLAMA_SERVER, at_most=0.8),
    Goal("unique, C=16", "step time outside decode and sampling", None, at_most=0.02),
    Goal("shared prefix", "tok/s", LLAMA_SERVER, at_least=2.2),
    Goal("shared prefix", "TTFT p99 s", LLAMA_SERVER, at_most=0.2),
    Goal("shared prefix", _PROMPTS, None, at_most=1.05),
    Goal("long prompts", "disturbed / undisturbed", None, at_most=2),
    Goal("long prompts", "inter-token p99 ms, disturbed", LLAMA_SERVER, at_most=0.25),
    Goal("Poisson at 80 %", "goodput, requests/s", LLAMA_SERVER, at_least=1.2),
    Goal("overload, 10x", "rejection max ms", None, at_most=50),
    Goal("overload, 10x", "goodput / peak", None, at_least=0.95),
    Goal("--cpus 1", "tok/s / best hand-set", None, at_least=0.95),
    Goal("--cpus 2", "tok/s / best hand-set", None, at_least=0.95),
)


def render(records: Sequence[Record]) -> str:
    """Markdown: what was measured, then the goals."""
    servers = list(dict.fromkeys(record.server for record in sorted(records, key=lambda each: each.server != OURS)))
    measured = [["scenario", "", *servers], *_measured(records, servers)]
    goals = [["goal of ours", "", "goal", "median (range)", ""], *_goals(records)]
    return "\n\n".join(_markdown(rows) for rows in (measured, goals))


def _measured(records: Sequence[Record], servers: Sequence[str]) -> Iterator[list[str]]:
    for scenario, what in dict.fromkeys((record.scenario, record.what) for record in records):
        by_server = {server: _values(records, server, scenario, what) for server in servers}
        yield [scenario, what, *(_spread(list(values.values())) for values in by_server.values())]


def _goals(records: Sequence[Record]) -> Iterator[list[str]]:
    scenarios = {record.scenario for record in records if record.server == OURS}
    for goal in GOALS:
        if goal.scenario not in scenarios:
            continue
        values = _values(records, OURS, goal.scenario, goal.what)
        if goal.against is not None:
            # Of the same round, which saw the same prompts and the same neighbours on the machine.
            others = _values(records, goal.against, goal.scenario, goal.what)
            values = {turn: _ratio(value, others[turn]) for turn, value in values.items() if turn in others}
        yield [
            goal.scenario,
            goal.what,
            str(goal),
            _spread(list(values.values())),
            _verdict(goal, list(values.values())),
        ]


def _ratio(value: float, other: float) -> float:
    """Infinite where only the other is 0, 1 where both are."""
    if other == 0:
        return 1.0 if value == 0 else float("inf")
    return value / other


def _verdict(goal: Goal, values: Sequence[float]) -> str:
    if not values:
        return "n/a"
    return "met" if goal.is_met(statistics.median(values)) else "**missed**"


def _values(records: Sequence[Record], server: str, scenario: str, what: str) -> dict[int, float]:
    wanted = (server, scenario, what)
    return {each.round: each.value for each in records if (each.server, each.scenario, each.what) == wanted}


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "n/a"
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
