# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker Engine in memory, which can be killed after any call that changes something."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
    Description,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_parsing import (
    parse_description,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import (
    update_to_record,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container

IMAGES = {
    "demo:1": "sha256:1",
    "demo:2": "sha256:2",
    "demo:3": "sha256:5",
    "crashing:1": "sha256:3",
    "never-healthy:1": "sha256:4",
}
# Everything that changes something takes one of these calls; an interruption can come after any of them.
REPLACEMENT_CALLS = 8
ROLLBACK_CALLS = 8


class Killed(BaseException):
    """The module's process ended here."""


class FakeDocker:
    """Containers in memory: images named crashing or never-healthy do what they say."""

    def __init__(self) -> None:
        self.by_id: dict[str, Container] = {}
        self.policies: dict[str, str] = {}
        self.networks = {"llm": "net-1"}
        self.calls: list[str] = []
        self.calls_left = 10**6
        self.was_always_up = True
        self.removed_while_serving = False
        self.created = 0

    def called(self, call: str) -> None:
        self.calls.append(call)
        self.was_always_up &= any(container.is_up for container in self.by_id.values())
        self.calls_left -= 1
        if self.calls_left == 0:
            raise Killed

    def image_id(self, image: str) -> str | None:
        return IMAGES.get(image)

    def network_id(self, network: str) -> str | None:
        return self.networks.get(network)

    def containers(self, service: str | None = None) -> list[Container]:
        return [entry for entry in self.by_id.values() if service in (None, entry.service)]

    def find(self, id_or_name: str) -> Container | None:
        for container in self.by_id.values():
            if id_or_name in (container.id, container.name):
                return container
        return None

    def create(self, description: Description, name: str, recorded: str, files: Mapping[str, Path]) -> str:
        assert self.find(name) is None, f"the name {name} is taken"
        self.created += 1
        container_id = f"id-{self.created}"
        self.by_id[container_id] = Container(
            id=container_id,
            name=name,
            service=description.name,
            image=description.image,
            image_id=IMAGES[description.image],
            status="created",
            health=None,
            health_output="",
            exit_code=0,
            error="",
            oom_killed=False,
            restart_count=0,
            started_at="",
            stop_timeout=description.stop_timeout,
            recorded=recorded,
            recorded_update=json.dumps(update_to_record(description.update)),
            files=dict(files),
            network_ids=dict(self.networks),
        )
        self.called("create")
        return container_id

    def user_id(self, container_id: str) -> int:
        return os.getuid()

    def start(self, container: Container) -> None:
        status, health = "running", "healthy"
        if container.image.startswith("crashing"):
            status = "exited"
        elif container.image.startswith("never-healthy"):
            health = "unhealthy"
        self.change(container.id, status=status, health=health, exit_code=1 if status == "exited" else 0)
        self.called("start")

    def stop(self, container: Container, timeout: int | None = None) -> None:
        self.change(container.id, status="exited")
        self.called("stop")

    def restart(self, container: Container) -> None:
        self.called("restart")

    def rename(self, container: Container, name: str) -> None:
        assert self.find(name) is None, f"the name {name} is taken"
        self.change(container.id, name=name)
        self.called("rename")

    def remove(self, id_or_name: str) -> None:
        container = self.find(id_or_name)
        if container:
            self.removed_while_serving |= container.is_serving
            del self.by_id[container.id]
        self.called("remove")

    def set_restart_policy(self, container: Container, policy: str) -> None:
        self.policies[container.id] = policy
        self.called("set_restart_policy")

    def reboot(self) -> None:
        """What runs comes back where its policy says so, and nothing else does."""
        for container in self.containers():
            if container.is_up and self.policies.get(container.id) != "unless-stopped":
                self.change(container.id, status="exited", exit_code=137)
        self.was_always_up &= any(container.is_up for container in self.by_id.values())

    def last_log_lines(self, container: Container, count: int) -> list[str]:
        return [f"the end of {container.image}"]

    def change(self, container_id: str, **changes: Any) -> None:
        self.by_id[container_id] = replace(self.by_id[container_id], **changes)


def describe(image: str, order: str = "start_first", **changes: Any) -> Description:
    params: dict[str, Any] = {
        "name": "demo",
        "image": image,
        "healthcheck": None,
        "resources": {"memory": None, "cpus": None, "pids": None},
        "gpus": None,
        "restart_policy": "unless-stopped",
        "log": {"max_size": "10m", "max_files": 3},
        "user": None,
        "read_only": True,
        "pid_mode": None,
        "stop_timeout": 30,
        "replicas": 1,
        "placement": {"group": None, "each_host": False},
        "update": {**vars(DEFAULT_UPDATE), "order": order, "ready_timeout": 1},
        "networks": [{"name": "llm", "aliases": []}],
    }
    lists = dict.fromkeys(
        ("command", "ready_check", "secrets", "configs", "mounts", "ports", "group_add", "cap_add"), ()
    )
    return parse_description({**params, **lists, "env": {}, "labels": {}, **changes})


def the_one(docker: FakeDocker) -> Container:
    (container,) = (one for one in docker.by_id.values() if not one.is_previous)
    return container
