# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as the target's Python runs them, against this machine's Docker Engine."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE, ModuleService


@dataclass
class Service(ModuleService):
    """One service of a test, with everything that a test asks about it."""

    api: docker.APIClient = None

    def containers(self) -> list[dict[str, Any]]:
        """All that carry the service's label, whatever their names."""
        label = f"llm.orchestrator.service={self.name}"
        found = self.api.containers(all=True, filters={"label": label})
        return [self.api.inspect_container(container["Id"]) for container in found]

    def container(self) -> dict[str, Any]:
        """The only container of the service, under its name, beside the one that is kept for a rollback."""
        (container,) = (one for one in self.containers() if not one["Name"].endswith(".previous"))
        assert container["Name"] == f"/{self.name}"
        return container

    def execute(self, *command: str, user: str = "") -> tuple[int, str]:
        run = self.api.exec_create(self.name, list(command), user=user)["Id"]
        output = self.api.exec_start(run).decode().strip()
        return self.api.exec_inspect(run)["ExitCode"], output

    def secret_files(self) -> list[Path]:
        return sorted(path for path in (self.secrets_dir / self.name).rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def api() -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto")
    yield client
    client.close()


@pytest.fixture(scope="module")
def services(api: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes services with names of their own, and removes whatever becomes of them."""
    made: list[Service] = []

    def make() -> Service:
        made.append(Service(f"cs-it-{secrets.token_hex(4)}", tmp_path_factory.mktemp("host") / "secrets", api=api))
        return made[-1]

    yield make
    for service in made:
        for container in service.containers():
            api.remove_container(container["Id"], force=True)
        Path(f"/run/llm-orchestrator/{service.name}.lock").unlink(missing_ok=True)


@pytest.fixture
def service(services: Any) -> Service:
    made: Service = services()
    return made


@pytest.fixture(scope="module")
def network(api: docker.APIClient) -> Iterator[str]:
    name = f"cs-it-net-{secrets.token_hex(4)}"
    api.create_network(name)
    yield name
    for container in api.inspect_network(name)["Containers"]:
        api.disconnect_container_from_network(container, name, force=True)
    api.remove_network(name)


@pytest.fixture
def volume(api: docker.APIClient) -> Iterator[str]:
    """A name for a volume that a test may let the module create."""
    name = f"cs-it-vol-{secrets.token_hex(4)}"
    yield name
    if any(found["Name"] == name for found in api.volumes()["Volumes"] or ()):
        api.remove_volume(name)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def second_image(api: docker.APIClient) -> Iterator[str]:
    """The base image under a name of its own and with another ID."""
    name = f"cs-it-image-{secrets.token_hex(4)}"
    draft = api.create_container(IMAGE, "true")["Id"]
    api.commit(draft, repository=name, tag="1", changes=["LABEL generation=1"])
    api.commit(draft, repository=name, tag="2", changes=["LABEL generation=2"])
    api.remove_container(draft)
    yield name
    for tag in ("1", "2"):
        api.remove_image(f"{name}:{tag}", force=True)
