#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model-service beside llama.cpp's server, llama-cpp-python's two, and llama.cpp's bare kernel.

    benchmarks/engine/run.py [--only unique,shared] [--servers ours,llama-server] [--concurrency 8] [--rounds 3]

Builds what isn't there yet, then in each round starts each server once, in another order each time, and asks the same
of it as of the others. Prints a table of medians with their range, and of ratios with the goals; every answer's times
go into .cache/bench/results. Needs cmake, ninja and a C++ compiler, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import containers
import kernel
from noise import Noise
from peers import BuildError, Built, build
from scenarios import OUTPUT_TOKENS, SCENARIOS, TAKES_PART, Measure, Round, ScenarioError, unique
from servers import KERNEL, LLAMA_SERVER, NAMES, OURS, Running, Server, Sizes, StartError, define, started
from table import Record, render

CHECKOUT = Path(__file__).resolve().parents[2]
CONTAINERS = "containers"
OTHERS = "CPUs used by others"


def main() -> int:
    arguments = _parse()
    # So that the server in turn ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        built = build(CHECKOUT / ".cache/bench", arguments.model_service.resolve())
        if arguments.build:
            return 0
        return _measure(arguments, built)
    except (BuildError, StartError, ScenarioError) as error:
        print(f"bench-engine: {error}", file=sys.stderr)
        return 1


def _measure(arguments: argparse.Namespace, built: Built) -> int:
    sizes = Sizes(threads=arguments.threads)
    servers = define(built, sizes, dict(arguments.variant))
    chosen = [*arguments.servers, *(name for name, _ in arguments.variant)]
    logs = built.cache / "logs"
    logs.mkdir(exist_ok=True)
    raw: list[dict[str, Any]] = []
    records: list[Record] = []
    first = Round(0, built.client_python, arguments.concurrency, arguments.peak, raw)
    if not first.peak and {"poisson", "overload"} & set(arguments.only):
        first = dataclasses.replace(first, peak=_peak(first, servers[OURS], logs))
    for number in range(1, arguments.rounds + 1):
        turn = dataclasses.replace(first, number=number)
        shift = (number - 1) % len(chosen)
        for name in chosen[shift:] + chosen[:shift]:
            if name == KERNEL:
                measured = _kernel(built, sizes, arguments)
            else:
                measured = _turn(turn, servers[name], arguments, logs)
            records += (Record(number, name, *each) for each in measured)
        if CONTAINERS in arguments.only:
            records += (Record(number, OURS, *each) for each in containers.measure(turn, built.model, logs, sizes))
        # What is there is kept if a later round fails.
        _write(built.cache / "results", arguments, servers, chosen, first.peak, records, raw)
    print(render(records))
    return 0


def _turn(turn: Round, server: Server, arguments: argparse.Namespace, logs: Path) -> list[Measure]:
    wanted = [name for name in arguments.only if server.base in TAKES_PART.get(name, ())]
    measures: list[Measure] = []
    if wanted:
        with started(server, logs) as running:
            for name in wanted:
                measures += _measured(turn, running, name, arguments)
    return measures


def _measured(turn: Round, running: Running, name: str, arguments: argparse.Namespace) -> list[Measure]:
    """The scenario's measures; taken again, the least disturbed counting, if something else needed the CPUs."""
    best: list[Measure] = []
    least = float("inf")
    for repeat in range(1 + arguments.repeats):
        # Prompts that the server hasn't seen.
        again = dataclasses.replace(turn, number=turn.number + 1000 * repeat)
        noise = Noise()
        try:
            measures = list(SCENARIOS[name](again, running))
        except ScenarioError as error:
            print(f"round {turn.number}, {running.server.name}: {error}", file=sys.stderr, flush=True)
            continue
        share = noise.share()
        print(f"round {turn.number}, {running.server.name}: {name}, others {share:.0%}", file=sys.stderr, flush=True)
        if share < least:
            least, best = share, [*measures, (name, OTHERS, share)]
        if share <= arguments.quiet:
            break
    return best


def _kernel(built: Built, sizes: Sizes, arguments: argparse.Namespace) -> list[Measure]:
    if "unique" not in arguments.only:
        return []
    noise = Noise()
    measures = list(kernel.measure(built, sizes, arguments.concurrency))
    return [*measures, ("unique", OTHERS, noise.share())]


def _peak(turn: Round, server: Server, logs: Path) -> float:
    """Requests a second that ours answers with 16 users: what the loads of the others are measured by."""
    with started(server, logs) as running:
        rates = [
            value
            for number in (-1, -2, -3)
            for _, what, value in unique(dataclasses.replace(turn, number=number, concurrency=(16,)), running)
            if what == "tok/s"
        ]
    return statistics.median(rates) / OUTPUT_TOKENS


def _write(
    folder: Path,
    arguments: argparse.Namespace,
    servers: Mapping[str, Server],
    chosen: Sequence[str],
    peak: float,
    records: Sequence[Record],
    raw: Sequence[Mapping[str, Any]],
) -> None:
    folder.mkdir(exist_ok=True)
    content = {
        "machine": {"processor": platform.processor(), "cpus": os.cpu_count(), "system": platform.platform()},
        "arguments": {
            name: value for name, value in vars(arguments).items() if name not in ("model_service", "started")
        },
        "servers": {name: dataclasses.asdict(servers[name]) for name in chosen if name in servers},
        "peak_requests_per_second": peak,
        "records": [dataclasses.asdict(record) for record in records],
        "answers": raw,
    }
    file = folder / f"{arguments.started}.json"
    file.write_text(json.dumps(content, default=dict))
    (folder / f"{arguments.started}.md").write_text(render(records) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-engine", description=__doc__.split("\n\n")[0])
    everything = [*SCENARIOS, CONTAINERS]

    def of(known: Sequence[str]) -> Any:
        def names(text: str) -> list[str]:
            given = text.split(",")
            unknown = [name for name in given if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(known)}")
            return given

        return names

    def variant(text: str) -> tuple[str, str]:
        name, _, additions = text.partition("=")
        if name.partition("+")[0] not in NAMES or "+" not in name:
            raise argparse.ArgumentTypeError(f"{name} is not <server>+<what>")
        return name, additions

    parser.add_argument(
        "--only",
        type=of(everything),
        default=list(SCENARIOS),
        help=f"of {','.join(everything)}; {CONTAINERS} needs the built image and is not part of all",
    )
    parser.add_argument("--servers", type=of(NAMES), default=list(NAMES), help=",".join(NAMES))
    parser.add_argument(
        "--variant",
        type=variant,
        action="append",
        default=[],
        metavar="SERVER+NAME=ADDITIONS",
        help=f"one more server, with arguments or VARIABLE=value: '{LLAMA_SERVER}+unified=--kv-unified'",
    )
    parser.add_argument(
        "--concurrency", type=lambda text: [int(users) for users in text.split(",")], default=[1, 4, 8, 16]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of each server")
    parser.add_argument("--quiet", type=float, default=0.05, help="part of the CPUs that others may take meanwhile")
    parser.add_argument("--repeats", type=int, default=1, help="how often a scenario is run again if they take more")
    parser.add_argument("--peak", type=float, default=0.0, help="requests/s, instead of measuring it first")
    parser.add_argument(
        "--model-service", type=Path, default=CHECKOUT / "service_src", help="service_src of another checkout"
    )
    parser.add_argument("--build", action="store_true", help="only build what is measured")
    parser.set_defaults(started=time.strftime("%Y%m%dT%H%M%S"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
