# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import DEFAULT_UPDATE, DescriptionError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_files import SwarmFile
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_spec import (
    Parts,
    check,
    files_in,
    previous,
    service_spec,
    with_previous,
    with_replicas,
)
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import describe

SECOND = 1_000_000_000
PARTS = Parts(
    image="sha256:1",
    network_ids={"llm": "net-1", "cache": "net-2"},
    files=[SwarmFile("secret", "pw", "demo.aaa", "s-1"), SwarmFile("config", "/etc/demo.conf", "demo.bbb", "c-1")],
    user_id=10001,
    constraints=["node.labels.llm.orchestrator.group.models == true"],
    api_version=(1, 41),
)


def spec_of(parts: Parts = PARTS, **changes: Any) -> dict[str, Any]:
    return service_spec(describe("demo:1", **changes), '{"a":1}', parts)


def container_of(**changes: Any) -> dict[str, Any]:
    container: dict[str, Any] = spec_of(**changes)["TaskTemplate"]["ContainerSpec"]
    return container


def test_a_task_runs_the_very_image_hardened_on_the_described_hosts() -> None:
    template = spec_of(
        command=["serve"], env={"B": "2", "A": 1}, user="10001:10001", group_add=["4"], cap_add=["net_bind_service"]
    )["TaskTemplate"]
    container = template["ContainerSpec"]
    assert container["Image"] == "sha256:1"
    assert container["Args"] == ["serve"]
    assert container["Env"] == ["A=1", "B=2"]
    assert (container["CapabilityDrop"], container["CapabilityAdd"]) == (["ALL"], ["NET_BIND_SERVICE"])
    assert container["ReadOnly"] is True
    assert (container["User"], container["Groups"]) == ("10001:10001", ["4"])
    assert template["Placement"] == {"Constraints": ["node.labels.llm.orchestrator.group.models == true"]}
    assert template["LogDriver"] == {"Name": "json-file", "Options": {"max-size": str(10 * 2**20), "max-file": "3"}}


@pytest.mark.parametrize(("version", "has_it"), [((1, 41), False), ((1, 44), True), ((1, 50), True)])
def test_no_new_privileges_is_set_where_the_engine_knows_it(version: tuple[int, ...], has_it: bool) -> None:
    parts = Parts(**{**vars(PARTS), "api_version": version})
    container = spec_of(parts)["TaskTemplate"]["ContainerSpec"]
    assert (container.get("Privileges") == {"NoNewPrivileges": True}) is has_it


def test_labels_are_the_services_and_not_the_containers() -> None:
    spec = spec_of(labels={"traefik.enable": True})
    assert spec["Labels"]["traefik.enable"] == "true"
    assert spec["Labels"]["llm.orchestrator.service"] == "demo"
    assert spec["Labels"]["llm.orchestrator.description"] == '{"a":1}'
    assert "Labels" not in spec["TaskTemplate"]["ContainerSpec"]


def test_secrets_and_configs_are_read_by_the_containers_user_alone() -> None:
    container = container_of()
    assert container["Secrets"] == [
        {
            "File": {"Name": "pw", "UID": "10001", "GID": "0", "Mode": 0o400},
            "SecretID": "s-1",
            "SecretName": "demo.aaa",
        }
    ]
    assert container["Configs"] == [
        {
            "File": {"Name": "/etc/demo.conf", "UID": "10001", "GID": "0", "Mode": 0o400},
            "ConfigID": "c-1",
            "ConfigName": "demo.bbb",
        }
    ]
    assert files_in(spec_of()) == {"s-1", "c-1"}


def test_names_lead_to_the_tasks_and_ports_to_the_host() -> None:
    port = {"address": "0.0.0.0", "host": 8080, "container": 80, "protocol": "tcp"}
    spec = spec_of(
        order="stop_first",
        ports=[port],
        networks=[{"name": "llm", "aliases": ["api"]}, {"name": "cache", "aliases": []}],
    )
    assert spec["EndpointSpec"] == {
        "Mode": "dnsrr",
        "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}],
    }
    assert spec["TaskTemplate"]["Networks"] == [
        {"Target": "net-1", "Aliases": ["demo", "api"]},
        {"Target": "net-2", "Aliases": ["demo"]},
    ]


def test_mounts_are_as_on_one_host() -> None:
    common = {"read_only": False, "size": None, "propagation": None}
    mounts = [
        {**common, "type": "volume", "source": "data", "target": "/data"},
        {**common, "type": "bind", "source": "/srv", "target": "/srv", "read_only": True, "propagation": "rslave"},
        {**common, "type": "tmpfs", "source": None, "target": "/tmp", "size": "1m"},
    ]
    volume, bind, tmpfs = container_of(mounts=mounts)["Mounts"]
    assert volume["VolumeOptions"] == {"Labels": {"llm.orchestrator.service": "demo"}}
    assert (bind["ReadOnly"], bind["BindOptions"]) == (True, {"Propagation": "rslave"})
    assert tmpfs == {
        "Type": "tmpfs",
        "Target": "/tmp",
        "ReadOnly": False,
        "TmpfsOptions": {"SizeBytes": 2**20, "Mode": 0o1777},
    }


def test_limits_are_those_that_are_set() -> None:
    resources = {"memory": "64m", "cpus": 0.5, "pids": None}
    limits = spec_of(resources=resources)["TaskTemplate"]["Resources"]["Limits"]
    assert limits == {"MemoryBytes": 2**26, "NanoCPUs": SECOND // 2}


@pytest.mark.parametrize(
    ("policy", "condition"),
    [("no", "none"), ("on-failure", "on-failure"), ("unless-stopped", "any"), ("always", "any")],
)
def test_the_restart_policy_has_the_swarms_name(policy: str, condition: str) -> None:
    assert spec_of(restart_policy=policy)["TaskTemplate"]["RestartPolicy"] == {"Condition": condition}


def test_an_update_is_gated_and_undone_by_the_swarm() -> None:
    policy = {**vars(DEFAULT_UPDATE), "parallelism": 2}
    spec = spec_of(update=policy)
    assert spec["UpdateConfig"] == {
        "Parallelism": 2,
        "Order": "start-first",
        "FailureAction": "rollback",
        "Monitor": 2 * SECOND,
        "MaxFailureRatio": 0,
    }
    assert spec["RollbackConfig"] == {**spec["UpdateConfig"], "FailureAction": "pause"}
    assert spec_of(update={**policy, "on_failure": "pause"})["UpdateConfig"]["FailureAction"] == "pause"
    assert spec_of(order="stop_first")["UpdateConfig"]["Order"] == "stop-first"


@pytest.mark.parametrize(("drain", "seconds"), [(None, 30), (10, 30), (90, 90)])
def test_a_stop_takes_the_longer_of_the_two_times(drain: int | None, seconds: int) -> None:
    update = {**vars(DEFAULT_UPDATE), "drain_timeout": drain}
    assert container_of(update=update)["StopGracePeriod"] == seconds * SECOND


def test_the_health_check_waits_for_the_ready_check() -> None:
    check_ = {"test": ["CMD", "ok"], "interval": 1, "timeout": 3, "retries": 3, "start_period": 60}
    health = container_of(healthcheck=check_, ready_check=["generate"])["Healthcheck"]
    assert "generate" in health["Test"][1]


@pytest.mark.parametrize(
    ("order", "start_period", "gate"), [("start_first", 60, 120), ("start_first", 300, 300), ("stop_first", 60, 60)]
)
def test_no_new_container_is_unhealthy_before_the_time_for_it_is_over(
    order: str, start_period: float, gate: int
) -> None:
    check_ = {"test": ["CMD", "ok"], "interval": 1, "timeout": 3, "retries": 3, "start_period": start_period}
    update = {**vars(DEFAULT_UPDATE), "order": order, "ready_timeout": 120}
    assert container_of(healthcheck=check_, update=update)["Healthcheck"]["StartPeriod"] == gate * SECOND


def test_a_service_has_replicas_or_runs_on_each_host() -> None:
    assert spec_of(replicas=3)["Mode"] == {"Replicated": {"Replicas": 3}}
    assert spec_of(placement={"group": "models", "each_host": True})["Mode"] == {"Global": {}}
    assert with_replicas(spec_of(replicas=3), 0)["Mode"] == {"Replicated": {"Replicas": 0}}


def test_a_release_carries_the_one_before_and_no_more() -> None:
    first, second, third = spec_of(env={"A": 1}), spec_of(env={"A": 2}), spec_of(env={"A": 3}, replicas=2)
    assert previous(first) is None
    second = with_previous(second, first)
    third = with_previous(third, second)
    before = previous(third)
    assert before is not None
    assert before["TaskTemplate"] == second["TaskTemplate"]
    assert before["Mode"] == {"Replicated": {"Replicas": 2}}
    assert previous(before) is None
    assert previous(with_previous(third, None)) is None
    assert previous({"Labels": {"llm.orchestrator.previous": "[1]"}, "Mode": {}}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": "all"}, "gpus: a Swarm hands out no GPUs, run this service with engine=docker"),
        ({"pid_mode": "host"}, "pid_mode: a Swarm shares no host's processes, run this service with engine=docker"),
        ({"networks": []}, "networks: a Swarm runs no service without a network, name one"),
        (
            {
                "order": "stop_first",
                "ports": [{"address": "127.0.0.1", "host": 80, "container": 80, "protocol": "tcp"}],
            },
            "ports: a Swarm can't publish port 80 on 127.0.0.1 alone, set address to 0.0.0.0 "
            "and let a firewall keep out whom it should",
        ),
        (
            {"secrets": [{"name": "pw", "value": "x" * (500 * 1024 + 1)}]},
            "secrets: 'pw' is larger than 500 KiB, the most that a Swarm's secret holds",
        ),
        (
            {"configs": [{"path": "/etc/demo.conf", "content": "x" * (500 * 1024 + 1)}]},
            "configs: '/etc/demo.conf' is larger than 500 KiB, the most that a Swarm's config holds",
        ),
    ],
)
def test_what_a_swarm_cannot_do_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        check(describe("demo:1", **changes))
    assert str(caught.value) == message
