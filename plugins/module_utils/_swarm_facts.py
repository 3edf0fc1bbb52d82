# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules tell of a service of the Swarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Instance, Release, Service
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_spec import previous
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import SwarmService, Task


def to_service(service: SwarmService, tasks: Sequence[Task], hosts: Mapping[str, str]) -> Service:
    """hosts are the names of the Swarm's nodes by their IDs."""
    alive = sorted((task for task in tasks if task.is_wanted), key=lambda task: (task.slot, task.since))
    running = [task for task in alive if task.is_running]
    before = previous(service.spec)
    instances = [
        Instance(
            task.container_id or task.id, _name(service, task), _health(service, task), hosts.get(task.node_id, "")
        )
        for task in alive
    ]
    # The first that is not well speaks for all.
    unwell = [one.health for one in instances if one.health not in ("healthy", "none")]
    return Service(
        name=service.name,
        instances=instances,
        release=_release(service),
        previous=_release(SwarmService(service.id, service.version, before)) if before else None,
        state="stopped" if service.is_stopped else "running",
        health=(unwell or [one.health for one in instances] or ["none"])[0],
        started_at=running[0].since if running else "",
        restart_count=sum(task.has_failed for task in tasks if task.is_of(service.template)),
        record=service.record,
    )


def _release(service: SwarmService) -> Release:
    return Release(str(service.record.get("image", service.image_id)), service.image_id)


def _name(service: SwarmService, task: Task) -> str:
    """The name that the engine of its host gives its container."""
    return f"{service.name}.{task.slot or task.node_id}.{task.id}"


def _health(service: SwarmService, task: Task) -> str:
    if not task.is_running:
        return "starting"
    return "healthy" if service.container.get("Healthcheck") else "none"
