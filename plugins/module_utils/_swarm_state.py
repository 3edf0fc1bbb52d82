# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services, tasks and nodes as a manager of a Swarm tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_DESCRIPTION,
    LABEL_PREVIOUS,
    LABEL_SERVICE,
    LABEL_UPDATE,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import (
    read_record,
    without_unset,
)

_FAILED = ("failed", "rejected", "complete", "orphaned")
_BEFORE_RUNNING = ("new", "pending", "assigned", "accepted", "ready", "preparing", "starting")
# What a record and a diff say instead of a number of replicas.
EACH_HOST = "each host"


@dataclass(frozen=True)
class SwarmService:
    """A service with its specification, as the API has it."""

    id: str
    version: int
    spec: Mapping[str, Any]
    update_state: str = ""

    @property
    def name(self) -> str:
        return str(self.spec["Name"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.spec.get("Labels") or {}

    @property
    def is_ours(self) -> bool:
        return self.labels.get(LABEL_SERVICE) == self.name

    @property
    def template(self) -> Mapping[str, Any]:
        template: Mapping[str, Any] = self.spec["TaskTemplate"]
        return template

    @property
    def container(self) -> Mapping[str, Any]:
        container: Mapping[str, Any] = self.template["ContainerSpec"]
        return container

    @property
    def image_id(self) -> str:
        """The image's own ID, or its digest in a registry."""
        return str(self.container["Image"]).rsplit("@", 1)[-1]

    @property
    def record(self) -> dict[str, Any]:
        return read_record(self.labels.get(LABEL_DESCRIPTION, ""))

    @property
    def runs_on_each_host(self) -> bool:
        return "Global" in self.spec["Mode"]

    @property
    def replicas(self) -> int | str:
        """How many containers are wanted now: 0 of a stopped service."""
        return EACH_HOST if self.runs_on_each_host else int(self.spec["Mode"]["Replicated"].get("Replicas", 1))

    @property
    def is_stopped(self) -> bool:
        return self.replicas == 0

    @property
    def constraints(self) -> list[str]:
        return list((self.template.get("Placement") or {}).get("Constraints") or ())

    @property
    def is_interrupted(self) -> bool:
        """Whether an update or a rollback has stopped half-way."""
        return self.update_state in ("paused", "rollback_paused")

    @property
    def is_changing(self) -> bool:
        return self.update_state in ("updating", "rollback_started")


@dataclass(frozen=True)
class Task:
    """One try of the Swarm's to run one of a service's containers."""

    id: str
    slot: int
    node_id: str
    template: Mapping[str, Any]
    state: str
    desired_state: str
    error: str
    container_id: str
    since: str

    @property
    def is_wanted(self) -> bool:
        return self.desired_state in ("running", "ready")

    @property
    def is_running(self) -> bool:
        """A task with a health check runs, in the Swarm's eyes, once that has passed."""
        return self.state == "running" and self.desired_state == "running"

    @property
    def has_failed(self) -> bool:
        return self.state in _FAILED

    @property
    def is_alive(self) -> bool:
        """Whether its container runs, or may soon."""
        return self.state == "running" or (self.is_wanted and self.state in _BEFORE_RUNNING)

    def is_of(self, template: Mapping[str, Any]) -> bool:
        """Whether it runs what the template says; where, the Swarm sees to itself."""
        return _work(self.template) == _work(template)


@dataclass(frozen=True)
class Node:
    """A host of the Swarm."""

    id: str
    host: str
    version: int
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    is_ready: bool = True
    is_active: bool = True

    @property
    def is_usable(self) -> bool:
        return self.is_ready and self.is_active


def read_service(info: Mapping[str, Any]) -> SwarmService:
    state = (info.get("UpdateStatus") or {}).get("State") or ""
    return SwarmService(info["ID"], info["Version"]["Index"], info["Spec"], state)


def read_task(info: Mapping[str, Any]) -> Task:
    status = info["Status"]
    container = status.get("ContainerStatus") or {}
    return Task(
        id=info["ID"],
        slot=info.get("Slot", 0),
        node_id=info.get("NodeID", ""),
        template=info["Spec"],
        state=status["State"],
        desired_state=info["DesiredState"],
        error=status.get("Err", ""),
        container_id=container.get("ContainerID", ""),
        since=status["Timestamp"],
    )


def read_node(info: Mapping[str, Any]) -> Node:
    spec = info["Spec"]
    return Node(
        id=info["ID"],
        host=info["Description"]["Hostname"],
        version=info["Version"]["Index"],
        spec=spec,
        labels=spec.get("Labels") or {},
        is_ready=info["Status"]["State"] == "ready",
        is_active=spec["Availability"] == "active",
    )


def network_ids(spec: Mapping[str, Any]) -> dict[str, str]:
    """The IDs of a service's networks by the names that its description gives them, which keep their order."""
    record = read_record((spec.get("Labels") or {}).get(LABEL_DESCRIPTION, ""))
    names = [network["name"] for network in record.get("networks", ())]
    return dict(zip(names, (network["Target"] for network in spec["TaskTemplate"].get("Networks") or ())))


def observed(service: SwarmService, config_lines: Mapping[str, list[str]]) -> dict[str, Any]:
    """What is true of a service, in the form of the record: what it was described as, less what was changed since.

    config_lines are the texts of its configs by their paths, as far as they are there.
    """
    record, container = service.record, service.container
    secrets = {entry["File"]["Name"] for entry in container.get("Secrets") or ()}
    own = (LABEL_SERVICE, LABEL_DESCRIPTION, LABEL_UPDATE, LABEL_PREVIOUS)
    actual = {
        "command": list(container.get("Args") or ()),
        "env": dict(entry.partition("=")[::2] for entry in container.get("Env") or ()),
        "labels": {name: value for name, value in service.labels.items() if name not in own},
        "secrets": {name: digest for name, digest in record.get("secrets", {}).items() if name in secrets},
        "configs": {path: config_lines.get(path, []) for path in record.get("configs", ())},
        "user": container.get("User"),
        "placement": service.constraints,
    }
    return {
        **{name: value for name, value in record.items() if name not in actual},
        **without_unset(actual),
        "read_only": bool(container.get("ReadOnly")),
        "image_id": service.image_id,
        "network_ids": network_ids(service.spec),
        "replicas": record.get("replicas", 1) if service.is_stopped else service.replicas,
        "state": "stopped" if service.is_stopped else "running",
        **({"interrupted_replacement": service.update_state} if service.is_interrupted else {}),
    }


def _work(template: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in template.items() if name not in ("Placement", "Runtime")}
