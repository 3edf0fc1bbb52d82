#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One image of model-service beside another: how fast llama.cpp computes in it.

    benchmarks/portable_image.py MODEL.gguf IMAGE REFERENCE [--runs 11]

A container of each stays, and they compute the same in turn, a second or so each: one thread, whose own CPU time is
taken, so that little of what else the machine does is measured. Prints the tokens per second of each, and those of
IMAGE in relation to REFERENCE's, each time the one to the other beside it: medians and spread over the runs. Prompts
are 512 tokens; decoding is 64 steps of one, four and eight sequences after 64 tokens each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

PROMPT_TOKENS = 512
STEPS = 64
SEQUENCES = (1, 4, 8)
CASES = (0, *SEQUENCES)  # 0 is the prompt


def compute(path: str, asked: Iterable[str], answers: IO[str]) -> None:
    """Inside a container: answers first with what is computed with, then to each case with its tokens per second."""
    from model_service.llama.backends import load_backends
    from model_service.llama.bindings import llama
    from model_service.llama.model import Model
    from model_service.llama.native_log import NativeLog

    log = NativeLog()
    model = Model(Path(path), log)
    params = llama.llama_context_default_params()
    params.n_ctx = max(SEQUENCES) * PROMPT_TOKENS
    params.n_seq_max = max(SEQUENCES)
    params.n_batch = params.n_ubatch = PROMPT_TOKENS
    params.n_outputs_max = max(SEQUENCES)
    params.n_threads = params.n_threads_batch = 1
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

    def speed(sequences: int) -> float:
        llama.llama_memory_clear(memory, True)
        if sequences == 0:
            started = time.process_time()
            decode([(position, 0) for position in range(PROMPT_TOKENS)])
            return PROMPT_TOKENS / (time.process_time() - started)
        decode([(position, sequence) for sequence in range(sequences) for position in range(STEPS)])
        started = time.process_time()
        for step in range(STEPS):
            decode([(STEPS + step, sequence) for sequence in range(sequences)])
        return sequences * STEPS / (time.process_time() - started)

    for case in CASES:
        speed(case)
    print(json.dumps(load_backends().cpu_variant), file=answers, flush=True)
    for case in asked:
        print(speed(int(case)), file=answers, flush=True)


class Container:
    """Computes in an image when it is asked."""

    def __init__(self, image: str, model: Path) -> None:
        mounts = [f"{Path(__file__).resolve()}:/portable_image.py:ro", f"{model.resolve()}:/model.gguf:ro"]
        command = ["docker", "run", "--rm", "--interactive", "--network", "none"]
        command += [*(f"--volume={mount}" for mount in mounts), "--entrypoint", "/opt/venv/bin/python"]
        command += [image, "/portable_image.py", "--inside", "/model.gguf"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = f"{image} ({self._answer()})"

    def speed(self, case: int) -> float:
        assert self._process.stdin
        print(case, file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()  # which ends the container
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a container has ended; see above")
        return str(json.loads(line))


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        compute(sys.argv[2], sys.stdin, sys.stdout)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.gguf")
    parser.add_argument("images", nargs=2, metavar=("IMAGE", "REFERENCE"))
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    pair = [Container(image, arguments.model) for image in arguments.images]
    speeds: dict[tuple[Container, int], list[float]] = {(container, case): [] for container in pair for case in CASES}
    for number in range(arguments.runs):
        for case in CASES:
            # The order changes each time, so that neither is always the one after the other.
            for container in pair if number % 2 == 0 else reversed(pair):
                speeds[container, case].append(container.speed(case))
        print(f"run {number + 1} of {arguments.runs}", file=sys.stderr)
    for container in pair:
        container.close()
    print(f"{pair[0].name}, {pair[1].name}: tokens/s of one thread; the first in relation to the second")
    for case in CASES:
        first, second = (speeds[container, case] for container in pair)
        ratios = [mine / other for mine, other in zip(first, second, strict=True)]
        name = f"decode, {case} at a time" if case else f"prompt of {PROMPT_TOKENS}"
        print(f"{name:20}  {spread(first, '.0f'):22}  {spread(second, '.0f'):22}  {spread(ratios, '.3f')}")


if __name__ == "__main__":
    main()
