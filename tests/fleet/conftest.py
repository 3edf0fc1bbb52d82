# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of test hosts, each with an engine of its own, that `llm.orchestrator.site` makes a Swarm of."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from load import Load
from platform_runs import ROOT, PlaybookRun, run_playbook

HERE = Path(__file__).parent
ENVIRONMENT = {"MOLECULE_PROJECT_DIRECTORY": str(ROOT), "ANSIBLE_HOST_KEY_CHECKING": "false"}
GATEWAY = "fleet-gateway"
MODEL_HOSTS = ("fleet-model-1", "fleet-model-2")
ANSWERED = re.compile(r"^llm_request_success_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
READ_METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/metrics').read().decode())"


@dataclass(frozen=True)
class Fleet:
    place: Path

    @property
    def inventory(self) -> dict[str, Any]:
        inventory: dict[str, Any] = yaml.safe_load((HERE / "inventory.yml").read_text())
        return inventory

    @property
    def base_url(self) -> str:
        return f"http://{self.inventory['test_hosts']['hosts'][GATEWAY]['ansible_host']}:8080"

    def play(self, name: str, *arguments: str, model_hosts: int = 2) -> PlaybookRun:
        """Runs a playbook over the gateway's host and that many model hosts."""
        inventory = self.inventory
        for host in MODEL_HOSTS[model_hosts:]:
            del inventory["test_hosts"]["hosts"][host]
            del inventory["model_servers"]["hosts"][host]
        key = ROOT / ".cache" / "molecule" / "id_ed25519"
        inventory["test_hosts"]["vars"]["ansible_ssh_private_key_file"] = str(key)
        file = self.place / "inventory.yml"
        file.write_text(yaml.safe_dump(inventory))
        run = run_playbook(name, *arguments, inventory=file, env=ENVIRONMENT)
        run.assert_ok()
        return run

    def deploy(self, model_hosts: int) -> PlaybookRun:
        return self.play("llm.orchestrator.site", model_hosts=model_hosts)

    def on(self, host: str, *command: str) -> str:
        """What a command on a host says."""
        return subprocess.run(["docker", "exec", host, *command], capture_output=True, text=True, check=True).stdout

    def tasks(self) -> dict[str, dict[str, str]]:
        """Of each service the hosts of its tasks, by the tasks' IDs."""
        services = self.on(GATEWAY, "docker", "service", "ls", "--format", "{{.Name}}").split()
        form = ("--filter", "desired-state=running", "--format", "{{.Name}} {{.ID}} {{.Node}}")
        tasks: dict[str, dict[str, str]] = {name: {} for name in services}
        for line in self.on(GATEWAY, "docker", "service", "ps", *form, *services).splitlines():
            name, task, host = line.split()
            tasks[name.partition(".")[0]][task] = host
        return tasks

    def answered(self, host: str) -> float:
        """How many requests model-service on a host has answered."""
        label = "label=com.docker.swarm.service.name=model-service"
        (container,) = self.on(host, "docker", "ps", "--quiet", "--filter", label).split()
        metrics = self.on(host, "docker", "exec", container, "/opt/venv/bin/python", "-c", READ_METRICS)
        return sum(float(count) for count in ANSWERED.findall(metrics))

    def nodes(self) -> set[str]:
        return set(self.on(GATEWAY, "docker", "node", "ls", "--format", "{{.Hostname}}").split())


def _shared(playbook: str) -> None:
    path = str(ROOT / "molecule" / "shared" / playbook)
    run_playbook(path, inventory=HERE / "inventory.yml", env=ENVIRONMENT).assert_ok()


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The platform on the gateway's host and one model host; the other one runs and is in no inventory yet."""
    _shared("destroy.yml")
    try:
        _shared("create.yml")
        fleet = Fleet(tmp_path_factory.mktemp("fleet"))
        fleet.deploy(model_hosts=1)
        yield fleet
    finally:
        _shared("destroy.yml")


@pytest.fixture
def client(fleet: Fleet) -> Iterator[openai.OpenAI]:
    # A test must see the first error.
    with openai.OpenAI(base_url=f"{fleet.base_url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def load(fleet: Fleet, client: openai.OpenAI) -> Load:
    password = fleet.on(GATEWAY, "cat", "/etc/llm-orchestrator/admin_password").strip()
    return Load(fleet.base_url, httpx.BasicAuth("admin", password), client.models.list().data[0].id)
