#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An hour of mixed load on model-service: every answer as expected, nothing leaked, no more memory at the end.

    benchmarks/engine/soak.py

Chats, streams, clients that leave, long prompts, batch requests, grammars, embeddings, refused requests and bursts over
the queue's length, for SOAK_MINUTES (60). Memory is compared between the tenth of the time after the first tenth, and
the last. Ends with status 1 and the reasons if something wasn't as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from peers import BuildError, build
from servers import OURS, Sizes, StartError, define, started, total
from soak_load import CLIENTS, KINDS, Kind, Unexpected, a_prompt

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "MODEL_KV_TOKENS": "3072",
    "MODEL_PREFIX_STORE_MIB": "48",
    "MODEL_QUEUE_LIMIT": "12",
    "MODEL_QUEUE_TIMEOUT_SECONDS": "20",
}
SIZES = Sizes(slots=6, context=1024)
SAMPLE_SECONDS = 5.0
MOST_DRIFT = 0.01
SETTLE_SECONDS = 60.0
WARM_UPS = 3
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Sample:
    """What /metrics said at a time since the beginning."""

    seconds: float
    memory: float
    running: float
    waiting: float
    kv: float
    store: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CHECKOUT / ".cache/bench", help="where all is built")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    seconds = float(os.environ.get("SOAK_MINUTES", "60")) * 60
    # So that the servers end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        built = build(arguments.cache.resolve(), CHECKOUT / "service_src")
        ours = define(built, SIZES, {})[OURS]
        ours = replace(ours, environment={**ours.environment, **SETTINGS})
        logs = built.cache / "logs"
        logs.mkdir(exist_ok=True)
        with started(ours, logs) as running:
            problems = asyncio.run(_soak(f"http://127.0.0.1:{running.port}", seconds, arguments.seed))
    except (BuildError, StartError) as error:
        problems = [str(error)]
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problems else 0


async def _soak(url: str, seconds: float, seed: int) -> list[str]:
    problems: list[str] = []
    counts: Counter[str] = Counter()
    samples: list[Sample] = []
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as client:
        expected = await a_prompt(client)
        await _fill_store(client)
        chances = [random.Random(f"{seed}/{number}") for number in range(CLIENTS)]
        for kind, _ in KINDS:  # what each needs for good, and as many at once as there will be
            for _ in range(WARM_UPS):
                await asyncio.gather(*(_ask(kind, client, chance, counts, problems) for chance in chances))
        counts.clear()
        begin = time.monotonic()
        end = begin + seconds
        load = [_client(client, random.Random(seed + number), end, counts, problems) for number in range(CLIENTS)]
        await asyncio.gather(*load, _watch(client, begin, end, samples, counts, problems))
        problems += await _after(client, expected)
        problems += _drift(samples, seconds)
    print(json.dumps({"requests": dict(sorted(counts.items())), "samples": len(samples)}, indent=1))
    missing = [kind.__name__ for kind, _ in KINDS if not counts[kind.__name__]]
    return problems[:MOST_PROBLEMS] + ([f"nothing was asked of these kinds: {missing}"] if missing else [])


async def _client(
    client: httpx.AsyncClient, chance: random.Random, end: float, counts: Counter[str], problems: list[str]
) -> None:
    while time.monotonic() < end:
        (kind,) = chance.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
        await _ask(kind, client, chance, counts, problems)
        if len(problems) >= MOST_PROBLEMS:
            return
        await asyncio.sleep(chance.uniform(0, 0.3))


async def _ask(
    kind: Kind, client: httpx.AsyncClient, chance: random.Random, counts: Counter[str], problems: list[str]
) -> None:
    try:
        counts[await kind(client, chance)] += 1
        counts[kind.__name__] += 1
    except (Unexpected, httpx.HTTPError) as error:
        problems.append(f"{kind.__name__}: {type(error).__name__}: {error}")


async def _fill_store(client: httpx.AsyncClient) -> None:
    """The memory that computed prefixes may take is no leak: it is taken before the clock starts."""
    room = int(SETTINGS["MODEL_PREFIX_STORE_MIB"]) << 20
    for number in range(100):
        if (await _sample(client, 0)).store > 0.95 * room:
            return
        prompt = f"Number {number}: " + "one two three four " * 200
        await client.post("/v1/completions", json={"model": "bench", "prompt": prompt, "max_tokens": 1})


async def _watch(
    client: httpx.AsyncClient,
    begin: float,
    end: float,
    samples: list[Sample],
    counts: Counter[str],
    problems: list[str],
) -> None:
    while (now := time.monotonic()) < end and len(problems) < MOST_PROBLEMS:
        try:
            samples.append(await _sample(client, now - begin))
        except httpx.HTTPError as error:
            problems.append(f"/metrics: {type(error).__name__}: {error}")
        if len(samples) % 12 == 1 and samples:
            last = samples[-1]
            print(
                f"{last.seconds / 60:6.1f} min, {last.memory / (1 << 20):7.1f} MiB, {last.running:.0f} running, "
                f"{last.waiting:.0f} waiting, KV {last.kv:.0%}, {counts.total() // 2} answers, "
                f"{len(problems)} problems",
                flush=True,
            )
        await asyncio.sleep(SAMPLE_SECONDS)


async def _sample(client: httpx.AsyncClient, seconds: float) -> Sample:
    metrics = (await client.get("/metrics")).text

    def value(name: str) -> float:
        return total(metrics, name) or 0.0

    return Sample(
        seconds,
        value("process_resident_memory_bytes"),
        value("llm_requests_running"),
        value("llm_requests_waiting"),
        value("llm_kv_cache_usage_ratio"),
        value("llm_prefix_store_bytes"),
    )


async def _after(client: httpx.AsyncClient, expected: str) -> list[str]:
    """What is still in use although nobody asks for anything, and whether it still answers as it did."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        last = await _sample(client, 0)
        if last.running == last.waiting == last.kv == 0:
            break
        if time.monotonic() > deadline:
            return [f"after the load there are {last.running} running, {last.waiting} waiting, KV {last.kv:.1%}"]
        await asyncio.sleep(0.2)
    problems = []
    metrics = (await client.get("/metrics")).text
    for name in ("llm_requests_failed_total", "llm_contexts_lost_total"):
        if total(metrics, name) != 0:
            problems.append(f"{name} is {total(metrics, name)}")
    slots = (await client.get("/slots")).json()
    if any(slot["state"] != "idle" for slot in slots):
        problems.append(f"slots aren't idle: {slots}")
    answer = await a_prompt(client)
    if answer != expected:
        problems.append(f"it answered {expected!r} before, and {answer!r} after")
    return problems


def _drift(samples: Sequence[Sample], seconds: float) -> list[str]:
    early = [sample.memory for sample in samples if 0.1 * seconds <= sample.seconds <= 0.2 * seconds]
    late = [sample.memory for sample in samples if sample.seconds >= 0.9 * seconds]
    if not early or not late:
        return ["too few samples to compare the memory"]
    drift = statistics.median(late) / statistics.median(early) - 1
    print(f"memory {statistics.median(early) / (1 << 20):.1f} MiB early, {drift:+.2%} at the end")
    return [f"memory grew by {drift:.2%}"] if drift >= MOST_DRIFT else []


if __name__ == "__main__":
    sys.exit(main())
