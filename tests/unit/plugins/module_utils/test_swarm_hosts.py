# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_hosts import (
    choose_holder,
    constraints,
    fitting,
    held_for,
    require_host,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import Node
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import describe

GROUP = "llm.orchestrator.group.data"
VOLUME = "llm.orchestrator.volume.queue"
ONE = Node("n-1", "one", 1, {}, {GROUP: "true"})
TWO = Node("n-2", "two", 1, {}, {GROUP: "true"})
OTHER = Node("n-3", "other", 1, {})
HOLDER = replace(TWO, labels={GROUP: "true", VOLUME: "demo"})
MOUNT = {
    "type": "volume",
    "source": "queue",
    "target": "/data",
    "read_only": False,
    "size": None,
    "propagation": None,
}
IN_GROUP = {"group": "data", "each_host": False}
STORE = describe("demo:1", mounts=[MOUNT], placement=IN_GROUP)
STATELESS = describe("demo:1", placement=IN_GROUP)


def test_a_service_runs_on_its_group_where_its_volume_is() -> None:
    group = f"node.labels.{GROUP} == true"
    assert constraints(describe("demo:1"), [ONE]) == []
    assert constraints(STATELESS, [ONE]) == [group]
    assert constraints(STORE, [ONE]) == [group, f"node.labels.{VOLUME} == demo"]
    assert fitting([ONE, HOLDER, OTHER], constraints(STORE, [ONE, HOLDER, OTHER])) == [HOLDER]


def test_a_volume_made_for_another_service_is_found_by_the_name_of_that() -> None:
    theirs = replace(ONE, labels={GROUP: "true", VOLUME: "first-owner"})
    assert constraints(STORE, [theirs])[1] == f"node.labels.{VOLUME} == first-owner"
    assert held_for("first-owner", [theirs, TWO]) == [("queue", theirs)]
    assert held_for("demo", [theirs, TWO]) == []


def test_what_runs_on_each_host_has_a_volume_on_each() -> None:
    everywhere = describe("demo:1", mounts=[MOUNT], placement={"group": "data", "each_host": True})
    assert constraints(everywhere, [HOLDER]) == [f"node.labels.{GROUP} == true"]


def test_a_new_volume_goes_to_the_host_that_holds_the_fewest() -> None:
    busy = replace(ONE, labels={GROUP: "true", "llm.orchestrator.volume.a": "a"})
    assert choose_holder(STORE, [busy, TWO, OTHER], "n-1", []) == TWO
    assert choose_holder(STORE, [TWO, ONE], "n-1", []) == ONE


def test_a_volume_that_is_on_this_host_stays_there() -> None:
    busy = replace(ONE, labels={GROUP: "true", "llm.orchestrator.volume.a": "a"})
    assert choose_holder(STORE, [busy, TWO], "n-1", ["queue"]) == busy


def test_a_second_volume_joins_the_first() -> None:
    both = describe("demo:1", mounts=[MOUNT, {**MOUNT, "source": "more", "target": "/more"}], placement=IN_GROUP)
    assert choose_holder(both, [ONE, HOLDER], "n-1", ["queue"]) == HOLDER


@pytest.mark.parametrize("unusable", [replace(ONE, is_ready=False), replace(ONE, is_active=False), OTHER])
def test_a_group_without_a_usable_host_is_told(unusable: Node) -> None:
    message = (
        "no host of the group data is ready and active in the Swarm: add one, "
        "or label it with llm.orchestrator.group.data=true"
    )
    for ask in (
        lambda: require_host(STATELESS, [unusable], []),
        lambda: choose_holder(STORE, [unusable], "n-1", []),
    ):
        with pytest.raises(EngineError) as caught:
            ask()
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("holder", "message"),
    [
        (replace(HOLDER, is_ready=False), "its volume 'queue' is on two, which does not answer, bring that host back"),
        (
            replace(HOLDER, is_active=False),
            "its volume 'queue' is on two, which takes no tasks (it is drained or paused), make that host active again",
        ),
        (
            replace(HOLDER, labels={VOLUME: "demo"}),
            "its volume 'queue' is on two, which is not in the group data, label that host or move the volume",
        ),
    ],
)
def test_a_volume_whose_host_cannot_run_the_service_is_told(holder: Node, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        require_host(STORE, [ONE, holder], [])
    assert str(caught.value) == message


def test_volumes_on_two_hosts_are_told() -> None:
    both = describe("demo:1", mounts=[MOUNT, {**MOUNT, "source": "more", "target": "/more"}], placement=IN_GROUP)
    with_more = replace(ONE, labels={GROUP: "true", "llm.orchestrator.volume.more": "demo"})
    with pytest.raises(EngineError, match="is on one, which does not hold 'queue', bring both to one host"):
        require_host(both, [with_more, HOLDER], [])


def test_a_volume_whose_host_has_left_is_not_begun_anew_in_silence() -> None:
    require_host(STORE, [ONE], [])
    with pytest.raises(EngineError, match="the host that held its volume 'queue' left the Swarm: bring it back, or"):
        require_host(STORE, [ONE], constraints(STORE, [HOLDER]))
