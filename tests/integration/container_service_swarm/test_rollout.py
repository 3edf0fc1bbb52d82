# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases on a Swarm, good and bad."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.tests.integration.container_service_swarm.conftest import (
    ON_NETWORK,
    SwarmService,
    with_files,
)

pytestmark = pytest.mark.docker

UNHEALTHY = {"test": ["CMD-SHELL", "exit 1"], "interval": 0.2, "timeout": 5, "retries": 2, "start_period": 0}


def test_the_new_container_is_ready_before_the_old_one_stops(service: SwarmService) -> None:
    service.ensure(**ON_NETWORK)
    old = service.container()[1]["Id"]
    # Its check passes after two seconds.
    late = {"test": ["CMD-SHELL", "test $(cut -d. -f1 /proc/uptime) -ge $(cat /tmp/at)"], "start_period": 30}
    options = {
        **ON_NETWORK,
        "command": ["sh", "-c", "echo $(( $(cut -d. -f1 /proc/uptime) + 2 )) >/tmp/at; exec sleep 99"],
        "healthcheck": {**late, "interval": 0.2, "timeout": 60},
        "mounts": [{"type": "tmpfs", "target": "/tmp", "size": "1m"}],
        "stop_timeout": 0,
    }
    update = service.start("container_service", service.arguments(**options))
    seen = []
    while update.poll() is None:
        seen.append(
            {container["Id"]: container["State"]["Health"]["Status"] for _host, container in service.containers()}
        )
    update.communicate()
    assert all(seen)
    (new,) = {found for one in seen for found in one} - {old}
    # As long as the new one was not healthy, the old one was there.
    assert all(old in one for one in seen if one.get(new) != "healthy")
    assert any(one.get(new) == "starting" for one in seen)
    assert not service.ensure(**options)["changed"]


BAD_RELEASES = [
    pytest.param(
        {"command": ["sh", "-c", "for i in $(seq 30); do echo line $i; done; exit 3"]},
        r"its container exited with code 3 on \S+",
        [f"line {i}" for i in range(11, 31)],
        id="crashes",
    ),
    # It ends with code 0 when told to.
    pytest.param(
        {"healthcheck": UNHEALTHY, "update": {"ready_timeout": 4}},
        r"its container on \S+ was not ready within 4 s",
        [],
        id="unhealthy",
    ),
]


# A busy machine must not make it unhealthy.
STEADY: dict[str, Any] = {
    **ON_NETWORK,
    "replicas": 2,
    "healthcheck": {"test": ["CMD", "true"], "interval": 0.5, "timeout": 60, "retries": 9, "start_period": 0},
}


@pytest.fixture(scope="module")
def steady(services: Callable[[], SwarmService]) -> Iterator[SwarmService]:
    service = services()
    service.ensure(**STEADY)
    yield service
    service.ensure("absent")


@pytest.mark.parametrize(("options", "cause", "log"), BAD_RELEASES)
def test_a_bad_release_is_rolled_back_and_the_old_containers_never_stop(
    steady: SwarmService, options: dict[str, Any], cause: str, log: list[str]
) -> None:
    before = [task["ID"] for task in steady.tasks()]
    result = steady.refuse(**{**STEADY, **options})
    assert re.search(cause + r".*; it was rolled back, the old release runs$", result["msg"]), result["msg"]
    assert (result["log"], result["rolled_back"]) == (log, True)
    assert [task["ID"] for task in steady.tasks()] == before
    assert not steady.ensure(**STEADY)["changed"]


def test_a_bad_release_without_a_health_check_is_noticed_within_two_seconds(steady: SwarmService) -> None:
    options = {"command": ["sh", "-c", "sleep 1; exit 4"], "healthcheck": None}
    message = steady.refuse(**{**STEADY, **options})["msg"]
    assert "exited with code 4" in message
    assert message.endswith("; it was rolled back, the old release runs")
    assert len(steady.tasks()) == 2


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        pytest.param({"command": ["false"]}, r"its container exited with code 1 on \S+", id="crashes"),
        pytest.param(
            {"command": ["/no/such/program"]}, r"its container on \S+ did not start: .*no such file", id="no-program"
        ),
        pytest.param(
            {"mounts": [{"type": "bind", "source": "/no/such", "target": "/data"}]},
            r"the mount's source /no/such is not on \S+, create it first",
            id="no-such-bind",
        ),
    ],
)
def test_a_bad_first_release_leaves_nothing(service: SwarmService, options: dict[str, Any], cause: str) -> None:
    message = service.refuse(**with_files(1), **options)["msg"]
    assert re.search(cause + ".*; the new service was removed, it does not run$", message), message
    assert not service.exists()
    assert service.objects() == ([], [])
