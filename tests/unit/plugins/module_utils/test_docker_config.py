# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DEFAULT_UPDATE,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_parsing import (
    parse_description,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_config import container_body

PARAMS: dict[str, Any] = {
    "name": "demo",
    "image": "demo:1",
    "command": ["serve"],
    "env": {"B": "2", "A": "1"},
    "secrets": [{"name": "pw", "value": "hunter2"}],
    "configs": [{"path": "/etc/demo.conf", "content": "port 1"}],
    "mounts": [
        {
            "type": "bind",
            "source": "/",
            "target": "/host",
            "read_only": True,
            "size": None,
            "propagation": "rslave",
        },
        {
            "type": "tmpfs",
            "source": None,
            "target": "/tmp",
            "read_only": False,
            "size": "1m",
            "propagation": None,
        },
    ],
    "networks": [{"name": "llm", "aliases": ["api"]}, {"name": "other", "aliases": []}],
    "labels": {"traefik.enable": True},
    "ports": [{"address": "127.0.0.1", "host": 8080, "container": 80, "protocol": "tcp"}],
    "healthcheck": {"test": ["CMD", "ok"], "interval": 0.5, "timeout": 3, "retries": 3, "start_period": 60},
    "resources": {"memory": "512m", "cpus": 0.7, "pids": 64},
    "gpus": None,
    "restart_policy": "unless-stopped",
    "log": {"max_size": "10m", "max_files": 3},
    "user": "10001:10001",
    "group_add": [],
    "read_only": True,
    "cap_add": ["NET_BIND_SERVICE"],
    "pid_mode": None,
    "stop_timeout": 30,
    "ready_check": [],
    "replicas": 1,
    "placement": {"group": None, "each_host": False},
    "update": {**vars(DEFAULT_UPDATE), "order": "stop_first"},
}


def body_of(**changes: Any) -> dict[str, Any]:
    description = parse_description({**PARAMS, **changes})
    files = {"/run/secrets/pw": Path("/host/pw"), "/etc/demo.conf": Path("/host/demo.conf")}
    return container_body(description, '{"a":1}', files)


def test_every_container_is_hardened() -> None:
    host = body_of()["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == ["NET_BIND_SERVICE"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": str(10 * 2**20), "max-file": "3"},
    }


def test_limits_are_in_the_units_of_the_engine_and_leave_no_swap() -> None:
    host = body_of()["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 512 * 2**20
    assert host["NanoCpus"] == 700_000_000
    assert host["PidsLimit"] == 64


def test_no_limit_is_set_that_was_not_asked_for() -> None:
    host = body_of(resources={"memory": None, "cpus": None, "pids": None})["HostConfig"]
    assert not {"Memory", "MemorySwap", "NanoCpus", "PidsLimit"} & set(host)


def test_a_secret_is_a_mount_and_appears_nowhere_else() -> None:
    body = body_of()
    assert {
        "Type": "bind",
        "Source": "/host/pw",
        "Target": "/run/secrets/pw",
        "ReadOnly": True,
    } in body["HostConfig"]["Mounts"]
    assert "hunter2" not in repr(body)


def test_a_config_is_a_mount_that_only_can_be_read() -> None:
    body = body_of()
    assert {
        "Type": "bind",
        "Source": "/host/demo.conf",
        "Target": "/etc/demo.conf",
        "ReadOnly": True,
    } in body["HostConfig"]["Mounts"]
    assert "port 1" not in repr(body)


def test_the_record_and_the_name_are_labels() -> None:
    assert body_of()["Labels"] == {
        "traefik.enable": "true",
        "llm.orchestrator.service": "demo",
        "llm.orchestrator.description": '{"a":1}',
        "llm.orchestrator.update": (
            '{"on_failure":"rollback","order":"stop_first","parallelism":1,"ready_timeout":120}'
        ),
    }


def test_a_tmpfs_runs_nothing_and_a_bind_keeps_its_propagation() -> None:
    host = body_of()["HostConfig"]
    assert host["Tmpfs"] == {"/tmp": "rw,noexec,nosuid,nodev,size=1048576,mode=1777"}
    assert host["Mounts"][0]["BindOptions"] == {"Propagation": "rslave"}


def test_it_starts_on_the_first_network_under_its_name() -> None:
    body = body_of()
    assert body["HostConfig"]["NetworkMode"] == "llm"
    assert body["NetworkingConfig"]["EndpointsConfig"] == {"llm": {"Aliases": ["demo", "api"]}}


def test_without_networks_it_has_none() -> None:
    body = body_of(networks=[], ports=[])
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert "NetworkingConfig" not in body


def test_ports_are_exposed_and_bound_to_their_address() -> None:
    body = body_of()
    assert body["ExposedPorts"] == {"80/tcp": {}}
    assert body["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


def test_the_health_check_is_in_nanoseconds() -> None:
    assert body_of()["Healthcheck"] == {
        "Test": ["CMD", "ok"],
        "Interval": 500_000_000,
        "Timeout": 3_000_000_000,
        "Retries": 3,
        "StartPeriod": 60_000_000_000,
    }


def test_what_the_image_decides_is_left_to_it() -> None:
    assert not {"Cmd", "User", "Healthcheck"} & set(body_of(command=[], user=None, healthcheck=None))


@pytest.mark.parametrize(("gpus", "count"), [("all", -1), ("2", 2)])
def test_gpus_are_requested_as_devices(gpus: str, count: int) -> None:
    assert body_of(gpus=gpus)["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "Count": count, "Capabilities": [["gpu"]]}
    ]


def test_a_new_container_does_not_restart_before_it_is_known_to_work() -> None:
    assert body_of()["HostConfig"]["RestartPolicy"] == {"Name": "no"}


def test_a_ready_check_guards_the_health_check_until_it_has_passed_once(tmp_path: Path) -> None:
    asked, passed = tmp_path / "asked", "/dev/shm/ready-check-passed"
    check = {**PARAMS["healthcheck"], "test": ["CMD", "test", "-d", str(tmp_path)]}
    test = body_of(healthcheck=check, ready_check=["sh", "-c", f"echo 1 >>{asked}; test -e {tmp_path}/answers"])
    kind, command = test["Healthcheck"]["Test"]
    assert kind == "CMD-SHELL"
    command = command.replace(passed, str(tmp_path / "passed"))

    def run() -> int:
        return subprocess.run(["sh", "-c", command], check=False).returncode

    assert run() != 0
    (tmp_path / "answers").touch()
    assert run() == 0
    assert run() == 0
    assert asked.read_text() == "1\n1\n"
