# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a change of a service until it is true, or until the Swarm has undone it."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._docker_connection import explain, one_line
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, exit_cause
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import SwarmService, Task

_POLL = 0.3
_LOG_LINES = 20
# How long a task may find no host: the one before it may still have to leave its port.
_PLACING_SECONDS = 10.0
# How long there may be one task too many while nothing changes: one that goes takes less.
_SURPLUS_SECONDS = 3.0
# What an engine and its manager need beyond the time that a container has to stop.
_STOPPING_SECONDS = 20.0
_EXITED = re.compile(r"task: non-zero exit \((\d+)\)")
_NO_IMAGE = re.compile(r"No such image: (\S+)")
_UNDOING = ("rollback_started", "rollback_paused", "rollback_completed")


class Halted(EngineError):
    """The Swarm itself has ended a change that failed: it rolls back, or waits for a person."""

    def __init__(self, message: str, log: Sequence[str], update_state: str) -> None:
        super().__init__(message, log)
        self.is_rolling_back = update_state in _UNDOING


@dataclass(frozen=True)
class Goal:
    """What has to be true: so many tasks of this template, and none of another.

    Of an update, the Swarm is the judge: it says when it has failed. Anything else fails with the first of its tasks
    that ends, those aside that were there before, unless there is patience with what is known to have worked. What
    fails of another template is no reason then: that of a bad release does, while the one before comes back.
    Durations are in seconds, the timeout is for each next task to be ready.
    """

    template: Mapping[str, Any]
    count: int
    timeout: float
    stable: float = 0
    judged: bool = False
    patient: bool = False
    before: Collection[str] = ()


def await_goal(client: SwarmClient, name: str, goal: Goal, hosts: Mapping[str, str]) -> SwarmService:
    """Returns the service once the goal is reached; raises Halted or EngineError with the cause where it is not.

    hosts are the names of the Swarm's nodes by their IDs.
    """
    deadline = time.monotonic() + goal.timeout
    running_since: dict[str, float] = {}
    placing_since: dict[str, float] = {}
    surplus_since: float | None = None
    while True:
        service = client.service(name)
        if service is None:
            raise EngineError("its service was removed while it was waited for")
        tasks, now = client.tasks(service), time.monotonic()
        fresh = [task for task in tasks if task.is_of(goal.template)]
        witnesses = tasks if goal.judged else fresh
        if _is_halted(service, goal):
            raise Halted(*_failure(client, service, witnesses, goal, hosts), service.update_state)
        for since, seen in ((running_since, _running(fresh)), (placing_since, _without_host(fresh))):
            appeared = {task.id: since.get(task.id, now) for task in seen}
            if since is running_since and len(appeared) > len(since):
                deadline = now + goal.timeout
            since.clear()
            since.update(appeared)
        steady = sum(now - since >= goal.stable for since in running_since.values())
        others = any(task.is_wanted and task not in fresh for task in tasks)
        # One too many goes before long, and takes its time to stop.
        surplus = not service.runs_on_each_host and sum(task.is_wanted for task in fresh) > goal.count
        if steady >= goal.count and not surplus and not others and not service.is_changing:
            return service
        if not surplus or service.is_changing:
            surplus_since = None
        elif surplus_since is None:
            surplus_since = now
        elif now - surplus_since > _SURPLUS_SECONDS:
            # Where a task fails at the moment it is replaced, the Swarm starts another in its place twice, and leaves
            # both. Told again what it knows, it ends one of them. Where that fails, as when someone changes the service
            # at this moment, it is tried again: it is no reason to undo what runs.
            with suppress(EngineError):
                client.update(service, service.spec)
            surplus_since = None
        unplaced = any(now - since > _PLACING_SECONDS for since in placing_since.values())
        crashed = not (goal.judged or goal.patient) and any(_has_newly_failed(task, goal) for task in fresh)
        if crashed or unplaced or now > deadline:
            raise EngineError(*_failure(client, service, witnesses, goal, hosts))
        time.sleep(_POLL)


def await_settled(client: SwarmClient, service: SwarmService, timeout: float) -> SwarmService | None:
    """Lets an update or a rollback that is under way end; returns the service as it is then, or after the timeout."""
    deadline = time.monotonic() + timeout
    seen: SwarmService | None = service
    while seen and seen.is_changing and time.monotonic() < deadline:
        time.sleep(_POLL)
        seen = client.service(service.name)
    return seen


def await_ended(client: SwarmClient, service: SwarmService, kept: Mapping[str, Any] | None, stopping: float) -> None:
    """Returns once no container of the service runs but the wanted ones of the kept template, or the time is over.

    A host that does not answer is not waited for: nobody knows what runs there.
    """
    deadline = time.monotonic() + stopping + _STOPPING_SECONDS
    lost = {node.id for node in client.nodes() if not node.is_ready}
    while time.monotonic() < deadline:
        tasks = [task for task in client.tasks(service) if task.is_alive and task.node_id not in lost]
        if kept is not None:
            tasks = [task for task in tasks if not (task.is_wanted and task.is_of(kept))]
        if not tasks:
            return
        time.sleep(_POLL)


def _is_halted(service: SwarmService, goal: Goal) -> bool:
    if goal.judged:
        return service.is_interrupted or service.update_state in _UNDOING
    # Another state may be that of an earlier update.
    return service.update_state == "rollback_paused"


def _running(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.is_running]


def _without_host(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.is_wanted and task.state == "pending" and task.error]


def _has_newly_failed(task: Task, goal: Goal) -> bool:
    return task.has_failed and task.id not in goal.before


def _failure(
    client: SwarmClient, service: SwarmService, tasks: Sequence[Task], goal: Goal, hosts: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Why the goal is not reached, in one line, and the end of the log of the container that tells it."""
    failed = [task for task in tasks if _has_newly_failed(task, goal)]
    waiting = [task for task in tasks if task.is_wanted and not task.is_running]
    witness = max(failed or _without_host(waiting) or waiting, key=lambda task: task.since, default=None)
    if witness is None:
        return f"its tasks were not ready within {goal.timeout:g} s", []
    log = client.last_log_lines(service, witness, _LOG_LINES) if witness.container_id else []
    return cause(witness, service.record, hosts.get(witness.node_id, ""), goal.timeout), log


def cause(task: Task, record: Mapping[str, Any], host: str, timeout: float) -> str:
    """Why a task does not run, in one line."""
    where = f" on {host}" if host else ""
    if "unhealthy container" in task.error:
        return f"its container{where} is unhealthy"
    if task.state == "complete" and task.template["ContainerSpec"].get("Healthcheck"):
        # An unhealthy container is told to stop, and the Swarm remembers no more of one that does so in good order.
        return f"its container{where} is unhealthy, or ended by itself with code 0"
    exited = _EXITED.search(task.error)
    if exited or task.state == "complete":
        return exit_cause(int(exited[1]) if exited else 0, record) + where
    if "host-mode port already in use" in task.error:
        return "another service has its published port on every host that may run it, free it or publish another"
    if task.state == "pending" and task.error:
        return f"no host can run it: {one_line(task.error)}"
    missing = _NO_IMAGE.search(task.error)
    if missing:
        name = record.get("image", missing[1])
        return f"image '{name}' ({missing[1]}) is not{where}, copy it there or push it to a registry"
    if task.error:
        return explain(task.error, f"its container{where} did not start", host or "its host")
    return f"its container{where} was not ready within {timeout:g} s"
