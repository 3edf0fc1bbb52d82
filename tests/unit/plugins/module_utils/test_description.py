# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
    LABEL_DESCRIPTION,
    LABEL_SERVICE,
    LABEL_UPDATE,
    DescriptionError,
    Gateway,
    Network,
    Update,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_parsing import (
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
    "placement": {"group": None, "each_host": False},
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
TMPFS = {**MOUNT, "type": "tmpfs", "source": None}
PORT = {"address": "127.0.0.1", "host": 8080, "container": 80, "protocol": "tcp"}
HEALTHCHECK = {
    "test": ["CMD", "true"],
    "interval": 5.0,
    "timeout": 3.0,
    "retries": 3,
    "start_period": 60.0,
}
STOP_FIRST = {**vars(DEFAULT_UPDATE), "order": "stop_first"}
NO_LIMITS = {"memory": None, "cpus": None, "pids": None}
NETWORK = {"name": "llm", "aliases": []}
NO_SIZE = "'{}' is not a size, give a whole number and a unit of k, m, g or t, such as 512m"


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
    with pytest.raises(DescriptionError) as caught:
        parse_size(text, "resources.memory")
    assert str(caught.value) == f"resources.memory: {NO_SIZE.format(text)}"


@pytest.mark.parametrize("name", ["a", "redis", "cache-service", "0day", "a" * 63])
def test_a_name_that_dns_takes_is_accepted(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.next", "a_b", "a/b", "a" * 64, "a\n"])
def test_a_name_that_dns_refuses_is_refused(name: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_name(name)
    allowed = "use up to 63 lower-case letters, digits and inner hyphens"
    assert str(caught.value) == f"name: '{name}' can't name a service, {allowed}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "image: state 'present' needs the image to run"),
        ({"image": ""}, "image: state 'present' needs the image to run"),
        ({"stop_timeout": -1}, "stop_timeout: must be 0 seconds or more"),
        ({"replicas": 0}, "replicas: must be 1 or more; state 'stopped' or 'absent' stops a service"),
        (
            {"env": {"A B": "x"}},
            "env: 'A B' can't name a variable, use letters, digits, '_', '.' and '-', a letter or '_' first",
        ),
        ({"env": {"A": None}}, "env.A: must be a string, a number or a boolean, not NoneType"),
        ({"env": {"A": ["x"]}}, "env.A: must be a string, a number or a boolean, not list"),
        ({"labels": {"a": {}}}, "labels.a: must be a string, a number or a boolean, not dict"),
        *(
            ({"labels": {label: "x"}}, f"labels: '{label}' is set by this module, leave it out")
            for label in (LABEL_SERVICE, LABEL_DESCRIPTION, LABEL_UPDATE)
        ),
        (
            {"secrets": [{"name": "../x", "value": "v"}]},
            "secrets: '../x' can't name a file, "
            "use up to 128 letters, digits, '_', '.' and '-', a letter, digit or '_' first",
        ),
        (
            {"secrets": [{"name": "x", "value": ""}]},
            "secrets: the value of 'x' is empty, give one or leave the secret out",
        ),
        ({"secrets": [{"name": "x", "value": "v"}] * 2}, "secrets: 'x' is given more than once"),
        *(
            (
                {"configs": [{"path": path, "content": ""}]},
                f"configs: '{path}': must be the absolute path of a file, "
                "of letters, digits, dots, hyphens and underscores",
            )
            for path in ("etc/x", "/etc/../x", "/etc/a b")
        ),
        (
            {"configs": [{"path": "/" + 80 * "x", "content": ""}]},
            f"configs: '/{80 * 'x'}': is longer than 80 characters",
        ),
        (
            {"configs": [{"path": "/run/secrets/x", "content": ""}]},
            "configs: '/run/secrets/x': /run/secrets is kept for the option secrets",
        ),
        ({"configs": [{"path": "/etc/x", "content": ""}] * 2}, "configs: '/etc/x' is given more than once"),
        (
            {"configs": [{"path": "/data", "content": ""}], "mounts": [MOUNT]},
            "configs: '/data': mounts has the same target, leave one of them out",
        ),
        *(
            (
                {"mounts": [{**MOUNT, "target": target}]},
                f"mounts: '{target}': the target must be an absolute path below /",
            )
            for target in ("data", "/")
        ),
        (
            {"mounts": [{**MOUNT, "target": "/run/secrets/x"}]},
            "mounts: '/run/secrets/x': /run/secrets is kept for the option secrets",
        ),
        ({"mounts": [{**MOUNT, "source": None}]}, "mounts: '/data': a volume needs a source"),
        ({"mounts": [{**MOUNT, "type": "bind", "source": None}]}, "mounts: '/data': a bind needs a source"),
        ({"mounts": [{**MOUNT, "source": "/x"}]}, "mounts: '/data': the volume '/x' is a path, use type bind"),
        (
            {"mounts": [{**MOUNT, "type": "bind"}]},
            "mounts: '/data': the source 'data' of a bind must be an absolute path",
        ),
        ({"mounts": [{**MOUNT, "size": "1m"}]}, "mounts: '/data': only a tmpfs has a size"),
        ({"mounts": [{**MOUNT, "propagation": "rslave"}]}, "mounts: '/data': only a bind has a propagation"),
        ({"mounts": [TMPFS]}, "mounts: '/data': a tmpfs needs a size, such as 16m"),
        ({"mounts": [{**TMPFS, "size": "x"}]}, f"mounts: '/data': {NO_SIZE.format('x')}"),
        ({"mounts": [{**TMPFS, "size": "1m", "source": "data"}]}, "mounts: '/data': a tmpfs has no source"),
        ({"mounts": [MOUNT, {**MOUNT, "source": "other"}]}, "mounts: '/data' is given more than once"),
        ({"mounts": [MOUNT, {**MOUNT, "target": "/data/"}]}, "mounts: '/data' is given more than once"),
        (
            {"networks": [{"name": "host", "aliases": []}]},
            "networks: 'host' is built in and knows no service names, make a network of your own",
        ),
        ({"networks": [NETWORK] * 2}, "networks: 'llm' is given more than once"),
        ({"ports": [{**PORT, "host": 0}]}, "ports: host port 0 is not between 1 and 65535"),
        ({"ports": [{**PORT, "container": 65536}]}, "ports: container port 65536 is not between 1 and 65535"),
        (
            {"ports": [PORT, {**PORT, "container": 81}], "networks": [NETWORK], "update": STOP_FIRST},
            "ports: '127.0.0.1:8080/tcp' is given more than once",
        ),
        ({"ports": [PORT], "update": STOP_FIRST}, "ports: publishing a port needs a network"),
        (
            {"ports": [PORT], "networks": [NETWORK]},
            "ports: two containers can't hold a published port at once, set update.order to stop_first",
        ),
        (
            {"replicas": 2, "ports": [PORT], "networks": [NETWORK], "update": STOP_FIRST},
            "ports: several replicas can't hold one published port, leave ports out or set replicas to 1",
        ),
        *(
            (
                {"healthcheck": {**HEALTHCHECK, "test": check}},
                "healthcheck.test: must be CMD or CMD-SHELL followed by the command",
            )
            for check in (["true"], ["CMD"], ["NONE", "true"])
        ),
        *(
            ({"healthcheck": {**HEALTHCHECK, name: 0}}, f"healthcheck.{name}: must be more than 0")
            for name in ("interval", "timeout", "retries")
        ),
        (
            {"healthcheck": {**HEALTHCHECK, "start_period": -1}},
            "healthcheck.start_period: must be 0 seconds or more",
        ),
        ({"ready_check": ["ask"]}, "ready_check: it goes before the health check, give healthcheck too"),
        ({"resources": {**NO_LIMITS, "memory": "5m"}}, "resources.memory: '5m' is less than 6m"),
        ({"resources": {**NO_LIMITS, "memory": "x"}}, f"resources.memory: {NO_SIZE.format('x')}"),
        ({"resources": {**NO_LIMITS, "cpus": 0}}, "resources.cpus: must be more than 0"),
        ({"resources": {**NO_LIMITS, "pids": 0}}, "resources.pids: must be more than 0"),
        *(({"gpus": gpus}, f"gpus: '{gpus}' is neither a number of GPUs nor 'all'") for gpus in ("0", "two")),
        ({"log": {"max_size": "10m", "max_files": 0}}, "log.max_files: must be more than 0"),
        ({"log": {"max_size": "x", "max_files": 3}}, f"log.max_size: {NO_SIZE.format('x')}"),
        *(
            ({"cap_add": [name]}, "cap_add: 'ALL' is refused, name the capabilities that the service needs")
            for name in ("all", "CAP_ALL")
        ),
        ({"update": {**STOP_FIRST, "parallelism": 0}}, "update.parallelism: must be 1 or more"),
        ({"update": {**STOP_FIRST, "ready_timeout": 0}}, "update.ready_timeout: must be more than 0 seconds"),
        ({"update": {**STOP_FIRST, "drain_timeout": -1}}, "update.drain_timeout: must be 0 seconds or more"),
        *(
            (
                {"update": {**STOP_FIRST, "gateway": {"name": "traefik", "port": port}}},
                f"update.gateway: port {port} is not between 1 and 65535",
            )
            for port in (0, 65536)
        ),
    ],
)
def test_a_broken_rule_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_description({**PARAMS, **changes})
    assert str(caught.value) == message


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
