# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services on a Docker Swarm, which places, heals, replaces and returns their containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import canonical_json, differences
from ansible_collections.llm.orchestrator.plugins.module_utils._description import LABEL_SERVICE, Description
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import to_record
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, Outcome, Service
from ansible_collections.llm.orchestrator.plugins.module_utils._lock import service_lock
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_facts import to_service
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_files import (
    digests,
    ensure_files,
    remove_unused,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_hosts import (
    choose_holder,
    constraints,
    held_for,
    holder_of,
    require_host,
    volume_label,
    volumes_of,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_image import resolve_image, user_id
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_rollout import SwarmRollout
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_spec import (
    Parts,
    check,
    files_in,
    previous,
    service_spec,
    with_previous,
    with_replicas,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import EACH_HOST, SwarmService, observed

_SPREAD = "spread"
# What differs without another release: the tasks that run stay.
_SCALE = {"state", "replicas", "interrupted_replacement", _SPREAD}


@dataclass(frozen=True)
class _Wanted:
    """A description, the record of it that its service carries, and what has to be true of that."""

    description: Description
    record: Mapping[str, Any]
    target: Mapping[str, Any]
    image: Mapping[str, Any] | None
    reference: str
    network_ids: Mapping[str, str]
    secret_digests: Mapping[str, str]


class SwarmEngine:
    def __init__(self, client: SwarmClient) -> None:
        self._client = client
        self._rollout = SwarmRollout(client)
        self._here = client.node_id()

    def services(self, name: str | None) -> list[Service]:
        return [self._facts(one.name, one) for one in self._client.services() if name in (None, one.name)]

    def present(self, description: Description, secrets_root: Path, check_mode: bool) -> Outcome:
        check(description)
        name = description.name
        if check_mode:
            current = self._find(name)
            wanted = self._wanted(description, current, check_mode)
            return self._outcome(name, self._observed(current), wanted.target)
        with service_lock(name):
            current = self._settled(name)
            wanted = self._wanted(description, current, check_mode)
            before = self._observed(current)
            try:
                self._make_true(wanted, current, before)
                self._rollout.even_out(name)
            except EngineError:
                with suppress(EngineError):
                    self._remove_unused_files(name)
                raise
            self._remove_unused_files(name)
            return self._outcome(name, before, wanted.target)

    def stopped(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            current = self._stoppable(self._find(name))
            return self._outcome(name, _life(current), _resting(current))
        with service_lock(name):
            current = self._stoppable(self._settled(name))
            if current and not current.is_stopped:
                self._rollout.stop(current, with_replicas(current.spec, 0))
            return self._outcome(name, _life(current), _resting(current))

    def restarted(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            return self._outcome(name, _life(self._existing(self._find(name))), {"state": "restarted"})
        with service_lock(name):
            current = self._existing(self._settled(name))
            forced = current.template.get("ForceUpdate", 0) + 1
            self._rollout.change(
                current, {**_running(current), "TaskTemplate": {**current.template, "ForceUpdate": forced}}
            )
            self._rollout.even_out(name)
            return self._outcome(name, _life(current), {"state": "restarted"})

    def rolled_back(self, name: str, check_mode: bool) -> Outcome:
        if check_mode:
            current, back = self._return(self._find(name))
            return self._outcome(name, self._observed(current), self._observed(back))
        with service_lock(name):
            current, back = self._return(self._settled(name))
            before, after = self._observed(current), self._observed(back)
            self._rollout.change(current, back.spec)
            self._rollout.even_out(name)
            return self._outcome(name, before, after)

    def absent(self, name: str, secrets_root: Path, remove_volumes: bool, check_mode: bool) -> Outcome:
        if check_mode:
            return _gone(name, self._find(name), self._removable_volumes(name) if remove_volumes else [])
        with service_lock(name):
            current = self._find(name)
            volumes = self._removable_volumes(name) if remove_volumes else []
            if current:
                self._rollout.remove(current)
            remove_unused(self._client, name, used=())
            for volume in volumes:
                self._client.remove_volume(volume)
                holder = holder_of(volume, self._client.nodes())
                if holder:
                    self._client.label_node(holder, volume_label(volume), None)
            return _gone(name, current, volumes)

    def _find(self, name: str) -> SwarmService | None:
        service = self._client.service(name)
        if service and not service.is_ours:
            raise EngineError(
                f"a service '{name}' exists that was made by other means (it lacks the label "
                f"{LABEL_SERVICE}={name}), rename or remove it first"
            )
        return service

    def _settled(self, name: str) -> SwarmService | None:
        service = self._find(name)
        return service and self._rollout.settled(service)

    def _existing(self, service: SwarmService | None) -> SwarmService:
        if service is None:
            raise EngineError("it has no container to restart, run state=present first")
        return service

    def _stoppable(self, service: SwarmService | None) -> SwarmService | None:
        if service and service.runs_on_each_host:
            raise EngineError("a Swarm can't stop and keep what runs on each host, run state=absent")
        return service

    def _return(self, service: SwarmService | None) -> tuple[SwarmService, SwarmService]:
        """The service as it is, and as a rollback makes it."""
        before = service and previous(service.spec)
        if not service or not before:
            raise EngineError("there is no release before this one to return to, run state=present instead")
        back = with_previous({**before, "Mode": _running(service)["Mode"]}, service.spec)
        return service, replace(service, spec=back, update_state="")

    def _wanted(self, description: Description, current: SwarmService | None, check_mode: bool) -> _Wanted:
        """What has to be true of the service.

        In check mode a part that is missing may well be one that an earlier task would have made.
        """
        image = self._client.image(description.image)
        reference = resolve_image(self._client, description.image, image)
        if reference is None and not check_mode:
            raise EngineError(
                f"image '{description.image}' is neither on this manager nor in a registry that it reaches, "
                "build, copy or push it first"
            )
        network_ids = {network.name: self._network_id(network.name, check_mode) for network in description.networks}
        if current and current.runs_on_each_host != description.placement.each_host:
            raise EngineError("placement.each_host can't change while the service is there, run state=absent first")
        nodes = self._client.nodes()
        if not check_mode:
            require_host(description, nodes, current.constraints if current else [])
        known = digests(self._client, description, create=not check_mode)
        placement = constraints(description, nodes)
        record = {
            **to_record(description, known),
            **({"placement": placement} if placement else {}),
            "replicas": EACH_HOST if description.placement.each_host else description.replicas,
        }
        target = {
            **record,
            "image_id": reference and reference.rsplit("@", 1)[-1],
            "network_ids": network_ids,
            "state": "running",
        }
        if description.configs:
            target["configs"] = {config.path: config.content.split("\n") for config in description.configs}
        return _Wanted(description, record, target, image, reference or "", network_ids, known)

    def _network_id(self, name: str, check_mode: bool) -> str:
        network = self._client.network(name)
        if network and network["Scope"] == "swarm":
            return str(network["Id"])
        if check_mode:
            return ""
        if network:
            raise EngineError(f"network '{name}' is this host's alone, make an overlay network of that name instead")
        raise EngineError(f"network '{name}' is not in the Swarm, create it first")

    def _make_true(self, wanted: _Wanted, current: SwarmService | None, before: Mapping[str, Any]) -> None:
        old, new = differences(before, wanted.target)
        differing = {*old, *new}
        if current and differing <= {_SPREAD}:
            self._rollout.await_ready(current)
            return
        self._hold_volumes(wanted.description)
        spec = service_spec(wanted.description, canonical_json(wanted.record), self._parts(wanted))
        if current is None:
            self._rollout.create(spec)
        elif differing <= _SCALE:
            spec = with_previous({**spec, "TaskTemplate": current.template}, previous(current.spec))
            self._rollout.change(current, spec)
        else:
            self._rollout.change(current, with_previous(spec, current.spec))

    def _parts(self, wanted: _Wanted) -> Parts:
        description = wanted.description
        has_files = bool(description.secrets or description.configs)
        return Parts(
            image=wanted.reference,
            network_ids=wanted.network_ids,
            user_id=user_id(description, wanted.image) if has_files else 0,
            files=ensure_files(self._client, description, wanted.secret_digests),
            constraints=constraints(description, self._client.nodes()),
            api_version=self._client.api_version,
        )

    def _hold_volumes(self, description: Description) -> None:
        """Notes on a host that it holds each of the service's volumes that no host holds yet."""
        for volume in volumes_of(description):
            nodes = self._client.nodes()
            if holder_of(volume, nodes) is None:
                holder = choose_holder(description, nodes, self._here, self._client.volumes())
                self._client.label_node(holder, volume_label(volume), description.name)

    def _removable_volumes(self, name: str) -> list[str]:
        """The volumes made for the service, all of them on this host; an error if another one holds some."""
        for volume, holder in held_for(name, self._client.nodes()):
            if holder.id != self._here:
                raise EngineError(
                    f"its volume '{volume}' is on {holder.host}, out of this manager's reach: run state=absent without "
                    f"remove_volumes here, then engine=docker, state=absent and remove_volumes on {holder.host}"
                )
        return self._client.volumes(name)

    def _observed(self, service: SwarmService | None) -> dict[str, Any]:
        if service is None:
            return _life(service)
        contents = {
            entry["File"]["Name"]: self._client.config_content(entry["ConfigID"]) or b""
            for entry in service.container.get("Configs") or ()
        }
        lines = {path: content.decode(errors="replace").split("\n") for path, content in contents.items()}
        return {**observed(service, lines), **({_SPREAD: "uneven"} if self._rollout.is_uneven(service) else {})}

    def _remove_unused_files(self, name: str) -> None:
        service = self._client.service(name)
        used = files_in(service.spec) if service else set()
        before = service and previous(service.spec)
        remove_unused(self._client, name, used | (files_in(before) if before else set()))

    def _outcome(self, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Outcome:
        return Outcome.of(before, after, self._facts(name, self._client.service(name)))

    def _facts(self, name: str, service: SwarmService | None) -> Service:
        if service is None:
            return Service(name)
        hosts = {node.id: node.host for node in self._client.nodes()}
        return to_service(service, self._client.tasks(service), hosts)


def _life(service: SwarmService | None) -> dict[str, Any]:
    if service is None:
        return {"state": "absent"}
    life = {"state": "stopped" if service.is_stopped else "running"}
    return {**life, "interrupted_replacement": service.update_state} if service.is_interrupted else life


def _resting(service: SwarmService | None) -> dict[str, Any]:
    return {"state": "stopped" if service else "absent"}


def _running(service: SwarmService) -> dict[str, Any]:
    """The service's specification with its replicas, also where it is stopped now."""
    if not service.is_stopped:
        return dict(service.spec)
    return with_replicas(service.spec, int(service.record.get("replicas", 1)))


def _gone(name: str, service: SwarmService | None, volumes: Sequence[str]) -> Outcome:
    """The removal of the service, and of these volumes."""
    data = {"volumes": list(volumes)} if volumes else {}
    return Outcome.of({**_life(service), **data}, {"state": "absent"}, Service(name))
