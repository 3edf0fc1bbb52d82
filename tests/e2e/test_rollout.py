"""Containers are replaced under load, and no client notices.

ROLLOUTS sets how often each service is rolled; `make test-rollout` does 20.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import docker
import httpx
import pytest
from load import STREAMS, Load
from platform_runs import ENVIRONMENT, ROOT, Playbook

SERVICES = ("model-service", "cache-service", "storage-service", "monitoring-service")
ROLLOUTS = int(os.environ.get("ROLLOUTS", "2"))
CHANGED = {f"{name.replace('-', '_')}_log_level": "debug" for name in SERVICES}


def roll(name: str) -> None:
    """One more rollout: to the container before, which is made ready and put in as a new one is."""
    ansible = ROOT / ".venv" / "bin" / "ansible"
    done = subprocess.run(
        [ansible, "localhost", "-m", "llm.orchestrator.container_service", "-a", f"name={name} state=rolled_back"],
        cwd=ROOT,
        env={**ENVIRONMENT, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def load(base_url: str, admin: httpx.BasicAuth, model: str) -> Load:
    return Load(base_url, admin, model)


def test_no_request_fails_and_no_stream_is_cut_while_services_are_replaced(
    playbook: Playbook, engine: docker.DockerClient, load: Load
) -> None:
    before = {name: engine.containers.get(name).id for name in SERVICES}
    try:
        with load.running():
            playbook("llm.orchestrator.site", "-e", json.dumps(CHANGED)).assert_ok()
            for _ in range(ROLLOUTS - 1):
                for name in SERVICES:
                    roll(name)
    finally:
        after = {name: engine.containers.get(name).id for name in SERVICES}
        if after != before:
            playbook("llm.orchestrator.site").assert_ok()
    print(load.done)
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:10]}"
    assert load.count("stream") >= STREAMS
    assert load.count("completion") > 0
    if ROLLOUTS % 2:
        assert all(after[name] != before[name] for name in SERVICES)
    else:
        assert after == before


def test_a_release_that_cannot_generate_is_undone_and_no_request_fails(
    playbook: Playbook, engine: docker.DockerClient, load: Load, tmp_path: Path
) -> None:
    """Ready by its own word, with a model that answers nothing: the ready check alone can tell."""
    (tmp_path / "Dockerfile").write_text(
        "FROM llm-orchestrator/model-service:0.1.0\n"
        "USER root\n"
        "RUN echo 'raise SystemExit(\"no token was generated\")' > /app/model_service/ready_check.py\n"
        "USER 10001:10001\n"
    )
    bad = "llm-orchestrator-test/cannot-generate:1"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", bad, str(tmp_path)],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        check=True,
        capture_output=True,
    )
    before = engine.containers.get("model-service").id
    try:
        with load.running():
            change = {"service": "model-service", "image": bad, "model_service_ready_timeout": 60}
            run = playbook("llm.orchestrator.update", "-e", json.dumps(change))
    finally:
        engine.images.remove(bad, force=True)
    assert run.status != 0
    assert "no token was generated" in run.message()
    assert "the new container was removed, the old one runs on" in run.message()
    assert engine.containers.get("model-service").id == before
    assert not load.failures, load.failures[:10]


def test_update_and_rollback_of_one_service_touch_no_other(playbook: Playbook, engine: docker.DockerClient) -> None:
    everyone = {one.name: one.id for one in engine.containers.list()}
    playbook(
        "llm.orchestrator.update", "-e", "service=storage-service", "-e", "storage_service_log_level=warning"
    ).assert_ok()
    updated = {one.name: one.id for one in engine.containers.list()}
    assert {name for name, one in updated.items() if everyone[name] != one} == {"storage-service"}
    run = playbook("llm.orchestrator.rollback", "-e", "service=storage-service")
    run.assert_ok()
    assert "storage-service runs llm-orchestrator/storage-service:0.1.0" in run.message()
    assert {one.name: one.id for one in engine.containers.list()} == everyone


def test_an_unknown_service_is_refused(playbook: Playbook) -> None:
    for name in ("update", "rollback"):
        run = playbook(f"llm.orchestrator.{name}", "-e", "service=chat")
        assert run.status != 0
        assert "service is 'chat'; name one with -e service=<name>, of model-service, cache-service" in run.message()
