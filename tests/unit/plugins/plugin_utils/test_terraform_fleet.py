# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from ansible.errors import AnsibleParserError
from ansible_collections.llm.orchestrator.plugins.plugin_utils._terraform_fleet import (
    Fleet,
    FleetHost,
    known_groups,
    read_fleet,
)

KNOWN = known_groups([])
FLEET: dict[str, Any] = {
    "version": 1,
    "hosts": {
        "gw-1": {"address": "10.0.1.10", "groups": ["gateway", "monitoring_servers"], "vars": {"zone": "a"}},
        "model-1.example.org": {"address": "model-1.example.org", "groups": ["model_servers"]},
    },
    "groups": {"model_servers": {"vars": {"slots": 8}}, "cache_servers": {}},
    "vars": {"ansible_user": "admin"},
}
LEFT_OUT = object()


def changed(*path: str, to: Any) -> Any:
    """The fleet with another value at one place of it."""
    if not path:
        return to
    fleet = copy.deepcopy(FLEET)
    parent = fleet
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = to
    if to is LEFT_OUT:
        del parent[path[-1]]
    return fleet


def test_hosts_have_an_address_groups_and_variables() -> None:
    assert read_fleet(FLEET, KNOWN) == Fleet(
        hosts={
            "gw-1": FleetHost("10.0.1.10", ("gateway", "monitoring_servers"), {"zone": "a"}),
            "model-1.example.org": FleetHost("model-1.example.org", ("model_servers",), {}),
        },
        groups={"model_servers": {"slots": 8}, "cache_servers": {}},
        vars={"ansible_user": "admin"},
    )


@pytest.mark.parametrize("absent", [LEFT_OUT, None])
@pytest.mark.parametrize(
    "path", [("groups",), ("vars",), ("hosts", "gw-1", "vars"), ("groups", "model_servers", "vars")]
)
def test_what_may_be_left_out_may_be_null_as_terraform_writes_it(path: tuple[str, ...], absent: Any) -> None:
    with_empty = read_fleet(changed(*path, to={}), KNOWN)
    assert read_fleet(changed(*path, to=absent), KNOWN) == with_empty


def test_a_group_that_is_named_twice_counts_once() -> None:
    fleet = read_fleet(changed("hosts", "gw-1", "groups", to=["gateway", "gateway"]), KNOWN)
    assert fleet.hosts["gw-1"].groups == ("gateway",)


@pytest.mark.parametrize(
    "address", ["10.0.1.10", "2001:db8::1", "gw", "gw-1.eu.example.org", "xn--bcher-kva.example", "10-0-1-10.nip.io"]
)
def test_addresses_are_ip_addresses_or_dns_names(address: str) -> None:
    assert read_fleet(changed("hosts", "gw-1", "address", to=address), KNOWN).hosts["gw-1"].address == address


@pytest.mark.parametrize(
    "address",
    [
        "10.0.1.300",
        "10.0.1",
        "10.0.1.10/24",
        "10.0.1.10:22",
        "-oProxyCommand=id",
        "gw 1",
        "gw_1",
        "gw..example.org",
        "gw-.example.org",
        "fe80::1%eth0",
        "fe80::1%;id",
        "{{ address }}",
        "a" * 64,
        ".".join(["a" * 50] * 6),
        "10.0.1.10\n",
    ],
)
def test_nothing_else_is_an_address(address: str) -> None:
    with pytest.raises(AnsibleParserError) as caught:
        read_fleet(changed("hosts", "gw-1", "address", to=address), KNOWN)
    assert str(caught.value) == (
        "hosts.gw-1.address is not an IP address or a DNS name; check which attribute it comes from"
    )


MISTAKES: list[tuple[tuple[str, ...], Any, str]] = [
    ((), None, "the output has to be an object, it is null"),
    ((), [], "the output has to be an object, it is a list"),
    ((), "hosts", "the output has to be an object, it is a string"),
    (("version",), LEFT_OUT, "version is missing; give it: this release reads 1"),
    (("version",), None, "version is null; give it"),
    (("version",), 2, "version is 2, and this release of llm.orchestrator reads 1"),
    (("version",), 1.5, "version is 1.5, and this release"),
    (("version",), "1", "version has to be the number 1, it is a string"),
    (("version",), True, "version has to be the number 1, it is a boolean"),
    (("host",), {}, "host is not known; the output takes groups, hosts, vars, version"),
    (("hosts",), LEFT_OUT, "hosts is missing; give it: an object of hosts by name"),
    (("hosts",), None, "hosts is null"),
    (("hosts",), [], "hosts has to be an object, it is a list"),
    (("hosts",), {}, "hosts is empty, so there is nothing to deploy to"),
    (("hosts", "gw-1"), "10.0.1.10", "hosts.gw-1 has to be an object, it is a string"),
    (("hosts", "gw-1"), None, "hosts.gw-1 has to be an object, it is null"),
    (("hosts", "gw-1", "addr"), "x", "hosts.gw-1.addr is not known; hosts.gw-1 takes address, groups, vars"),
    (("hosts", "gw-1", "address"), LEFT_OUT, "hosts.gw-1.address is missing; give it: an IP address or a DNS name"),
    (("hosts", "gw-1", "address"), None, "hosts.gw-1.address is null; give it"),
    (("hosts", "gw-1", "address"), 10, "hosts.gw-1.address has to be an IP address or a DNS name, it is a number"),
    (("hosts", "gw-1", "address"), "", "hosts.gw-1.address is not an IP address or a DNS name"),
    (
        ("hosts", "gw-1", "groups"),
        LEFT_OUT,
        "hosts.gw-1.groups is missing; give it: a list of groups, of cache_servers,",
    ),
    (
        ("hosts", "gw-1", "groups"),
        [],
        "hosts.gw-1.groups is empty; put the host into at least one of cache_servers, gat",
    ),
    (("hosts", "gw-1", "groups"), "gateway", "hosts.gw-1.groups has to be a list of strings, it is a string"),
    (("hosts", "gw-1", "groups"), [["a"]], "hosts.gw-1.groups[0] has to be a string, it is a list"),
    (("hosts", "gw-1", "groups"), ["gateway", "gate-way"], "hosts.gw-1.groups[1]: 'gate-way' can't be the name of a g"),
    (("hosts", "gw-1", "groups"), ["all"], "hosts.gw-1.groups[0]: 'all' can't be the name of a group"),
    (("hosts", "gw-1", "groups"), ["class"], "hosts.gw-1.groups[0]: 'class' can't be the name of a group"),
    (("hosts", "gw-1", "groups"), ["gateways"], "hosts.gw-1.groups[0]: the group gateways is none of cache_servers, "),
    (("hosts", "gw-1", "vars"), ["a"], "hosts.gw-1.vars has to be an object, it is a list"),
    (("hosts", "gw-1", "vars"), {"a-b": 1}, "hosts.gw-1.vars.a-b can't be the name of a variable"),
    (("hosts", "gw-1", "vars"), {"a b": 1}, 'hosts.gw-1.vars["a b"] can\'t be the name of a variable'),
    (("hosts", "gw-1", "vars"), {"if": 1}, "hosts.gw-1.vars.if can't be the name of a variable"),
    (("hosts", "gw-1", "vars"), {"ansible_host": "x"}, "hosts.gw-1.vars.ansible_host can't be set, as hosts.gw-1.addr"),
    (("hosts", "model-1.example.org", "vars"), 1, 'hosts["model-1.example.org"].vars has to be an object, it is a num'),
    (("hosts", "gw 1"), {}, 'hosts["gw 1"] can\'t be the name of a host'),
    (("hosts", 'a"\n'), {}, 'hosts["a\\"\\n"] can\'t be the name of a host'),
    (("hosts", "-gw"), {}, "hosts.-gw can't be the name of a host"),
    (("hosts", "gw-[1:3]"), {}, 'hosts["gw-[1:3]"] can\'t be the name of a host'),
    (("hosts", ""), {}, 'hosts[""] can\'t be the name of a host'),
    (("groups",), [], "groups has to be an object, it is a list"),
    (("groups", "gateway"), [], "groups.gateway has to be an object, it is a list"),
    (("groups", "gateway"), {"slots": 8}, "groups.gateway.slots is not known; groups.gateway takes vars"),
    (("groups", "gateway"), {"vars": {"1st": 1}}, "groups.gateway.vars.1st can't be the name of a variable"),
    (("groups", "gate-way"), {}, "groups.gate-way: 'gate-way' can't be the name of a group"),
    (("groups", "ungrouped"), {}, "groups.ungrouped: 'ungrouped' can't be the name of a group"),
    (
        ("groups", "gateways"),
        {},
        "groups.gateways: the group gateways is none of cache_servers, gateway, model_servers",
    ),
    (
        ("groups", "gateway"),
        {"vars": {"ansible_group_priority": "high"}},
        "groups.gateway.vars.ansible_group_priority has to be a whole number, it is a string",
    ),
    (("vars",), "a", "vars has to be an object, it is a string"),
    (("vars",), {"a.b": 1}, 'vars["a.b"] can\'t be the name of a variable'),
]


@pytest.mark.parametrize(("path", "to", "message"), MISTAKES, ids=[message for *_, message in MISTAKES])
def test_a_mistake_is_named_with_its_place(path: tuple[str, ...], to: Any, message: str) -> None:
    with pytest.raises(AnsibleParserError, match=re.escape(message)):
        read_fleet(changed(*path, to=to), KNOWN)


@pytest.mark.parametrize(
    ("one", "other"),
    [("10.0.1.10", "10.0.1.10"), ("2001:db8::1", "2001:DB8:0::1"), ("gw.example.org", "GW.example.org")],
)
def test_two_hosts_with_one_address(one: str, other: str) -> None:
    fleet = changed("hosts", "gw-1", "address", to=one)
    fleet["hosts"]["gw-2"] = {"address": other, "groups": ["gateway"]}
    with pytest.raises(AnsibleParserError, match=r"^hosts.gw-1 and hosts.gw-2 have the same address; each host"):
        read_fleet(fleet, KNOWN)


@pytest.mark.parametrize("name", ["gateway", "model_servers", "all", "ungrouped", "bastion"])
def test_a_host_named_like_a_group(name: str) -> None:
    fleet = changed("hosts", name, to={"address": "10.0.1.20", "groups": ["gateway"]})
    with pytest.raises(AnsibleParserError, match=f"^hosts.{name} has the name of a group; give the host another one"):
        read_fleet(fleet, known_groups(["bastion"]))


def test_extra_groups_are_known_once_they_are_listed() -> None:
    fleet = changed("hosts", "gw-1", "groups", to=["bastion"])
    with pytest.raises(AnsibleParserError, match="correct it in Terraform, or list it in extra_groups"):
        read_fleet(fleet, KNOWN)
    assert read_fleet(fleet, known_groups(["bastion"])).hosts["gw-1"].groups == ("bastion",)


@pytest.mark.parametrize("name", ["all", "ungrouped", "a-b", "1st", "", "none of them", "None"])
def test_an_extra_group_that_no_group_can_be(name: str) -> None:
    with pytest.raises(AnsibleParserError, match=f"^extra_groups: '{name}' can't be the name of a group; it takes"):
        known_groups(["bastion", name])


def test_no_message_has_a_value_in_it() -> None:
    for place in (("version",), ("vars",), ("hosts",), ("groups",), ("hosts", "gw-1"), ("groups", "model_servers")):
        with pytest.raises(AnsibleParserError) as caught:
            read_fleet(changed(*place, to="s3cret"), KNOWN)
        assert "s3cret" not in str(caught.value)
    for place in (("hosts", "gw-1", "address"), ("hosts", "gw-1", "groups"), ("hosts", "gw-1", "vars")):
        with pytest.raises(AnsibleParserError) as caught:
            read_fleet(changed(*place, to="s3cret with a space"), KNOWN)
        assert "s3cret" not in str(caught.value)
