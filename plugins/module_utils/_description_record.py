# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plain form of a description, kept on the container: what later runs are compared with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    Description,
    Gateway,
    Port,
    Update,
)


def to_record(description: Description, digests: Mapping[str, str]) -> dict[str, Any]:
    """The plain form of a description, with the digest of each secret and of each config in place of what it holds.

    What is not set is left out, so an option that a later release adds changes no existing record.
    Lists whose order has no meaning are keyed, so only a real difference is one.
    """
    health, resources, log = description.healthcheck, description.resources, description.log
    record = {
        "image": description.image,
        "command": list(description.command),
        "env": dict(description.env),
        "secrets": {secret.name: digests[secret.name] for secret in description.secrets},
        "configs": {config.path: _digest(config.content) for config in description.configs},
        "mounts": {mount.target: without_unset(vars(mount), "target") for mount in description.mounts},
        "networks": [
            without_unset({"name": network.name, "aliases": list(network.aliases)}) for network in description.networks
        ],
        "labels": dict(description.labels),
        "ports": {_port_key(port): port.container for port in description.ports},
        "healthcheck": None if health is None else {**vars(health), "test": list(health.test)},
        "ready_check": list(description.ready_check),
        "resources": without_unset(vars(resources)),
        "gpus": description.gpus,
        "restart_policy": description.restart_policy,
        "log": dict(vars(log)),
        "user": description.user,
        "group_add": list(description.group_add),
        "read_only": description.read_only,
        "cap_add": list(description.cap_add),
        "pid_mode": description.pid_mode,
        "stop_timeout": description.stop_timeout,
    }
    return without_unset(record)


def read_record(recorded: str) -> dict[str, Any]:
    """A record read from its text, or an empty one if it can't be read: then everything differs."""
    try:
        record = json.loads(recorded)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _digest(content: str) -> str:
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def update_to_record(update: Update) -> dict[str, Any]:
    """The plain form of an update policy, kept on the container."""
    return without_unset({**vars(update), "gateway": vars(update.gateway) if update.gateway else None})


def update_from_record(recorded: str) -> Update | None:
    """The policy that a container carries; None if it carries none that this release can read."""
    try:
        record = json.loads(recorded)
        gateway = record.pop("gateway", None)
        return Update(**record, gateway=Gateway(**gateway) if gateway else None)
    except (ValueError, TypeError, AttributeError):
        return None


def _port_key(port: Port) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address
    return f"{address}:{port.host}/{port.protocol}"


def without_unset(values: Mapping[str, Any], *dropped: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in dropped and value not in (None, [], {}, ())}
