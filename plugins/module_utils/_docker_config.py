# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A description in the words of the Docker Engine API (version 1.41): the body of POST /containers/create."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import canonical_json
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_DESCRIPTION,
    LABEL_SERVICE,
    LABEL_UPDATE,
    Description,
    Healthcheck,
    LogRotation,
    Mount,
    Network,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import (
    update_to_record,
)

NANOSECONDS = 1_000_000_000
LOG_DRIVER = "json-file"
# In memory, so that each start of the container has to pass again; writable with a read-only root too.
_PASSED = "/dev/shm/ready-check-passed"


def container_body(description: Description, recorded: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """The request that makes the container, on the first of its networks.

    files are those on the host that hold its secrets and configs, by their paths in the container.
    """
    body: dict[str, Any] = {
        "Image": description.image,
        "Env": environment(description),
        "Labels": labels(description, recorded),
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in description.ports},
        "StopTimeout": description.stop_timeout,
        "HostConfig": _host_config(description, files),
    }
    if description.command:
        body["Cmd"] = list(description.command)
    if description.user:
        body["User"] = description.user
    if description.healthcheck:
        body["Healthcheck"] = healthcheck_body(description.healthcheck, description.ready_check)
    if description.networks:
        first = description.networks[0]
        body["NetworkingConfig"] = {"EndpointsConfig": {first.name: {"Aliases": network_aliases(description, first)}}}
    return body


def environment(description: Description) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(description.env.items())]


def labels(description: Description, recorded: str) -> dict[str, str]:
    """The description's labels, and those by which a later run knows it again."""
    return {
        **description.labels,
        LABEL_SERVICE: description.name,
        LABEL_DESCRIPTION: recorded,
        LABEL_UPDATE: canonical_json(update_to_record(description.update)),
    }


def network_aliases(description: Description, network: Network) -> list[str]:
    return [description.name, *network.aliases]


def _host_config(description: Description, files: Mapping[str, Path]) -> dict[str, Any]:
    resources = description.resources
    config: dict[str, Any] = {
        # The real policy follows once the container is ready: until then it must not hide a crash by
        # starting again, nor outlive an interrupted run as a crash loop.
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": description.networks[0].name if description.networks else "none",
        "CapDrop": ["ALL"],
        "CapAdd": list(description.cap_add),
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "ReadonlyRootfs": description.read_only,
        "LogConfig": {"Type": LOG_DRIVER, "Config": log_options(description.log)},
        "Mounts": [
            *(mount_body(mount) for mount in description.mounts if mount.type != "tmpfs"),
            *(_file_mount(target, file) for target, file in sorted(files.items())),
        ],
        "Tmpfs": {mount.target: _tmpfs_options(mount) for mount in description.mounts if mount.type == "tmpfs"},
        "PortBindings": _port_bindings(description),
        "GroupAdd": list(description.group_add),
    }
    if resources.memory is not None:
        # Equal values mean no swap: a model that pages is slower than one that fails.
        config.update(Memory=resources.memory, MemorySwap=resources.memory)
    if resources.cpus is not None:
        config["NanoCpus"] = round(resources.cpus * NANOSECONDS)
    if resources.pids is not None:
        config["PidsLimit"] = resources.pids
    if description.gpus:
        count = -1 if description.gpus == "all" else int(description.gpus)
        config["DeviceRequests"] = [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    if description.pid_mode:
        config["PidMode"] = description.pid_mode
    return config


def healthcheck_body(check: Healthcheck, ready_check: Sequence[str]) -> dict[str, Any]:
    return {
        "Test": _guarded(check.test, ready_check) if ready_check else list(check.test),
        "Interval": round(check.interval * NANOSECONDS),
        "Timeout": round(check.timeout * NANOSECONDS),
        "Retries": check.retries,
        "StartPeriod": round(check.start_period * NANOSECONDS),
    }


def log_options(log: LogRotation) -> dict[str, str]:
    return {"max-size": str(log.max_size), "max-file": str(log.max_files)}


def _guarded(test: Sequence[str], ready_check: Sequence[str]) -> list[str]:
    """A health check that passes no sooner than the ready check has, once in each run of the container.

    Whatever acts on health, such as the gateway's choice of containers, then waits for both.
    """
    kind, *words = test
    health = words[0] if kind == "CMD-SHELL" else shlex.join(words)
    once = f"test -e {_PASSED} || {{ {shlex.join(ready_check)} && : >{_PASSED}; }}"
    return ["CMD-SHELL", f"{{ {health}; }} && {{ {once}; }}"]


def mount_body(mount: Mount) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Type": mount.type,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.propagation:
        body["BindOptions"] = {"Propagation": mount.propagation}
    return body


def _file_mount(target: str, file: Path) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(file), "Target": target, "ReadOnly": True}


def _tmpfs_options(mount: Mount) -> str:
    access = "ro" if mount.read_only else "rw"
    return f"{access},noexec,nosuid,nodev,size={mount.size},mode=1777"


def _port_bindings(description: Description) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in description.ports:
        binding = {"HostIp": port.address, "HostPort": str(port.host)}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(binding)
    return bindings
