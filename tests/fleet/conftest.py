# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet that Terraform provisions on a simulated AWS: for each instance a test host, at its private address."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.fleet.image_registry import image_registry
from aws_simulation import simulated_aws
from examples import example
from load import Load
from platform_runs import ROOT, PlaybookRun, run_playbook
from terraform_cli import Terraform

# Read from outside: settings of Terraform's that name a file which isn't there would be an error.
ENVIRONMENT = {
    "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
    "ANSIBLE_HOST_KEY_CHECKING": "false",
    "TF_CLI_CONFIG_FILE": os.devnull,
    "ANSIBLE_PIPELINING": "true",
}
# The containers' names are the instances' with this before them.
PREFIX = "fleet-"
GATEWAY, DATA, STORAGE = "fleet-gateway-1", "fleet-data-1", "fleet-storage-1"
MODEL_HOSTS = ("fleet-model-1", "fleet-model-2")
ADDED_HOST = "fleet-model-3"
# Of the VPC, in place of Terraform's default, which a network around this machine may have.
VPC = "10.219.0.0/16"
NETWORK = {"name": "llm-fleet", "subnet": VPC}
SSH = {
    "ansible_user": "root",
    "ansible_ssh_private_key_file": str(ROOT / ".cache" / "molecule" / "id_ed25519"),
    "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
}
# As little as runs on a small machine beside everything else.
SETTINGS = {
    "model_service_cpus": 1,
    "model_service_slots": 2,
    "model_service_context": 1024,
    "model_service_prefix_store_mib": 16,
    "model_service_drain_timeout_seconds": 60,
}
ANSWERED = re.compile(r"^llm_request_success_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
READ_METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/metrics').read().decode())"


@dataclass(frozen=True)
class Fleet:
    """``place`` has the inventory that users would have: the plugin's file, and their settings beside it."""

    place: Path
    terraform: Terraform

    @property
    def provisioned(self) -> dict[str, Any]:
        inventory: dict[str, Any] = self.terraform.outputs()["ansible_inventory"]
        return inventory

    @property
    def addresses(self) -> dict[str, str]:
        """Of the test hosts, by name."""
        return {PREFIX + name: host["address"] for name, host in self.provisioned["hosts"].items()}

    @property
    def base_url(self) -> str:
        port = self.provisioned["groups"]["gateway"]["vars"]["traefik_port"]
        return f"http://{self.addresses[GATEWAY]}:{port}"

    def provision(self, model_hosts: int) -> None:
        """Applies, and starts a test host for each instance that is new."""
        self.terraform.apply(model_hosts=model_hosts)
        shared_playbook("create.yml", self.place, self.addresses)

    def play(self, name: str, *arguments: str) -> PlaybookRun:
        run = self.attempt(name, *arguments)
        run.assert_ok()
        return run

    def attempt(self, name: str, *arguments: str) -> PlaybookRun:
        """One that may fail."""
        return run_playbook(name, *arguments, inventory=self.place / "inventory", env=ENVIRONMENT)

    def deploy(self) -> PlaybookRun:
        return self.play("llm.orchestrator.site")

    def deploy_what_is_there(self) -> None:
        """A run that has nothing to change."""
        run = self.deploy()
        assert run.changed == 0, run.changed_tasks()

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

    def model_hosts(self) -> list[str]:
        """Where model-service runs."""
        return sorted(self.tasks()["model-service"].values())

    def environment(self, service: str) -> str:
        """The variables of a service's containers."""
        form = "{{.Spec.TaskTemplate.ContainerSpec.Env}}"
        return self.on(GATEWAY, "docker", "service", "inspect", service, "--format", form)

    def is_complete(self) -> bool:
        """Whether each service has all its tasks running."""
        counts = self.on(GATEWAY, "docker", "service", "ls", "--format", "{{.Replicas}}").split()
        return all(running == wanted for running, _, wanted in (count.partition("/") for count in counts))

    def answered(self, host: str) -> float:
        """How many requests model-service on a host has answered."""
        label = "label=com.docker.swarm.service.name=model-service"
        (container,) = self.on(host, "docker", "ps", "--quiet", "--filter", label).split()
        metrics = self.on(host, "docker", "exec", container, "/opt/venv/bin/python", "-c", READ_METRICS)
        return sum(float(count) for count in ANSWERED.findall(metrics))

    def nodes(self) -> dict[str, str]:
        """What the Swarm says of each host's state."""
        nodes = self.on(GATEWAY, "docker", "node", "ls", "--format", "{{json .}}").splitlines()
        return {node["Hostname"]: node["Status"] for node in map(json.loads, nodes)}


def shared_playbook(playbook: str, place: Path, addresses: dict[str, str]) -> None:
    """Runs one of those that all test hosts are started and removed by."""
    hosts = {name: {"ansible_host": address} for name, address in addresses.items()}
    inventory = place / f"{playbook}.hosts.yml"
    inventory.write_text(yaml.safe_dump({"test_hosts": {"hosts": hosts, "vars": {**SSH, "test_network": NETWORK}}}))
    run_playbook(str(ROOT / "molecule" / "shared" / playbook), inventory=inventory, env=ENVIRONMENT).assert_ok()


def remove_hosts(place: Path) -> None:
    """Also those of a run that was killed."""
    shared_playbook("destroy.yml", place, dict.fromkeys((GATEWAY, DATA, STORAGE, *MODEL_HOSTS, ADDED_HOST), "unknown"))


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A gateway, two hosts for data, and two for models, with nothing on them."""
    place = tmp_path_factory.mktemp("fleet")
    with simulated_aws() as aws:
        terraform = example("fleet", aws, place, inventory_access="direct")
        range_of_vpc = f'module "platform" {{\n  vpc_cidr = "{VPC}"\n}}\n'
        (terraform.directory / "vpc_override.tf").write_text(range_of_vpc)
        inventory = place / "inventory"
        (inventory / "group_vars" / "all").mkdir(parents=True)
        plugin = {"plugin": "llm.orchestrator.terraform", "project_path": str(terraform.directory)}
        (inventory / "terraform.yml").write_text(yaml.safe_dump(plugin))
        (inventory / "group_vars" / "all" / "settings.yml").write_text(yaml.safe_dump(SSH | SETTINGS))
        remove_hosts(place)
        try:
            fleet = Fleet(place, terraform)
            fleet.provision(model_hosts=2)
            yield fleet
        finally:
            remove_hosts(place)


@pytest.fixture(scope="session")
def registry(hosts: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """On this machine's address in the network of the hosts, which get their images through it."""
    address = str(next(ip_network(NETWORK["subnet"]).hosts()))
    with image_registry(address, tmp_path_factory.mktemp("registry")) as variables:
        (hosts.place / "inventory" / "group_vars" / "all" / "registry.yml").write_text(yaml.safe_dump(variables))
        yield variables


@pytest.fixture(scope="session")
def fleet(hosts: Fleet, registry: dict[str, str]) -> Fleet:
    """The platform on them."""
    hosts.deploy()
    return hosts


@pytest.fixture
def client(fleet: Fleet) -> Iterator[openai.OpenAI]:
    # A test must see the first error.
    with openai.OpenAI(base_url=f"{fleet.base_url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def load(fleet: Fleet, client: openai.OpenAI) -> Load:
    password = fleet.on(GATEWAY, "cat", "/etc/llm-orchestrator/admin_password").strip()
    return Load(fleet.base_url, httpx.BasicAuth("admin", password), client.models.list().data[0].id)
