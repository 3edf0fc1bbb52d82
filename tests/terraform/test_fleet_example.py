# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example fleet is applied to a simulated AWS, changed and destroyed, by the real provider."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from aws_simulation import REGION, client
from examples import assert_nothing_is_left, default_security_group_rules, example, instances

HOSTS = "module.platform.module.hosts"


def test_a_fleet_comes_grows_shrinks_and_goes(aws: str, tmp_path: Path) -> None:
    fleet = example("fleet", aws, tmp_path)

    fleet.apply()
    inventory = fleet.outputs()["ansible_inventory"]

    there = instances(aws)
    assert sorted(there) == ["data-1", "gateway-1", "model-1", "model-2", "storage-1"]
    assert set(inventory) == {"version", "hosts", "groups", "vars"}
    assert {name: host["groups"] for name, host in inventory["hosts"].items()} == {
        "gateway-1": ["gateway"],
        "model-1": ["model_servers"],
        "model-2": ["model_servers"],
        "data-1": ["cache_servers", "monitoring_servers"],
        "storage-1": ["storage_servers"],
    }
    private = {name: host["vars"]["llm_private_address"] for name, host in inventory["hosts"].items()}
    assert private == {name: instance["PrivateIpAddress"] for name, instance in there.items()}
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("10.0.0.0/16") for address in private.values())
    gateway = fleet.outputs()["gateway_addresses"]["gateway-1"]
    assert inventory["hosts"]["gateway-1"]["address"] == gateway == there["gateway-1"]["PublicIpAddress"]
    assert inventory["hosts"]["model-1"]["vars"]["ansible_ssh_common_args"] == f"-o ProxyJump=admin@{gateway}"
    assert inventory["vars"] == {"ansible_user": "admin", "llm_aws_region": REGION, "llm_engine": "swarm"}

    # What AWS really has, whatever was planned.
    assert [name for name, instance in there.items() if "PublicIpAddress" in instance] == ["gateway-1"]
    assert {instance["MetadataOptions"]["HttpTokens"] for instance in there.values()} == {"required"}
    assert {volume["Encrypted"] for volume in client("ec2", aws).describe_volumes()["Volumes"]} == {True}
    assert default_security_group_rules(aws) == []

    assert fleet.plan() == {}, "a second apply changes nothing"

    # A host more and a host less, which touch no other.
    added = fleet.plan(model_hosts=3)
    assert added == {f'{HOSTS}.aws_instance.this["model-3"]': ["create"]}
    fleet.apply(model_hosts=3)
    grown = fleet.outputs()["ansible_inventory"]["hosts"]
    assert {name: host for name, host in grown.items() if name != "model-3"} == inventory["hosts"]
    removed = fleet.plan()
    assert removed == {f'{HOSTS}.aws_instance.this["model-3"]': ["delete"]}

    fleet.destroy(model_hosts=3)
    assert_nothing_is_left(aws)
