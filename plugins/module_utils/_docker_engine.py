# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services on one Docker Engine: each replica is a slot, and slots are replaced in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils import _container_files as container_files
from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import differences
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
    Description,
    Update,
    secret_path,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import (
    to_record,
    update_from_record,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container, to_service
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_readiness import (
    STABLE_SECONDS,
    await_ready,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_slot import Found, Slot, slot_index
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import (
    EngineError,
    Outcome,
    Outlook,
    Service,
    unusable_file,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._lock import service_lock


@dataclass(frozen=True)
class _Wanted:
    """A description, the record of it that its containers carry, and what has to be true of each."""

    description: Description
    record: Mapping[str, Any]
    target: Mapping[str, Any]


@dataclass
class _Step:
    """The replacement of one slot's container: old and new, as far as it has come."""

    slot: Slot
    old: Container | None
    new: Container | None = None


_Create = Callable[[_Step], Container]


class DockerEngine:
    def __init__(self, client: DockerClient) -> None:
        self._client = client

    def services(self, name: str | None) -> list[Service]:
        containers = self._client.containers(name)
        names = sorted({container.service for container in containers})
        return [to_service(name, [one for one in containers if one.service == name]) for name in names]

    def present(self, description: Description, secrets_root: Path, check_mode: bool) -> Outcome:
        slots = range(1, description.replicas + 1)
        if check_mode:
            found = self._look(description.name, slots)
            wanted = self._wanted(description, secrets_root, check_mode)
            return _outcome(description.name, _observed(found), _wished(wanted, found), _containers(found))
        with service_lock(description.name):
            found = self._look(description.name, slots)
            before = _observed(found)
            current = {slot: slot.recover(description.update) for slot in found}
            wanted = self._wanted(description, secrets_root, check_mode)
            kept, surplus = list(current)[: description.replicas], list(current)[description.replicas :]
            try:
                self._make_true(wanted, {slot: current[slot] for slot in kept}, secrets_root)
            except EngineError:
                with suppress(EngineError):
                    self._remove_unused_files(secrets_root, description.name)
                raise
            for slot in surplus:
                slot.remove(description.update.drain_timeout)
            self._remove_unused_files(secrets_root, description.name)
            return _outcome(description.name, before, _wished(wanted, found), self._client.containers(description.name))

    def stopped(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._look(name)
            return _outcome(name, _life(found), _resting(found), _containers(found))
        with service_lock(name):
            found = self._look(name)
            for slot in found:
                current = slot.recover(_recorded_update(found))
                if current and current.state != "stopped":
                    self._client.stop(current)
            return _outcome(name, _life(found), _resting(found), self._client.containers(name))

    def restarted(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._look(name)
            current = [kept for kept in (seen.survivor for seen in found.values()) if kept]
        else:
            with service_lock(name):
                found = self._look(name)
                current = [kept for kept in (slot.recover(_recorded_update(found)) for slot in found) if kept]
                current = [self._restart(container, _recorded_update(found)) for container in current]
        if not current:
            raise EngineError("it has no container to restart, run state=present first")
        return _outcome(name, _life(found), {"state": "restarted"}, current)

    def rolled_back(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            found = self._look(name)
            return _outcome(name, *_exchanged(found), _containers(found))
        with service_lock(name):
            found = self._look(name)
            before, after = _exchanged(found)
            update = _recorded_update(found)
            steps = [_Step(slot, slot.recover(update)) for slot in found]
            self._roll(steps, update, lambda step: step.slot.previous())
            return _outcome(name, before, after, self._client.containers(name))

    def absent(self, name: str, secrets_root: Path, remove_volumes: bool, check_mode: bool) -> Outcome:
        if check_mode:
            return _gone(name, self._look(name), self._client.volumes(name) if remove_volumes else [])
        with service_lock(name):
            found = self._look(name)
            for slot in found:
                slot.remove(_recorded_update(found).drain_timeout)
            container_files.remove_unused(secrets_root, name, used=())
            volumes = self._client.volumes(name) if remove_volumes else []
            for volume in volumes:
                self._client.remove_volume(volume)
            return _gone(name, found, volumes)

    def _look(self, name: str, wanted: Sequence[int] = (1,)) -> dict[Slot, Found]:
        """The service's slots in their order, the first and the wanted ones even where they are empty."""
        there = {slot_index(container.name) for container in self._client.containers(name)} - {0}
        slots = [Slot(self._client, name, index) for index in sorted({*there, *wanted})]
        return {slot: slot.look() for slot in slots}

    def _wanted(self, description: Description, secrets_root: Path, check_mode: bool) -> _Wanted:
        """What has to be true of each of the service's containers.

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
            key = container_files.load_key(secrets_root, create=not check_mode)
            digests = {secret.name: container_files.digest(key, secret) for secret in description.secrets}
        record = to_record(description, digests)
        target = {**record, "image_id": image_id, "network_ids": network_ids, "state": "running"}
        if description.configs:
            target["configs"] = {config.path: config.content.split("\n") for config in description.configs}
        return _Wanted(description, record, target)

    def _make_true(self, wanted: _Wanted, current: Mapping[Slot, Container | None], secrets_root: Path) -> None:
        description, update = wanted.description, wanted.description.update
        outdated = [_Step(slot, old) for slot, old in current.items() if _differs(old, wanted.target)]
        for slot, container in current.items():
            if container and slot not in {step.slot for step in outdated}:
                self._awaken(container, update)
        self._roll(outdated, update, lambda step: step.slot.create(description, wanted.record, secrets_root))

    def _roll(self, steps: Sequence[_Step], update: Update, create: _Create) -> None:
        """Takes the replicas from old to new, as many at a time as the policy says."""
        for first in range(0, len(steps), update.parallelism):
            try:
                self._in_step(steps[first : first + update.parallelism], update, create)
            except EngineError as error:
                if first == 0:
                    raise
                if update.on_failure == "pause":
                    raise EngineError(str(error), error.log, rolled_back=False) from error
                outlook = self._return(steps[:first], update)
                raise Outlook(outlook.words, outlook.is_as_before and bool(error.rolled_back)).of(error) from error

    def _in_step(self, batch: Sequence[_Step], update: Update, create: _Create) -> None:
        """Takes a batch from old to new: all begun, all ready, then each old one drained. Undone if one fails."""
        try:
            for step in batch:
                step.new = create(step)
                step.slot.start(step.new, step.old, update)
            ready = [(step, step.slot.await_serving(step.new, update)) for step in batch if step.new]
        except (EngineError, OSError) as error:
            cause = error if isinstance(error, EngineError) else unusable_file(error)
            ends = [step.slot.undo(step.new, step.old, update) for step in batch]
            outlook = Outlook(", ".join(end.words for end in ends), all(end.is_as_before for end in ends))
            raise outlook.of(cause) from error
        for step, new in ready:
            step.slot.promote(new, step.old, update)

    def _return(self, done: Sequence[_Step], update: Update) -> Outlook:
        """Returns replicas that were replaced already to what they ran before."""
        for step in done:
            if step.old is None:
                step.slot.remove(update.drain_timeout)
                continue
            back = _Step(step.slot, step.slot.look().current)
            try:
                self._in_step([back], update, lambda step: step.slot.previous())
            except EngineError as error:
                return Outlook(f"{step.slot.name} was replaced before and does not return: {error}", False)
        return Outlook("the replicas that were replaced before returned to the old release", True)

    def _awaken(self, container: Container, update: Update) -> None:
        """A container that is as described: started where it is down, and waited for."""
        down = container.state == "stopped"
        if down:
            self._client.start(container)
        stable = STABLE_SECONDS if down else 0
        await_ready(self._client, container, update.ready_timeout, stable, patient=True)

    def _restart(self, container: Container, update: Update) -> Container:
        self._client.restart(container)
        return await_ready(self._client, container, update.ready_timeout, STABLE_SECONDS, patient=True)

    def _remove_unused_files(self, root: Path, name: str) -> None:
        used = [file for container in self._client.containers(name) for file in container.files.values()]
        container_files.remove_unused(root, name, used)


_NOWHERE = Path("/nonexistent")
_UNLIKE = "unlike_replicas"


def _differs(container: Container | None, target: Mapping[str, Any]) -> bool:
    """Whether only another container can be what is wanted; one that is merely down can be started."""
    if container is None:
        return True
    old, new = differences(_seen(container), target)
    return bool({*old, *new} - {"state"})


def _seen(container: Container) -> dict[str, Any]:
    """What is true of a container, in the form of the target."""
    record = container.record
    if "secrets" in record:
        record["secrets"] = {
            name: digest
            for name, digest in record["secrets"].items()
            if container.files.get(secret_path(name), _NOWHERE).exists()
        }
    if "configs" in record:
        record["configs"] = {path: _lines(container.files.get(path, _NOWHERE)) for path in record["configs"]}
    wanted_networks = [network["name"] for network in record.get("networks", ())]
    return {
        **record,
        "image_id": container.image_id,
        "network_ids": {name: container.network_ids.get(name, "") for name in wanted_networks},
        "state": container.state,
    }


def _lines(file: Path) -> list[str]:
    """The text of a config, by lines as a diff shows it; none where it is lost."""
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except OSError:
        return []


def _life(found: Mapping[Slot, Found]) -> dict[str, Any]:
    """Whether the service runs, and what an interrupted run left."""
    states = [seen.survivor.state for seen in found.values() if seen.survivor]
    life: dict[str, Any] = {"state": max(states, key=states.count) if states else _resting(found)["state"]}
    interrupted = [seen.interrupted for seen in found.values() if seen.interrupted]
    if interrupted:
        life["interrupted_replacement"] = ", ".join(interrupted)
    return life


def _gone(name: str, found: Mapping[Slot, Found], volumes: Sequence[str]) -> Outcome:
    """The removal of all that was found, and of these volumes."""
    data = {"volumes": list(volumes)} if volumes else {}
    return _outcome(name, {**_life(found), **data}, {"state": "absent"}, [])


def _resting(found: Mapping[Slot, Found]) -> dict[str, Any]:
    return {"state": "stopped" if any(seen.containers for seen in found.values()) else "absent"}


def _observed(found: Mapping[Slot, Found]) -> dict[str, Any]:
    """What is true of the service: of its first replica, and of each other one that is not like it."""
    kept = {slot.name: _seen(seen.survivor) for slot, seen in found.items() if seen.survivor}
    if not kept:
        return _life(found)
    first, *others = kept.items()
    odd = {name: value for name, value in others if value != first[1]}
    interrupted = {key: value for key, value in _life(found).items() if key != "state"}
    return {**first[1], **({_UNLIKE: odd} if odd else {}), **interrupted, "replicas": len(kept)}


def _wished(wanted: _Wanted, found: Mapping[Slot, Found]) -> dict[str, Any]:
    odd = dict.fromkeys(_observed(found).get(_UNLIKE, ()), wanted.target)
    return {**wanted.target, **({_UNLIKE: odd} if odd else {}), "replicas": wanted.description.replicas}


def _exchanged(found: Mapping[Slot, Found]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a rollback changes, told by the first replica; an error if one of them has nothing to return to."""
    for slot, seen in found.items():
        if seen.previous is None:
            raise EngineError(f"{slot.name} has no release before this one to return to, run state=present instead")
    first = next(iter(found.values()))
    before = _seen(first.survivor) if first.survivor else {"state": "absent"}
    after = _seen(first.previous) if first.previous else {}
    return before, {**after, "state": "running"}


def _containers(found: Mapping[Slot, Found]) -> list[Container]:
    return [seen.survivor for seen in found.values() if seen.survivor]


def _recorded_update(found: Mapping[Slot, Found]) -> Update:
    """How the service wants its containers replaced, as its last description said."""
    for seen in found.values():
        for container in seen.containers:
            update = update_from_record(container.recorded_update)
            if update:
                return update
    return DEFAULT_UPDATE


def _outcome(name: str, before: Mapping[str, Any], after: Mapping[str, Any], now: Sequence[Container]) -> Outcome:
    return Outcome.of(before, after, to_service(name, now))
