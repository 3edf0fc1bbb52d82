# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The description of one service: what its container has to be, whatever engine runs it.

_description_parsing builds it once from a module's parameters, with every rule checked; it never changes.
_description_record has its plain form, which is kept on the container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL_PREFIX = "llm.orchestrator."
LABEL_SERVICE = LABEL_PREFIX + "service"
LABEL_DESCRIPTION = LABEL_PREFIX + "description"
LABEL_UPDATE = LABEL_PREFIX + "update"
LABEL_PREVIOUS = LABEL_PREFIX + "previous"

SECRETS_FOLDER = "/run/secrets"


class DescriptionError(ValueError):
    """A description breaks a rule; the message says which and what is allowed."""


def secret_path(name: str) -> str:
    """Where a container finds the secret of that name."""
    return f"{SECRETS_FOLDER}/{name}"


@dataclass(frozen=True)
class Secret:
    name: str
    value: str = field(repr=False)

    @property
    def path(self) -> str:
        return secret_path(self.name)


@dataclass(frozen=True)
class Config:
    """A file that the container reads, by its path there."""

    path: str
    content: str


@dataclass(frozen=True)
class Mount:
    type: str
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None
    propagation: str | None = None


@dataclass(frozen=True)
class Network:
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Port:
    container: int
    host: int
    address: str = "127.0.0.1"
    protocol: str = "tcp"


@dataclass(frozen=True)
class Healthcheck:
    """Durations are in seconds."""

    test: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    start_period: float


@dataclass(frozen=True)
class Resources:
    """Memory is in bytes, cpus in whole or part processors; None means no limit."""

    memory: int | None
    cpus: float | None
    pids: int | None


@dataclass(frozen=True)
class LogRotation:
    max_size: int
    max_files: int


@dataclass(frozen=True)
class Gateway:
    """The proxy in front: the service that is it, and the port of its metrics."""

    name: str
    port: int


@dataclass(frozen=True)
class Update:
    """How a container is replaced; durations are in seconds.

    Not part of the record that is compared: it describes the way, not the container. It has a label of its own, so
    that what acts on a service without its description knows it.
    """

    order: str = "start_first"
    parallelism: int = 1
    ready_timeout: float = 120
    drain_timeout: int | None = None
    on_failure: str = "rollback"
    gateway: Gateway | None = None


DEFAULT_UPDATE = Update()


@dataclass(frozen=True)
class Placement:
    """Which hosts run the service, for an engine that spans several."""

    group: str | None = None
    each_host: bool = False


@dataclass(frozen=True)
class Description:
    name: str
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    secrets: tuple[Secret, ...]
    configs: tuple[Config, ...]
    mounts: tuple[Mount, ...]
    networks: tuple[Network, ...]
    labels: Mapping[str, str]
    ports: tuple[Port, ...]
    healthcheck: Healthcheck | None
    ready_check: tuple[str, ...]
    resources: Resources
    gpus: str | None
    restart_policy: str
    log: LogRotation
    user: str | None
    group_add: tuple[str, ...]
    read_only: bool
    cap_add: tuple[str, ...]
    pid_mode: str | None
    stop_timeout: int
    replicas: int
    placement: Placement
    update: Update
