# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a service runs: groups, volumes, ports and images on the hosts of a Swarm."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.tests.integration.container_service_swarm.conftest import (
    GROUP,
    ON_NETWORK,
    Swarm,
    SwarmService,
    wait_for,
    with_files,
)
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE

pytestmark = pytest.mark.docker

SERVES = "import http.server as h; h.ThreadingHTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
IN_GROUP: dict[str, Any] = {**ON_NETWORK, "placement": {"group": "cs_it"}}


def connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_service_follows_its_group_over_the_hosts(service: SwarmService, swarm: Swarm, group: str) -> None:
    service.ensure(replicas=2, **IN_GROUP)
    assert {host.name for host, _container in service.containers()} == {swarm.worker.name}
    swarm.change_node(swarm.manager, Labels={GROUP: "true"})
    swarm.change_node(swarm.worker, Availability="drain")
    # Nobody but the Swarm sees to this.
    wait_for(lambda: [host for host, _container in service.containers()] == [swarm.manager] * 2)
    assert not service.ensure(replicas=2, **IN_GROUP)["changed"]
    message = service.refuse(**ON_NETWORK, placement={"group": "nobody"})["msg"]
    assert "no host of the group nobody is ready and active in the Swarm: add one, or label it with" in message


def test_a_volume_stays_on_its_host_and_the_service_with_it(service: SwarmService, swarm: Swarm, group: str) -> None:
    volume = f"{service.name}-data"
    options = {**IN_GROUP, "user": "0", "mounts": [{"type": "volume", "source": volume, "target": "/data"}]}
    service.ensure(**options)
    service.execute("sh", "-c", "echo kept >/data/file")
    assert swarm.labels(swarm.worker)[f"llm.orchestrator.volume.{volume}"] == service.name
    swarm.change_node(swarm.manager, Labels={GROUP: "true"})
    service.ensure(**options, env={"A": "1"})
    service.ensure("absent")
    service.ensure(**options)
    assert service.execute("cat", "/data/file") == (0, "kept")
    refusal = service.refuse("absent", remove_volumes=True)["msg"]
    assert f"its volume '{volume}' is on swarm-it-2, out of this manager's reach: run state=absent" in refusal
    assert service.exists()

    swarm.change_node(swarm.worker, Availability="drain")
    wait_for(lambda: service.containers() == [])
    message = service.refuse(**options)["msg"]
    assert f"its volume '{volume}' is on swarm-it-2, which takes no tasks (it is drained or paused)" in message
    service.ensure("absent")
    # As the refusal says: there, by the other engine.
    there = {"engine": "docker", "docker_host": swarm.worker.url, "remove_volumes": True}
    assert service.ensure("absent", **there)["diff"]["before"] == {"volumes": [volume]}


def test_a_volume_on_the_manager_is_removed_with_its_label(service: SwarmService, swarm: Swarm) -> None:
    volume = f"{service.name}-data"
    swarm.manager.api.create_volume(volume, labels={"llm.orchestrator.service": service.name})
    service.ensure(**ON_NETWORK, mounts=[{"type": "volume", "source": volume, "target": "/data"}])
    assert service.container()[0] == swarm.manager
    planned = service.ensure("absent", check=True, remove_volumes=True)
    removed = service.ensure("absent", remove_volumes=True)
    assert planned["diff"] == removed["diff"]
    assert removed["diff"]["before"] == {"state": "running", "volumes": [volume]}
    assert swarm.labels(swarm.manager) == {}
    assert volume not in [one["Name"] for one in swarm.manager.api.volumes()["Volumes"] or ()]


def test_each_host_runs_one_with_a_port_of_its_own(
    service: SwarmService, services: Callable[[], SwarmService], swarm: Swarm
) -> None:
    options = {
        **ON_NETWORK,
        "command": ["python3", "-c", SERVES],
        "ports": [{"address": "0.0.0.0", "host": 18080, "container": 8000}],
        "placement": {"each_host": True},
        "stop_timeout": 0,
        "update": {"order": "stop_first", "ready_timeout": 90},
    }
    assert service.ensure(**options)["diff"]["after"]["replicas"] == "each host"
    assert not service.ensure(**options)["changed"]
    for host in swarm.hosts:
        wait_for(lambda address=host.address: connects(address, 18080))
    assert "a Swarm can't stop and keep what runs on each host" in service.refuse("stopped")["msg"]
    assert "placement.each_host can't change while" in service.refuse(**ON_NETWORK)["msg"]
    other = services().refuse(**{**options, "placement": {}})["msg"]
    assert "another service has its published port on every host that may run it, free it" in other


def test_an_image_in_a_registry_is_pulled_by_its_digest(service: SwarmService, registry: str) -> None:
    image = f"{registry}/cs-it:1"
    result = service.ensure(image=image, user="10001", **with_files(1))
    assert (result["service"]["image"], result["service"]["image_id"][:7]) == (image, "sha256:")
    assert service.container()[1]["Config"]["Image"] == f"{registry}/cs-it@{result['service']['image_id']}"
    assert not service.ensure(image=image, user="10001", **with_files(1))["changed"]


def test_an_image_that_a_host_lacks_is_told(service: SwarmService, swarm: Swarm, group: str) -> None:
    draft = swarm.manager.api.create_container(IMAGE, "true")["Id"]
    built = swarm.manager.api.commit(draft, repository="cs-it-here-only", tag="1", changes=["LABEL a=b"])["Id"]
    swarm.manager.api.remove_container(draft)
    message = service.refuse(image="cs-it-here-only:1", **IN_GROUP)["msg"]
    assert f"image 'cs-it-here-only:1' ({built}) is not on swarm-it-2, copy it there or push it to a" in message
