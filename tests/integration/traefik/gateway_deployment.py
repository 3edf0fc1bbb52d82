# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway as its role deploys it: real Traefik, real filter, real Docker Engine, names of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml

BASE = "llm-orchestrator/base:0.1.0"

BACKEND = Path(__file__).with_name("backend.py").read_text()


@dataclass
class Gateway:
    """One deployment of the role, and a service behind it."""

    name: str
    place: Path
    port: int
    engine: docker.DockerClient
    rate: int = 2
    burst: int = 6
    in_flight: int = 2
    read_timeout: int = 3
    # Digits that a larger number may share, and one that no digit is larger than.
    max_body: int = 1095
    # What the role gets in each run, beside what a run is given.
    variables: dict[str, Any] = field(default_factory=dict)
    # Whom clients have to trust.
    root: Path | None = None

    @property
    def filter(self) -> str:
        return f"{self.name}-filter"

    @property
    def backend(self) -> str:
        return f"{self.name}-backend"

    @property
    def password(self) -> str:
        return (self.place / "etc/admin_password").read_text().strip()

    @property
    def folder(self) -> Path:
        """The configuration of the container that runs, on the host."""
        mounts = self.engine.containers.get(self.name).attrs["Mounts"]
        (source,) = (mount["Source"] for mount in mounts if mount["Destination"] == "/etc/traefik")
        return Path(source)

    def roll_back(self) -> None:
        """What the playbook rollback does."""
        done = self.ansible(
            "ansible",
            "localhost",
            "-m",
            "llm.orchestrator.container_service",
            "-a",
            f"name={self.name} state=rolled_back",
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def client(self, password: str | None = None) -> httpx.Client:
        auth = httpx.BasicAuth("admin", password) if password else None
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", auth=auth, trust_env=False, timeout=30)

    def address(self, name: str, network: str) -> str:
        container = self.engine.containers.get(name)
        return str(container.attrs["NetworkSettings"]["Networks"][f"{self.name}-{network}"]["IPAddress"])

    def log(self, name: str) -> list[dict[str, Any]]:
        lines = self.engine.containers.get(name).logs().decode().splitlines()
        return [json.loads(line) for line in lines]

    def labels(self) -> dict[str, str]:
        """Three ways to the same backend: bare, behind the API's limits, behind the password."""
        labels = {
            "gateway-test": self.name,
            "traefik.enable": "true",
            "traefik.http.services.backend.loadbalancer.server.port": "8000",
            "traefik.http.middlewares.backend-strip.stripprefix.prefixes": "/bare,/limited,/private",
        }
        for path, middleware in (("bare", ""), ("limited", "api-limits@file,"), ("private", "admin-auth@file,")):
            labels[f"traefik.http.routers.{path}.rule"] = f"PathPrefix(`/{path}`)"
            labels[f"traefik.http.routers.{path}.middlewares"] = f"{middleware}backend-strip"
        return labels

    def play(self, *options: str, tasks_from: str = "main", **variables: Any) -> subprocess.CompletedProcess[str]:
        role = {"name": "llm.orchestrator.traefik", "tasks_from": tasks_from}
        backend = {
            "name": self.backend,
            "image": BASE,
            "command": ["python3", "-c", BACKEND, "8000"],
            "labels": self.labels(),
            "networks": [{"name": f"{self.name}-llm"}],
        }
        tasks = [{"name": "Gateway", "ansible.builtin.import_role": role}]
        if tasks_from == "main":
            tasks.append({"name": "Backend", "llm.orchestrator.container_service": backend})
        play = {
            "name": "Gateway",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": tasks_from == "tls",
            "gather_subset": ["!all", "min"],
        }
        (self.place / "play.yml").write_text(yaml.safe_dump([play | {"tasks": tasks}]))
        scratch = {
            "ansible_python_interpreter": sys.executable,
            "traefik_config_dir": str(self.place / "etc"),
            "traefik_network": f"{self.name}-llm",
            "traefik_socket_network": f"{self.name}-a-socket",
            "traefik_port": self.port,
            "traefik_rate_limit_average": self.rate,
            "traefik_rate_limit_burst": self.burst,
            "traefik_max_in_flight": self.in_flight,
            "traefik_read_timeout": self.read_timeout,
            "traefik_max_body_bytes": self.max_body,
            "__traefik_name": self.name,
            "__traefik_socket_filter_name": self.filter,
            "__traefik_constraints": f"Label(`gateway-test`, `{self.name}`)",
        }
        (self.place / "vars.yml").write_text(yaml.safe_dump(scratch | self.variables | variables))
        return self.ansible("ansible-playbook", str(self.place / "play.yml"), "-e", f"@{self.place}/vars.yml", *options)

    def ansible(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        collections = ":".join(entry for entry in sys.path if Path(entry, "ansible_collections").is_dir())
        return subprocess.run(
            [str(Path(sys.executable).with_name(command)), *arguments],
            cwd=self.place,
            env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def deploy(self, *options: str, **variables: Any) -> str:
        done = self.play(*options, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
            time.sleep(0.1)

    def wait_until_routed(self) -> None:
        def routed() -> bool:
            with self.client() as client:
                try:
                    return client.get("/bare/").status_code == 200
                except httpx.TransportError:
                    return False

        self.wait_until(routed, "a route to the backend")

    def refused(self, **variables: Any) -> str:
        """What the preflight says, on one line with single spaces, as lines are wrapped."""
        done = self.play(tasks_from="preflight", **variables)
        assert done.returncode != 0
        return " ".join((done.stdout + done.stderr).split())

    def start(self, name: str, port: int, **labels: str) -> Any:
        """One more backend, on the services' network."""
        return self.engine.containers.run(
            BASE,
            ["python3", "-c", BACKEND, str(port)],
            name=f"{self.name}-{name}",
            network=f"{self.name}-llm",
            labels=labels,
            detach=True,
        )

    def configure(self, file: str, http: dict[str, Any]) -> None:
        """More dynamic configuration, in a file of its own."""
        (self.folder / "dynamic" / file).write_text(yaml.safe_dump({"http": http}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def undeployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that is still to be deployed; what is made in its name goes at the end."""
    engine = docker.from_env()
    made = Gateway(f"gwt-{secrets.token_hex(4)}", tmp_path_factory.mktemp("gateway"), free_port(), engine)
    # Traefik's user has to reach its configuration, and pytest's folders are for their owner alone.
    for folder in (made.place, *made.place.parents[:2]):
        folder.chmod(0o755)
    try:
        yield made
    finally:
        for container in engine.containers.list(all=True, filters={"name": made.name}):
            container.remove(force=True)
        for network in engine.networks.list(filters={"name": made.name}):
            network.remove()
        engine.close()
