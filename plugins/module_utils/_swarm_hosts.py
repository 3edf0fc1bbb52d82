# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts of the Swarm may run a service, by their labels.

    llm.orchestrator.group.<group> = true          the host is in that group of the inventory
    llm.orchestrator.volume.<volume> = <service>   it holds that volume, made for that service

A volume is on one host alone, so what mounts it has to be there: the label outlives the service, as the volume does.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.llm.orchestrator.plugins.module_utils._description import LABEL_PREFIX, Description
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import Node, Task

LABEL_GROUP = LABEL_PREFIX + "group."
LABEL_VOLUME = LABEL_PREFIX + "volume."

_CONSTRAINT = "node.labels.{} == {}"


def group_label(group: str) -> str:
    return LABEL_GROUP + group


def volume_label(volume: str) -> str:
    return LABEL_VOLUME + volume


def volumes_of(description: Description) -> list[str]:
    """The volumes that bind the service to a host; one that runs on each host has its own on each."""
    if description.placement.each_host:
        return []
    return sorted({str(mount.source) for mount in description.mounts if mount.type == "volume"})


def constraints(description: Description, nodes: Sequence[Node]) -> list[str]:
    """What a host has to be to run the service, in the Swarm's words."""
    group = description.placement.group
    wanted = [_CONSTRAINT.format(group_label(group), "true")] if group else []
    for volume in volumes_of(description):
        holder = holder_of(volume, nodes)
        owner = holder.labels[volume_label(volume)] if holder else description.name
        wanted.append(_CONSTRAINT.format(volume_label(volume), owner))
    return wanted


def holder_of(volume: str, nodes: Sequence[Node]) -> Node | None:
    return next((node for node in nodes if volume_label(volume) in node.labels), None)


def held_for(service: str, nodes: Sequence[Node]) -> list[tuple[str, Node]]:
    """The volumes that were made for a service, each with the host that holds it."""
    return [
        (label[len(LABEL_VOLUME) :], node)
        for node in nodes
        for label, owner in sorted(node.labels.items())
        if label.startswith(LABEL_VOLUME) and owner == service
    ]


def fitting(nodes: Sequence[Node], wanted: Sequence[str]) -> list[Node]:
    """The hosts that the Swarm can place a task on now."""
    return [node for node in nodes if node.is_usable and all(_meets(node, one) for one in wanted)]


def is_uneven(tasks: Sequence[Task], nodes: Sequence[Node], wanted: Sequence[str]) -> bool:
    """Whether, of the hosts that may run these tasks, one runs two more than another."""
    counts = [sum(task.is_running and task.node_id == node.id for task in tasks) for node in fitting(nodes, wanted)]
    return bool(counts) and max(counts) - min(counts) > 1


def choose_holder(description: Description, nodes: Sequence[Node], here: str, volumes_here: Sequence[str]) -> Node:
    """The host for the service's volumes that no host holds yet; here is the ID of the one that this runs on.

    It is the one that holds the service's other volumes; else this one, if it has a volume of that name; else the one
    with the fewest.
    """
    group = description.placement.group
    candidates = fitting(nodes, [_CONSTRAINT.format(group_label(group), "true")] if group else [])
    if not candidates:
        raise EngineError(_no_host(description))
    volumes = volumes_of(description)

    def preference(node: Node) -> tuple[bool, bool, int, str]:
        held = sum(label.startswith(LABEL_VOLUME) for label in node.labels)
        holds_another = any(volume_label(volume) in node.labels for volume in volumes)
        is_known = node.id == here and bool(set(volumes) & set(volumes_here))
        return not holds_another, not is_known, held, node.host

    return min(candidates, key=preference)


def require_host(description: Description, nodes: Sequence[Node], current: Sequence[str]) -> None:
    """Raises EngineError if no host can run the service; current are the constraints that it has now."""
    wanted = constraints(description, nodes)
    for volume in volumes_of(description):
        holder = holder_of(volume, nodes)
        if holder is None and any(f"node.labels.{volume_label(volume)} " in one for one in current):
            raise EngineError(
                f"the host that held its volume '{volume}' left the Swarm: bring it back, or label the host that has "
                f"the data now with {volume_label(volume)}={description.name}, or, to begin with an empty volume, "
                "run state=absent first"
            )
        if holder is not None and not fitting([holder], wanted):
            raise EngineError(_unfit_holder(description, volume, holder, nodes))
    if not volumes_of(description) and not fitting(nodes, wanted):
        raise EngineError(_no_host(description))


def _unfit_holder(description: Description, volume: str, holder: Node, nodes: Sequence[Node]) -> str:
    what = f"its volume '{volume}' is on {holder.host}, which "
    if not holder.is_ready:
        return what + "does not answer, bring that host back"
    if not holder.is_active:
        return what + "takes no tasks (it is drained or paused), make that host active again"
    others = [other for other in volumes_of(description) if holder_of(other, nodes) not in (None, holder)]
    if others:
        return what + f"does not hold '{others[0]}', bring both to one host"
    return what + f"is not in the group {description.placement.group}, label that host or move the volume"


def _no_host(description: Description) -> str:
    group = description.placement.group
    if not group:
        return "no host of the Swarm is ready and active"
    return (
        f"no host of the group {group} is ready and active in the Swarm: add one, "
        f"or label it with {group_label(group)}=true"
    )


def _meets(node: Node, constraint: str) -> bool:
    return any(constraint == _CONSTRAINT.format(label, value) for label, value in node.labels.items())
