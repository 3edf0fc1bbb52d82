# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One of a service's replicas on a Docker Engine, and the containers that stand beside it.

    <slot>            the container that serves; <slot> is the service's name, or <name>.<n> from the second replica on
    <slot>.next       one that is to replace it, until it is ready and the old one has drained
    <slot>.previous   the one that it replaced, stopped: what a rollback returns to
    <slot>.undone     the one that a rollback has taken out of service, until it is the previous one

The names alone tell, after an interruption at any point, how far a replacement or a rollback had come. recover()
ends it or undoes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils import _container_files as container_files
from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import canonical_json
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_SERVICE,
    Description,
    Update,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_readiness import (
    STABLE_SECONDS,
    await_ready,
    await_route,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, Outlook

_SLOT_NAME = re.compile(r"[^.]+(?:\.([0-9]+))?(?:\.(?:next|previous|undone))?")


def slot_index(container_name: str) -> int:
    """Which replica a container of this name belongs to, from 1; 0 if the name is none of ours."""
    match = _SLOT_NAME.fullmatch(container_name)
    return int(match[1] or 1) if match else 0


@dataclass(frozen=True)
class Found:
    """What is there of a slot, as one look saw it."""

    current: Container | None
    candidate: Container | None
    previous: Container | None
    undone: Container | None

    @property
    def containers(self) -> list[Container]:
        return [one for one in (self.current, self.candidate, self.previous, self.undone) if one]

    @property
    def survivor(self) -> Container | None:
        """Which of them recovery will probably keep, as far as one look can tell."""
        for heir in (self.candidate, self.previous):
            if heir and heir.is_serving:
                return heir
        return self.current or self.undone

    @property
    def interrupted(self) -> str:
        """The container that tells of a replacement or rollback cut short, "" if there is none."""
        for left in (self.candidate, self.undone):
            if left:
                return left.name
        return self.previous.name if self.previous and self.previous.is_up else ""


class Slot:
    def __init__(self, client: DockerClient, service: str, index: int) -> None:
        self._client = client
        self._service = service
        self.name = service if index == 1 else f"{service}.{index}"
        self._next = f"{self.name}.next"
        self._previous = f"{self.name}.previous"
        self._undone = f"{self.name}.undone"

    def look(self) -> Found:
        names = (self.name, self._next, self._previous, self._undone)
        ours = {container.name: container for container in self._client.containers(self._service)}
        for name in names:
            if name not in ours and self._client.find(name):
                raise EngineError(
                    f"a container '{name}' exists that was made by other means (it lacks the label "
                    f"{LABEL_SERVICE}={self._service}), rename or remove it first"
                )
        return Found(*(ours.get(name) for name in names))

    def recover(self, update: Update) -> Container | None:
        """Ends or undoes what was interrupted; returns the slot's container, which may be stopped."""
        found = self.look()
        interrupted = bool(found.interrupted)
        if found.undone:
            # Cut short amid the exchange of names: ended, or its first step taken back and then all done again.
            if found.current:
                self._keep(found.undone)
            else:
                self._client.rename(found.undone, self.name)
            found = self.look()
        current = found.current
        if current and current.status in ("dead", "removing"):
            self._client.remove(current.id)
            current = None
        old_is_up = current is not None and current.is_up
        for heir in (found.candidate, found.previous):
            # One that serves may well be all that does: whether the old one drains already, nobody can tell.
            if heir and (heir.is_serving or (heir.is_up and not old_is_up)):
                with suppress(EngineError):
                    promoted = self.promote(self.await_serving(heir, update), current, update)
                    self._client.remove(self._next)
                    return promoted
        self._discard(self._next, update)
        if found.previous and found.previous.is_up:
            self._client.stop(found.previous, update.drain_timeout)
        if current is None and found.candidate and found.previous:
            # Cut short between two renames, with a new container that has failed since.
            self._client.rename(found.previous, self.name)
            self._client.set_restart_policy(found.previous, _wanted_policy(found.previous))
            current = self._client.find(found.previous.id)
        if interrupted and current and not self._current_state(current.id).is_up:
            # Not an error yet: what is made of this container now may well replace it.
            with suppress(EngineError):
                self._client.start(current)
        return self._client.find(current.id) if current else None

    def create(self, description: Description, record: Mapping[str, Any], secrets_root: Path) -> Container:
        """Makes the new container, with its files; it is not started."""
        files = container_files.write_files(secrets_root, self._service, description.secrets, description.configs)
        container_id = self._client.create(description, self._next, canonical_json(record), files)
        if files:
            container_files.hand_over(files.values(), self._client.user_id(container_id))
        return self._current_state(container_id)

    def previous(self) -> Container:
        """The container that a rollback starts again, under its name: the name is only lost once it is ready."""
        previous = self.look().previous
        if previous is None:
            raise EngineError(f"{self.name} has no release before this one to return to")
        return previous

    def start(self, new: Container, old: Container | None, update: Update) -> None:
        """Starts a container that is to replace the old one, beside it or after it has stopped."""
        if old and update.order == "stop_first":
            self._client.stop(old, update.drain_timeout)
        self._client.start(new)

    def await_serving(self, new: Container, update: Update) -> Container:
        """Returns the new container once it is ready and the gateway, if there is one, sends it requests."""
        ready = await_ready(self._client, new, update.ready_timeout, STABLE_SECONDS)
        await_route(self._client, ready, update)
        return ready

    def promote(self, ready: Container, old: Container | None, update: Update) -> Container:
        """Drains the old container and gives the ready one its name; the old one is kept as the previous."""
        # Each step leaves a state that recover() ends in the same way, so their order matters.
        self._client.set_restart_policy(ready, _wanted_policy(ready))
        left = self._client.find(old.id) if old else None
        if left and left.state == "running":
            self._client.stop(left, update.drain_timeout)
        if left and ready.name == self._previous:
            self._client.rename(left, self._undone)
            self._client.rename(ready, self.name)
            self._keep(left)
        else:
            if left:
                self._keep(left)
            self._client.rename(ready, self.name)
        return self._current_state(ready.id)

    def _keep(self, stopped: Container) -> None:
        self._client.remove(self._previous)
        self._client.set_restart_policy(stopped, "no")
        self._client.rename(stopped, self._previous)

    def undo(self, new: Container | None, old: Container | None, update: Update) -> Outlook:
        """Puts the new container out of the way and sees to the old one."""
        if new and new.name == self._previous:
            self._client.stop(new, update.drain_timeout)
            gone = "the previous container was stopped"
        else:
            gone = "the new container was removed" if self._discard(self._next, update) else "nothing was started"
        if old is None:
            return Outlook(f"{gone}, the service does not run", True)
        if old.state == "stopped":
            return Outlook(f"{gone}, the old one is kept and does not run, as before", True)
        left = self._current_state(old.id)
        if left.is_up:
            return Outlook(f"{gone}, the old one runs on", True)
        try:
            self._client.start(left)
            await_ready(self._client, left, update.ready_timeout, STABLE_SECONDS, patient=True)
        except EngineError as error:
            return Outlook(f"{gone}, but the old one does not come back: {error}", False)
        return Outlook(f"{gone}, the old one runs again", True)

    def _discard(self, name: str, update: Update) -> bool:
        """Removes a container if it is there; one that the gateway may send requests to is drained first."""
        container = self._client.find(name)
        if container is None:
            return False
        if container.is_serving:
            self._client.stop(container, update.drain_timeout)
        self._client.remove(container.id)
        return True

    def remove(self, drain_timeout: int | None) -> None:
        """Drains and removes all that there is of the slot."""
        for container in self.look().containers:
            if container.state == "running":
                self._client.stop(container, drain_timeout)
            self._client.remove(container.id)

    def _current_state(self, container_id: str) -> Container:
        container = self._client.find(container_id)
        if container is None:
            raise EngineError(f"its container {container_id[:12]} was removed by someone else, run again")
        return container


def _wanted_policy(container: Container) -> str:
    return str(container.record.get("restart_policy", "unless-stopped"))
