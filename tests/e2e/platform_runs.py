"""What the end-to-end tests share: running playbooks, waiting, the containers there should be."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
# A user's environment: without the paths by which the tests themselves import the collection.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("ANSIBLE_")
}
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
        self.unreachable = sum(int(counts[2]) for counts in recap)
        self.failed = sum(int(counts[3]) for counts in recap)

    def assert_ok(self) -> None:
        assert self.status == 0, self.output[-4000:]

    def changed_tasks(self) -> list[str]:
        """Which task changed which host."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith(("TASK", "RUNNING HANDLER")):
                task = line.rstrip(" *")
            elif line.startswith("changed:"):
                found.append(f"{task} {line}")
        return found

    def message(self) -> str:
        """The output on one line with single spaces, as error lines are wrapped."""
        return " ".join(self.output.split())


Playbook = Callable[..., PlaybookRun]


def start_playbook(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A run for a test to kill."""
    return subprocess.Popen(
        [ANSIBLE_PLAYBOOK, "-i", ROOT / "inventories" / "local", name, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_run(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a run and all that it started: Ansible's workers lead process groups of their own."""
    if process.poll() is None:
        run = psutil.Process(process.pid)
        for one in [run, *run.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


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
        env={**ENVIRONMENT, "ANSIBLE_NOCOLOR": "1", **(env or {})},
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


def container_ids(engine: docker.DockerClient) -> dict[str, str]:
    """The platform's running containers, others on this engine left out."""
    ours = engine.containers.list(filters={"label": "llm.orchestrator.service"})
    return {one.name: one.id for one in ours if one.name.removesuffix(".next") in CONTAINERS}
