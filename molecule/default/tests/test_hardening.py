"""Every container, as its engine describes it."""

from __future__ import annotations

import json
import shlex

import pytest

CONTAINERS = [
    "cache-service",
    "model-service",
    "monitoring-service",
    "node-exporter",
    "prometheus",
    "redis",
    "redis-exporter",
    "socket-filter",
    "storage-service",
    "traefik",
]
DOCKER_SOCKET = "/var/run/docker.sock"
SECRETS = [
    "/etc/llm-orchestrator/admin_password",
    "/etc/llm-orchestrator/redis/password",
    "/etc/llm-orchestrator/redis/monitor_password",
    "/etc/llm-orchestrator/tls/key.pem",
]


def api_keys(host) -> list[str]:
    return host.backend.get_variables()["model_service_api_keys"]


each_container = pytest.mark.parametrize("name", CONTAINERS)


def test_these_containers_run_and_no_others(host) -> None:
    assert sorted(host.check_output("docker ps --all --format '{{.Names}}'").split()) == CONTAINERS
    assert sorted(host.check_output("docker ps --format '{{.Names}}'").split()) == CONTAINERS


@each_container
def test_it_is_healthy(host, name: str) -> None:
    inspected = host.docker(name).inspect()
    assert inspected["Config"]["Healthcheck"]["Test"][0] in ("CMD", "CMD-SHELL")
    assert inspected["State"]["Health"]["Status"] == "healthy"


@each_container
def test_it_does_not_run_as_root(host, name: str) -> None:
    user = host.docker(name).inspect()["Config"]["User"]
    assert user
    assert user.split(":")[0] not in ("root", "0")
    pid = host.docker(name).inspect()["State"]["Pid"]
    assert host.file(f"/proc/{pid}").uid != 0


@each_container
def test_it_can_gain_no_privilege(host, name: str) -> None:
    config = host.docker(name).inspect()["HostConfig"]
    assert config["Privileged"] is False
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert any(option.startswith("no-new-privileges") for option in config["SecurityOpt"])
    pid = host.docker(name).inspect()["State"]["Pid"]
    status = dict(
        line.split(":\t") for line in host.check_output(f"cat /proc/{pid}/status").splitlines() if ":\t" in line
    )
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@each_container
def test_its_root_file_system_is_read_only(host, name: str) -> None:
    assert host.docker(name).inspect()["HostConfig"]["ReadonlyRootfs"] is True


@each_container
def test_it_has_limits(host, name: str) -> None:
    config = host.docker(name).inspect()["HostConfig"]
    assert config["Memory"] > 0
    assert config["PidsLimit"] > 0
    assert config["NanoCpus"] > 0


@each_container
def test_it_restarts_and_its_log_rotates(host, name: str) -> None:
    config = host.docker(name).inspect()["HostConfig"]
    assert config["RestartPolicy"]["Name"] == "unless-stopped"
    assert config["LogConfig"]["Type"] == "json-file"
    assert {"max-size", "max-file"} <= config["LogConfig"]["Config"].keys()


@each_container
def test_only_the_gateway_publishes_a_port(host, name: str) -> None:
    published = {port for port, binding in host.docker(name).inspect()["NetworkSettings"]["Ports"].items() if binding}
    assert published == ({"8080/tcp", "8081/tcp"} if name == "traefik" else set())


@each_container
def test_only_the_socket_filter_has_the_docker_socket(host, name: str) -> None:
    sources = {mount.get("Source") for mount in host.docker(name).inspect()["Mounts"]}
    has_socket = bool(sources & {DOCKER_SOCKET, "/run/docker.sock"})
    assert has_socket == (name == "socket-filter")


@each_container
def test_no_secret_can_be_read_from_its_description(host, name: str) -> None:
    description = json.dumps(host.docker(name).inspect())
    for secret in [host.file(path).content_string.strip() for path in SECRETS] + api_keys(host):
        assert secret
        assert json.dumps(secret)[1:-1] not in description


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_is_for_root_alone(host, path: str) -> None:
    file = host.file(path)
    assert (file.user, file.mode) == ("root", 0o600)


def test_the_exporter_that_sees_the_host_can_read_no_secret_and_reach_no_engine(host) -> None:
    def from_exporter(code: str) -> str:
        done = host.run(f"docker exec node-exporter python3 -c {shlex.quote(code)}")
        return done.stdout + done.stderr

    # It sees the host at all.
    assert from_exporter("print(open('/host/etc/hostname').read())").strip()
    private = [
        *host.check_output("ls /etc/llm-orchestrator/traefik/*/dynamic/*.yml").split(),
        *host.check_output("find /etc/llm-orchestrator/secrets -type f").split(),
        *(f"/proc/{process.pid}/environ" for process in host.process.filter(comm="traefik")),
    ]
    assert len(private) > 3
    for path in [*SECRETS, *private]:
        assert "PermissionError" in from_exporter(f"open('/host{path}')"), path
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/host/run/docker.sock')"
    assert "PermissionError" in from_exporter(connect)
