"""Containers are replaced under load, and no client notices.

ROLLOUTS sets how often each service is rolled, KILLS how often a rollout is killed: 20 times in `make test-rollout`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
from pathlib import Path

import docker
import yaml
from load import STREAMS, Load
from platform_runs import ENVIRONMENT, ROOT, Playbook, container_ids, kill_run, start_playbook, wait_until

SERVICES = ("model-service", "cache-service", "storage-service", "monitoring-service")
ROLLOUTS = int(os.environ.get("ROLLOUTS", "2"))
KILLS = int(os.environ.get("KILLS", "1"))
# From the new container's creation to the old one's end, about.
ROLLOUT_SECONDS = 15
# What each service is told, and how the gateway routes to it.
CHANGED = {
    **{f"{name.replace('-', '_')}_log_level": "debug" for name in SERVICES},
    "model_service_middlewares": [],
    "cache_service_middlewares": ["admin-auth@file", "api-limits@file"],
    "storage_service_middlewares": ["admin-auth@file", "api-limits@file"],
    "monitoring_service_middlewares": ["api-limits@file"],
}


def roll_back(name: str) -> None:
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


def environment(engine: docker.DockerClient, container: str) -> list[str]:
    return list(engine.containers.get(container).attrs["Config"]["Env"])


def test_no_request_fails_and_no_stream_is_cut_while_services_are_replaced(
    playbook: Playbook, engine: docker.DockerClient, load: Load
) -> None:
    before = {name: environment(engine, name) for name in SERVICES}
    seen = [{name: engine.containers.get(name).id for name in SERVICES}]
    try:
        with load.running():
            for turn in range(ROLLOUTS):
                if turn % 2:
                    # One service goes back to the container before, the others to new ones of the first settings.
                    roll_back(SERVICES[turn // 2 % len(SERVICES)])
                    playbook("llm.orchestrator.site").assert_ok()
                else:
                    playbook("llm.orchestrator.site", "-e", json.dumps(CHANGED)).assert_ok()
                seen.append({name: engine.containers.get(name).id for name in SERVICES})
    finally:
        if before != {name: environment(engine, name) for name in SERVICES}:
            playbook("llm.orchestrator.site").assert_ok()
    print(load.done)
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:10]}"
    assert load.count("stream") >= STREAMS
    assert all(load.count(kind) > 0 for kind in ("completion", "models", "page", "services", "cache", "storage"))
    for earlier, later in itertools.pairwise(seen):
        assert all(earlier[name] != later[name] for name in SERVICES)


def test_a_rollout_killed_at_any_moment_is_made_good_by_the_next_and_no_request_fails(
    playbook: Playbook, engine: docker.DockerClient, load: Load
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    try:
        with load.running(streams=2):
            for turn in range(KILLS):
                name = SERVICES[turn % len(SERVICES)]
                label = {"label": f"llm.orchestrator.service={name}"}
                variable = f"{name.replace('-', '_')}_log_level"
                level = ("debug", "warning")[turn // len(SERVICES) % 2]
                before = environment(engine, name)
                change = ["-e", f"service={name}", "-e", f"{variable}={level}"]
                run = start_playbook("llm.orchestrator.update", *change)
                wait_until(
                    lambda run=run, label=label: (
                        run.poll() is not None
                        or any(one.name.endswith(".next") for one in engine.containers.list(all=True, filters=label))
                    ),
                    "the rollout's beginning",
                )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(timeout=moments.uniform(0, ROLLOUT_SECONDS))
                kill_run(run)
                playbook("llm.orchestrator.update", *change).assert_ok()
                names = {one.name: one.status for one in engine.containers.list(all=True, filters=label)}
                assert names == {name: "running", f"{name}.previous": "exited"}
                assert any(one.endswith(f"_LOG_LEVEL={level}") for one in environment(engine, name))
                assert environment(engine, f"{name}.previous") == before
    finally:
        for name in SERVICES[:KILLS]:
            playbook("llm.orchestrator.update", "-e", f"service={name}").assert_ok()
    assert not load.failures, load.failures[:10]


def test_update_and_rollback_of_one_service_touch_no_other(playbook: Playbook, engine: docker.DockerClient) -> None:
    everyone = container_ids(engine)
    playbook(
        "llm.orchestrator.update", "-e", "service=storage-service", "-e", "storage_service_log_level=warning"
    ).assert_ok()
    updated = container_ids(engine)
    assert {name for name, one in updated.items() if everyone[name] != one} == {"storage-service"}
    run = playbook("llm.orchestrator.rollback", "-e", "service=storage-service")
    run.assert_ok()
    assert "storage-service runs llm-orchestrator/storage-service:0.1.0" in run.message()
    assert container_ids(engine) == everyone


def test_an_unknown_service_is_refused(playbook: Playbook) -> None:
    for name in ("update", "rollback"):
        run = playbook(f"llm.orchestrator.{name}", "-e", "service=chat")
        assert run.status != 0
        assert "service is 'chat'; name one with -e service=<name>, of model-service, cache-service" in run.message()


def test_a_service_without_a_host_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    inventory = yaml.safe_load((ROOT / "inventories" / "local" / "hosts.yml").read_text())
    del inventory["all"]["children"]["cache_servers"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    run = playbook("llm.orchestrator.rollback", "-e", "service=cache-service", inventory=tmp_path / "hosts.yml")
    assert run.status != 0
    assert "The inventory has no host in cache_servers, where cache-service would run." in run.message()
