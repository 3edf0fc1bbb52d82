# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image under a CPU quota: the threads it takes by itself beside the best number set by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from scenarios import Measure, Round, unique
from servers import OURS, Server, Sizes, started

IMAGE = "llm-orchestrator/model-service:0.1.0"
USERS = 8


def measure(turn: Round, model: Path, logs: Path, sizes: Sizes) -> Iterator[Measure]:
    for cpus in (1, 2):
        scenario = f"--cpus {cpus}"
        speeds = {
            threads: _speed(turn, _server(cpus, threads, model, sizes), logs) for threads in (None, *range(1, cpus + 2))
        }
        by_itself = speeds.pop(None)
        yield scenario, "tok/s", by_itself
        for threads, speed in speeds.items():
            yield scenario, f"tok/s, MODEL_THREADS={threads}", speed
        yield scenario, "tok/s / best hand-set", by_itself / max(speeds.values())


def _speed(turn: Round, server: Server, logs: Path) -> float:
    with started(server, logs) as running:
        measures = unique(dataclasses.replace(turn, concurrency=(USERS,)), running)
        return next(value for _, what, value in measures if what == "tok/s")


def _server(cpus: int, threads: int | None, model: Path, sizes: Sizes) -> Server:
    settings = {
        "MODEL_PATH": "/model.gguf",
        "MODEL_NAME": "bench",
        "MODEL_SLOTS": str(sizes.slots),
        "MODEL_CONTEXT": str(sizes.context),
        "MODEL_DRAIN_GRACE_SECONDS": "0",
        **({} if threads is None else {"MODEL_THREADS": str(threads)}),
    }
    return Server(
        name=OURS,
        # In the foreground: the signal that ends this command ends the container.
        command=(
            *("docker", "run", "--rm", "--cpus", str(cpus), "--publish", "127.0.0.1:{port}:5000"),
            *("--volume", f"{model}:/model.gguf:ro"),
            *(word for name, value in settings.items() for word in ("--env", f"{name}={value}")),
            IMAGE,
        ),
        ready_path="/health/ready",
        fields={"model": "bench", "ignore_eos": True},
        metrics_path="/metrics",
    )
