# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service on a Swarm, from its first run to its removal."""

from __future__ import annotations

import json
import random
import time

import pytest
from ansible_collections.llm.orchestrator.tests.integration.container_service_swarm.conftest import (
    ON_NETWORK,
    SwarmService,
    wait_for,
    with_files,
)
from ansible_collections.llm.orchestrator.tests.integration.module_service import IMAGE

pytestmark = pytest.mark.docker


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
