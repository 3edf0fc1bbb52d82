"""What several tests need: the service as a process, and waiting for a condition."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

MODEL = "test-model"
TIMEOUT_SECONDS = 120.0
GPU_LAYERS = int(os.environ.get("MODEL_TEST_GPU_LAYERS") or "0")


async def settle(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds; fails after TIMEOUT_SECONDS."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def service_process(**settings: object) -> subprocess.Popen[str]:
    """``python -m model_service`` with these settings and no others; its output goes to a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_")}
    environment |= {name: str(value) for name, value in settings.items()}
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
    command = [sys.executable, "-m", "model_service"]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, text=True)
    process.stdout = output
    return process


def output_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    process.stdout.seek(0)
    return process.stdout.read()


def failure(**settings: object) -> tuple[int, str]:
    """The exit status and the last line of a service that does not start."""
    process = service_process(MODEL_HOST="127.0.0.1", MODEL_PORT=free_port(), **settings)
    status = process.wait(TIMEOUT_SECONDS)
    return status, output_of(process).strip().splitlines()[-1]


class ServedModel:
    """A running service; leaving it sends SIGTERM and waits for its end."""

    def __init__(self, **settings: object) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._is_killed = False
        self._settings = {
            "MODEL_HOST": "127.0.0.1",
            "MODEL_PORT": port,
            "MODEL_NAME": MODEL,
            "MODEL_CONTEXT": 512,
            "MODEL_SLOTS": 4,
            "MODEL_DRAIN_GRACE_SECONDS": 0,
            "MODEL_GPU_LAYERS": GPU_LAYERS,
            **settings,
        }

    def __enter__(self) -> Self:
        self.process = service_process(**self._settings)
        wait_until(self._is_ready)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._is_killed:
            return
        self.terminate()
        assert self.process.wait(TIMEOUT_SECONDS) == 0, self.output()

    def kill(self) -> None:
        """As a crash ends it."""
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)
        self._is_killed = True

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def output(self) -> str:
        return output_of(self.process)

    def metric(self, sample: str) -> float:
        """The value of one line of /metrics, named with its labels less the model's."""
        model = f'model_name="{MODEL}"'
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.replace(f"{{{model}}}", "").replace(f",{model}", "").replace(f"{model},", "") == sample:
                return float(value)
        raise AssertionError(f"no sample {sample}")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.output()
        try:
            return httpx.get(f"{self.url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False


def ask(content: str = "Say hello.", **fields: object) -> dict[str, object]:
    """A chat request's body."""
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 8, **fields}


def quantize(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "model_service.quantize", *arguments], capture_output=True, text=True)
