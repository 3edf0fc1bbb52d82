"""End-to-end tests: they talk to the platform that `make up` brought up on this machine.

LLM_BASE_URL names another one (fault and deployment tests need the local one).
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
import httpx
import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
RECAP = re.compile(r"ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
CONTAINERS = (
    "traefik",
    "socket-filter",
    "model-service",
    "cache-service",
    "storage-service",
    "monitoring-service",
    "redis",
    "redis-exporter",
    "prometheus",
    "node-exporter",
)


class PlaybookRun:
    """What a run of ansible-playbook did: its exit status, output and the recap's counts."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output
        recap = RECAP.findall(output)
        self.changed = sum(int(counts[1]) for counts in recap)
        self.failed = sum(int(counts[3]) for counts in recap)

    def assert_ok(self) -> None:
        assert self.status == 0, self.output[-4000:]

    def message(self) -> str:
        """The output on one line with single spaces, as error lines are wrapped."""
        return " ".join(self.output.split())


Playbook = Callable[..., PlaybookRun]


def run_playbook(
    name: str = "llm.orchestrator.site",
    *arguments: str,
    inventory: Path = ROOT / "inventories" / "local",
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> PlaybookRun:
    done = subprocess.run(
        [str(ANSIBLE_PLAYBOOK), "-i", str(inventory), name, *arguments],
        cwd=cwd,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    return PlaybookRun(done.returncode, done.stdout + done.stderr)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Polls until the condition holds; a timeout fails the test with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    pytest.fail(f"waited {seconds:g} s in vain: {what}")


@pytest.fixture(scope="session")
def base_url() -> str:
    return os.environ.get("LLM_BASE_URL", "http://127.0.0.1:8080")


@pytest.fixture
def http(base_url: str):
    with httpx.Client(base_url=base_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def admin() -> httpx.BasicAuth:
    password = Path("/etc/llm-orchestrator/admin_password").read_text().strip()
    return httpx.BasicAuth("admin", password)


@pytest.fixture
def client(base_url: str):
    # Two retries are the client's default; a test must see the first error.
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id


@pytest.fixture(scope="session")
def engine():
    return docker.from_env()


@pytest.fixture
def playbook() -> Playbook:
    return run_playbook
