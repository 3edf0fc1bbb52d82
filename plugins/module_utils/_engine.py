# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules ask of an engine, and what they get back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import differences, masked
from ansible_collections.llm.orchestrator.plugins.module_utils._description import Description

_KILLED = 128 + 9


class EngineError(Exception):
    """One line for a person: what failed, where, and what to do. The log holds a failed container's end.

    Of a change that failed, rolled_back is whether the service is again as it was before.
    """

    def __init__(self, message: str, log: Sequence[str] = (), rolled_back: bool | None = None) -> None:
        super().__init__(message)
        self.log = list(log)
        self.rolled_back = rolled_back


def unusable_file(error: OSError) -> EngineError:
    return EngineError(f"can't use {error.filename} ({error.strerror})")


def memory_limit(record: Mapping[str, Any]) -> str:
    """What a message about memory says of the limit in a description's record."""
    limit = record.get("resources", {}).get("memory")
    return f", its limit is {limit / 2**20:.0f} MiB" if limit else ""


def exit_cause(code: int, record: Mapping[str, Any]) -> str:
    # A busy engine can miss the kernel's word that memory ran out, and nobody else kills a new container.
    doubt = f", killed, probably for lack of memory{memory_limit(record)}" if code == _KILLED else ""
    return f"its container exited with code {code}{doubt}"


@dataclass(frozen=True)
class Outlook:
    """How things stand after a change that failed, in words, and whether that is as before."""

    words: str
    is_as_before: bool

    def of(self, error: EngineError) -> EngineError:
        """The error of that change, with how it ended."""
        return EngineError(f"{error}; {self.words}", error.log, rolled_back=self.is_as_before)


@dataclass(frozen=True)
class Instance:
    """One of a service's containers; its host is told where the engine spans several."""

    id: str
    name: str
    health: str
    host: str = ""


@dataclass(frozen=True)
class Release:
    image: str
    image_id: str


@dataclass(frozen=True)
class Service:
    """A service as it was a moment ago; without a release, there is none of that name."""

    name: str
    instances: Sequence[Instance] = ()
    release: Release | None = None
    previous: Release | None = None
    state: str = "absent"
    health: str = "none"
    started_at: str = ""
    restart_count: int = 0
    # The record of its description, or an empty one if it can't be read.
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be: before and after hold only what differs."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    service: Service

    @classmethod
    def of(cls, before: Mapping[str, Any], after: Mapping[str, Any], service: Service) -> Outcome:
        """The outcome of a change from before to after, both told whole."""
        old, new = differences(before, after)
        return cls(masked(old), masked(new), service)

    @property
    def changed(self) -> bool:
        return bool(self.before or self.after)


class Engine(Protocol):
    """Makes services true. With check_mode, each verb says what it would do and does nothing."""

    def services(self, name: str | None) -> list[Service]:
        """One service if it is there, or all, by name."""

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
