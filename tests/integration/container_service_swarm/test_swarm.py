# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import docker.errors
import pytest
from ansible_collections.llm.orchestrator.tests.integration.container_service_swarm.conftest import (
    GROUP,
    NETWORK,
    Swarm,
    SwarmService,
    wait_for,
)
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE

pytestmark = pytest.mark.docker

ON_NETWORK: dict[str, Any] = {"networks": [{"name": NETWORK}]}
SERVES = "import http.server as h; h.ThreadingHTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
UNHEALTHY = {"test": ["CMD-SHELL", "exit 1"], "interval": 0.2, "timeout": 5, "retries": 2, "start_period": 0}
IN_GROUP: dict[str, Any] = {**ON_NETWORK, "placement": {"group": "cs_it"}}


def with_files(generation: int) -> dict[str, Any]:
    return {
        **ON_NETWORK,
        "secrets": [{"name": "password", "value": f"correct-horse-{generation}"}],
        "configs": [{"path": "/etc/demo/demo.conf", "content": f"port {generation}\n"}],
    }


def test_a_service_goes_through_its_whole_life(service: SwarmService) -> None:
    assert service.ensure(check=True, **ON_NETWORK)["changed"]
    assert not service.exists()

    created = service.ensure(**ON_NETWORK)
    assert created["diff"]["before"] == {"state": "absent"}
    (first,) = created["service"]["containers"]
    host, container = service.container()
    assert first == {
        "id": container["Id"],
        "name": container["Name"].lstrip("/"),
        "health": "healthy",
        "host": host.name,
    }
    version = service.inspect()["Version"]
    for check in (True, False):
        again = service.ensure(check=check, **ON_NETWORK)
        assert (again["changed"], again["diff"]) == (False, {"before": {}, "after": {}})
    assert service.inspect()["Version"] == version

    planned = service.ensure(check=True, env={"A": "1"}, **ON_NETWORK)
    assert service.inspect()["Version"] == version
    updated = service.ensure(env={"A": "1"}, **ON_NETWORK)
    assert planned["diff"] == updated["diff"] == {"before": {}, "after": {"env": {"A": "1"}}}
    assert updated["service"]["previous"]["image"] == IMAGE
    second = service.container()[1]
    assert "A=1" in second["Config"]["Env"]
    assert second["Id"] != container["Id"]

    assert service.ensure("restarted")["changed"]
    assert service.container()[1]["Id"] != second["Id"]
    assert service.ensure("stopped", check=True)["changed"]
    assert service.ensure("stopped")["changed"]
    assert service.containers() == []
    assert service.info()["state"] == "stopped"
    assert not service.ensure("stopped")["changed"]
    started = service.ensure(env={"A": "1"}, **ON_NETWORK)
    assert started["diff"] == {"before": {"state": "stopped"}, "after": {"state": "running"}}

    back = service.ensure("rolled_back")
    assert back["diff"] == {"before": {"env": {"A": "1"}}, "after": {}}
    assert "A=1" not in service.container()[1]["Config"]["Env"]
    info = service.info()
    assert (info["state"], info["health"]) == ("running", "healthy")
    assert info["description"]["stop_timeout"] == 3

    assert service.ensure("absent", check=True)["changed"]
    assert service.exists()
    assert service.ensure("absent")["changed"]
    assert (service.exists(), service.containers()) == (False, [])
    assert not service.ensure("absent")["changed"]
    assert service.run("container_service_info", {**service.more_options, "name": service.name})["services"] == []


def test_the_new_container_is_ready_before_the_old_one_stops(service: SwarmService) -> None:
    service.ensure(**ON_NETWORK)
    old = service.container()[1]["Id"]
    # Its check passes after two seconds.
    late = {"test": ["CMD-SHELL", "test $(cut -d. -f1 /proc/uptime) -ge $(cat /tmp/at)"], "start_period": 30}
    options = {
        **ON_NETWORK,
        "command": ["sh", "-c", "echo $(( $(cut -d. -f1 /proc/uptime) + 2 )) >/tmp/at; exec sleep 99"],
        "healthcheck": {**late, "interval": 0.2, "timeout": 5},
        "mounts": [{"type": "tmpfs", "target": "/tmp", "size": "1m"}],
        "stop_timeout": 0,
    }
    update = service.start("container_service", service.arguments(**options))
    seen = []
    while update.poll() is None:
        seen.append({container["Id"]: container["State"]["Health"]["Status"] for _host, container in running(service)})
    update.communicate()
    assert all(seen)
    (new,) = {found for one in seen for found in one} - {old}
    # As long as the new one was not healthy, the old one was there.
    assert all(old in one for one in seen if one.get(new) != "healthy")
    assert any(one.get(new) == "starting" for one in seen)
    assert not service.ensure(**options)["changed"]


def running(service: SwarmService) -> list[tuple[Any, dict[str, Any]]]:
    try:
        return service.containers()
    except docker.errors.NotFound:
        # One ended between the list and the look at it.
        return running(service)


def test_every_option_reaches_the_container(service: SwarmService) -> None:
    options = {
        **ON_NETWORK,
        "user": "10002:10002",
        "group_add": ["4"],
        "cap_add": ["CHOWN"],
        "labels": {"traefik.enable": True},
        "log": {"max_size": "1m", "max_files": 2},
        "restart_policy": "on-failure",
        "stop_timeout": 1,
        "resources": {"memory": "32m", "cpus": 0.25, "pids": 9},
        "mounts": [
            {"type": "tmpfs", "target": "/tmp", "size": "1m"},
            {"type": "bind", "source": "/etc/ssl", "target": "/host-ssl", "read_only": True},
        ],
    }
    service.ensure(**options)
    assert not service.ensure(**options)["changed"]
    _host, container = service.container()
    config, host_config = container["Config"], container["HostConfig"]
    assert (config["User"], host_config["GroupAdd"]) == ("10002:10002", ["4"])
    assert ([one.removeprefix("CAP_") for one in host_config["CapAdd"]], host_config["CapDrop"]) == (["CHOWN"], ["ALL"])
    assert host_config["ReadonlyRootfs"]
    assert host_config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1048576", "max-file": "2"}}
    assert [host_config[limit] for limit in ("Memory", "NanoCpus", "PidsLimit")] == [2**25, 250_000_000, 9]
    assert service.inspect()["Spec"]["Labels"]["traefik.enable"] == "true"
    assert service.execute("sh", "-c", "touch /x || touch /host-ssl/x")[0] != 0
    mounted = service.execute("grep", " /tmp ", "/proc/mounts")[1]
    assert all(flag in mounted for flag in ("noexec", "nosuid", "nodev", "size=1024k"))

    relabelled = service.ensure(**{**options, "labels": {"traefik.enable": False}})
    assert relabelled["diff"]["after"] == {"labels": {"traefik.enable": "false"}}
    assert service.container()[1]["Id"] == container["Id"]


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


def test_files_are_read_by_the_containers_user_alone_and_rotated(service: SwarmService) -> None:
    service.ensure(**with_files(1))
    assert not service.ensure(**with_files(1))["changed"]
    assert service.execute("cat", "/run/secrets/password") == (0, "correct-horse-1")
    assert service.execute("cat", "/etc/demo/demo.conf") == (0, "port 1")
    for path in ("/run/secrets/password", "/etc/demo/demo.conf"):
        assert service.execute("cat", path, user="10002")[0] != 0
        assert service.execute("sh", "-c", f"echo x >{path}")[0] != 0

    planned = service.ensure(check=True, **with_files(2))
    first = service.objects()
    rotated = service.ensure(**with_files(2))
    assert planned["diff"] == rotated["diff"]
    assert rotated["diff"]["after"]["configs"] == {"/etc/demo/demo.conf": ["port 2", ""]}
    assert rotated["diff"]["after"]["secrets"]["password"].startswith("(hidden, fingerprint ")
    assert service.execute("cat", "/run/secrets/password") == (0, "correct-horse-2")
    # The first are what a rollback returns to; with the next release they are not needed any more.
    assert all(set(old) < set(new) for old, new in zip(first, service.objects(), strict=True))
    service.ensure(**with_files(3))
    assert all(not set(old) & set(new) for old, new in zip(first, service.objects(), strict=True))
    service.ensure("rolled_back")
    assert service.execute("cat", "/run/secrets/password") == (0, "correct-horse-2")

    told = json.dumps([service.inspect(), service.tasks(None), service.containers()[0][1], planned, rotated])
    assert "correct-horse" not in told
    service.ensure("absent")
    assert service.objects() == ([], [])


def test_replicas_are_scaled_named_and_seen(service: SwarmService) -> None:
    service.ensure(**ON_NETWORK)
    kept = service.tasks()[0]["ID"]
    assert service.ensure(replicas=3, **ON_NETWORK)["diff"] == {"before": {"replicas": 1}, "after": {"replicas": 3}}
    assert kept in [task["ID"] for task in service.tasks()]
    assert {host.name for host, _container in service.containers()} == {"swarm-it-1", "swarm-it-2"}
    # The name leads to each of them.
    lookup = f"import socket; print(len({{found[4] for found in socket.getaddrinfo('{service.name}', 1)}}))"
    wait_for(lambda: service.execute("python3", "-c", lookup) == (0, "3"))

    spec = service.inspect()
    service.swarm.manager.api.update_service(
        service.name, spec["Version"]["Index"], mode={"Replicated": {"Replicas": 1}}, fetch_current_spec=True
    )
    assert service.ensure(check=True, replicas=3, **ON_NETWORK)["diff"]["before"] == {"replicas": 1}
    assert not service.ensure(replicas=1, **ON_NETWORK)["changed"]
    assert "there is no release before this one to return to" in service.refuse("rolled_back")["msg"]


def test_a_service_follows_its_group_over_the_hosts(service: SwarmService, swarm: Swarm, group: str) -> None:
    service.ensure(replicas=2, **IN_GROUP)
    assert {host.name for host, _container in service.containers()} == {swarm.worker.name}
    swarm.change_node(swarm.manager, Labels={GROUP: "true"})
    swarm.change_node(swarm.worker, Availability="drain")
    # Nobody but the Swarm sees to this.
    wait_for(lambda: [host for host, _container in running(service)] == [swarm.manager] * 2)
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
    wait_for(lambda: running(service) == [])
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
        "update": {"order": "stop_first", "ready_timeout": 20},
    }
    assert service.ensure(**options)["diff"]["after"]["replicas"] == "each host"
    assert not service.ensure(**options)["changed"]
    for host in swarm.hosts:
        wait_for(lambda address=host.address: socket.create_connection((address, 18080), timeout=1).close() is None, 5)
    assert "a Swarm can't stop and keep what runs on each host" in service.refuse("stopped")["msg"]
    assert "placement.each_host can't change while" in service.refuse(**ON_NETWORK)["msg"]
    other = services().refuse(**{**options, "placement": {}})["msg"]
    assert "another service has its published port on every host that may run it, free it" in other


def test_a_run_that_is_killed_is_converged_by_the_next(service: SwarmService) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for generation in range(2):
        options = with_files(generation)
        run = service.start("container_service", service.arguments(**options))
        time.sleep(moments.uniform(0.5, 3))
        run.kill()
        run.communicate()
        service.ensure(**options)
        assert service.execute("cat", "/run/secrets/password") == (0, f"correct-horse-{generation}")
        assert not service.ensure(**options)["changed"]
        assert all(len(kind) <= 2 for kind in service.objects())


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
