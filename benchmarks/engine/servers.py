# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers side by side: how each is started, all on loopback, one at a time."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peers import Built, ours_python_path

OURS = "ours"
LLAMA_SERVER = "llama-server"
LLAMA_CPP_SERVER = "llama_cpp.server"
EXAMPLE = "example"
KERNEL = "kernel"
NAMES = (OURS, LLAMA_SERVER, LLAMA_CPP_SERVER, EXAMPLE, KERNEL)

START_SECONDS = 120
CHAT = "/v1/chat/completions"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)


class StartError(Exception):
    """Why a server doesn't run."""


@dataclass(frozen=True)
class Sizes:
    """The same for all: requests side by side, tokens of one (prompt and answer), threads."""

    slots: int = 16
    context: int = 4608
    threads: int = 2


@dataclass(frozen=True)
class Server:
    """One way to serve the model; ``{port}`` in the command or in the environment is filled in."""

    name: str
    command: tuple[str, ...]
    ready_path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)  # of each request, beside the prompt
    metrics_path: str | None = None
    configuration: Mapping[str, Any] | None = None  # goes into a file, which replaces {configuration}; "port" is set

    @property
    def base(self) -> str:
        return self.name.partition("+")[0]


@dataclass
class Running:
    """A server that answers."""

    server: Server
    port: int
    fields: dict[str, Any]

    def metrics(self) -> str:
        if self.server.metrics_path is None:
            return ""
        return _get(self.port, self.server.metrics_path).decode()

    def body(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        return {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.fields,
        }


def total(metrics: str, name: str, **labels: str) -> float | None:
    """The sum of a metric's series with these labels; None if there is none."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [
        float(value)
        for sample, its_labels, value in _SAMPLE.findall(metrics)
        if sample == name and all(label in its_labels for label in wanted)
    ]
    return sum(found) if found else None


def define(built: Built, sizes: Sizes, variants: Mapping[str, str]) -> dict[str, Server]:
    """All servers by name. A variant is named ``<server>+<what>`` and adds arguments and VARIABLE=values."""
    servers = {each.name: each for each in (_ours(built, sizes), *_peers(built, sizes))}
    for name, additions in variants.items():
        base = servers[name.partition("+")[0]]
        words = shlex.split(additions)
        environment = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        arguments = tuple(word for word in words if not re.match(r"[A-Z_]+=", word))
        command, variables = (*base.command, *arguments), {**base.environment, **environment}
        servers[name] = replace(base, name=name, command=command, environment=variables)
    return servers


def _ours(built: Built, sizes: Sizes) -> Server:
    return Server(
        name=OURS,
        command=(str(built.ours_python), "-m", "model_service"),
        ready_path="/health/ready",
        environment={
            "PYTHONPATH": ours_python_path(built.service_src, built.bindings),
            "MODEL_HOST": "127.0.0.1",
            "MODEL_PORT": "{port}",
            "MODEL_PATH": str(built.model),
            "MODEL_NAME": "bench",
            "MODEL_SLOTS": str(sizes.slots),
            "MODEL_CONTEXT": str(sizes.context),
            "MODEL_THREADS": str(sizes.threads),
            "MODEL_DRAIN_GRACE_SECONDS": "0",
            "GOMP_SPINCOUNT": "1000",  # as in the image
        },
        fields={"model": "bench", "ignore_eos": True},
        metrics_path="/metrics",
    )


def _peers(built: Built, sizes: Sizes) -> Iterator[Server]:
    threads = str(sizes.threads)
    context = sizes.slots * sizes.context
    yield Server(
        name=LLAMA_SERVER,
        # All else is its default, which is what its users get.
        command=(
            *(str(built.programs / "llama-server"), "-m", str(built.model), "-np", str(sizes.slots)),
            *("-c", str(context), "-t", threads, "-tb", threads),
            *("--host", "127.0.0.1", "--port", "{port}", "--metrics"),
        ),
        ready_path="/health",
        fields={"model": "bench", "ignore_eos": True},
        metrics_path="/metrics",
    )
    python = str(built.peers_python)
    yield Server(
        name=LLAMA_CPP_SERVER,
        command=(
            *(python, "-m", "llama_cpp.server", "--model", str(built.model), "--n_ctx", str(sizes.context)),
            *("--n_threads", threads, "--n_threads_batch", threads, "--host", "127.0.0.1", "--port", "{port}"),
            *("--interrupt_requests", "false"),  # by default each request cuts the one before off
        ),
        ready_path="/v1/models",
        environment={"PYTHONPATH": str(built.bindings)},
        fields={"model": "bench"},
    )
    options = {
        "path": str(built.model),
        "alias": "bench",
        "n_ctx": context,
        "n_seq_max": sizes.slots,
        "threads": sizes.threads,
        "threads_batch": sizes.threads,
    }
    yield Server(
        name=EXAMPLE,
        command=(python, str(built.source / "examples/server/server.py"), "-C", "{configuration}"),
        ready_path="/v1/models",
        environment={"PYTHONPATH": str(built.bindings)},
        configuration={"server": {"host": "127.0.0.1"}, "model": options},
        # It has no ignore_eos; these are the tokens that end the model's answers.
        fields={"model": "bench", "logit_bias": {"0": -100, "2": -100}},
    )


@contextmanager
def started(server: Server, logs: Path) -> Iterator[Running]:
    """Runs the server until the end of the block."""
    port = _free_port()
    file = logs / f"{server.name}.json"
    if server.configuration is not None:
        configuration = {**server.configuration, "server": {**server.configuration["server"], "port": port}}
        file.write_text(json.dumps(configuration))

    def filled(text: str) -> str:
        return text.replace("{port}", str(port)).replace("{configuration}", str(file))

    command = [filled(word) for word in server.command]
    environment = {name: filled(value) for name, value in server.environment.items()}
    with (logs / f"{server.name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await_ready(server, port, process, logs)
        running = Running(server, port, dict(server.fields))
        _settle_fields(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(server: Server, port: int, process: subprocess.Popen[bytes], logs: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"{server.name} ended with status {process.returncode}; see {logs / server.name}.log")
        try:
            _get(port, server.ready_path)
            return
        except OSError:
            time.sleep(0.1)
    raise StartError(f"{server.name} isn't ready after {START_SECONDS} s; see {logs / server.name}.log")


def _settle_fields(running: Running) -> None:
    """Leaves ``ignore_eos`` out where it is refused: the prompts ask for long answers anyway."""
    while True:
        try:
            _post(running.port, CHAT, running.body("Hello", 8) | {"stream": False, "stream_options": None})
            return
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
            if "ignore_eos" not in reason or running.fields.pop("ignore_eos", None) is None:
                raise StartError(f"{running.server.name} answers {error.code}: {reason[:300]}") from error


def _get(port: int, path: str) -> bytes:
    with _DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        content: bytes = answer.read()
    return content


def _post(port: int, path: str, body: Mapping[str, Any]) -> None:
    data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, headers={"Content-Type": "application/json"}
    )
    with _DIRECT.open(request, timeout=60) as answer:
        answer.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
