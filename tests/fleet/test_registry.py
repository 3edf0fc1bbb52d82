# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images reach a host through a real registry with TLS and a password."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import bcrypt
import httpx
import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.fleet.conftest import ENVIRONMENT, GATEWAY, NETWORK, Fleet
from gateway_certificates import write_pair
from platform_runs import PlaybookRun, run_playbook

pytestmark = pytest.mark.docker

PASSWORD = "correct-horse-battery"
IMAGE = "llm-orchestrator/redis:0.1.0"


@dataclass(frozen=True)
class Registry:
    address: str
    authority: Path

    @property
    def variables(self) -> dict[str, str]:
        return {
            "llm_image_registry": f"{self.address}/llm-orchestrator",
            "llm_image_registry_ca": str(self.authority),
            "llm_image_registry_user": "deployer",
            "llm_image_registry_password": PASSWORD,
        }


@pytest.fixture
def registry(hosts: Fleet, tmp_path: Path) -> Iterator[Registry]:
    """On this machine's address in the network of the test hosts."""
    host = str(next(ip_network(NETWORK["subnet"]).hosts()))
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    certificate, key = write_pair(tmp_path, "registry", address=host)
    users = tmp_path / "users"
    users.write_text(f"deployer:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    config = tmp_path / "registry.json"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "images")}},
                "http": {"addr": address, "tls": {"certificate": str(certificate), "key": str(key)}},
                "auth": {"htpasswd": {"realm": "test", "path": str(users)}},
            }
        )
    )
    with subprocess.Popen(["docker-registry", "serve", str(config)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = httpx.get(f"https://{address}/v2/", verify=False, trust_env=False)
                assert answer.status_code == 401
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the registry does not start"
                time.sleep(0.2)
        yield Registry(address, certificate)
        process.terminate()
    # Not there where the test ended before anything was pushed.
    shutil.rmtree(f"/etc/docker/certs.d/{address}", ignore_errors=True)
    subprocess.run(["docker", "rmi", f"{address}/{IMAGE}"], capture_output=True, check=False)


def provide(hosts: Fleet, place: Path, **variables: str) -> PlaybookRun:
    """Has the role bring one image to the gateway's host."""
    role = {"name": "llm.orchestrator.service_image"}
    task = {"ansible.builtin.include_role": role, "vars": {"service_image_names": ["redis"]}}
    play = place / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "gateway", "vars": variables, "tasks": [task]}]))
    return run_playbook(str(play), inventory=hosts.place / "inventory", env=ENVIRONMENT)


def test_an_image_is_pushed_pulled_by_its_digest_and_the_password_stays_nowhere(
    hosts: Fleet, registry: Registry, tmp_path: Path
) -> None:
    hosts.on(GATEWAY, "sh", "-c", f"docker rmi --force {IMAGE} || :")

    refused = provide(hosts, tmp_path, **{**registry.variables, "llm_image_registry_password": "wrong"})
    assert refused.status != 0
    assert "401 Unauthorized" in refused.message()

    run = provide(hosts, tmp_path, **registry.variables)
    run.assert_ok()
    digests = hosts.on(GATEWAY, "docker", "image", "inspect", IMAGE, "--format", "{{json .RepoDigests}}")
    assert f'"{registry.address}/llm-orchestrator/redis@sha256:' in digests
    assert PASSWORD not in run.output
    for words in (["find", "/run/llm-orchestrator-registry", "-type", "f"], ["find", "/root/.docker", "-type", "f"]):
        assert hosts.on(GATEWAY, "sh", "-c", " ".join([*words, "2>/dev/null || :"])) == ""
    again = provide(hosts, tmp_path, **registry.variables)
    again.assert_ok()
    assert again.changed == 0, again.changed_tasks()
