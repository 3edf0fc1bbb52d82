# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Swarm of two test hosts, each with an engine of its own; the modules talk to its manager."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import requests.exceptions
import yaml
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE, ModuleService

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
HOSTS = yaml.safe_load((HERE / "inventory.yml").read_text())["test_hosts"]
NETWORK = "swarm-it-overlay"
GROUP = "llm.orchestrator.group.cs_it"
ON_NETWORK: dict[str, Any] = {"networks": [{"name": NETWORK}]}
# The engine also listens on the test network, which only this machine reaches, and takes images from a test's registry.
LISTEN = """\
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375 --tls=false --insecure-registry {subnet}
"""


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    api: docker.APIClient

    @property
    def url(self) -> str:
        return f"tcp://{self.address}:2375"


@dataclass(frozen=True)
class Swarm:
    manager: Host
    worker: Host

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.manager, self.worker

    def host(self, name: str) -> Host:
        (host,) = (host for host in self.hosts if host.name == name)
        return host

    def change_node(self, host: Host, **changes: Any) -> None:
        """Sets parts of a node's specification: Availability, Labels."""
        node = self.manager.api.inspect_node(host.name)
        self.manager.api.update_node(node["ID"], node["Version"]["Index"], {**node["Spec"], **changes})

    def labels(self, host: Host) -> dict[str, str]:
        labels: dict[str, str] = self.manager.api.inspect_node(host.name)["Spec"]["Labels"]
        return labels


@dataclass
class SwarmService(ModuleService):
    """One service of a test on the Swarm, with everything that a test asks about it."""

    swarm: Swarm = None  # type: ignore[assignment]

    def inspect(self) -> dict[str, Any]:
        service: dict[str, Any] = self.swarm.manager.api.inspect_service(self.name)
        return service

    def exists(self) -> bool:
        return bool(self.swarm.manager.api.services(filters={"name": self.name}))

    def tasks(self, state: str | None = "running") -> list[dict[str, Any]]:
        """Its tasks in that state, or all, by slot."""
        found = self.swarm.manager.api.tasks(filters={"service": self.name})
        tasks = [task for task in found if state is None or task["Status"]["State"] == task["DesiredState"] == state]
        return sorted(tasks, key=lambda task: (task.get("Slot", 0), task["ID"]))

    def containers(self) -> list[tuple[Host, dict[str, Any]]]:
        """The containers that run, each with its host."""
        label = f"com.docker.swarm.service.name={self.name}"
        try:
            return [
                (host, host.api.inspect_container(found["Id"]))
                for host in self.swarm.hosts
                for found in host.api.containers(filters={"label": label})
            ]
        except docker.errors.NotFound:
            # One ended between the list and the look at it.
            return self.containers()

    def container(self) -> tuple[Host, dict[str, Any]]:
        (found,) = self.containers()
        return found

    def execute(self, *command: str, user: str = "") -> tuple[int, str]:
        host, container = self.containers()[0]
        run = host.api.exec_create(container["Id"], list(command), user=user)["Id"]
        output = host.api.exec_start(run).decode().strip()
        return host.api.exec_inspect(run)["ExitCode"], output

    def objects(self) -> tuple[list[str], list[str]]:
        """The names of its secrets and of its configs."""
        api, filters = self.swarm.manager.api, {"label": f"llm.orchestrator.service={self.name}"}
        return tuple(  # type: ignore[return-value]
            sorted(entry["Spec"]["Name"] for entry in found)
            for found in (api.secrets(filters=filters), api.configs(filters=filters))
        )


def with_files(generation: int) -> dict[str, Any]:
    return {
        **ON_NETWORK,
        "secrets": [{"name": "password", "value": f"correct-horse-{generation}"}],
        "configs": [{"path": "/etc/demo/demo.conf", "content": f"port {generation}\n"}],
    }


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def _playbook(name: str) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "--inventory",
            HERE / "inventory.yml",
            REPOSITORY / "molecule/shared" / name,
        ],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "MOLECULE_PROJECT_DIRECTORY": str(REPOSITORY),
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".venv/collections"),
            "ANSIBLE_HOST_KEY_CHECKING": "false",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _listen(name: str, address: str) -> Host:
    place = "/etc/systemd/system/docker.service.d"
    drop_in = LISTEN.format(subnet=HOSTS["vars"]["test_network"]["subnet"])
    script = f"mkdir -p {place} && cat >{place}/listen.conf && systemctl daemon-reload && systemctl restart docker"
    subprocess.run(["docker", "exec", "-i", name, "sh", "-ec", script], input=drop_in, text=True, check=True)

    def answers() -> bool:
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            return bool(docker.APIClient(base_url=f"tcp://{address}:2375", version="auto", timeout=5).ping())
        return False

    wait_for(answers)
    return Host(name, address, docker.APIClient(base_url=f"tcp://{address}:2375", version="auto", timeout=300))


@pytest.fixture(scope="session")
def swarm() -> Iterator[Swarm]:
    _playbook("destroy.yml")
    try:
        _playbook("create.yml")
        swarm = Swarm(*(_listen(name, values["ansible_host"]) for name, values in HOSTS["hosts"].items()))
        manager, worker = swarm.hosts
        manager.api.init_swarm(advertise_addr=manager.address)
        token = manager.api.inspect_swarm()["JoinTokens"]["Worker"]
        worker.api.join_swarm([f"{manager.address}:2377"], token, advertise_addr=worker.address)
        manager.api.create_network(NETWORK, driver="overlay", scope="swarm")
        image = b"".join(docker.APIClient(version="auto").get_image(IMAGE))
        for host in swarm.hosts:
            for _progress in host.api.load_image(image, quiet=True):
                pass
        yield swarm
    finally:
        _playbook("destroy.yml")


@pytest.fixture(scope="module")
def services(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], SwarmService]]:
    """Makes services with names of their own, and removes whatever becomes of them."""
    made: list[SwarmService] = []

    def make() -> SwarmService:
        options = {"engine": "swarm", "docker_host": swarm.manager.url}
        secrets_dir = tmp_path_factory.mktemp("host") / "secrets"
        made.append(SwarmService(f"cs-it-{secrets.token_hex(4)}", secrets_dir, options, swarm=swarm))
        return made[-1]

    yield make
    for service in made:
        with contextlib.suppress(docker.errors.NotFound):
            swarm.manager.api.remove_service(service.name)
        Path(f"/run/llm-orchestrator/{service.name}.lock").unlink(missing_ok=True)


@pytest.fixture
def service(services: Callable[[], SwarmService]) -> Iterator[SwarmService]:
    service = services()
    yield service
    # Two cores serve all of them.
    service.ensure("absent")


@pytest.fixture
def group(swarm: Swarm) -> Iterator[str]:
    """A group of the inventory with one host, the worker."""
    swarm.change_node(swarm.worker, Labels={GROUP: "true"})
    yield "cs_it"
    for host in swarm.hosts:
        swarm.change_node(host, Labels={}, Availability="active")


@pytest.fixture
def registry(swarm: Swarm, tmp_path: Path) -> Iterator[str]:
    """The address of a real image registry that the hosts reach, with the image cs-it:1, which no host has."""
    gateway = swarm.manager.address.rpartition(".")[0] + ".1"
    with socket.socket() as probe:
        probe.bind((gateway, 0))
        address = f"{gateway}:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    config = tmp_path / "registry.json"
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with subprocess.Popen(["docker-registry", "serve", str(config)], stderr=subprocess.DEVNULL) as process:
        api, name = swarm.worker.api, f"{address}/cs-it"
        api.tag(IMAGE, name, "1")
        wait_for(lambda: "error" not in api.push(name, "1"))
        api.remove_image(f"{name}:1")
        yield address
        process.terminate()
