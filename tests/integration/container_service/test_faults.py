# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad releases are undone, and each fault is told in one line that names it."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

pytestmark = pytest.mark.docker

UNHEALTHY = {
    "test": ["CMD-SHELL", "echo no model; exit 1"],
    "interval": 0.2,
    "timeout": 5,
    "retries": 2,
    "start_period": 0,
}
STUCK = {**UNHEALTHY, "start_period": 600}
SICK_WITH_A_FILE = "test ! -e /tmp/sick || { echo I am sick; exit 1; }"
EATS_MEMORY = "import time; time.sleep(0.5); x = [b'x' * 2**20 for _ in range(200)]; time.sleep(99)"

BAD_RELEASES = [
    pytest.param(
        {"command": ["sh", "-c", "for i in $(seq 30); do echo line $i; done; exit 3"]},
        "its container exited with code 3",
        [f"line {i}" for i in range(11, 31)],
        id="crashes",
    ),
    pytest.param(
        {"command": ["sh", "-c", "sleep 1; exit 4"], "healthcheck": None},
        "its container exited with code 4",
        [],
        id="crashes-after-a-second-without-health-check",
    ),
    pytest.param(
        {"healthcheck": UNHEALTHY},
        "its container is unhealthy, its last health check said: no model",
        [],
        id="unhealthy",
    ),
    pytest.param(
        {"healthcheck": STUCK, "update": {"ready_timeout": 5}},
        "its container was not ready within 5 s, its last health check said: no model",
        [],
        id="never-ready",
    ),
    pytest.param(
        {"command": ["python3", "-c", EATS_MEMORY], "healthcheck": None},
        "memory, its limit is 64 MiB",
        [],
        id="out-of-memory",
    ),
    pytest.param({"command": ["/no/such/program"]}, "Docker can't start its container: ", [], id="no-such-program"),
    pytest.param(
        {"image": "cs-it-no-such-image:1"},
        "image 'cs-it-no-such-image:1' is not on this host, build or pull it first",
        [],
        id="missing-image",
    ),
]


@pytest.fixture(scope="module")
def running(services: Callable[[], Any]) -> Any:
    service = services()
    service.ensure()
    return service


@pytest.mark.parametrize(("options", "cause", "log"), BAD_RELEASES)
def test_a_bad_release_never_stops_the_old_container(
    running: Any, options: dict[str, Any], cause: str, log: list[str]
) -> None:
    before = running.container()
    result = running.refuse(**options)
    assert cause in result["msg"]
    assert result["log"] == log
    # Nothing was begun where the image is missing.
    assert result.get("rolled_back") is (None if "is not on this host" in cause else True)
    after = running.container()
    assert (after["Id"], after["State"]["Pid"]) == (before["Id"], before["State"]["Pid"])


@pytest.mark.parametrize(("options", "cause", "log"), BAD_RELEASES)
def test_a_bad_release_of_a_single_writer_brings_the_old_container_back(
    running: Any, options: dict[str, Any], cause: str, log: list[str]
) -> None:
    before = running.container()
    update = {"order": "stop_first", **options.get("update", {})}
    result = running.refuse(**{**options, "update": update})
    assert cause in result["msg"]
    after = running.container()
    assert after["Id"] == before["Id"]
    assert after["State"]["Health"]["Status"] == "healthy"
    assert after["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_a_bad_first_release_leaves_nothing(service: Any) -> None:
    result = service.refuse(command=["false"], secrets=[{"name": "pw", "value": "correct-horse"}])
    assert "exited with code 1; the new container was removed, the service does not run" in result["msg"]
    assert service.containers() == []
    assert service.secret_files() == []


def test_a_container_that_turned_unhealthy_is_waited_for_and_then_told(service: Any) -> None:
    mounts = [{"type": "tmpfs", "target": "/tmp", "size": "1m"}]
    options = {
        "mounts": mounts,
        "healthcheck": {
            **UNHEALTHY,
            "test": ["CMD-SHELL", "test ! -e /tmp/sick || { echo I am sick; exit 1; }"],
        },
        "update": {"ready_timeout": 10},
    }
    service.ensure(**options)
    before = service.container()
    service.execute("touch", "/tmp/sick")
    wait_for(lambda: service.container()["State"]["Health"]["Status"] == "unhealthy")
    result = service.refuse(**options)
    assert "its container is unhealthy, its last health check said: I am sick" in result["msg"]
    assert service.container()["Id"] == before["Id"]
    service.execute("rm", "/tmp/sick")
    assert not service.ensure(**options)["changed"]


def test_a_killed_process_comes_back_by_itself(service: Any, api: docker.APIClient) -> None:
    service.ensure()
    pid = service.container()["State"]["Pid"]
    os.kill(pid, 9)
    wait_for(lambda: service.container()["State"]["Pid"] not in (0, pid))
    assert not service.ensure()["changed"]


def test_a_container_of_other_make_is_refused_and_left_alone(service: Any, api: docker.APIClient) -> None:
    image = "llm-orchestrator/base:0.1.0"
    other = api.create_container(image, ["sleep", "60"], name=service.name)["Id"]
    try:
        for state in ("present", "stopped", "restarted", "absent"):
            result = service.refuse(state)
            label = f"(it lacks the label llm.orchestrator.service={service.name})"
            refusal = f"a container '{service.name}' exists that was made by other means {label}"
            assert f"{refusal}, rename or remove it first" in result["msg"]
        assert api.inspect_container(other)["State"]["Status"] == "created"
    finally:
        api.remove_container(other)


def test_a_missing_network_is_told(service: Any) -> None:
    result = service.refuse(networks=[{"name": "cs-it-no-such-net"}])
    assert "network 'cs-it-no-such-net' is not on this host, create it first" in result["msg"]
    assert service.containers() == []


def test_a_network_that_is_gone_is_told_by_its_name(service: Any, api: docker.APIClient) -> None:
    name = f"{service.name}-net"
    network = api.create_network(name)["Id"]
    try:
        service.ensure(networks=[{"name": name}], env={"RELEASE": "1"})
        service.ensure(networks=[{"name": name}], env={"RELEASE": "2"})
        service.ensure("stopped")
    finally:
        # All the service's containers are down, so that the network can go.
        api.remove_network(network)
    for state in ("restarted", "rolled_back"):
        assert f": its network {name} is gone, run state=present again" in service.refuse(state)["msg"]


def test_check_mode_takes_what_earlier_tasks_would_have_made(service: Any) -> None:
    assert service.ensure(check=True, image="cs-it-later:1", networks=[{"name": "cs-it-later"}])["changed"]


def test_a_missing_bind_source_is_told(service: Any) -> None:
    mounts = [{"type": "bind", "source": "/no/such/folder", "target": "/data"}]
    result = service.refuse(mounts=mounts)
    cause = "the mount's source /no/such/folder is not on this host, create it first"
    assert result["msg"].endswith(f": {cause}; nothing was started, the service does not run")


def test_a_port_in_use_is_told(service: Any, network: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = service.refuse(
            networks=[{"name": network}],
            ports=[{"host": port, "container": 80}],
            update={"order": "stop_first"},
        )
    assert f"port 127.0.0.1:{port} is in use on this host, free it or publish another" in result["msg"]
    assert service.containers() == []


def test_a_port_of_another_container_is_told(
    service: Any, services: Callable[[], Any], network: str, free_port: int
) -> None:
    options = {
        "networks": [{"name": network}],
        "ports": [{"host": free_port, "container": 80}],
        "update": {"order": "stop_first"},
    }
    services().ensure(**options)
    message = f"port 127.0.0.1:{free_port} is in use on this host, free it or publish another"
    assert message in service.refuse(**options)["msg"]


def test_a_user_that_the_image_lacks_is_told(service: Any) -> None:
    result = service.refuse(user="nosuchuser", secrets=[{"name": "pw", "value": "correct-horse"}])
    assert "its image has no user 'nosuchuser', give user as a number such as 10001" in result["msg"]
    assert service.containers() == []


@pytest.mark.skipif(shutil.which("nvidia-ctk") is not None, reason="this engine may offer a GPU")
def test_an_engine_that_offers_no_gpu_is_told(service: Any) -> None:
    message = "this host's engine offers no GPU, install the NVIDIA Container Toolkit or leave gpus out"
    assert message in service.refuse(gpus="all")["msg"]


def test_an_unreachable_engine_is_told(service: Any) -> None:
    host = "unix:///no/such/docker.sock"
    result = service.refuse(docker_host=host)
    assert f"Docker at {host} does not answer" in result["msg"]
    assert result["msg"].endswith("check that it runs and that this user may use it")
    asked = service.run("container_service_info", {"docker_host": host})
    assert asked["failed"]
    assert asked["msg"].startswith(f"services: Docker at {host} does not answer (")


def test_a_missing_docker_package_is_told(service: Any, tmp_path: Path) -> None:
    hidden = tmp_path / "docker" / "__init__.py"
    hidden.parent.mkdir()
    hidden.write_text("raise ImportError('hidden by a test')\n")
    service.python_path.insert(0, str(tmp_path))
    result = service.run("container_service", service.arguments())
    assert "Failed to import the required Python library (docker)" in result["msg"]


def test_a_secrets_folder_that_cannot_be_written_is_told(service: Any, tmp_path: Path) -> None:
    service.ensure()
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "secrets"
    result = service.refuse(secrets=[{"name": "pw", "value": "correct-horse"}], secrets_dir=str(folder))
    assert result["msg"].endswith(f": can't use {folder} (Not a directory)")
    result = service.refuse(configs=[{"path": "/etc/demo.conf", "content": "port 1"}], secrets_dir=str(folder))
    cause = f"can't use {folder / service.name} (Not a directory)"
    assert result["msg"].endswith(f": {cause}; nothing was started, the old one runs on")
    assert service.container()["State"]["Running"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": ""}, "image: state 'present' needs the image to run"),
        (
            {"resources": {"memory": "lots"}},
            "resources.memory: 'lots' is not a size, give a whole number and a unit of k, m, g or t, such as 512m",
        ),
        (
            {"name": "Bad_Name"},
            "name: 'Bad_Name' can't name a service, use up to 63 lower-case letters, digits and inner hyphens",
        ),
        ({"ports": [{"host": 70000, "container": 80}]}, "ports: host port 70000 is not between 1 and 65535"),
    ],
)
def test_a_broken_description_is_told_before_the_engine_is_asked(
    service: Any, options: dict[str, Any], message: str
) -> None:
    result = service.refuse(docker_host="unix:///no/such/docker.sock", **options)
    assert message in result["msg"]


def test_an_image_that_is_left_out_is_told(service: Any) -> None:
    assert "image: state 'present' needs the image to run" in service.refuse(image=None)["msg"]


def test_a_restart_without_a_container_is_told(service: Any) -> None:
    assert "it has no container to restart, run state=present first" in service.refuse("restarted")["msg"]


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
