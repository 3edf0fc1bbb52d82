# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of a server, and what is measured of its answers."""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prompts
from servers import EXAMPLE, LLAMA_CPP_SERVER, LLAMA_SERVER, OURS, Running, total

CLIENT = Path(__file__).with_name("client.py")
OUTPUT_TOKENS = 64
# What SmolLM2's template ends each prompt with: <|im_end|>, \n, <|im_start|>, ass, istant, \n.
TEMPLATE_TAIL_TOKENS = 6
COMPUTED = {OURS: "llm_prompt_tokens_computed_total", LLAMA_SERVER: "llamacpp:prompt_tokens_total"}
STEP_SECONDS = "llm_engine_step_seconds_total"

Answer = dict[str, Any]  # as client.read() makes it
Measure = tuple[str, str, float]  # scenario, what, value


@dataclass(frozen=True)
class Round:
    """One turn of one server."""

    number: int
    client_python: Path
    concurrency: Sequence[int]
    peak: float  # requests of `unique` that ours answers a second
    raw: list[dict[str, Any]]  # takes every answer

    def load(self, running: Running, scenario: str, plan: Mapping[str, Any], timeout_seconds: float) -> list[Answer]:
        whole = {
            "port": running.port,
            "path": "/v1/chat/completions",
            "timeout_seconds": timeout_seconds,
            **plan,
        }
        command = (str(self.client_python), str(CLIENT))
        done = subprocess.run(command, input=json.dumps(whole), stdout=subprocess.PIPE, text=True, check=True)
        answers: list[Answer] = json.loads(done.stdout)
        self.raw.append({"round": self.number, "server": running.server.name, "scenario": scenario, "answers": answers})
        return answers


def unique(turn: Round, running: Running) -> Iterator[Measure]:
    """Prompts that share nothing, from so many users at a time."""
    for users in turn.concurrency:
        if running.server.base == LLAMA_CPP_SERVER and users != 8:
            continue  # it answers one at a time: more of it takes long and says nothing new
        if running.server.base == EXAMPLE and users == 4:
            continue
        scenario = f"unique, C={users}"
        requests = 2 * users if running.server.base in (LLAMA_CPP_SERVER, EXAMPLE) else max(8, 4 * users)
        bodies = [
            running.body(prompts.unique(f"{turn.number}/{users}/{index}"), OUTPUT_TOKENS) for index in range(requests)
        ]
        before = running.metrics()
        answers = turn.load(running, scenario, {"kind": "closed", "bodies": bodies, "concurrency": users}, 240)
        yield from _speed(scenario, answers)
        yield scenario, "inter-token p99 ms", 1000 * percentile(gaps(answers), 99)
        if running.server.base == OURS and users == 16:
            yield from _step_share(before, running.metrics())


def shared(turn: Round, running: Running) -> Iterator[Measure]:
    """16 users of one system prompt, arriving together."""
    scenario = "shared prefix"
    prefix = prompts.shared(f"{turn.number}/shared")
    bodies = [running.body(prompts.question(prefix, f"{turn.number}/{index}"), 32) for index in range(16)]
    before = running.metrics()
    answers = turn.load(running, scenario, {"kind": "closed", "bodies": bodies, "concurrency": 16}, 240)
    after = running.metrics()
    yield from _speed(scenario, answers)
    alone = {"kind": "closed", "bodies": [running.body(prefix, 1)], "concurrency": 1}
    (whole,) = turn.load(running, scenario + ", prefix alone", alone, 60)
    computed = _grown(before, after, COMPUTED.get(running.server.base, ""))
    if computed is not None and whole["prompt_tokens"]:
        common = whole["prompt_tokens"] - TEMPLATE_TAIL_TOKENS
        distinct = common + sum(answer["prompt_tokens"] - common for answer in answers)
        yield scenario, "prompt tokens computed / unique ones", computed / distinct


def long_prompts(turn: Round, running: Running) -> Iterator[Measure]:
    """Two prompts of 4,000 tokens, one after the other, beside 8 streams."""
    scenario = "long prompts"
    # Short ones, again and again: with each token a stream gets slower, which has nothing to do with the long prompts.
    streams = [running.body(prompts.unique(f"{turn.number}/long/{index}"), 256) for index in range(8)]
    longs = [running.body(prompts.long(f"{turn.number}/{index}", 4000), 8) for index in range(2)]
    plan = {"kind": "disturbed", "bodies": streams, "longs": longs, "quiet_seconds": 10}
    answers = turn.load(running, scenario, plan, 300)
    long_answers = [answer for answer in answers if answer["label"] == "long"]
    stream_answers = [answer for answer in answers if answer["label"] != "long"]
    # Of the streams, those that had just begun when all were cut have no tokens yet.
    _check(scenario, long_answers + stream_answers[: len(streams)])
    begin = max(answer["tokens"][0] for answer in stream_answers[: len(streams)])
    arrival = min(answer["sent"] for answer in long_answers)
    end = max(answer["tokens"][0] for answer in long_answers)
    quiet = percentile(gaps(stream_answers, begin, arrival), 99)
    disturbed = percentile(gaps(stream_answers, arrival, end), 99)
    yield scenario, "inter-token p99 ms, undisturbed", 1000 * quiet
    yield scenario, "inter-token p99 ms, disturbed", 1000 * disturbed
    yield scenario, "disturbed / undisturbed", disturbed / quiet
    yield scenario, "TTFT s of the long ones", sum(a["tokens"][0] - a["sent"] for a in long_answers) / len(longs)


def poisson(turn: Round, running: Running) -> Iterator[Measure]:
    """Arrivals at random at 80 % of what ours can do; the same for each server."""
    scenario, seconds = "Poisson at 80 %", 30.0
    chosen = random.Random(f"{turn.number}/poisson")
    at: list[float] = []
    now = 0.0
    while (now := now + chosen.expovariate(0.8 * turn.peak)) < seconds:
        at.append(now)
    bodies = [running.body(prompts.unique(f"{turn.number}/poisson/{i}"), OUTPUT_TOKENS) for i in range(len(at))]
    answers = turn.load(running, scenario, {"kind": "open", "bodies": bodies, "at": at}, seconds + 90)
    yield scenario, "offered, requests/s", len(at) / seconds
    yield scenario, "goodput, requests/s", sum(map(is_good, answers)) / seconds
    yield scenario, "TTFT p99 s", percentile(ttfts(answers), 99)


def overload(turn: Round, running: Running) -> Iterator[Measure]:
    """Ten times of what ours can do, evenly."""
    scenario, seconds = "overload, 10x", 30.0
    count = round(10 * turn.peak * seconds)
    at = [seconds * index / count for index in range(count)]
    bodies = [running.body(prompts.unique(f"{turn.number}/over/{index}"), OUTPUT_TOKENS) for index in range(count)]
    answers = turn.load(running, scenario, {"kind": "open", "bodies": bodies, "at": at}, seconds + 90)
    rejected = [answer for answer in answers if answer["status"] == 429]
    accepted = [answer for answer in answers if answer["status"] == 200 and answer["tokens"]]
    yield scenario, "failed otherwise", float(len(answers) - len(rejected) - len(accepted))
    yield scenario, "rejected", len(rejected) / len(answers)
    waits = [1000 * (answer["answered"] - answer["sent"]) for answer in rejected]
    if waits:
        yield scenario, "rejection p99 ms", percentile(waits, 99)
        yield scenario, "rejection max ms", max(waits)
    if not accepted:
        raise ScenarioError(f"{scenario}: nothing was answered")
    end = max(answer["tokens"][-1] for answer in accepted)
    peak_tokens = turn.peak * OUTPUT_TOKENS
    yield scenario, "tok/s / peak", _tokens(accepted) / end / peak_tokens
    yield scenario, "goodput / peak", _tokens(list(filter(is_good, accepted))) / end / peak_tokens


SCENARIOS: Mapping[str, Callable[[Round, Running], Iterator[Measure]]] = {
    "unique": unique,
    "shared": shared,
    "long": long_prompts,
    "poisson": poisson,
    "overload": overload,
}
# The two that people use are here for one figure; the rest would take long.
TAKES_PART: Mapping[str, tuple[str, ...]] = {
    "unique": (OURS, LLAMA_SERVER, LLAMA_CPP_SERVER, EXAMPLE),
    "shared": (OURS, LLAMA_SERVER),
    "long": (OURS, LLAMA_SERVER),
    "poisson": (OURS, LLAMA_SERVER),
    "overload": (OURS,),
}


class ScenarioError(Exception):
    """Why a scenario has no result."""


def ttfts(answers: Sequence[Answer]) -> list[float]:
    return [answer["tokens"][0] - answer["sent"] for answer in answers if answer["tokens"]]


def gaps(answers: Sequence[Answer], begin: float = 0.0, end: float = float("inf")) -> list[float]:
    """Seconds between tokens of one answer, of the gaps that reach into the interval."""
    return [
        later - earlier
        for answer in answers
        for earlier, later in zip(answer["tokens"], answer["tokens"][1:], strict=False)
        if later > begin and earlier < end
    ]


def is_good(answer: Answer) -> bool:
    """First token within 2 s, and 80 ms or less a token after it."""
    times = answer["tokens"]
    if not times or times[0] - answer["sent"] > 2:
        return False
    return bool(times[-1] - times[0] <= 0.08 * (answer["completion_tokens"] - 1))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that was measured."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def _speed(scenario: str, answers: Sequence[Answer]) -> Iterator[Measure]:
    _check(scenario, answers)
    first, last = min(answer["sent"] for answer in answers), max(answer["tokens"][-1] for answer in answers)
    yield scenario, "tok/s", _tokens(answers) / (last - first)
    yield scenario, "TTFT p50 s", percentile(ttfts(answers), 50)
    yield scenario, "TTFT p99 s", percentile(ttfts(answers), 99)
    yield scenario, "tokens an answer", _tokens(answers) / len(answers)
    if all(answer["prompt_tokens"] for answer in answers):
        yield scenario, "tokens a prompt", sum(answer["prompt_tokens"] for answer in answers) / len(answers)


def _tokens(answers: Sequence[Answer]) -> int:
    return sum(answer["completion_tokens"] for answer in answers)


def _check(scenario: str, answers: Sequence[Answer]) -> None:
    for answer in answers:
        if answer["status"] != 200 or not answer["tokens"]:
            raise ScenarioError(f"{scenario}: an answer with status {answer['status']}: {answer['error'][-300:]}")


def _grown(before: str, after: str, name: str) -> float | None:
    earlier, later = total(before, name), total(after, name)
    return None if later is None else later - (earlier or 0)


def _step_share(before: str, after: str) -> Iterator[Measure]:
    spent = {
        phase: (total(after, STEP_SECONDS, phase=phase) or 0) - (total(before, STEP_SECONDS, phase=phase) or 0)
        for phase in ("decode", "sample", "other")
    }
    whole = sum(spent.values())
    if whole > 0:
        yield "unique, C=16", "step time outside decode and sampling", spent["other"] / whole
