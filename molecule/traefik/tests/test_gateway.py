"""The gateway with a certificate that its role made, as a client meets it."""

from __future__ import annotations

import ssl

import httpx
import pytest

CONTAINERS = ["socket-filter", "traefik"]
SECRETS = ["/etc/llm-orchestrator/admin_password", "/etc/llm-orchestrator/tls/key.pem"]


@pytest.fixture(scope="module")
def address(host) -> str:
    return host.backend.get_variables()["ansible_host"]


@pytest.fixture(scope="module")
def gateway(host, address: str):
    trusted = host.file("/etc/llm-orchestrator/tls/certificate.pem").content_string
    context = ssl.create_default_context(cadata=trusted)
    with httpx.Client(base_url=f"https://{address}", verify=context, timeout=30, trust_env=False) as client:
        yield client


def test_the_certificate_is_for_the_hosts_address(gateway: httpx.Client) -> None:
    answer = gateway.get("/v1/models")
    assert answer.status_code == 503
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_plain_http_is_sent_to_https(address: str) -> None:
    answer = httpx.get(f"http://{address}/v1/models", trust_env=False)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://{address}/v1/models"


def test_the_dashboard_wants_the_password(host, gateway: httpx.Client) -> None:
    password = host.file("/etc/llm-orchestrator/admin_password").content_string.strip()
    assert gateway.get("/dashboard/").status_code == 401
    assert gateway.get("/dashboard/", auth=("admin", "wrong")).status_code == 401
    assert gateway.get("/dashboard/", auth=("admin", password)).status_code == 200


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_is_for_root_alone(host, path: str) -> None:
    assert (host.file(path).user, host.file(path).mode) == ("root", 0o600)


def test_the_key_that_traefik_reads_is_for_its_user_alone(host) -> None:
    (folder,) = host.file("/etc/llm-orchestrator/traefik").listdir()
    file = host.file(f"/etc/llm-orchestrator/traefik/{folder}/dynamic/certificate.yml")
    assert (file.uid, file.mode) == (10001, 0o400)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_hardened(host, name: str) -> None:
    inspected = host.docker(name).inspect()
    config = inspected["HostConfig"]
    assert inspected["State"]["Health"]["Status"] == "healthy"
    assert inspected["Config"]["User"] == "10001:10001"
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert any(option.startswith("no-new-privileges") for option in config["SecurityOpt"])
    published = {port for port, binding in inspected["NetworkSettings"]["Ports"].items() if binding}
    assert published == ({"8080/tcp", "8081/tcp"} if name == "traefik" else set())
