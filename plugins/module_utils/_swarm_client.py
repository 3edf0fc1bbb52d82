# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things that are asked of a manager of a Swarm, typed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import LABEL_SERVICE
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_connection import CONFLICT, DockerConnection
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import (
    Node,
    SwarmService,
    Task,
    network_ids,
    read_node,
    read_service,
    read_task,
)

with suppress(ImportError):
    # Its absence is told before a client is made.
    import docker.errors
    import requests.exceptions

# Which of its own lines a task's log line tells of.
_TASK_ID = "com.docker.swarm.task.id="


class SwarmClient(DockerConnection):
    def node_id(self) -> str:
        """The ID, in the Swarm, of the host that this engine is on; an error if it manages no Swarm."""
        with self._explained("look at its Swarm"):
            swarm = self._api.info()["Swarm"]
        if not swarm["ControlAvailable"]:
            raise EngineError("the engine on this host manages no Swarm, run this on one of the Swarm's managers")
        return str(swarm["NodeID"])

    @property
    def api_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in str(self._api.api_version).split("."))

    def image(self, name: str) -> Mapping[str, Any] | None:
        """What this host's engine tells of an image, None where it has none of that name."""
        with self._explained(f"look for the image {name}"):
            try:
                found: Mapping[str, Any] = self._api.inspect_image(name)
            except docker.errors.NotFound:
                return None
        return found

    def registry_digest(self, image: str) -> str | None:
        """The digest of an image in its registry, None where no registry has it or answers."""
        with self._explained(f"ask a registry for the image {image}"):
            try:
                return str(self._api.inspect_distribution(image)["Descriptor"]["digest"])
            except docker.errors.APIError:
                return None

    def network(self, name: str) -> Mapping[str, Any] | None:
        with self._explained(f"look for the network {name}"):
            found: list[Mapping[str, Any]] = self._api.networks(names=[name])
        # The filter also finds names that contain this one.
        named = [network for network in found if network["Name"] == name]
        return max(named, key=lambda network: network["Scope"] == "swarm", default=None)

    def service(self, name: str) -> SwarmService | None:
        with self._explained(f"inspect the service {name}"):
            try:
                return read_service(self._api.inspect_service(name))
            except docker.errors.NotFound:
                return None

    def services(self) -> list[SwarmService]:
        """All services of this collection, by name."""
        with self._explained("list the services"):
            found = [read_service(entry) for entry in self._api.services(filters={"label": LABEL_SERVICE})]
        return sorted((service for service in found if service.is_ours), key=lambda service: service.name)

    def tasks(self, service: SwarmService) -> list[Task]:
        with self._explained("list the service's tasks"):
            try:
                found = self._api.tasks(filters={"service": service.id})
            except docker.errors.NotFound:
                # It was removed, and its tasks may still be ending.
                found = [entry for entry in self._api.tasks() if entry["ServiceID"] == service.id]
        return [read_task(entry) for entry in found]

    def nodes(self) -> list[Node]:
        with self._explained("list the Swarm's hosts"):
            return [read_node(entry) for entry in self._api.nodes()]

    def create(self, spec: Mapping[str, Any]) -> None:
        with self._explained("create its service"):
            self._api.create_service(spec["TaskTemplate"], name=spec["Name"], **_parts(spec))

    def update(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        """Changes a service to a specification, if nobody else has changed it since it was looked at."""
        with self._explained("update its service", network_ids(spec)):
            self._api.update_service(
                service.id, service.version, task_template=spec["TaskTemplate"], name=spec["Name"], **_parts(spec)
            )

    def remove(self, service: SwarmService) -> None:
        with self._explained("remove its service"), suppress(docker.errors.NotFound):
            self._api.remove_service(service.id)

    def label_node(self, node: Node, label: str, value: str | None) -> None:
        """Gives a host a label, or takes it away."""
        labels = {name: text for name, text in node.labels.items() if name != label}
        if value is not None:
            labels[label] = value
        with self._explained(f"label the host {node.host}"):
            self._api.update_node(node.id, node.version, {**node.spec, "Labels": labels})

    def last_log_lines(self, service: SwarmService, task: Task, count: int) -> list[str]:
        """The end of a task's log; none where its host does not answer."""
        with suppress(docker.errors.APIError, requests.exceptions.RequestException):
            stream = self._api.service_logs(
                service.id, details=True, stdout=True, stderr=True, tail=count, is_tty=False
            )
            lines = b"".join(stream).decode(errors="replace").splitlines()
            return [line.partition(" ")[2] for line in lines if f"{_TASK_ID}{task.id}" in line.partition(" ")[0]][
                -count:
            ]
        return []

    def files(self, kind: str, service: str | None = None) -> dict[str, str]:
        """The IDs, by name, of the secrets or configs of a service, or of all."""
        filters = {"label": f"{LABEL_SERVICE}={service}"} if service else None
        with self._explained(f"list the Swarm's {kind}s"):
            found = self._api.secrets(filters=filters) if kind == "secret" else self._api.configs(filters=filters)
        return {entry["Spec"]["Name"]: entry["ID"] for entry in found}

    def create_file(self, kind: str, name: str, content: bytes, labels: Mapping[str, str]) -> str:
        """Makes a secret or a config and returns its ID; one that is there already under its name is taken as it is."""
        with self._explained(f"create the {kind} {name}"):
            try:
                make = self._api.create_secret if kind == "secret" else self._api.create_config
                return str(make(name, content, labels=dict(labels))["ID"])
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT:
                    raise
        return self.files(kind)[name]

    def remove_file(self, kind: str, file_id: str) -> None:
        with self._explained(f"remove a {kind}"), suppress(docker.errors.NotFound):
            remove = self._api.remove_secret if kind == "secret" else self._api.remove_config
            remove(file_id)

    def config_content(self, name_or_id: str) -> bytes | None:
        with self._explained(f"read the config {name_or_id}"):
            try:
                return base64.b64decode(self._api.inspect_config(name_or_id)["Spec"]["Data"])
            except docker.errors.NotFound:
                return None


def _parts(spec: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "labels": "Labels",
        "mode": "Mode",
        "update_config": "UpdateConfig",
        "rollback_config": "RollbackConfig",
        "endpoint_spec": "EndpointSpec",
    }
    return {name: spec[key] for name, key in names.items() if spec.get(key) is not None}
