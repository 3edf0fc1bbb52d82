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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml

BASE = "llm-orchestrator/base:0.1.0"

# Tells what it received; /slow answers after 2 s; /stream sends an event every 0.5 s for longer than read_timeout.
BACKEND = """
import json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        stream = self.path.endswith('/stream')
        if self.path.endswith('/slow'):
            time.sleep(2)
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream' if stream else 'application/json')
        self.end_headers()
        if not stream:
            self.wfile.write(json.dumps({'path': self.path, 'headers': dict(self.headers)}).encode())
        for number in range(10 if stream else 0):
            self.wfile.write(f'data: {number}\\n\\n'.encode())
            time.sleep(0.5)
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()
ThreadingHTTPServer(('', 8000), Handler).serve_forever()
"""


@dataclass(frozen=True)
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

    @property
    def filter(self) -> str:
        return f"{self.name}-filter"

    @property
    def backend(self) -> str:
        return f"{self.name}-backend"

    @property
    def password(self) -> str:
        return (self.place / "etc/admin_password").read_text().strip()

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
            "command": ["python3", "-c", BACKEND],
            "labels": self.labels(),
            "networks": [{"name": f"{self.name}-llm"}],
        }
        tasks = [{"name": "Gateway", "ansible.builtin.import_role": role}]
        if tasks_from == "main":
            tasks.append({"name": "Backend", "llm.orchestrator.container_service": backend})
        play = {"name": "Gateway", "hosts": "localhost", "connection": "local", "gather_facts": False}
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
            "__traefik_name": self.name,
            "__traefik_socket_filter_name": self.filter,
            "__traefik_constraints": f"Label(`gateway-test`, `{self.name}`)",
        }
        (self.place / "vars.yml").write_text(yaml.safe_dump(scratch | variables))
        playbook = str(Path(sys.executable).with_name("ansible-playbook"))
        collections = ":".join(entry for entry in sys.path if Path(entry, "ansible_collections").is_dir())
        return subprocess.run(
            [playbook, str(self.place / "play.yml"), "-e", f"@{self.place}/vars.yml", *options],
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

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
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


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engine = docker.from_env()
    made = Gateway(f"gwt-{secrets.token_hex(4)}", tmp_path_factory.mktemp("gateway"), port, engine)
    # Traefik's user has to reach its configuration, and pytest's folders are for their owner alone.
    for folder in (made.place, *made.place.parents[:2]):
        folder.chmod(0o755)
    try:
        made.deploy()
        made.wait_until_routed()
        yield made
    finally:
        for container in engine.containers.list(all=True, filters={"name": made.name}):
            container.remove(force=True)
        for network in engine.networks.list(filters={"name": made.name}):
            network.remove()
        engine.close()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client(gateway.password) as client:
        yield client
