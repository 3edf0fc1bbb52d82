# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Terraform output `ansible_inventory`: its shape, and what it says of a fleet.

    {
      version = 1
      hosts   = { "<host>" = { address = "10.0.1.10", groups = ["gateway"], vars = { … } } }
      groups  = { "<group>" = { vars = { … } } }
      vars    = { … }
    }

`groups` and every `vars` may be left out or null. The output may be sensitive, so a message names the place of a
mistake and no value but names of hosts and groups, which Ansible shows anyway.
"""

from __future__ import annotations

import ipaddress
import json
import keyword
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleParserError

VERSION = 1
PLATFORM_GROUPS = ("gateway", "model_servers", "cache_servers", "storage_servers", "monitoring_servers")
# Ansible makes these two itself; what is for all hosts goes into the output's own `vars`.
_ANSIBLE_GROUPS = frozenset({"all", "ungrouped"})

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_JSON_TYPES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class FleetHost:
    """One machine: where Ansible reaches it, the groups it is in, and its own variables."""

    address: str
    groups: tuple[str, ...]
    vars: dict[str, Any]


@dataclass(frozen=True)
class Fleet:
    """All hosts by name, the variables of groups by group name, and those of all hosts."""

    hosts: dict[str, FleetHost]
    groups: dict[str, dict[str, Any]]
    vars: dict[str, Any]


def known_groups(extra: Collection[str]) -> frozenset[str]:
    """The platform's groups and the extra ones; AnsibleParserError names one that can't be a group's name."""
    for name in extra:
        if not _is_group_name(name):
            raise AnsibleParserError(f"extra_groups: {name!r} can't be the name of a group; {_GROUP_NAME_RULE}")
    return frozenset(PLATFORM_GROUPS).union(extra)


def read_fleet(output: Any, known: Collection[str]) -> Fleet:
    """The fleet that an output describes, whose groups are all in `known`.

    Raises AnsibleParserError, which names the place in the output and what is expected there.
    """
    # First of all: in another version, all else may be different too.
    _check_version(_object(output, ""))
    _check_keys(output, "", {"version", "hosts", "groups", "vars"})
    hosts = {name: _host(host, _path("hosts", name), known) for name, host in _named_hosts(output).items()}
    groups = {
        name: _group(group, _path("groups", name), name, known)
        for name, group in _optional(output, "", "groups").items()
    }
    for name in hosts:
        if name in known or name in groups or name in _ANSIBLE_GROUPS:
            raise AnsibleParserError(f"{_path('hosts', name)} has the name of a group; give the host another one")
    _check_addresses(hosts)
    return Fleet(hosts=hosts, groups=groups, vars=_variables(output, ""))


def _check_version(output: Mapping[str, Any]) -> None:
    version = _required(output, "", "version", f"this release reads {VERSION}")
    if isinstance(version, bool) or not isinstance(version, int | float):
        raise AnsibleParserError(f"version has to be the number {VERSION}, it is {_type(version)}")
    if version != VERSION:
        raise AnsibleParserError(
            f"version is {version}, and this release of llm.orchestrator reads {VERSION}; use releases of the Terraform"
            " modules and of the collection that belong together"
        )


def _named_hosts(output: Mapping[str, Any]) -> Mapping[str, Any]:
    hosts = _object(_required(output, "", "hosts", "an object of hosts by name"), "hosts")
    if not hosts:
        raise AnsibleParserError("hosts is empty, so there is nothing to deploy to; check the host counts in Terraform")
    for name in hosts:
        if not _HOST_NAME.fullmatch(name):
            raise AnsibleParserError(
                f"{_path('hosts', name)} can't be the name of a host; it takes letters, digits, dots, hyphens and"
                " underscores, with a letter or digit at both ends"
            )
    return hosts


def _host(host: Any, path: str, known: Collection[str]) -> FleetHost:
    _check_keys(_object(host, path), path, {"address", "groups", "vars"})
    variables = _variables(host, path)
    if "ansible_host" in variables:
        raise AnsibleParserError(f"{path}.vars.ansible_host can't be set, as {path}.address already says it; remove it")
    return FleetHost(address=_address(host, path), groups=_host_groups(host, path, known), vars=variables)


def _address(host: Mapping[str, Any], path: str) -> str:
    expected = "an IP address or a DNS name"
    address = _required(host, path, "address", expected)
    if not isinstance(address, str):
        raise AnsibleParserError(f"{path}.address has to be {expected}, it is {_type(address)}")
    # Nothing else gets through, such as what ssh would take for an option.
    if not _is_ip(address) and not _is_dns_name(address):
        raise AnsibleParserError(f"{path}.address is not {expected}; check which attribute it comes from")
    return address


def _host_groups(host: Mapping[str, Any], path: str, known: Collection[str]) -> tuple[str, ...]:
    groups = _required(host, path, "groups", f"a list of groups, of {_names(known)}")
    if not isinstance(groups, list):
        raise AnsibleParserError(f"{path}.groups has to be a list of strings, it is {_type(groups)}")
    if not groups:
        raise AnsibleParserError(f"{path}.groups is empty; put the host into at least one of {_names(known)}")
    for index, group in enumerate(groups):
        if not isinstance(group, str):
            raise AnsibleParserError(f"{path}.groups[{index}] has to be a string, it is {_type(group)}")
        _check_group_name(group, f"{path}.groups[{index}]", known)
    return tuple(dict.fromkeys(groups))


def _group(group: Any, path: str, name: str, known: Collection[str]) -> dict[str, Any]:
    _check_group_name(name, path, known)
    _check_keys(_object(group, path), path, {"vars"})
    return _variables(group, path)


def _check_group_name(name: str, path: str, known: Collection[str]) -> None:
    if not _is_group_name(name):
        raise AnsibleParserError(f"{path}: {name!r} can't be the name of a group; {_GROUP_NAME_RULE}")
    if name not in known:
        raise AnsibleParserError(
            f"{path}: the group {name} is none of {_names(known)}; correct it in Terraform, or list it in extra_groups"
        )


_GROUP_NAME_RULE = (
    "it takes letters, digits and underscores, begins with no digit, and is neither a keyword nor"
    f" {' nor '.join(sorted(_ANSIBLE_GROUPS))}"
)


def _is_group_name(name: str) -> bool:
    return bool(_GROUP_NAME.fullmatch(name)) and not keyword.iskeyword(name) and name not in _ANSIBLE_GROUPS


def _check_addresses(hosts: Mapping[str, FleetHost]) -> None:
    seen: dict[str, str] = {}
    for name, host in hosts.items():
        # Case and leading zeros of groups don't make it another address.
        plain = str(ipaddress.ip_address(host.address)) if _is_ip(host.address) else host.address.lower()
        other = seen.setdefault(plain, name)
        if other != name:
            raise AnsibleParserError(
                f"{_path('hosts', other)} and {_path('hosts', name)} have the same address; each host needs its own"
            )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    # A zone (fe80::1%eth0) may hold anything, and names an interface of another machine.
    return "%" not in address


def _is_dns_name(address: str) -> bool:
    labels = address.split(".")
    # One whose last label is a number was meant to be an IP address.
    return len(address) <= 253 and all(map(_DNS_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def _variables(parent: Mapping[str, Any], path: str) -> dict[str, Any]:
    variables = _optional(parent, path, "vars")
    for name, value in variables.items():
        if not _GROUP_NAME.fullmatch(name) or keyword.iskeyword(name):
            raise AnsibleParserError(
                f"{_path(_path(path, 'vars'), name)} can't be the name of a variable; it takes letters, digits and"
                " underscores, begins with no digit, and is no keyword"
            )
        # Ansible makes an integer of it, whatever it is.
        if name == "ansible_group_priority" and (isinstance(value, bool) or not isinstance(value, int)):
            raise AnsibleParserError(f"{_path(path, 'vars')}.{name} has to be a whole number, it is {_type(value)}")
    return dict(variables)


def _check_keys(value: Mapping[str, Any], path: str, keys: Collection[str]) -> None:
    unknown = sorted(set(value) - set(keys))
    if unknown:
        where = " and ".join(_path(path, key) for key in unknown)
        raise AnsibleParserError(f"{where} is not known; {path or 'the output'} takes {_names(keys)}")


def _required(parent: Mapping[str, Any], path: str, key: str, expected: str) -> Any:
    value = parent.get(key)
    if value is None:
        is_what = "null" if key in parent else "missing"
        raise AnsibleParserError(f"{_path(path, key)} is {is_what}; give it: {expected}")
    return value


def _optional(parent: Mapping[str, Any], path: str, key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return {} if value is None else _object(value, _path(path, key))


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnsibleParserError(f"{path or 'the output'} has to be an object, it is {_type(value)}")
    return value


def _type(value: Any) -> str:
    return "null" if value is None else _JSON_TYPES[type(value)]


def _path(parent: str, key: str) -> str:
    """As one writes it in Terraform: hosts.gw-1.address, hosts["gw-1.example.org"].address."""
    if not _PLAIN_KEY.fullmatch(key):
        # Escaped, so that a line stays one line.
        return f"{parent or 'the output'}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{parent}.{key}" if parent else key


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
