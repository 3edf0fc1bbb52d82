#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One image of model-service beside another: how fast llama.cpp computes in it.

    benchmarks/portable_image.py MODEL.gguf IMAGE REFERENCE [--runs 9]

Runs both images in turn, each time in a new container, and prints the tokens per second of each, and those of IMAGE in
relation to REFERENCE's: medians and spread over the runs, where each run of the one is compared with the other's beside
it. Prompts are 512 tokens; decoding is 64 steps of one, four and eight sequences after 64 tokens each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROMPT_TOKENS = 512
STEPS = 64
SEQUENCES = (1, 4, 8)
REPETITIONS = 3

Speeds = dict[str, float]


def compute(path: str) -> dict[str, object]:
    """Inside a container: what is computed with, and tokens per second of each case."""
    from model_service.llama.backends import load_backends
    from model_service.llama.bindings import llama
    from model_service.llama.model import Model
    from model_service.llama.native_log import NativeLog

    log = NativeLog()
    model = Model(Path(path), log)
    params = llama.llama_context_default_params()
    params.n_ctx = max(SEQUENCES) * PROMPT_TOKENS * 2
    params.n_seq_max = max(SEQUENCES)
    params.n_batch = params.n_ubatch = PROMPT_TOKENS
    params.n_threads = params.n_threads_batch = os.cpu_count()
    params.no_perf = True
    context = llama.llama_init_from_model(model.handle, params)
    batch = llama.llama_batch_init(PROMPT_TOKENS, 0, 1)
    memory = llama.llama_get_memory(context)

    def decode(tokens: list[tuple[int, int]]) -> None:
        """One batch of (position, sequence); which tokens they are takes no part in how long it takes."""
        batch.n_tokens = len(tokens)
        for index, (position, sequence) in enumerate(tokens):
            batch.token[index] = (position * 37 + sequence * 101) % model.vocab_size
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            # One token of a sequence has its logits computed, as in serving.
            batch.logits[index] = index == len(tokens) - 1 or tokens[index + 1][1] != sequence
        assert llama.llama_decode(context, batch) == 0
        llama.llama_synchronize(context)

    def prompt() -> float:
        llama.llama_memory_clear(memory, True)
        started = time.perf_counter()
        decode([(position, 0) for position in range(PROMPT_TOKENS)])
        return PROMPT_TOKENS / (time.perf_counter() - started)

    def generation(sequences: int) -> float:
        llama.llama_memory_clear(memory, True)
        decode([(position, sequence) for sequence in range(sequences) for position in range(STEPS)])
        started = time.perf_counter()
        for step in range(STEPS):
            decode([(STEPS + step, sequence) for sequence in range(sequences)])
        return sequences * STEPS / (time.perf_counter() - started)

    cases: dict[str, Callable[[], float]] = {f"prompt of {PROMPT_TOKENS}": prompt}
    for sequences in SEQUENCES:
        cases[f"decode, {sequences} at a time"] = lambda sequences=sequences: generation(sequences)
    speeds = {}
    for name, case in cases.items():
        case()
        speeds[name] = statistics.median(case() for _ in range(REPETITIONS))
    return {"cpu_variant": load_backends().cpu_variant, "speeds": speeds}


def run(image: str, model: Path) -> tuple[str, Speeds]:
    """CPU variant and speeds in a new container."""
    mounts = [f"{Path(__file__).resolve()}:/portable_image.py:ro", f"{model.resolve()}:/model.gguf:ro"]
    command = ["docker", "run", "--rm", "--network", "none", *(f"--volume={mount}" for mount in mounts)]
    command += ["--entrypoint", "/opt/venv/bin/python", image, "/portable_image.py", "--inside", "/model.gguf"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    return result["cpu_variant"], result["speeds"]


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(compute(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.gguf")
    parser.add_argument("images", nargs=2, metavar=("IMAGE", "REFERENCE"))
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    names = arguments.images
    runs: dict[str, list[Speeds]] = {name: [] for name in names}
    variants: dict[str, str] = {}
    for number in range(arguments.runs):
        # The order changes each time, so that neither is always the one after the other.
        for name in names if number % 2 == 0 else reversed(names):
            variants[name], speeds = run(name, arguments.model)
            runs[name].append(speeds)
        print(f"run {number + 1} of {arguments.runs}", file=sys.stderr)
    print(f"{names[0]} ({variants[names[0]]}), {names[1]} ({variants[names[1]]}), tokens/s; the first in relation:")
    for case in runs[names[0]][0]:
        first, second = ([speeds[case] for speeds in runs[name]] for name in names)
        ratios = [mine / other for mine, other in zip(first, second, strict=True)]
        print(f"{case:20}  {spread(first, '.0f'):24}  {spread(second, '.0f'):24}  {spread(ratios, '.3f')}")


if __name__ == "__main__":
    main()
