# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

pytestmark = pytest.mark.docker

PASSWORD = {"name": "password", "value": "correct-horse-7"}
TMPFS = {"type": "tmpfs", "target": "/tmp", "size": "1m"}
Container = dict[str, Any]


def test_a_service_goes_through_its_whole_life(service: Any) -> None:
    assert service.ensure(check=True)["changed"]
    assert service.containers() == []

    created = service.ensure()
    first = service.container()
    assert created["changed"]
    assert created["diff"]["before"] == {"state": "absent"}
    assert created["service"]["containers"] == [{"id": first["Id"], "name": service.name, "health": "healthy"}]

    for check in (True, False):
        again = service.ensure(check=check)
        assert not again["changed"]
        assert again["diff"] == {"before": {}, "after": {}}
    assert service.container()["State"]["StartedAt"] == first["State"]["StartedAt"]

    planned = service.ensure(check=True, env={"A": "1"})
    assert service.container()["Id"] == first["Id"]
    updated = service.ensure(env={"A": "1"})
    assert planned["changed"]
    assert planned["diff"] == updated["diff"] == {"before": {}, "after": {"env": {"A": "1"}}}
    second = service.container()
    assert second["Id"] != first["Id"]

    assert service.ensure("restarted")["changed"]
    assert service.container()["Id"] == second["Id"]
    assert service.container()["State"]["StartedAt"] > second["State"]["StartedAt"]

    assert service.ensure("stopped", check=True)["changed"]
    assert service.container()["State"]["Running"]
    assert service.ensure("stopped")["changed"]
    assert not service.container()["State"]["Running"]
    assert not service.ensure("stopped")["changed"]

    started = service.ensure(env={"A": "1"})
    assert started["diff"] == {"before": {"state": "stopped"}, "after": {"state": "running"}}
    assert service.container()["Id"] == second["Id"]

    assert service.ensure("absent", check=True)["changed"]
    assert service.container()["State"]["Running"]
    assert service.ensure("absent")["changed"]
    assert service.containers() == []
    assert not service.ensure("absent")["changed"]


@pytest.fixture(scope="module")
def changing(services: Callable[[], Any]) -> Iterator[Any]:
    service = services()
    service.ensure()
    return service


@pytest.mark.parametrize(
    ("options", "is_so"),
    [
        pytest.param(
            {"command": ["sleep", "999"], "stop_timeout": 0},
            lambda c: c["Config"]["Cmd"] == ["sleep", "999"],
            id="command",
        ),
        pytest.param({"env": {"A": 1}}, lambda c: "A=1" in c["Config"]["Env"], id="env"),
        pytest.param({"labels": {"a": True}}, lambda c: c["Config"]["Labels"]["a"] == "true", id="labels"),
        pytest.param({"mounts": [TMPFS]}, lambda c: "/tmp" in c["HostConfig"]["Tmpfs"], id="mounts"),
        pytest.param(
            {"secrets": [PASSWORD]},
            lambda c: c["Mounts"][0]["Destination"] == "/run/secrets/password",
            id="secrets",
        ),
        pytest.param(
            {"healthcheck": {"test": ["CMD-SHELL", "true"], "interval": 0.2, "start_period": 0}},
            lambda c: c["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "true"],
            id="healthcheck",
        ),
        pytest.param(
            {"resources": {"memory": "32m", "cpus": 0.25, "pids": 9}},
            lambda c: (
                [c["HostConfig"][limit] for limit in ("Memory", "MemorySwap", "NanoCpus", "PidsLimit")]
                == [2**25, 2**25, 250_000_000, 9]
            ),
            id="resources",
        ),
        pytest.param(
            {"restart_policy": "always"},
            lambda c: c["HostConfig"]["RestartPolicy"]["Name"] == "always",
            id="restart_policy",
        ),
        pytest.param(
            {"log": {"max_size": "1m", "max_files": 2}},
            lambda c: c["HostConfig"]["LogConfig"]["Config"] == {"max-size": "1048576", "max-file": "2"},
            id="log",
        ),
        pytest.param({"user": "10001:0"}, lambda c: c["Config"]["User"] == "10001:0", id="user"),
        pytest.param({"group_add": ["4"]}, lambda c: c["HostConfig"]["GroupAdd"] == ["4"], id="group_add"),
        pytest.param({"read_only": False}, lambda c: not c["HostConfig"]["ReadonlyRootfs"], id="read_only"),
        pytest.param({"cap_add": ["CHOWN"]}, lambda c: c["HostConfig"]["CapAdd"] == ["CHOWN"], id="cap_add"),
        pytest.param({"pid_mode": "host"}, lambda c: c["HostConfig"]["PidMode"] == "host", id="pid_mode"),
        pytest.param({"stop_timeout": 1}, lambda c: c["Config"]["StopTimeout"] == 1, id="stop_timeout"),
    ],
)
def test_a_changed_option_is_shown_and_made_true(
    changing: Any, options: dict[str, Any], is_so: Callable[[Container], bool]
) -> None:
    result = changing.ensure(**options)
    assert set(options) <= set(result["diff"]["after"])
    assert is_so(changing.container())
    assert not changing.ensure(**options)["changed"]


def test_networks_ports_and_aliases_are_made_true(
    service: Any, services: Callable[[], Any], network: str, free_port: int
) -> None:
    server, client = service, services()
    serve = "import http.server as s; s.HTTPServer(('', 8000), s.SimpleHTTPRequestHandler).serve_forever()"
    server.ensure(
        command=["python3", "-c", serve],
        networks=[{"name": network, "aliases": ["cs-it-alias"]}],
        ports=[{"host": free_port, "container": 8000}],
        update={"order": "stop_first"},
        stop_timeout=0,
    )
    client.ensure(networks=[{"name": network}])
    for name in (server.name, "cs-it-alias"):
        code, output = client.execute("python3", "-c", f"import socket; socket.create_connection(('{name}', 8000), 5)")
        assert code == 0, output
    bound = server.container()["NetworkSettings"]["Ports"]
    assert bound == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port)}]}


def test_a_second_network_is_joined_too(service: Any, network: str, api: docker.APIClient) -> None:
    other = f"{network}-b"
    api.create_network(other, internal=True)
    try:
        service.ensure(networks=[{"name": network}, {"name": other, "aliases": ["api"]}])
        joined = service.container()["NetworkSettings"]["Networks"]
        assert set(joined) == {network, other}
        assert {service.name, "api"} <= set(joined[other]["Aliases"])
        service.ensure("absent")
    finally:
        api.remove_network(other)


def test_a_network_that_was_made_anew_is_joined_again(service: Any, api: docker.APIClient) -> None:
    name = f"{service.name}-net"
    networks = [{"name": name}]
    old = api.create_network(name)["Id"]
    service.ensure(networks=networks)
    service.ensure("stopped")
    api.remove_network(old)
    new = api.create_network(name)["Id"]
    try:
        assert service.ensure(networks=networks)["changed"]
        assert service.container()["NetworkSettings"]["Networks"][name]["NetworkID"] == new
        assert not service.ensure(networks=networks)["changed"]
        service.ensure("absent")
    finally:
        api.remove_network(new)


def test_an_image_that_was_built_anew_replaces_the_container(
    service: Any, second_image: str, api: docker.APIClient
) -> None:
    service.ensure(image=f"{second_image}:1")
    new_id = api.inspect_image(f"{second_image}:2")["Id"]
    old_id = service.container()["Image"]
    api.tag(f"{second_image}:2", second_image, "1", force=True)
    result = service.ensure(image=f"{second_image}:1")
    assert result["diff"] == {"before": {"image_id": old_id}, "after": {"image_id": new_id}}
    assert service.container()["Image"] == new_id
    service.ensure("absent")


def test_a_volume_keeps_its_data_whatever_becomes_of_the_container(
    service: Any, volume: str, api: docker.APIClient
) -> None:
    mounts = [{"type": "volume", "source": volume, "target": "/data"}]
    options = {"mounts": mounts, "user": "0", "update": {"order": "stop_first"}}
    service.ensure(**options)
    assert api.inspect_volume(volume)["Labels"] == {"llm.orchestrator.service": service.name}
    assert service.execute("sh", "-c", "echo kept > /data/file")[0] == 0
    service.ensure(**options, env={"A": "1"})
    assert service.execute("cat", "/data/file") == (0, "kept")
    service.ensure("absent")
    service.ensure(**options)
    assert service.execute("cat", "/data/file") == (0, "kept")
    service.ensure("absent")


def test_a_volume_goes_only_when_told_to_and_only_its_own(service: Any, volume: str, api: docker.APIClient) -> None:
    others = f"{volume}-others"
    api.create_volume(others)
    try:
        service.ensure(mounts=[{"type": "volume", "source": name, "target": f"/{name}"} for name in (volume, others)])
        assert "remove_volumes goes with state=absent only" in service.refuse("stopped", remove_volumes=True)["msg"]
        told = service.ensure("absent", check=True, remove_volumes=True)
        assert told["diff"]["before"] == {"state": "running", "volumes": [volume]}
        assert service.ensure("absent", remove_volumes=True)["diff"] == told["diff"]
        assert [found["Name"] for found in api.volumes()["Volumes"] if found["Name"] in (volume, others)] == [others]
        assert not service.ensure("absent", remove_volumes=True)["changed"]
    finally:
        api.remove_volume(others)


def test_the_container_is_hardened_in_fact(service: Any) -> None:
    service.ensure(mounts=[TMPFS])
    code, output = service.execute("cat", "/proc/self/status")
    assert code == 0
    status = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] == "10001"
    assert {status[kind] for kind in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert service.execute("touch", "/new")[0] != 0
    assert service.execute("touch", "/tmp/new")[0] == 0
    code, output = service.execute("sh", "-c", "cp /bin/true /tmp/true && chmod +x /tmp/true && /tmp/true")
    assert code != 0
    assert "Permission denied" in output


def test_a_secret_is_readable_by_the_containers_user_alone(service: Any) -> None:
    result = service.ensure(secrets=[PASSWORD])
    assert service.execute("cat", "/run/secrets/password") == (0, PASSWORD["value"])
    assert service.execute("sh", "-c", "echo x > /run/secrets/password")[0] != 0
    assert service.execute("cat", "/run/secrets/password", user="10002")[0] != 0
    (file,) = service.secret_files()
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (10001, 0o400)
    for told in (service.container(), service.info(), result):
        assert PASSWORD["value"] not in json.dumps(told)


def test_a_changed_secret_replaces_the_container_and_its_file(service: Any) -> None:
    service.ensure(secrets=[PASSWORD])
    assert not service.ensure(secrets=[PASSWORD])["changed"]
    (old,) = service.secret_files()
    result = service.ensure(secrets=[{**PASSWORD, "value": "correct-horse-8"}])
    assert list(result["diff"]["after"]) == ["secrets"]
    assert result["diff"]["before"] != result["diff"]["after"]
    assert "correct-horse" not in json.dumps(result["diff"])
    assert len(service.secret_files()) == 2
    assert old in service.secret_files(), "a rollback needs it"
    assert service.execute("cat", "/run/secrets/password") == (0, "correct-horse-8")
    service.ensure(secrets=[{**PASSWORD, "value": "correct-horse-9"}])
    assert len(service.secret_files()) == 2
    assert old not in service.secret_files()
    service.ensure("absent")
    assert service.secret_files() == []


def test_a_lost_secret_file_is_written_again(service: Any) -> None:
    service.ensure(secrets=[PASSWORD])
    service.ensure("stopped")
    service.secret_files()[0].unlink()
    assert service.ensure(secrets=[PASSWORD])["changed"]
    assert service.execute("cat", "/run/secrets/password") == (0, PASSWORD["value"])


def test_a_config_is_readable_by_the_containers_user_and_a_rollback_returns_to_it(service: Any) -> None:
    def config(content: str) -> dict[str, Any]:
        return {"configs": [{"path": "/etc/demo/demo.conf", "content": content}]}

    service.ensure(**config("port 1\n"))
    assert not service.ensure(**config("port 1\n"))["changed"]
    assert service.execute("cat", "/etc/demo/demo.conf") == (0, "port 1")
    assert service.execute("cat", "/etc/demo/demo.conf", user="10002")[0] != 0
    assert service.execute("sh", "-c", "echo x > /etc/demo/demo.conf")[0] != 0
    result = service.ensure(**config("port 2\n"))
    assert result["diff"]["before"] == {"configs": {"/etc/demo/demo.conf": ["port 1", ""]}}
    assert result["diff"]["after"] == {"configs": {"/etc/demo/demo.conf": ["port 2", ""]}}
    assert service.info()["description"]["configs"]["/etc/demo/demo.conf"].startswith("sha256:")
    service.ensure("rolled_back")
    assert service.execute("cat", "/etc/demo/demo.conf") == (0, "port 1")
    service.ensure("absent")
    assert service.secret_files() == []


def test_info_tells_what_runs(service: Any) -> None:
    service.ensure(secrets=[PASSWORD])
    container, info = service.container(), service.info()
    assert info["name"] == service.name
    assert info["image_id"] == container["Image"]
    assert (info["state"], info["health"], info["restart_count"]) == ("running", "healthy", 0)
    assert info["started_at"] == container["State"]["StartedAt"]
    assert [entry["id"] for entry in info["containers"]] == [container["Id"]]
    assert info["description"]["stop_timeout"] == 3
    assert info["description"]["secrets"]["password"].startswith("(hidden, fingerprint ")
    everything = service.run("container_service_info", {})["services"]
    assert info in everything


def test_info_of_an_unknown_service_is_empty(service: Any) -> None:
    assert service.run("container_service_info", {"name": service.name})["services"] == []
