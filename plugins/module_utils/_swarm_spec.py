# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A description in the words of the Swarm's API (version 1.41): the body of POST /services/create."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import canonical_json
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_PREVIOUS,
    LABEL_SERVICE,
    Description,
    DescriptionError,
    Healthcheck,
    Mount,
    Update,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_config import (
    LOG_DRIVER,
    NANOSECONDS,
    environment,
    healthcheck_body,
    labels,
    log_options,
    mount_body,
    network_aliases,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_files import SwarmFile, check_sizes

# How long a task is watched after it runs: one without a health check has to run for so long.
STABLE_SECONDS = 2.0

_ANY_ADDRESS = "0.0.0.0"
_TMPFS_MODE = 0o1777
_FILE_MODE = 0o400
_RESTART_CONDITIONS = {"no": "none", "on-failure": "on-failure", "unless-stopped": "any", "always": "any"}
# Since then a service can have no-new-privileges; before, the daemon's own setting does it for all.
_NO_NEW_PRIVILEGES_SINCE = (1, 44)


@dataclass(frozen=True)
class Parts:
    """What a description refers to, in terms that every host of the Swarm understands."""

    image: str
    network_ids: Mapping[str, str]
    files: Sequence[SwarmFile]
    user_id: int
    constraints: Sequence[str]
    api_version: tuple[int, ...]


def check(description: Description) -> None:
    """Raises DescriptionError where a Swarm can't do what is described."""
    if description.gpus:
        raise DescriptionError("gpus: a Swarm hands out no GPUs, run this service with engine=docker")
    if description.pid_mode:
        raise DescriptionError("pid_mode: a Swarm shares no host's processes, run this service with engine=docker")
    if not description.networks:
        raise DescriptionError("networks: a Swarm runs no service without a network, name one")
    for port in description.ports:
        if port.address != _ANY_ADDRESS:
            raise DescriptionError(
                f"ports: a Swarm can't publish port {port.host} on {port.address} alone, "
                f"set address to {_ANY_ADDRESS} and let a firewall keep out whom it should"
            )
    check_sizes(description)


def service_spec(description: Description, recorded: str, parts: Parts) -> dict[str, Any]:
    """The specification of the service, without a release to return to."""
    placement = description.placement
    return {
        "Name": description.name,
        "Labels": labels(description, recorded),
        "TaskTemplate": {
            "ContainerSpec": _container_spec(description, parts),
            "Networks": [
                {"Target": parts.network_ids[network.name], "Aliases": network_aliases(description, network)}
                for network in description.networks
            ],
            "Resources": {"Limits": _limits(description)},
            "RestartPolicy": {"Condition": _RESTART_CONDITIONS[description.restart_policy]},
            "Placement": {"Constraints": list(parts.constraints)},
            "LogDriver": {"Name": LOG_DRIVER, "Options": log_options(description.log)},
        },
        "Mode": {"Global": {}} if placement.each_host else {"Replicated": {"Replicas": description.replicas}},
        "UpdateConfig": _rollout(description.update, description.update.on_failure),
        # A release that does not come back is left for a person to look at.
        "RollbackConfig": _rollout(description.update, "pause"),
        "EndpointSpec": {
            # Names lead to the tasks themselves, and ports to the task on the host: neither needs IPVS in the kernel,
            # and the gateway balances over the tasks that it knows to be ready.
            "Mode": "dnsrr",
            "Ports": [
                {
                    "Protocol": port.protocol,
                    "TargetPort": port.container,
                    "PublishedPort": port.host,
                    "PublishMode": "host",
                }
                for port in description.ports
            ],
        },
    }


def with_replicas(spec: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {**spec, "Mode": {"Replicated": {"Replicas": count}}}


def with_previous(spec: Mapping[str, Any], current: Mapping[str, Any] | None) -> dict[str, Any]:
    """A specification that carries the current one, so that the service can return to it.

    The Swarm keeps one too, but loses it with a rollback of its own, and takes a mere scaling for a release.
    """
    kept = {name: value for name, value in spec["Labels"].items() if name != LABEL_PREVIOUS}
    if current:
        before = {name: value for name, value in current.items() if name != "Mode"}
        before["Labels"] = {name: value for name, value in current["Labels"].items() if name != LABEL_PREVIOUS}
        kept[LABEL_PREVIOUS] = canonical_json(before)
    return {**spec, "Labels": kept}


def previous(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The specification of the release before, in the present mode; None if there is none that can be read."""
    try:
        before = json.loads(spec["Labels"][LABEL_PREVIOUS])
    except (KeyError, ValueError):
        return None
    return {**before, "Mode": spec["Mode"]} if isinstance(before, dict) else None


def files_in(spec: Mapping[str, Any]) -> set[str]:
    """The IDs of the secrets and configs that a specification refers to."""
    container = spec["TaskTemplate"]["ContainerSpec"]
    return {
        *(entry["SecretID"] for entry in container.get("Secrets") or ()),
        *(entry["ConfigID"] for entry in container.get("Configs") or ()),
    }


def _stop_seconds(description: Description) -> int:
    """A Swarm has one time for every stop: the longer of the two."""
    return max(description.stop_timeout, description.update.drain_timeout or 0)


def _container_spec(description: Description, parts: Parts) -> dict[str, Any]:
    container: dict[str, Any] = {
        "Image": parts.image,
        "Env": environment(description),
        "ReadOnly": description.read_only,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": list(description.cap_add),
        "Groups": list(description.group_add),
        "Mounts": [_mount(description.name, mount) for mount in description.mounts],
        "StopGracePeriod": _stop_seconds(description) * NANOSECONDS,
        "Secrets": [_reference(file, parts.user_id, "Secret") for file in parts.files if file.kind == "secret"],
        "Configs": [_reference(file, parts.user_id, "Config") for file in parts.files if file.kind == "config"],
    }
    if description.command:
        container["Args"] = list(description.command)
    if description.user:
        container["User"] = description.user
    if description.healthcheck:
        container["Healthcheck"] = healthcheck_body(
            _gate(description, description.healthcheck), description.ready_check
        )
    if parts.api_version >= _NO_NEW_PRIVILEGES_SINCE:
        container["Privileges"] = {"NoNewPrivileges": True}
    return container


def _gate(description: Description, check: Healthcheck) -> Healthcheck:
    """The health check, which calls no new container unhealthy before the module's time for it is over.

    Such a container is told to stop. If it does so in good order, with code 0, its engine reports the task as running
    and then as complete, and a start-first update takes the old task away in between. Undone by the module, it has
    never run. https://github.com/moby/moby/blob/v20.10.24/daemon/cluster/executor/container/controller.go#L249-L258
    """
    if description.update.order != "start_first":
        return check
    return replace(check, start_period=max(check.start_period, description.update.ready_timeout))


def _reference(file: SwarmFile, user_id: int, kind: str) -> dict[str, Any]:
    seen = {"Name": file.target, "UID": str(user_id), "GID": "0", "Mode": _FILE_MODE}
    return {"File": seen, f"{kind}ID": file.id, f"{kind}Name": file.name}


def _mount(service: str, mount: Mount) -> dict[str, Any]:
    if mount.type == "tmpfs":
        options = {"SizeBytes": mount.size, "Mode": _TMPFS_MODE}
        return {"Type": "tmpfs", "Target": mount.target, "ReadOnly": mount.read_only, "TmpfsOptions": options}
    body = mount_body(mount)
    if mount.type == "volume":
        body["VolumeOptions"] = {"Labels": {LABEL_SERVICE: service}}
    return body


def _limits(description: Description) -> dict[str, int]:
    resources = description.resources
    limits = {
        "MemoryBytes": resources.memory,
        "NanoCPUs": None if resources.cpus is None else round(resources.cpus * NANOSECONDS),
        "Pids": resources.pids,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _rollout(update: Update, on_failure: str) -> dict[str, Any]:
    return {
        "Parallelism": update.parallelism,
        "Order": update.order.replace("_", "-"),
        "FailureAction": on_failure,
        "Monitor": round(STABLE_SECONDS * NANOSECONDS),
        "MaxFailureRatio": 0,
    }
