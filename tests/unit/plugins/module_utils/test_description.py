# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
    DescriptionError,
    Gateway,
    Network,
    Update,
    parse_description,
    parse_name,
    parse_size,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_record import (
    to_record,
    update_from_record,
    update_to_record,
)

PARAMS: dict[str, Any] = {
    "name": "demo",
    "image": "demo:1",
    "command": [],
    "env": {},
    "secrets": [],
    "configs": [],
    "mounts": [],
    "networks": [],
    "labels": {},
    "ports": [],
    "healthcheck": None,
    "resources": {"memory": None, "cpus": None, "pids": 256},
    "gpus": None,
    "restart_policy": "unless-stopped",
    "log": {"max_size": "10m", "max_files": 3},
    "user": None,
    "group_add": [],
    "read_only": True,
    "cap_add": [],
    "pid_mode": None,
    "stop_timeout": 30,
    "ready_check": [],
    "replicas": 1,
    "update": {**vars(DEFAULT_UPDATE), "order": "start_first"},
}
MOUNT = {
    "type": "volume",
    "source": "data",
    "target": "/data",
    "read_only": False,
    "size": None,
    "propagation": None,
}
PORT = {"address": "127.0.0.1", "host": 8080, "container": 80, "protocol": "tcp"}
HEALTHCHECK = {
    "test": ["CMD", "true"],
    "interval": 5.0,
    "timeout": 3.0,
    "retries": 3,
    "start_period": 60.0,
}
STOP_FIRST = {**vars(DEFAULT_UPDATE), "order": "stop_first"}


def record_of(**changes: Any) -> dict[str, Any]:
    return to_record(parse_description({**PARAMS, **changes}), digests={})


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("1k", 1024), ("512m", 512 * 2**20), ("512MB", 512 * 2**20), ("2g", 2**31)],
)
def test_a_size_is_parsed_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text, "size") == size


@pytest.mark.parametrize("text", ["", "m", "0", "-1m", "1.5g", "12q", "1 m", "512 mib"])
def test_a_bad_size_is_named_with_its_option(text: str) -> None:
    with pytest.raises(DescriptionError, match=r"resources.memory: '.*' is not a size"):
        parse_size(text, "resources.memory")


@pytest.mark.parametrize("name", ["a", "redis", "cache-service", "0day", "a" * 63])
def test_a_name_that_dns_takes_is_accepted(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.next", "a_b", "a/b", "a" * 64, "a\n"])
def test_a_name_that_dns_refuses_is_refused(name: str) -> None:
    with pytest.raises(DescriptionError, match="can't name a service"):
        parse_name(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "image: state 'present' needs the image to run"),
        ({"env": {"A B": "x"}}, "env: 'A B' can't name"),
        ({"env": {"A": None}}, r"env.A: must be a string, a number or a boolean, not NoneType"),
        ({"env": {"A": ["x"]}}, r"env.A: must be .* not list"),
        ({"labels": {"llm.orchestrator.service": "x"}}, "is set by this module"),
        ({"secrets": [{"name": "../x", "value": "v"}]}, r"'../x' can't name a secret"),
        ({"secrets": [{"name": "x", "value": ""}]}, "the value of 'x' is empty"),
        ({"secrets": [{"name": "x", "value": "v"}] * 2}, "'x' is given more than once"),
        ({"mounts": [{**MOUNT, "target": "data"}]}, "'data': the target must be an absolute path below /"),
        ({"mounts": [{**MOUNT, "target": "/run/secrets/x"}]}, "is kept for the option secrets"),
        ({"configs": [{"path": "etc/x", "content": ""}]}, "configs: 'etc/x': must be the absolute path of a file"),
        ({"configs": [{"path": "/etc/../x", "content": ""}]}, "configs: '/etc/../x': must be the absolute path"),
        ({"configs": [{"path": "/" + 80 * "x", "content": ""}]}, "x': is longer than 80 characters"),
        ({"configs": [{"path": "/run/secrets/x", "content": ""}]}, "'/run/secrets/x': /run/secrets is kept for"),
        ({"configs": [{"path": "/etc/x", "content": ""}] * 2}, "configs: '/etc/x' is given more than once"),
        (
            {"configs": [{"path": "/data", "content": ""}], "mounts": [{**MOUNT, "target": "/data"}]},
            "configs: '/data': mounts has the same target",
        ),
        ({"mounts": [{**MOUNT, "source": None}]}, "a volume needs a source"),
        ({"mounts": [{**MOUNT, "source": "/data"}]}, "is a path, use type bind"),
        ({"mounts": [{**MOUNT, "type": "bind"}]}, "the source 'data' of a bind must be an absolute path"),
        ({"mounts": [{**MOUNT, "size": "1m"}]}, "only a tmpfs has a size"),
        ({"mounts": [{**MOUNT, "propagation": "rslave"}]}, "only a bind has a propagation"),
        ({"mounts": [{**MOUNT, "type": "tmpfs", "source": None}]}, "a tmpfs needs a size"),
        ({"mounts": [{**MOUNT, "type": "tmpfs", "size": "1m"}]}, "a tmpfs has no source"),
        ({"mounts": [MOUNT, {**MOUNT, "source": "other"}]}, "'/data' is given more than once"),
        ({"mounts": [MOUNT, {**MOUNT, "target": "/data/"}]}, "'/data' is given more than once"),
        ({"networks": [{"name": "host", "aliases": []}]}, "'host' is built in"),
        ({"networks": [{"name": "llm", "aliases": []}] * 2}, "'llm' is given more than once"),
        ({"ports": [{**PORT, "host": 0}]}, "host port 0 is not between 1 and 65535"),
        ({"ports": [{**PORT, "container": 65536}]}, "container port 65536 is not between"),
        ({"ports": [PORT], "update": STOP_FIRST}, "publishing a port needs a network"),
        ({"ports": [PORT], "networks": [{"name": "llm", "aliases": []}]}, "set update.order to stop_first"),
        ({"healthcheck": {**HEALTHCHECK, "test": ["true"]}}, "must be CMD or CMD-SHELL"),
        ({"healthcheck": {**HEALTHCHECK, "test": ["CMD"]}}, "must be CMD or CMD-SHELL"),
        ({"healthcheck": {**HEALTHCHECK, "interval": 0}}, "healthcheck.interval: must be more than 0"),
        ({"healthcheck": {**HEALTHCHECK, "timeout": 0}}, "healthcheck.timeout: must be more than 0"),
        ({"healthcheck": {**HEALTHCHECK, "retries": 0}}, "healthcheck.retries: must be more than 0"),
        ({"healthcheck": {**HEALTHCHECK, "start_period": -1}}, "healthcheck.start_period: must be 0 seconds or more"),
        ({"resources": {"memory": "5m", "cpus": None, "pids": None}}, "resources.memory: '5m' is less than 6m"),
        ({"resources": {"memory": None, "cpus": 0, "pids": None}}, "resources.cpus: must be more than 0"),
        ({"resources": {"memory": None, "cpus": None, "pids": 0}}, "resources.pids: must be more than 0"),
        ({"gpus": "0"}, "neither a number of GPUs nor 'all'"),
        ({"gpus": "two"}, "neither a number of GPUs nor 'all'"),
        ({"log": {"max_size": "10m", "max_files": 0}}, "log.max_files: must be more than 0"),
        ({"log": {"max_size": "x", "max_files": 3}}, "log.max_size: 'x' is not a size"),
        ({"cap_add": ["all"]}, "'ALL' is refused"),
        ({"update": {**vars(DEFAULT_UPDATE), "ready_timeout": 0}}, "update.ready_timeout: must be more than 0 seconds"),
        ({"update": {**vars(DEFAULT_UPDATE), "parallelism": 0}}, "update.parallelism: must be 1 or more"),
        ({"update": {**vars(DEFAULT_UPDATE), "drain_timeout": -1}}, "update.drain_timeout: must be 0 seconds or more"),
        (
            {"update": {**vars(DEFAULT_UPDATE), "gateway": {"name": "traefik", "port": 0}}},
            "update.gateway: port 0 is not between",
        ),
        ({"replicas": 0}, "replicas: must be 1 or more"),
        ({"stop_timeout": -1}, "stop_timeout: must be 0 seconds or more"),
        (
            {"replicas": 2, "ports": [PORT], "networks": [{"name": "llm", "aliases": []}], "update": STOP_FIRST},
            "several replicas can't hold one published port",
        ),
        ({"ready_check": ["ask"]}, "ready_check: it goes before the health check"),
    ],
)
def test_a_broken_rule_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionError, match=message) as caught:
        parse_description({**PARAMS, **changes})
    assert "\n" not in str(caught.value)


def test_numbers_and_booleans_of_the_environment_become_text() -> None:
    description = parse_description({**PARAMS, "env": {"A": 1, "B": True, "C": False, "D": 0.5}})
    assert description.env == {"A": "1", "B": "true", "C": "false", "D": "0.5"}


def test_aliases_and_capabilities_are_normalised() -> None:
    description = parse_description(
        {
            **PARAMS,
            "networks": [{"name": "llm", "aliases": ["b", "a"]}],
            "cap_add": ["cap_net_bind_service", "CHOWN"],
        }
    )
    assert description.networks == (Network("llm", ("a", "b")),)
    assert description.cap_add == ("CHOWN", "NET_BIND_SERVICE")


def test_a_record_leaves_out_what_is_not_set() -> None:
    assert record_of() == {
        "image": "demo:1",
        "log": {"max_size": 10 * 2**20, "max_files": 3},
        "read_only": True,
        "resources": {"pids": 256},
        "restart_policy": "unless-stopped",
        "stop_timeout": 30,
    }


def test_a_record_does_not_depend_on_how_a_size_is_written() -> None:
    in_megabytes = record_of(resources={"memory": "1024m", "cpus": None, "pids": 256})
    in_gigabytes = record_of(resources={"memory": "1g", "cpus": None, "pids": 256})
    assert in_megabytes == in_gigabytes


def test_a_record_does_not_depend_on_the_order_of_mounts() -> None:
    other = {**MOUNT, "source": "other", "target": "/other"}
    assert record_of(mounts=[MOUNT, other]) == record_of(mounts=[other, MOUNT])


def test_the_way_of_updating_is_not_part_of_the_record() -> None:
    assert record_of(update=STOP_FIRST) == record_of()


def test_a_record_and_a_description_shown_hold_no_secret() -> None:
    description = parse_description({**PARAMS, "secrets": [{"name": "pw", "value": "hunter2"}]})
    record = to_record(description, {"pw": "0123456789abcdef"})
    assert record["secrets"] == {"pw": "0123456789abcdef"}
    assert "hunter2" not in repr(description)


@pytest.mark.parametrize(
    "update",
    [DEFAULT_UPDATE, Update("stop_first", 2, 5.5, 300, "pause", Gateway("traefik", 8082))],
)
def test_an_update_policy_is_read_back_as_it_was_recorded(update: Update) -> None:
    assert update_from_record(json.dumps(update_to_record(update))) == update


@pytest.mark.parametrize("recorded", ["", "{not json", "[]", '{"unknown": 1}'])
def test_an_update_policy_that_cannot_be_read_is_none(recorded: str) -> None:
    assert update_from_record(recorded) is None
