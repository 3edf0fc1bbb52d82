# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Swarm in memory: what a manager's client answers, and how tasks come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import (
    Node,
    SwarmService,
    Task,
)
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import IMAGES

CRASHING, NEVER_READY = IMAGES["crashing:1"], IMAGES["never-healthy:1"]


class FakeSwarm:
    """Tasks of images named crashing or never-healthy do what they say; the Swarm rolls back the former."""

    api_version = (1, 41)

    def __init__(self) -> None:
        self.hosts = [Node("n-1", "one", 1, {}), Node("n-2", "two", 1, {})]
        self.networks = {"llm": {"Id": "net-1", "Scope": "swarm"}, "local": {"Id": "net-9", "Scope": "local"}}
        self.by_name: dict[str, SwarmService] = {}
        self.all_tasks: list[Task] = []
        self.objects: dict[str, tuple[str, str, bytes, Mapping[str, str]]] = {}
        self.local_volumes: dict[str, str] = {}
        self.calls: list[str] = []
        self._made = 0

    def node_id(self) -> str:
        return "n-1"

    def image(self, name: str) -> Mapping[str, Any] | None:
        return {"Id": IMAGES[name], "Config": {"User": "10001"}} if name in IMAGES else None

    def registry_digest(self, image: str) -> str | None:
        return None

    def network(self, name: str) -> Mapping[str, Any] | None:
        return self.networks.get(name)

    def service(self, name: str) -> SwarmService | None:
        return self.by_name.get(name)

    def services(self) -> list[SwarmService]:
        return list(self.by_name.values())

    def tasks(self, service: SwarmService) -> list[Task]:
        return list(self.all_tasks)

    def nodes(self) -> list[Node]:
        return list(self.hosts)

    def create(self, spec: Mapping[str, Any]) -> None:
        self.calls.append("create")
        self.by_name[spec["Name"]] = SwarmService("id-1", 1, spec)
        self._run(spec)

    def update(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        self.calls.append("update")
        current = self.by_name[service.name]
        if service.version != current.version:
            raise EngineError("somebody else changed the service meanwhile, run again")
        is_update = spec["TaskTemplate"] != current.template
        self.by_name[service.name] = SwarmService("id-1", current.version + 1, spec, "completed" if is_update else "")
        if is_update and spec["TaskTemplate"]["ContainerSpec"]["Image"] == CRASHING:
            self._run(spec, count=1)
            self._settle_a_crash(service, spec)
        else:
            self._run(spec)

    def _settle_a_crash(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        current = self.by_name[service.name]
        if spec["UpdateConfig"]["FailureAction"] == "rollback":
            state, kept = "rollback_completed", service.spec
        else:
            state, kept = "paused", spec
        self.by_name[service.name] = SwarmService("id-1", current.version + 1, kept, state)

    def remove(self, service: SwarmService) -> None:
        self.calls.append("remove")
        del self.by_name[service.name]
        self.all_tasks.clear()

    def label_node(self, node: Node, label: str, value: str | None) -> None:
        self.calls.append("label_node")
        labels = {name: text for name, text in node.labels.items() if name != label}
        labels.update({label: value} if value is not None else {})
        self.hosts = [replace(one, labels=labels) if one.id == node.id else one for one in self.hosts]

    def last_log_lines(self, service: SwarmService, task: Task, count: int) -> list[str]:
        return [f"the end of {task.template['ContainerSpec']['Image']}"]

    def files(self, kind: str, service: str | None = None) -> dict[str, str]:
        return {
            name: file_id
            for name, (its_kind, file_id, _content, labels) in self.objects.items()
            if its_kind == kind and service in (None, labels.get("llm.orchestrator.service"))
        }

    def create_file(self, kind: str, name: str, content: bytes, labels: Mapping[str, str]) -> str:
        self.calls.append(f"create_{kind}")
        self._made += 1
        self.objects[name] = (kind, f"f-{self._made}", content, labels)
        return f"f-{self._made}"

    def remove_file(self, kind: str, file_id: str) -> None:
        self.calls.append(f"remove_{kind}")
        self.objects = {name: one for name, one in self.objects.items() if one[1] != file_id}

    def config_content(self, name_or_id: str) -> bytes | None:
        for name, (kind, file_id, content, _labels) in self.objects.items():
            if kind == "config" and name_or_id in (name, file_id):
                return content
        return None

    def volumes(self, service: str | None = None) -> list[str]:
        return [name for name, owner in self.local_volumes.items() if service in (None, owner)]

    def remove_volume(self, name: str) -> None:
        self.calls.append("remove_volume")
        self.local_volumes.pop(name, None)

    def _count(self, host: Node) -> int:
        return sum(task.node_id == host.id for task in self.all_tasks)

    def _run(self, spec: Mapping[str, Any], count: int | None = None) -> None:
        """Has so many tasks of the specification, by default all; the others are gone."""
        template, image = spec["TaskTemplate"], spec["TaskTemplate"]["ContainerSpec"]["Image"]
        wanted = spec["Mode"]["Replicated"]["Replicas"] if "Replicated" in spec["Mode"] else len(self.hosts)
        if count is None:
            self.all_tasks = [task for task in self.all_tasks if task.template == template]
            while len(self.all_tasks) > wanted:
                fullest = max(self.hosts, key=self._count)
                self.all_tasks.remove(next(task for task in self.all_tasks[::-1] if task.node_id == fullest.id))
        state = {CRASHING: "failed", NEVER_READY: "starting"}.get(image, "running")
        error = "task: non-zero exit (1)" if state == "failed" else ""
        for slot in range(len(self.all_tasks) + 1 if count is None else 1, (count or wanted) + 1):
            self._made += 1
            self.all_tasks.append(
                Task(
                    id=f"t-{self._made}",
                    slot=slot,
                    node_id=min((host for host in reversed(self.hosts) if host.is_usable), key=self._count).id,
                    template=template,
                    state=state,
                    desired_state="shutdown" if state == "failed" else "running",
                    error=error,
                    container_id=f"c-{self._made}",
                    since=f"{self._made:03}",
                )
            )
