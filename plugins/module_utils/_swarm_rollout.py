# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing a service of the Swarm, and seeing to it that a change which fails is undone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
    LABEL_UPDATE,
    Update,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import update_from_record
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_config import NANOSECONDS
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, Outlook
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_hosts import fitting, is_uneven
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_progress import (
    Goal,
    Halted,
    await_ended,
    await_goal,
    await_settled,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_spec import STABLE_SECONDS, with_replicas
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import SwarmService

_DEFAULT_STOP_SECONDS = 10


class SwarmRollout:
    def __init__(self, client: SwarmClient) -> None:
        self._client = client

    def create(self, spec: Mapping[str, Any]) -> None:
        """Makes a service and returns once all of it is ready; nothing is left of one that does not become so."""
        self._client.create(spec)
        service = self._present(str(spec["Name"]))
        try:
            self._await(service.name, self._goal(service))
        except EngineError as error:
            self.remove(service)
            raise Outlook("the new service was removed, it does not run", True).of(error) from error

    def change(self, old: SwarmService, spec: Mapping[str, Any]) -> None:
        """Takes a service to another specification and returns once all of it is ready and what it replaced has ended.

        The Swarm itself undoes an update of which a task fails. What it would wait for in vain is undone from here: a
        task that finds no host, a container that takes too long, one more replica that fails.
        """
        before = {task.id for task in self._client.tasks(old)}
        self._client.update(old, spec)
        new = self._present(old.name)
        try:
            # Only an update of what the tasks are has a judge in the Swarm.
            judged = spec["TaskTemplate"] != old.template
            self._await(new.name, self._goal(new, judged=judged, before=before))
        except Halted as error:
            paused = Outlook("the update is paused, run again to go on", False)
            raise (self._returned(old) if error.is_rolling_back else paused).of(error) from error
        except EngineError as error:
            if _update(new.spec).on_failure == "pause":
                raise Outlook("what was replaced before stays, run again to go on", False).of(error) from error
            self._client.update(self._present(old.name), old.spec)
            raise self._returned(old).of(error) from error
        await_ended(self._client, new, new.template, stop_seconds(old.spec))

    def is_uneven(self, service: SwarmService) -> bool:
        """Whether its containers could run on more hosts, as after a host was away; a stop-first service stays put."""
        if service.runs_on_each_host or _update(service.spec).order == "stop_first":
            return False
        return is_uneven(self._client.tasks(service), self._client.nodes(), service.constraints)

    def even_out(self, name: str) -> None:
        """Spreads a service's containers over its hosts, one at a time.

        The Swarm starts one more where the fewest are, and then ends one where the most are.
        """
        service = self._present(name)
        for _container in range(0 if service.runs_on_each_host else int(service.replicas)):
            service = self._present(name)
            if not self.is_uneven(service):
                return
            try:
                self.change(service, with_replicas(service.spec, int(service.replicas) + 1))
                self.change(self._present(name), service.spec)
            except EngineError as error:
                # What it says of a return is true of this step alone, not of what the run has changed before.
                cause = error.__cause__ or error
                message = f"it runs as described, but its containers can't be spread over its hosts: {cause}"
                raise EngineError(message, error.log, rolled_back=False) from error

    def await_ready(self, service: SwarmService) -> None:
        """Returns once a service that is as it should be runs, and nothing else of it: it has all its time for that."""
        self._await(service.name, self._goal(service, patient=True))
        await_ended(self._client, service, service.template, stop_seconds(service.spec))

    def settled(self, service: SwarmService) -> SwarmService | None:
        """The service once an update that an earlier run left under way has ended."""
        return await_settled(self._client, service, _timeout(service.spec))

    def stop(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        self._client.update(service, spec)
        await_ended(self._client, service, None, stop_seconds(service.spec))

    def remove(self, service: SwarmService) -> None:
        """Removes a service and returns once its containers are gone."""
        self._client.remove(service)
        await_ended(self._client, service, None, stop_seconds(service.spec))

    def _returned(self, old: SwarmService) -> Outlook:
        """Waits for the old release to be back."""
        if old.is_stopped:
            return Outlook("the service is stopped, as before", True)
        try:
            self._await(old.name, self._goal(old, patient=True))
        except EngineError as error:
            return Outlook(f"it was rolled back, but the old release does not come back: {error}", False)
        return Outlook("it was rolled back, the old release runs", True)

    def _present(self, name: str) -> SwarmService:
        service = self._client.service(name)
        if service is None:
            raise EngineError("its service was removed by someone else, run again")
        return service

    def _await(self, name: str, goal: Goal) -> None:
        await_goal(self._client, name, goal, {node.id: node.host for node in self._client.nodes()})

    def _goal(
        self, service: SwarmService, judged: bool = False, patient: bool = False, before: Collection[str] = ()
    ) -> Goal:
        if service.runs_on_each_host:
            count = len(fitting(self._client.nodes(), service.constraints))
        else:
            count = int(service.replicas)
        return Goal(
            template=service.template,
            count=count,
            timeout=_timeout(service.spec),
            stable=0 if judged or patient or service.container.get("Healthcheck") else STABLE_SECONDS,
            judged=judged,
            patient=patient,
            before=before,
        )


def stop_seconds(spec: Mapping[str, Any]) -> float:
    """How long a container of this specification may take to stop."""
    nanoseconds = spec["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod")
    return _DEFAULT_STOP_SECONDS if nanoseconds is None else float(nanoseconds / NANOSECONDS)


def _update(spec: Mapping[str, Any]) -> Update:
    return update_from_record(spec["Labels"].get(LABEL_UPDATE, "")) or DEFAULT_UPDATE


def _timeout(spec: Mapping[str, Any]) -> float:
    """How long the next container may take to be ready, with the stop that may have to come first."""
    update = _update(spec)
    return update.ready_timeout + (stop_seconds(spec) if update.order == "stop_first" else 0)
