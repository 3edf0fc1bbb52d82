"""An image of one's own: one that does not work is undone by itself, the error names the cause. No request fails."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from load import Load
from platform_runs import Playbook, container_ids

# What a bad image does in place of its service: its start command, or what replaces the model's ready check.
CRASHES = "raise SystemExit('no such table: releases')"
NEVER_READY = "import time; time.sleep(3600)"
TAKES_ALL_MEMORY = "held = [b'x' * (2**20 + size) for size in range(2**20)]"
CANNOT_GENERATE = "raise SystemExit('no token was generated')"
READY_TIMEOUT = 30
# Each request counts, but the machine must have time for the release.
STREAMS = 2


@pytest.fixture
def other_image(tmp_path: Path, engine: docker.DockerClient) -> Iterator[Callable[[str, str], str]]:
    """Builds the image of a service with more lines in its Dockerfile; its name is gone after the test."""
    name = "llm-orchestrator-test/other:1"

    def build(service: str, lines: str) -> str:
        (tmp_path / "Dockerfile").write_text(f"FROM llm-orchestrator/{service}:0.1.0\n{lines}\nUSER 10001:10001\n")
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", name, str(tmp_path)],
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
            check=True,
            capture_output=True,
        )
        return name

    yield build
    if engine.images.list(name):
        engine.images.remove(name, force=True)


@pytest.fixture
def release(playbook: Playbook, engine: docker.DockerClient, load: Load) -> Callable[[str, str], str]:
    """Rolls a service to an image that does not work; returns what the play said."""

    def roll(service: str, image: str) -> str:
        before = container_ids(engine)
        variables = {"service": service, "image": image, f"{service.replace('-', '_')}_ready_timeout": READY_TIMEOUT}
        with load.running(STREAMS):
            run = playbook("llm.orchestrator.update", "-e", json.dumps(variables))
        assert run.status != 0
        assert container_ids(engine) == before
        assert not load.failures, load.failures[:10]
        assert load.count("completion") > 0
        return run.message()

    return roll


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (CRASHES, "exited with code 1"),
        (NEVER_READY, f"was not ready within {READY_TIMEOUT} s"),
        (TAKES_ALL_MEMORY, "memory, its limit is 512 MiB"),
    ],
    ids=["crashes", "never-ready", "out-of-memory"],
)
def test_a_release_that_does_not_get_ready_is_undone(
    release: Callable[[str, str], str], other_image: Callable[[str, str], str], program: str, cause: str
) -> None:
    command = json.dumps(["/opt/venv/bin/python", "-c", program])
    told = release("storage-service", other_image("storage-service", f"ENTRYPOINT {command}"))
    assert cause in told
    assert "the new container was removed, the old one runs on" in told
    if program == CRASHES:
        assert "no such table: releases" in told, "the new container's last log lines"


def test_a_release_that_is_ready_but_cannot_generate_is_undone(
    release: Callable[[str, str], str], other_image: Callable[[str, str], str]
) -> None:
    """Ready by its own word, with a model that answers nothing: the ready check alone can tell."""
    check = f"USER root\nRUN echo {json.dumps(CANNOT_GENERATE)} > /app/model_service/ready_check.py"
    told = release("model-service", other_image("model-service", check))
    assert "no token was generated" in told
    assert "the new container was removed, the old one runs on" in told


def test_a_release_whose_image_is_missing_is_refused(release: Callable[[str, str], str]) -> None:
    told = release("storage-service", "llm-orchestrator-test/nowhere:1")
    assert "llm-orchestrator-test/nowhere:1" in told


def test_one_that_works_is_taken_and_a_rollback_returns_from_it(
    playbook: Playbook, engine: docker.DockerClient, load: Load, other_image: Callable[[str, str], str]
) -> None:
    def image() -> str:
        return str(engine.containers.get("storage-service").attrs["Image"])

    before, other = image(), other_image("storage-service", "LABEL release=2")
    with load.running(STREAMS):
        playbook("llm.orchestrator.update", "-e", "service=storage-service", "-e", f"image={other}").assert_ok()
        assert image() == engine.images.get(other).id
        playbook("llm.orchestrator.rollback", "-e", "service=storage-service").assert_ok()
        assert image() == before
    assert not load.failures, load.failures[:10]
