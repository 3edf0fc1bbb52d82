# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services on one Docker Engine.

A service's container has the service's name. One that is to replace it is made as <name>.next, and takes
the name over once it is ready and the old one is gone. So the names alone tell, after an interruption at
any point, how far a replacement had come, and the next run ends it or undoes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils import _secrets as secret_files
from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import (
    canonical_json,
    differences,
    masked,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_SERVICE,
    Description,
    to_record,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_readiness import (
    STABLE_SECONDS,
    await_ready,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import (
    Container,
    EngineError,
    Outcome,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._lock import service_lock


@dataclass(frozen=True)
class _Found:
    current: Container | None
    candidate: Container | None

    @property
    def containers(self) -> list[Container]:
        return [container for container in (self.current, self.candidate) if container]

    @property
    def survivor(self) -> Container | None:
        """Which of the two recovery will probably keep, as far as one look can tell."""
        if self.candidate and self.candidate.is_serving and not (self.current and self.current.is_up):
            return self.candidate
        return self.current


class DockerEngine:
    def __init__(self, client: DockerClient) -> None:
        self._client = client

    def services(self, name: str | None) -> list[Container]:
        return self._client.containers(name)

    def present(self, description: Description, secrets_root: Path, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._find(description.name)
            target = self._target(description, secrets_root, check_mode)
            return _outcome(_observed(found), target, found.containers)
        with service_lock(description.name):
            found = self._find(description.name)
            before = _observed(found)
            current = self._recover(found, description.update.ready_timeout)
            target = self._target(description, secrets_root, check_mode)
            ready = self._make_true(description, target, current, secrets_root)
            _remove_unused_secrets(secrets_root, ready)
            return _outcome(before, target, [ready])

    def stopped(self, name: str, ready_timeout: float, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._find(name)
            return _outcome(_life(found), _resting(found), found.containers)
        with service_lock(name):
            found = self._find(name)
            current = self._recover(found, ready_timeout)
            if current and current.state != "stopped":
                self._client.stop(current)
            return _outcome(_life(found), _resting(found), self._client.containers(name))

    def restarted(self, name: str, ready_timeout: float, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._find(name)
            current = found.survivor
        else:
            with service_lock(name):
                found = self._find(name)
                current = self._recover(found, ready_timeout)
                if current:
                    self._client.restart(current)
                    current = await_ready(self._client, current, ready_timeout, STABLE_SECONDS, patient=True)
        if current is None:
            raise EngineError("it has no container to restart, run state=present first")
        return _outcome(_life(found), {"state": "restarted"}, [current])

    def absent(self, name: str, secrets_root: Path, check_mode: bool) -> Outcome:
        if check_mode:
            return _outcome(_life(self._find(name)), {"state": "absent"}, [])
        with service_lock(name):
            found = self._find(name)
            for container in found.containers:
                self._retire(container)
            secret_files.remove_unused(secrets_root, name, used=())
            return _outcome(_life(found), {"state": "absent"}, [])

    def _find(self, name: str) -> _Found:
        ours = {container.name: container for container in self._client.containers(name)}
        for container_name in (name, _next_name(name)):
            if container_name not in ours and self._client.find(container_name):
                raise EngineError(
                    f"a container '{container_name}' exists that was made by other means (it lacks the label "
                    f"{LABEL_SERVICE}={name}), rename or remove it first"
                )
        return _Found(ours.get(name), ours.get(_next_name(name)))

    def _target(self, description: Description, secrets_root: Path, check_mode: bool) -> dict[str, Any]:
        """What has to be true of the service's container.

        In check mode a part that is missing may well be one that an earlier task would have made.
        """
        image_id = self._client.image_id(description.image)
        if image_id is None and not check_mode:
            raise EngineError(f"image '{description.image}' is not on this host, build or pull it first")
        network_ids = {network.name: self._client.network_id(network.name) for network in description.networks}
        for name, network_id in network_ids.items():
            if network_id is None and not check_mode:
                raise EngineError(f"network '{name}' is not on this host, create it first")
        digests = {}
        if description.secrets:
            key = secret_files.load_key(secrets_root, create=not check_mode)
            digests = {secret.name: secret_files.digest(key, secret) for secret in description.secrets}
        return {
            **to_record(description, digests),
            "image_id": image_id,
            "network_ids": network_ids,
            "state": "running",
        }

    def _recover(self, found: _Found, ready_timeout: float) -> Container | None:
        """Ends or undoes a replacement that was interrupted; returns the service's one container."""
        current, candidate = found.current, found.candidate
        if current and current.status in ("dead", "removing"):
            self._client.remove(current.id)
            current = None
        if candidate is None:
            return current
        old_is_up = current is not None and current.is_up
        if candidate.is_up and not old_is_up:
            with suppress(EngineError):
                ready = await_ready(self._client, candidate, ready_timeout, STABLE_SECONDS)
                return self._promote(ready, current)
        self._client.remove(candidate.id)
        if current and not old_is_up:
            # Not an error yet: what is made of this container now may well replace it.
            with suppress(EngineError):
                self._client.start(current)
        return self._client.find(current.id) if current else None

    def _make_true(
        self,
        description: Description,
        target: Mapping[str, Any],
        current: Container | None,
        secrets_root: Path,
    ) -> Container:
        old, new = differences(_observed(_Found(current, None)), target)
        differing = {*old, *new}
        if current is None or differing - {"state"}:
            return self._replace(description, target, current, secrets_root)
        if differing:
            self._client.start(current)
        return await_ready(
            self._client,
            current,
            description.update.ready_timeout,
            STABLE_SECONDS if differing else 0,
            patient=True,
        )

    def _replace(
        self,
        description: Description,
        target: Mapping[str, Any],
        old: Container | None,
        secrets_root: Path,
    ) -> Container:
        name = description.name
        try:
            files = secret_files.write_secrets(secrets_root, name, description.secrets)
            new = self._create(description, target, files)
            if old and description.update.order == "stop_first":
                self._client.stop(old)
            self._client.start(new)
            ready = await_ready(self._client, new, description.update.ready_timeout, STABLE_SECONDS)
        except (EngineError, OSError) as error:
            outlook = self._roll_back(name, old, description.update.ready_timeout)
            _remove_unused_secrets(secrets_root, old, service=name)
            raise EngineError(f"{error}; {outlook}", getattr(error, "log", ())) from error
        return self._promote(ready, old)

    def _create(self, description: Description, target: Mapping[str, Any], files: Mapping[str, Path]) -> Container:
        record = {field: value for field, value in target.items() if field not in _NOT_RECORDED}
        container_id = self._client.create(description, _next_name(description.name), canonical_json(record), files)
        if files:
            secret_files.hand_over(files.values(), self._client.user_id(container_id))
        return self._current_state(container_id)

    def _promote(self, ready: Container, old: Container | None) -> Container:
        # Each step leaves a state that _recover ends in the same way, so their order matters.
        self._client.set_restart_policy(ready, ready.record.get("restart_policy", "unless-stopped"))
        if old:
            self._retire(old)
        self._client.rename(ready, ready.service)
        return self._current_state(ready.id)

    def _retire(self, container: Container) -> None:
        left = self._client.find(container.id)
        if left and left.state == "running":
            self._client.stop(left)
        self._client.remove(container.id)

    def _roll_back(self, name: str, old: Container | None, ready_timeout: float) -> str:
        """Removes the new container and sees to the old one; returns in words how things stand."""
        self._client.remove(_next_name(name))
        if old is None:
            return "the new container was removed, the service does not run"
        if old.state == "stopped":
            return "the new container was removed, the old one is kept and does not run, as before"
        left = self._current_state(old.id)
        if left.is_up:
            return "the new container was removed, the old one runs on"
        try:
            self._client.start(left)
            await_ready(self._client, left, ready_timeout, STABLE_SECONDS, patient=True)
        except EngineError as error:
            return f"the new container was removed, but the old one does not come back: {error}"
        return "the new container was removed, the old one runs again"

    def _current_state(self, container_id: str) -> Container:
        container = self._client.find(container_id)
        if container is None:
            raise EngineError(f"its container {container_id[:12]} was removed by someone else, run again")
        return container


_NOT_RECORDED = ("image_id", "network_ids", "state")


def _next_name(name: str) -> str:
    return f"{name}.next"


def _life(found: _Found) -> dict[str, Any]:
    """Whether the service runs, and what an interrupted run left."""
    kept = found.survivor
    life: dict[str, Any] = {"state": kept.state if kept else "absent"}
    if found.candidate:
        life["interrupted_replacement"] = found.candidate.name
    return life


def _resting(found: _Found) -> dict[str, Any]:
    return {"state": "stopped" if found.survivor else "absent"}


def _observed(found: _Found) -> dict[str, Any]:
    """What is true of the service's container, in the form of the target."""
    kept = found.survivor
    if kept is None:
        return _life(found)
    record = kept.record
    secrets = record.get("secrets", {})
    lost = {name for name in secrets if name not in kept.secret_files or not kept.secret_files[name].exists()}
    if lost:
        record["secrets"] = {name: value for name, value in secrets.items() if name not in lost}
    wanted_networks = [network["name"] for network in record.get("networks", ())]
    return {
        **record,
        "image_id": kept.image_id,
        "network_ids": {name: kept.network_ids.get(name, "") for name in wanted_networks},
        **_life(found),
    }


def _outcome(before: Mapping[str, Any], after: Mapping[str, Any], containers: list[Container]) -> Outcome:
    old, new = differences(before, after)
    return Outcome(masked(old), masked(new), containers)


def _remove_unused_secrets(root: Path, kept: Container | None, service: str = "") -> None:
    used = kept.secret_files.values() if kept else ()
    secret_files.remove_unused(root, kept.service if kept else service, used)
