# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import secrets
import socket
import stat
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

pytestmark = pytest.mark.docker


def test_a_file_that_traefik_would_not_take_is_found_before_it_is_used(gateway: Any) -> None:
    cases = (
        ("static", "entryPoints: {web: {adress: ':80'}}", "adress", None),
        ("dynamic", "http: {middlewares: {limit: {ratelimt: {}}}}", "ratelimt", None),
        # Too few threads for Traefik itself.
        ("dynamic", "http: {}", "Traefik did not take it over, its last words:", 4),
    )
    for kind, content, named, pids in cases:
        file = gateway.place / f"{kind}.yml"
        file.write_text(content)
        with pytest.raises(docker.errors.ContainerError) as caught:
            gateway.engine.containers.run(
                "llm-orchestrator/traefik:0.1.0",
                [kind, "/check.yml"],
                entrypoint="traefik-check",
                volumes=[f"{file}:/check.yml:ro"],
                network_mode="none",
                pids_limit=pids,
                remove=True,
            )
        assert named in str(caught.value)


def test_both_containers_are_hardened_and_only_the_filter_has_the_socket(gateway: Any) -> None:
    for name in (gateway.name, gateway.filter):
        container = gateway.engine.containers.get(name).attrs
        host = container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert "no-new-privileges" in host["SecurityOpt"]
        assert host["Memory"] > 0
        mounts = {mount["Source"] for mount in container["Mounts"]}
        assert not any(mount["RW"] for mount in container["Mounts"])
        assert any(source.endswith("docker.sock") for source in mounts) == (name == gateway.filter)
    networks = gateway.engine.containers.get(gateway.filter).attrs["NetworkSettings"]["Networks"]
    assert set(networks) == {f"{gateway.name}-a-socket"}
    assert gateway.engine.networks.get(f"{gateway.name}-a-socket").attrs["Internal"]


def test_a_second_run_changes_nothing(gateway: Any) -> None:
    assert "changed=0" in gateway.deploy()


def test_another_limit_holds_without_a_restart(gateway: Any, admin: httpx.Client) -> None:
    before = gateway.engine.containers.get(gateway.name).id
    gateway.deploy(traefik_rate_limit_burst=gateway.burst + 3)
    read = "/api/http/middlewares/rate-limit@file"
    gateway.wait_until(lambda: admin.get(read).json()["rateLimit"]["burst"] == gateway.burst + 3, "the new limit")
    assert gateway.engine.containers.get(gateway.name).id == before


def test_another_password_replaces_the_old_one_and_is_shown_nowhere(gateway: Any) -> None:
    old, new = gateway.password, f"new-{secrets.token_hex(16)}"
    output = gateway.deploy("-vvv", "--diff", traefik_admin_password=new)
    assert new not in output
    assert old not in output
    assert "changed=0" in gateway.deploy(), "without the variable the password is kept"
    with gateway.client(new) as allowed, gateway.client(old) as refused:
        gateway.wait_until(lambda: allowed.get("/api/version").status_code == 200, "the new password to hold")
        assert refused.get("/api/version").status_code == 401
    for name in ("admin_password", "admin_password_hash"):
        found = (gateway.place / "etc" / name).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)
    assert gateway.engine.containers.get(gateway.name).exec_run("stat -c %u:%a /run/secrets/traefik_users").output == (
        b"10001:400\n"
    )


def test_a_middleware_and_a_route_of_ones_own_join_the_roles(gateway: Any, client: httpx.Client) -> None:
    routers = {
        "own": {"rule": "Path(`/own`)", "middlewares": ["own-path"], "service": "backend@docker"},
        "unavailable": {"priority": 3},
    }
    middlewares = {"own-path": {"replacePath": {"path": "/"}}}
    gateway.deploy(traefik_dynamic_config={"http": {"routers": routers, "middlewares": middlewares}})
    gateway.wait_until(lambda: client.get("/own").status_code == 200, "the route of one's own")
    assert client.get("/bare/").status_code == 200
    gateway.deploy()
    gateway.wait_until(lambda: client.get("/own").status_code == 404, "the end of that route")


def test_a_route_of_ones_own_that_traefik_would_not_take_stops_the_run_and_changes_nothing(gateway: Any) -> None:
    file, container = gateway.folder / "dynamic/dynamic.yml", gateway.engine.containers.get(gateway.name).id
    before = file.read_bytes()
    done = gateway.play(traefik_dynamic_config={"http": {"middlewares": {"limit": {"ratelimt": {}}}}})
    assert done.returncode != 0
    assert "ratelimt" in done.stdout
    assert file.read_bytes() == before
    assert gateway.engine.containers.get(gateway.name).id == container


@pytest.mark.parametrize(("option", "tls"), [("traefik_port", "off"), ("traefik_tls_port", "self_signed")])
def test_a_port_in_use_is_refused_with_the_name_of_its_holder(gateway: Any, option: str, tls: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = gateway.refused(traefik_tls=tls, **{option: port})
    assert f"Port {port} on 127.0.0.1 is in use by" in message
    assert f"(process {os.getpid()}); stop that, or set {option} to a free one" in message


def test_a_port_of_another_container_is_refused_with_its_name(gateway: Any) -> None:
    message = gateway.refused(__traefik_name="another")
    assert f"Port {gateway.port} on 127.0.0.1 is in use by the container {gateway.name};" in message


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"traefik_engine": "podman"}, "value of traefik_engine must be one of: docker, swarm, got: podman"),
        (
            {"traefik_address": "example.org", "traefik_port": 70000},
            "traefik_address is 'example.org' and traefik_port 70000; give an address of this host such as 127.0.0.1 "
            "(0.0.0.0: all of them), and a port of 1 to 65535",
        ),
        ({"traefik_address": "example.org"}, "traefik_address is 'example.org' and traefik_port"),
        ({"traefik_port": 70000}, "traefik_address is '127.0.0.1' and traefik_port 70000; give an address"),
        (
            {"traefik_address": "192.0.2.1", "traefik_port": 8080},
            "Can't listen on 192.0.2.1 port 8080 (Cannot assign requested address",
        ),
        (
            {"traefik_address": "192.0.2.1"},
            "; set traefik_address to an address of this host, or to 0.0.0.0 for all of them",
        ),
        ({"traefik_max_in_flight": 0}, "traefik_max_in_flight is 0; it must be 1 or more"),
        ({"traefik_max_body_bytes": -1}, "traefik_max_body_bytes is -1; it must be 0 or more"),
        (
            {"traefik_admin_password": "short"},
            "traefik_admin_password must be 12 to 72 printable ASCII characters without",
        ),
        (
            {"traefik_ecs_clusters": ["llm"]},
            "traefik_ecs_clusters is [\"llm\"], traefik_ecs_region '' and traefik_ecs_refresh_seconds 5; give names of "
            "ECS clusters, their AWS region such as eu-central-1, and 1 to 60 seconds",
        ),
        ({"llm_ecs_cluster": "a b", "llm_aws_region": "eu-central-1"}, 'traefik_ecs_clusters is ["a b"], traefik_ecs'),
        (
            {"llm_ecs_cluster": "llm", "llm_aws_region": "eu-central-1", "traefik_ecs_refresh_seconds": 0},
            "and traefik_ecs_refresh_seconds 0; give names of ECS clusters",
        ),
        (
            {"traefik_trusted_proxies": ["proxy.local"]},
            "traefik_trusted_proxies names 'proxy.local'; give addresses or networks such as 10.0.0.5 or 10.1.0.0/16",
        ),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_changes(
    gateway: Any, variables: dict[str, Any], message: str
) -> None:
    assert message in gateway.refused(**variables)


def test_a_controller_that_can_not_hash_is_told_what_to_install(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "passlib.py").write_text("raise ImportError('left out')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "can't make bcrypt hashes; install the Python packages passlib and 'bcrypt<4.1'" in gateway.refused()


def test_behind_a_trusted_proxy_the_limits_count_its_clients(gateway: Any) -> None:
    # Docker hands on what comes from this host with the network's own address as its source.
    network = gateway.engine.networks.get(f"{gateway.name}-llm").attrs["IPAM"]["Config"][0]
    gateway.deploy(traefik_trusted_proxies=[network["Gateway"]])
    gateway.wait_until_routed()

    def statuses(address: str) -> list[int]:
        with gateway.client() as proxy:
            headers = {"X-Forwarded-For": address}
            return [proxy.get("/limited/", headers=headers).status_code for _ in range(gateway.burst * 4)]

    assert 429 in statuses("198.51.100.1")
    assert statuses("198.51.100.2")[: gateway.burst] == [200] * gateway.burst
