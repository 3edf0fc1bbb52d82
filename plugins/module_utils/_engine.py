# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules ask of an engine, and what they get back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.llm.orchestrator.plugins.module_utils._description import Description


class EngineError(Exception):
    """One line for a person: what failed, where, and what to do. The log holds a failed container's end."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = list(log)


def unusable_file(error: OSError) -> EngineError:
    return EngineError(f"can't use {error.filename} ({error.strerror})")


@dataclass(frozen=True)
class Container:
    """A container as it was a moment ago."""

    id: str
    name: str
    service: str
    image: str
    image_id: str
    status: str
    health: str | None
    health_output: str
    exit_code: int
    error: str
    oom_killed: bool
    restart_count: int
    started_at: str
    stop_timeout: int
    recorded: str
    recorded_update: str = ""
    # What it mounts from the host, by the paths in the container.
    files: Mapping[str, Path] = field(default_factory=dict)
    network_ids: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_previous(self) -> bool:
        """Whether it is kept for a rollback alone."""
        return self.name.endswith(".previous")

    @property
    def is_up(self) -> bool:
        return self.status == "running"

    @property
    def is_serving(self) -> bool:
        return self.is_up and self.health in (None, "healthy")

    @property
    def state(self) -> str:
        """The status in the words of the module's option: a paused or dying container serves nobody."""
        return "running" if self.status in ("running", "restarting") else "stopped"

    @property
    def record(self) -> dict[str, Any]:
        """The record of its description, or an empty one if it can't be read: then everything differs."""
        try:
            record = json.loads(self.recorded)
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be: before and after hold only what differs."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    containers: Sequence[Container]

    @property
    def changed(self) -> bool:
        return bool(self.before or self.after)


class Engine(Protocol):
    """Makes services true. With check_mode, each verb says what it would do and does nothing."""

    def services(self, name: str | None) -> list[Container]:
        """The containers of one service, or of all."""

    def present(self, description: Description, secrets_root: Path, check_mode: bool) -> Outcome:
        """Runs the service as described and returns once it is ready."""

    def stopped(self, name: str, check_mode: bool) -> Outcome:
        """Stops the service's containers and keeps them."""

    def restarted(self, name: str, check_mode: bool) -> Outcome:
        """Restarts the service's containers as they are and returns once they are ready."""

    def rolled_back(self, name: str, check_mode: bool) -> Outcome:
        """Returns the service to the containers that the present ones have replaced."""

    def absent(self, name: str, secrets_root: Path, remove_volumes: bool, check_mode: bool) -> Outcome:
        """Removes the service's containers, secrets and configs; the volumes that were made for it only if told to."""
