# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What container_service and container_service_info share: options, the way to the engine, the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.llm.orchestrator.plugins.module_utils._description import DescriptionError
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_connection import DOCKER_IMPORT_ERROR
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_engine import DockerEngine
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import (
    Engine,
    EngineError,
    Service,
    unusable_file,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_engine import SwarmEngine


def _names() -> dict[str, Any]:
    return {"type": "list", "elements": "str", "default": []}


def _entries(**options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def _group(**options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "dict", "default": {}, "apply_defaults": True, "options": options}


ENGINE_SPEC: dict[str, Any] = {
    "engine": {"type": "str", "choices": ["docker", "swarm"], "default": "docker"},
    "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
}

SERVICE_SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    "name": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["present", "stopped", "absent", "restarted", "rolled_back"],
        "default": "present",
    },
    "remove_volumes": {"type": "bool", "default": False},
    "image": {"type": "str"},
    "command": _names(),
    "env": {"type": "dict", "default": {}},
    "secrets": {
        **_entries(
            name={"type": "str", "required": True},
            value={"type": "str", "required": True, "no_log": True},
        ),
        # The list's own text is not secret: the values in it are, and only they are masked.
        "no_log": False,
    },
    "configs": _entries(path={"type": "str", "required": True}, content={"type": "str", "required": True}),
    "secrets_dir": {"type": "path", "default": "/etc/llm-orchestrator/secrets", "no_log": False},
    "mounts": _entries(
        type={"type": "str", "choices": ["volume", "bind", "tmpfs"], "required": True},
        source={"type": "str"},
        target={"type": "str", "required": True},
        read_only={"type": "bool", "default": False},
        size={"type": "str"},
        propagation={
            "type": "str",
            "choices": ["private", "rprivate", "shared", "rshared", "slave", "rslave"],
        },
    ),
    "networks": _entries(name={"type": "str", "required": True}, aliases=_names()),
    "labels": {"type": "dict", "default": {}},
    "ports": _entries(
        address={"type": "str", "default": "127.0.0.1"},
        host={"type": "int", "required": True},
        container={"type": "int", "required": True},
        protocol={"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
    ),
    "healthcheck": {
        "type": "dict",
        "options": {
            "test": {"type": "list", "elements": "str", "required": True},
            "interval": {"type": "float", "default": 5},
            "timeout": {"type": "float", "default": 3},
            "retries": {"type": "int", "default": 3},
            "start_period": {"type": "float", "default": 60},
        },
    },
    "ready_check": _names(),
    "resources": _group(memory={"type": "str"}, cpus={"type": "float"}, pids={"type": "int", "default": 256}),
    "gpus": {"type": "str"},
    "restart_policy": {
        "type": "str",
        "choices": ["no", "on-failure", "unless-stopped", "always"],
        "default": "unless-stopped",
    },
    "log": _group(max_size={"type": "str", "default": "10m"}, max_files={"type": "int", "default": 3}),
    "user": {"type": "str"},
    "group_add": _names(),
    "read_only": {"type": "bool", "default": True},
    "cap_add": _names(),
    "pid_mode": {"type": "str", "choices": ["host"]},
    "stop_timeout": {"type": "int", "default": 30},
    "replicas": {"type": "int", "default": 1},
    "placement": _group(group={"type": "str"}, each_host={"type": "bool", "default": False}),
    "update": _group(
        order={"type": "str", "choices": ["start_first", "stop_first"], "default": "start_first"},
        parallelism={"type": "int", "default": 1},
        ready_timeout={"type": "float", "default": 120},
        drain_timeout={"type": "int"},
        on_failure={"type": "str", "choices": ["rollback", "pause"], "default": "rollback"},
        gateway={
            "type": "dict",
            "options": {"name": {"type": "str", "default": "traefik"}, "port": {"type": "int", "default": 8082}},
        },
    ),
}


def connect(module: AnsibleModule) -> Engine:
    """The engine that the module's options name."""
    if module.params["engine"] == "swarm":
        return SwarmEngine(SwarmClient(module.params["docker_host"]))
    return DockerEngine(DockerClient(module.params["docker_host"]))


def run(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]], what: str) -> None:
    """Does the module's work and ends it, with one line about what failed where it fails."""
    if DOCKER_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("docker"), exception=DOCKER_IMPORT_ERROR)
    try:
        result = work(module)
    except DescriptionError as error:
        module.fail_json(msg=f"{what}: {error}")
    except EngineError as error:
        ending = {} if error.rolled_back is None else {"rolled_back": error.rolled_back}
        module.fail_json(msg=f"{what}: {error}", log=error.log, **ending)
    except OSError as error:
        module.fail_json(msg=f"{what}: {unusable_file(error)}")
    module.exit_json(**result)


def service_facts(service: Service) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": service.name,
        "containers": [
            {name: value for name, value in vars(instance).items() if value} for instance in service.instances
        ],
    }
    if service.release:
        facts.update(vars(service.release))
    if service.previous:
        facts["previous"] = dict(vars(service.previous))
    return facts
