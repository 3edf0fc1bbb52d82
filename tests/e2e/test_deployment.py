"""Deploying: from an installed collection, after a change, after a kill, and with bad input."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path

import docker
import httpx
import pytest
import yaml
from platform_runs import (
    CONTAINERS,
    ENVIRONMENT,
    ROOT,
    Playbook,
    container_ids,
    kill_run,
    run_playbook,
    start_playbook,
)

COLLECTION = Path("collections/ansible_collections/llm/orchestrator")
INVENTORY = ROOT / "inventories" / "local" / "hosts.yml"
DEFAULT_MODEL = yaml.safe_load((ROOT / "roles/model_service/defaults/main.yml").read_text())["model_service_models"][0]

# A second name for this machine.
OTHER = {"other": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as a user has it: built, and installed from its tarball outside the repository."""
    place = tmp_path_factory.mktemp("installed")
    galaxy = str(ROOT / ".venv" / "bin" / "ansible-galaxy")
    subprocess.run(
        [galaxy, "collection", "build", "--output-path", place],
        cwd=ROOT,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    tarball = next(place.glob("llm-orchestrator-*.tar.gz"))
    subprocess.run(
        [galaxy, "collection", "install", tarball, "-p", place / "collections", "--offline"],
        cwd=place,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    assert (place / COLLECTION / "MANIFEST.json").is_file()
    shutil.copy(INVENTORY, place / "hosts.yml")
    return place


def run_installed(place: Path, name: str, *arguments: str):
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(place / "collections")}
    return run_playbook(name, *arguments, inventory=place / "hosts.yml", cwd=place, env=environment)


def test_check_mode_changes_nothing(playbook: Playbook, engine: docker.DockerClient) -> None:
    before = container_ids(engine)
    playbook("llm.orchestrator.site", "--check", "--diff").assert_ok()
    assert container_ids(engine) == before


def test_the_installed_collection_finds_nothing_to_change(
    installed: Path, engine: docker.DockerClient, base_url: str
) -> None:
    before = container_ids(engine)
    run = run_installed(installed, "llm.orchestrator.site")
    run.assert_ok()
    assert run.changed == 0, run.output
    assert container_ids(engine) == before
    # What a person is left with.
    assert re.search(r'"[1-9][0-9]* tokens per second \([1-9][0-9]* tokens\)"', run.output)
    for line in (
        "Status page:  {}/",
        "OpenAI API:   {}/v1",
        "API docs:     {}/api/model/docs",
        "Dashboard:    {}/dashboard/",
    ):
        assert line.format(base_url) in run.output


def test_a_playbook_outside_the_repository_can_use_a_role(installed: Path) -> None:
    playbook = [
        {
            "name": "Cache alone",
            "hosts": "cache_servers",
            "become": True,
            "roles": ["llm.orchestrator.cache_service"],
        }
    ]
    (installed / "cache.yml").write_text(yaml.safe_dump(playbook))
    run = run_installed(installed, "cache.yml")
    run.assert_ok()
    assert run.changed == 0, run.output


def test_a_changed_service_alone_is_rebuilt_and_replaced(
    installed: Path, playbook: Playbook, engine: docker.DockerClient
) -> None:
    before = container_ids(engine)
    with (installed / COLLECTION / "service_src/storage_service/storage_service/__init__.py").open("a") as file:
        file.write("\n# changed by a test\n")
    run_installed(installed, "llm.orchestrator.site").assert_ok()
    after = container_ids(engine)
    assert {name for name in CONTAINERS if before[name] != after[name]} == {"storage-service"}
    playbook().assert_ok()


def test_a_run_killed_at_any_moment_is_made_good_by_the_next(
    playbook: Playbook, engine: docker.DockerClient, http: httpx.Client
) -> None:
    for level in ("debug", "info"):
        run = start_playbook("llm.orchestrator.site", "-e", f"storage_service_log_level={level}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=random.uniform(10, 45))
        kill_run(run)
    playbook().assert_ok()
    assert http.get("/v1/models").status_code == 200
    assert set(container_ids(engine)) == set(CONTAINERS)
    storage = engine.containers.list(all=True, filters={"label": "llm.orchestrator.service=storage-service"})
    # What a rollback returns to stays beside, stopped.
    assert {container.name for container in storage} <= {"storage-service", "storage-service.previous"}


def refused(playbook: Playbook, *arguments: str, **options) -> str:
    run = playbook("llm.orchestrator.site", *arguments, **options)
    assert run.status != 0
    assert run.changed == 0, run.output
    return run.message()


def test_an_unknown_engine_is_refused(playbook: Playbook) -> None:
    said = refused(playbook, "-e", "llm_engine=podman")
    assert "llm_engine is 'podman'; it is docker for one host, or swarm for several" in said


@pytest.mark.parametrize(
    ("group", "hosts", "message"),
    [
        ("model_server", OTHER, "other is in no group that this collection knows (its groups: model_server;"),
        (
            "model_servers",
            OTHER,
            "The five groups span localhost, other; with llm_engine docker all services run on one",
        ),
        ("cache_servers", {}, "The inventory has no host in cache_servers; each of gateway, model_servers,"),
    ],
)
def test_an_inventory_that_can_not_be_deployed_is_refused(
    playbook: Playbook, tmp_path: Path, group: str, hosts: dict[str, object], message: str
) -> None:
    inventory = yaml.safe_load(INVENTORY.read_text())
    inventory["all"]["children"][group] = {"hosts": hosts}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    assert message in refused(playbook, inventory=tmp_path / "hosts.yml")


def test_an_empty_group_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    inventory = yaml.safe_load(INVENTORY.read_text())
    del inventory["all"]["children"]["cache_servers"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    assert "The inventory has no host in cache_servers" in refused(playbook, inventory=tmp_path / "hosts.yml")


def test_a_port_in_use_is_refused(playbook: Playbook) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(playbook, "-e", f"traefik_port={port}")
    assert f"Port {port} on 127.0.0.1 is in use by" in message
    assert "or set traefik_port to a free one" in message


def test_a_lockfile_pins_the_models_of_an_inventory(
    playbook: Playbook, engine: docker.DockerClient, tmp_path: Path
) -> None:
    lockfile = tmp_path / "models.lock.yml"
    unpinned = {"name": DEFAULT_MODEL["name"], "allow_requantize": True}
    source = {"source": DEFAULT_MODEL["source"]}
    variables = {"model_service_lockfile": str(lockfile), "model_service_models": [unpinned | source]}
    assert "model_service_lockfile=models.lock.yml" in playbook("llm.orchestrator.lock").message()
    locked = playbook("llm.orchestrator.lock", "-e", json.dumps(variables))
    locked.assert_ok()
    assert f"+    sha256: {DEFAULT_MODEL['sha256']}" in locked.output
    entry = yaml.safe_load(lockfile.read_text())["models"][DEFAULT_MODEL["name"]]
    assert (entry["source"], entry["sha256"]) == (DEFAULT_MODEL["source"], DEFAULT_MODEL["sha256"])

    # With the lockfile the name is enough.
    variables["model_service_models"] = [unpinned]
    before = container_ids(engine)
    run = playbook("llm.orchestrator.site", "-e", json.dumps(variables))
    run.assert_ok()
    assert (run.changed, container_ids(engine)) == (0, before)
    lockfile.write_text(lockfile.read_text().replace(DEFAULT_MODEL["sha256"], "ab" * 32))
    variables["model_service_models"] = [unpinned | {"sha256": DEFAULT_MODEL["sha256"]}]
    assert "or refresh the lockfile with update_lock" in refused(playbook, "-e", json.dumps(variables))


def local_model(path: Path) -> str:
    """Variables for a model of which nobody has the digest."""
    return json.dumps({"model_service_models": [{"name": "m", "source": f"file://{path}", "sha256": "0" * 64}]})


def test_a_model_file_that_is_not_there_is_refused(playbook: Playbook) -> None:
    message = refused(playbook, "-e", local_model(Path("/nowhere/model.gguf")))
    assert "/nowhere/model.gguf is not a file on this host" in message


def test_a_digest_that_does_not_match_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, but not this one")
    message = refused(playbook, "-e", local_model(model))
    assert f"file://{model} has sha256 " in message
    assert f"expected {'0' * 64}" in message


def test_a_model_that_the_disk_has_no_room_for_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    with open(tmp_path / "model.gguf", "wb") as sparse:
        sparse.truncate(10**13)
    message = refused(playbook, "-e", local_model(tmp_path / "model.gguf"))
    assert "but 10000000.0 MB are needed: free some space" in message


def test_too_little_memory_for_the_model_is_refused(playbook: Playbook) -> None:
    message = refused(playbook, "-e", "model_service_context=100000000")
    assert "(smollm2-135m-instruct with 8 slots of 100000000 tokens " in message


DEBIAN_12 = {
    "distribution": "Debian",
    "distribution_version": "12.9",
    "distribution_major_version": "12",
    "architecture": "x86_64",
    "service_mgr": "systemd",
}


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"ansible_facts": {**DEBIAN_12, "distribution": "Ubuntu", "distribution_version": "24.04"}},
            "localhost runs Ubuntu 24.04; this collection supports Debian 12",
        ),
        (
            {"ansible_facts": {**DEBIAN_12, "architecture": "riscv64"}},
            "localhost is of architecture riscv64; this collection supports x86_64",
        ),
        (
            {"ansible_become_user": "nobody", "ansible_become_method": "ansible.builtin.su"},
            "localhost: root is needed",
        ),
        (
            {"model_service_models": [{**DEFAULT_MODEL, "allow_requantize": False}]},
            "is Q4_1, of lower precision than INT8, which can't bring back what was lost",
        ),
    ],
    ids=["system", "architecture", "root", "low-precision"],
)
def test_what_cannot_work_is_refused_in_one_line(playbook: Playbook, variables: dict[str, object], line: str) -> None:
    assert line in refused(playbook, "-e", json.dumps(variables))
