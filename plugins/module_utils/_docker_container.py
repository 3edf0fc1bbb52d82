# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container as the Docker Engine tells of it, and what several of them say of their service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import read_record
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Instance, Release, Service


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
        return read_record(self.recorded)


def to_service(name: str, containers: Sequence[Container]) -> Service:
    """The service of these containers; of several, the one that has its name speaks for it."""
    serving = sorted((one for one in containers if not one.is_previous), key=attrgetter("name"))
    kept = [one for one in containers if one.is_previous]
    service = Service(
        name=name,
        instances=[Instance(one.id, one.name, one.health or "none") for one in serving],
        release=Release(serving[0].image, serving[0].image_id) if serving else None,
        previous=Release(kept[0].image, kept[0].image_id) if kept else None,
    )
    speakers = [*serving, *kept]
    if not speakers:
        return service
    speaker = speakers[0]
    return replace(
        service,
        state=speaker.state,
        health=speaker.health or "none",
        started_at=speaker.started_at,
        restart_count=speaker.restart_count,
        record=speaker.record,
    )
