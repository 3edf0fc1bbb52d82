# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replicas, the ready check and the way back, on a real engine."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.docker

SLOW_CHECK = {"test": ["CMD", "true"], "interval": 0.2, "timeout": 60, "retries": 2, "start_period": 0}


def running(service: Any) -> dict[str, dict[str, Any]]:
    return {one["Name"].lstrip("/"): one for one in service.containers() if one["State"]["Running"]}


def test_a_rollback_returns_to_the_release_before_with_its_secret(service: Any) -> None:
    service.ensure(env={"RELEASE": "1"}, secrets=[{"name": "pw", "value": "first"}])
    first = service.container()["Id"]
    service.ensure(env={"RELEASE": "2"}, secrets=[{"name": "pw", "value": "second"}])
    told = service.ensure("rolled_back", check=True)
    assert told["changed"]
    assert service.container()["Id"] != first

    result = service.ensure("rolled_back")
    assert result["diff"]["after"]["env"] == {"RELEASE": "1"}
    assert result["service"]["previous"]["image_id"] == result["service"]["image_id"]
    container = service.container()
    assert container["Id"] == first
    assert container["State"]["Health"]["Status"] == "healthy"
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert service.execute("cat", "/run/secrets/pw") == (0, "first")
    (kept,) = (one for one in service.containers() if one["Name"].endswith(".previous"))
    assert not kept["State"]["Running"]
    assert kept["HostConfig"]["RestartPolicy"]["Name"] == "no"
    service.ensure("absent")
    assert service.containers() == []


def test_without_a_release_before_a_rollback_is_refused(service: Any) -> None:
    service.ensure()
    message = service.refuse("rolled_back")["msg"]
    assert message.endswith(f"{service.name} has no release before this one to return to, run state=present instead")


def test_replicas_share_the_services_name_and_are_replaced_and_removed(service: Any, network: str) -> None:
    options = {"networks": [{"name": network}], "replicas": 2}
    service.ensure(env={"RELEASE": "1"}, **options)
    assert set(running(service)) == {service.name, f"{service.name}.2"}
    resolve = f"import socket; print(len(socket.gethostbyname_ex('{service.name}')[2]))"
    assert service.execute("python3", "-c", resolve) == (0, "2")
    assert not service.ensure(env={"RELEASE": "1"}, **options)["changed"]

    service.ensure(env={"RELEASE": "2"}, **options)
    assert all("RELEASE=2" in one["Config"]["Env"] for one in running(service).values())
    assert set(running(service)) == {service.name, f"{service.name}.2"}

    service.ensure(env={"RELEASE": "2"}, networks=options["networks"])
    assert set(running(service)) == {service.name}


def test_a_container_whose_ready_check_never_passes_is_undone(service: Any) -> None:
    service.ensure()
    good = service.container()["Id"]
    result = service.refuse(healthcheck=SLOW_CHECK, ready_check=["sh", "-c", "echo can not answer; exit 1"])
    assert "is unhealthy, its last health check said: can not answer" in result["msg"]
    assert service.container()["Id"] == good


def test_a_ready_check_passes_once_and_again_after_a_restart(service: Any) -> None:
    count = ["sh", "-c", "echo checked >>/proc/1/fd/1"]
    service.ensure(healthcheck=SLOW_CHECK, ready_check=count)
    service.ensure("restarted")
    log = service.api.logs(service.container()["Id"]).decode()
    assert log.count("checked") == 2
