"""The Swarm after all that was done to it is again like the inventory."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

testinfra_hosts = ["ansible://swarm-1"]


def node(host: Any, name: str) -> dict[str, Any]:
    (found,) = json.loads(host.check_output("docker node inspect %s", name))
    return dict(found)


@pytest.mark.parametrize(
    ("name", "role", "group"), [("swarm-1", "manager", "cache_servers"), ("swarm-2", "worker", "model_servers")]
)
def test_each_host_has_its_role_and_its_labels(host: Any, name: str, role: str, group: str) -> None:
    seen = node(host, name)
    assert seen["Status"]["State"] == "ready"
    assert seen["Spec"]["Role"] == role
    assert seen["Spec"]["Availability"] == "active"
    assert seen["Spec"]["Labels"] == {"llm.orchestrator.host": name, f"llm.orchestrator.group.{group}": "true"}


@pytest.mark.parametrize(("name", "internal"), [("llm", False), ("llm-data", True)])
def test_the_networks_are_the_swarms_and_encrypted_where_the_kernel_can(host: Any, name: str, internal: bool) -> None:
    (network,) = json.loads(host.check_output("docker network inspect %s", name))
    assert (network["Driver"], network["Scope"], network["Internal"]) == ("overlay", "swarm", internal)
    (addresses,) = network["IPAM"]["Config"]
    assert ip_network(addresses["Subnet"]).subnet_of(ip_network("10.201.0.0/16"))  # none of Docker's own choice
    probe = (
        "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 2 mode transport "
        "aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 64"
    )
    assert ("encrypted" in network["Options"]) is (host.run(probe).rc == 0)
