# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's parameters made into a description; the first rule that they break is told, with what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_DESCRIPTION,
    LABEL_PREVIOUS,
    LABEL_SERVICE,
    LABEL_UPDATE,
    SECRETS_FOLDER,
    Config,
    Description,
    DescriptionError,
    Gateway,
    Healthcheck,
    LogRotation,
    Mount,
    Network,
    Placement,
    Port,
    Resources,
    Secret,
    Update,
)

_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_GROUP_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SIZE = re.compile(r"([1-9][0-9]*)([kmgt]?)b?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SMALLEST_MEMORY = 6 * 2**20
_BUILTIN_NETWORKS = ("bridge", "host", "none")
_CONFIG_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_LONGEST_CONFIG_PATH = 80


def parse_size(text: str, what: str) -> int:
    """Bytes of a size such as V(512m); units are powers of 1024."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise DescriptionError(
            f"{what}: '{text}' is not a size, give a whole number and a unit of k, m, g or t, such as 512m"
        )
    return int(match[1]) * _SIZE_UNITS[match[2].lower()]


def parse_name(name: str) -> str:
    if not _SERVICE_NAME.fullmatch(name):
        raise DescriptionError(
            f"name: '{name}' can't name a service, use up to 63 lower-case letters, digits and inner hyphens"
        )
    return name


def parse_description(params: Mapping[str, Any]) -> Description:
    """The description in a module's parameters; raises DescriptionError on the first broken rule."""
    _require(bool(params["image"]), "image: state 'present' needs the image to run")
    _require(params["stop_timeout"] >= 0, "stop_timeout: must be 0 seconds or more")
    _require(params["replicas"] > 0, "replicas: must be 1 or more; state 'stopped' or 'absent' stops a service")
    description = Description(
        name=parse_name(params["name"]),
        image=params["image"],
        command=tuple(params["command"] or ()),
        env=_parse_env(params["env"] or {}),
        secrets=_parse_secrets(params["secrets"] or ()),
        configs=tuple(_parse_config(config) for config in params["configs"] or ()),
        mounts=tuple(_parse_mount(mount) for mount in params["mounts"] or ()),
        networks=_parse_networks(params["networks"] or ()),
        labels=_parse_labels(params["labels"] or {}),
        ports=tuple(_parse_port(port) for port in params["ports"] or ()),
        healthcheck=_parse_healthcheck(params["healthcheck"]),
        ready_check=tuple(params["ready_check"] or ()),
        resources=_parse_resources(params["resources"]),
        gpus=_parse_gpus(params["gpus"]),
        restart_policy=params["restart_policy"],
        log=_parse_log(params["log"]),
        user=params["user"] or None,
        group_add=tuple(sorted(set(params["group_add"] or ()))),
        read_only=params["read_only"],
        cap_add=_parse_capabilities(params["cap_add"] or ()),
        pid_mode=params["pid_mode"],
        stop_timeout=params["stop_timeout"],
        replicas=params["replicas"],
        placement=_parse_placement(params["placement"]),
        update=_parse_update(params["update"]),
    )
    _check_across(description)
    return description


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DescriptionError(message)


def _require_unique(values: Sequence[Any], what: str) -> None:
    for value in values:
        _require(values.count(value) == 1, f"{what}: '{value}' is given more than once")


def _parse_text(value: Any, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    _require(
        isinstance(value, (str, int, float)),
        f"{what}: must be a string, a number or a boolean, not {type(value).__name__}",
    )
    return str(value)


def _parse_env(env: Mapping[str, Any]) -> dict[str, str]:
    for name in env:
        _require(
            bool(_ENV_NAME.fullmatch(name)),
            f"env: '{name}' can't name a variable, use letters, digits, '_', '.' and '-', a letter or '_' first",
        )
    return {name: _parse_text(value, f"env.{name}") for name, value in env.items()}


def _parse_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    for name in (LABEL_SERVICE, LABEL_DESCRIPTION, LABEL_UPDATE, LABEL_PREVIOUS):
        _require(name not in labels, f"labels: '{name}' is set by this module, leave it out")
    return {name: _parse_text(value, f"labels.{name}") for name, value in labels.items()}


def _parse_secrets(secrets: Sequence[Mapping[str, Any]]) -> tuple[Secret, ...]:
    for secret in secrets:
        name = secret["name"]
        _require(
            bool(_SECRET_NAME.fullmatch(name)),
            f"secrets: '{name}' can't name a file, "
            "use up to 128 letters, digits, '_', '.' and '-', a letter, digit or '_' first",
        )
        _require(bool(secret["value"]), f"secrets: the value of '{name}' is empty, give one or leave the secret out")
    _require_unique([secret["name"] for secret in secrets], "secrets")
    return tuple(Secret(name=secret["name"], value=secret["value"]) for secret in secrets)


def _parse_config(config: Mapping[str, Any]) -> Config:
    path = config["path"]
    what = f"configs: '{path}'"
    _require(
        bool(_CONFIG_PATH.fullmatch(path)) and not {".", ".."} & set(path.split("/")),
        f"{what}: must be the absolute path of a file, of letters, digits, dots, hyphens and underscores",
    )
    _require(len(path) <= _LONGEST_CONFIG_PATH, f"{what}: is longer than {_LONGEST_CONFIG_PATH} characters")
    _require(not _is_for_secrets(path), f"{what}: {SECRETS_FOLDER} is kept for the option secrets")
    return Config(path=path, content=config["content"])


def _is_for_secrets(path: str) -> bool:
    return path == SECRETS_FOLDER or path.startswith(SECRETS_FOLDER + "/")


def _parse_mount(mount: Mapping[str, Any]) -> Mount:
    kind, target, source = mount["type"], mount["target"], mount["source"]
    what = f"mounts: '{target}'"
    _require(target.startswith("/") and target != "/", f"{what}: the target must be an absolute path below /")
    _require(not _is_for_secrets(target), f"{what}: {SECRETS_FOLDER} is kept for the option secrets")
    if kind == "tmpfs":
        _require(source is None, f"{what}: a tmpfs has no source")
        _require(mount["size"] is not None, f"{what}: a tmpfs needs a size, such as 16m")
    else:
        _require(bool(source), f"{what}: a {kind} needs a source")
        _require(mount["size"] is None, f"{what}: only a tmpfs has a size")
    is_path = bool(source) and source.startswith("/")
    _require(kind != "bind" or is_path, f"{what}: the source '{source}' of a bind must be an absolute path")
    _require(kind != "volume" or not is_path, f"{what}: the volume '{source}' is a path, use type bind")
    _require(kind == "bind" or mount["propagation"] is None, f"{what}: only a bind has a propagation")
    return Mount(
        type=kind,
        target=target.rstrip("/"),
        source=source,
        read_only=mount["read_only"],
        size=None if mount["size"] is None else parse_size(mount["size"], what),
        propagation=mount["propagation"],
    )


def _parse_networks(networks: Sequence[Mapping[str, Any]]) -> tuple[Network, ...]:
    names = [network["name"] for network in networks]
    _require_unique(names, "networks")
    for name in names:
        _require(
            name not in _BUILTIN_NETWORKS,
            f"networks: '{name}' is built in and knows no service names, make a network of your own",
        )
    return tuple(Network(network["name"], tuple(sorted(network["aliases"] or ()))) for network in networks)


def _parse_port(port: Mapping[str, Any]) -> Port:
    for side in ("host", "container"):
        _require(1 <= port[side] <= 65535, f"ports: {side} port {port[side]} is not between 1 and 65535")
    return Port(port["container"], port["host"], port["address"], port["protocol"])


def _parse_healthcheck(check: Mapping[str, Any] | None) -> Healthcheck | None:
    if check is None:
        return None
    test = tuple(check["test"])
    _require(
        len(test) > 1 and test[0] in ("CMD", "CMD-SHELL"),
        "healthcheck.test: must be CMD or CMD-SHELL followed by the command",
    )
    for name in ("interval", "timeout", "retries"):
        _require(check[name] > 0, f"healthcheck.{name}: must be more than 0")
    _require(check["start_period"] >= 0, "healthcheck.start_period: must be 0 seconds or more")
    return Healthcheck(test, check["interval"], check["timeout"], check["retries"], check["start_period"])


def _parse_resources(resources: Mapping[str, Any]) -> Resources:
    memory, cpus, pids = resources["memory"], resources["cpus"], resources["pids"]
    size = None if memory is None else parse_size(memory, "resources.memory")
    _require(size is None or size >= _SMALLEST_MEMORY, f"resources.memory: '{memory}' is less than 6m")
    _require(cpus is None or cpus > 0, "resources.cpus: must be more than 0")
    _require(pids is None or pids > 0, "resources.pids: must be more than 0")
    return Resources(size, cpus, pids)


def _parse_gpus(gpus: str | None) -> str | None:
    _require(
        gpus is None or gpus == "all" or (gpus.isdigit() and int(gpus) > 0),
        f"gpus: '{gpus}' is neither a number of GPUs nor 'all'",
    )
    return gpus


def _parse_log(log: Mapping[str, Any]) -> LogRotation:
    _require(log["max_files"] > 0, "log.max_files: must be more than 0")
    return LogRotation(parse_size(log["max_size"], "log.max_size"), log["max_files"])


def _parse_capabilities(names: Sequence[str]) -> tuple[str, ...]:
    plain = {re.sub(r"^CAP_", "", name.upper()) for name in names}
    _require("ALL" not in plain, "cap_add: 'ALL' is refused, name the capabilities that the service needs")
    return tuple(sorted(plain))


def _parse_placement(placement: Mapping[str, Any]) -> Placement:
    group = placement["group"] or None
    _require(
        group is None or bool(_GROUP_NAME.fullmatch(group)),
        f"placement.group: '{group}' can't be in a label, use letters, digits, '_', '.' and '-'",
    )
    return Placement(group, placement["each_host"])


def _parse_update(update: Mapping[str, Any]) -> Update:
    _require(update["parallelism"] > 0, "update.parallelism: must be 1 or more")
    _require(update["ready_timeout"] > 0, "update.ready_timeout: must be more than 0 seconds")
    drain_timeout = update["drain_timeout"]
    _require(drain_timeout is None or drain_timeout >= 0, "update.drain_timeout: must be 0 seconds or more")
    gateway = update["gateway"]
    if gateway:
        _require(1 <= gateway["port"] <= 65535, f"update.gateway: port {gateway['port']} is not between 1 and 65535")
    return Update(**{**update, "gateway": Gateway(**gateway) if gateway else None})


def _check_across(description: Description) -> None:
    """The rules that span options."""
    _require_unique([mount.target for mount in description.mounts], "mounts")
    _require_unique([config.path for config in description.configs], "configs")
    for path in {config.path for config in description.configs} & {mount.target for mount in description.mounts}:
        _require(False, f"configs: '{path}': mounts has the same target, leave one of them out")
    _require_unique([f"{port.address}:{port.host}/{port.protocol}" for port in description.ports], "ports")
    _require(not description.ports or bool(description.networks), "ports: publishing a port needs a network")
    _require(
        not description.ports or description.update.order == "stop_first",
        "ports: two containers can't hold a published port at once, set update.order to stop_first",
    )
    _require(
        not description.ports or description.replicas == 1,
        "ports: several replicas can't hold one published port, leave ports out or set replicas to 1",
    )
    _require(
        not description.placement.each_host or description.replicas == 1,
        "placement.each_host: one container runs on each host, leave replicas out",
    )
    _require(
        not description.ready_check or description.healthcheck is not None,
        "ready_check: it goes before the health check, give healthcheck too",
    )
