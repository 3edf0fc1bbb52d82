# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Swarm cannot do, or somebody else has, is told and left alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llm.orchestrator.tests.integration.container_service_swarm.conftest import (
    ON_NETWORK,
    Swarm,
    SwarmService,
    wait_for,
)
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": "all"}, "gpus: a Swarm hands out no GPUs, run this service with engine=docker"),
        ({"pid_mode": "host"}, "pid_mode: a Swarm shares no host's processes, run this service with engine=docker"),
        ({"networks": []}, "networks: a Swarm runs no service without a network, name one"),
        ({"networks": [{"name": "gone"}]}, "network 'gone' is not in the Swarm, create it first"),
        (
            {"networks": [{"name": "docker_gwbridge"}]},
            "network 'docker_gwbridge' is this host's alone, make an overlay network of that name instead",
        ),
        (
            {"ports": [{"host": 80, "container": 80}], "update": {"order": "stop_first"}},
            "ports: a Swarm can't publish port 80 on 127.0.0.1 alone, set address to 0.0.0.0",
        ),
        ({"image": "gone:1"}, "image 'gone:1' is neither on this manager nor in a registry that it reaches, build,"),
        ({"placement": {"group": "a b"}}, "placement.group: 'a b' can't be in a label, use letters, digits,"),
        (
            {"placement": {"each_host": True}, "replicas": 2},
            "placement.each_host: one container runs on each host, leave replicas out",
        ),
        (
            {"user": "somebody", "secrets": [{"name": "pw", "value": "correct-horse"}]},
            f"the user of image '{IMAGE}' is 'somebody', who is to read its secrets and configs: give user as a number",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(
    service: SwarmService, options: dict[str, Any], message: str
) -> None:
    assert message in service.refuse(**{**ON_NETWORK, **options})["msg"]
    assert not service.exists()


def test_an_engine_that_manages_no_swarm_is_told(service: SwarmService, swarm: Swarm) -> None:
    message = "the engine on this host manages no Swarm, run this on one of the Swarm's managers"
    for host in (swarm.worker.url, "unix:///var/run/docker.sock"):
        assert message in service.refuse(docker_host=host, **ON_NETWORK)["msg"]
        asked = service.run("container_service_info", {"engine": "swarm", "docker_host": host})
        assert asked["msg"] == f"services: {message}"


def test_a_service_of_other_make_is_refused_and_left_alone(service: SwarmService, swarm: Swarm) -> None:
    template = {"ContainerSpec": {"Image": IMAGE, "Args": ["sleep", "60"]}}
    mode = {"Replicated": {"Replicas": 0}}
    other = swarm.manager.api.create_service(template, name=service.name, mode=mode)["ID"]
    try:
        for state, options in (("present", ON_NETWORK), ("stopped", {}), ("restarted", {}), ("absent", {})):
            message = service.refuse(state, **options)["msg"]
            assert f"a service '{service.name}' exists that was made by other means" in message
    finally:
        swarm.manager.api.remove_service(other)
    wait_for(lambda: not service.exists())
