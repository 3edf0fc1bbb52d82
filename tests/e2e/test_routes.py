"""What the gateway lets through, where it goes, and what wants a password."""

from __future__ import annotations

import hashlib
import uuid

import httpx
import pytest


@pytest.mark.parametrize("service", ["cache", "storage"])
def test_a_service_that_can_change_data_wants_the_password(
    http: httpx.Client, admin: httpx.BasicAuth, service: str
) -> None:
    assert http.get(f"/api/{service}/v1/stats").status_code == 401
    assert http.get(f"/api/{service}/v1/stats", auth=admin).status_code == 200


def test_the_dashboard_wants_the_password(http: httpx.Client, admin: httpx.BasicAuth) -> None:
    assert http.get("/dashboard/").status_code == 401
    assert http.get("/api/overview").status_code == 401
    assert "Traefik" in http.get("/dashboard/", auth=admin).text
    assert http.get("/api/overview", auth=admin).json()["http"]["routers"]["errors"] == 0


@pytest.mark.parametrize("service", ["model", "monitoring"])
def test_a_service_shows_its_api(http: httpx.Client, service: str) -> None:
    assert http.get(f"/api/{service}/openapi.json").json()["info"]["title"] == f"{service}-service"


def test_the_page_is_what_a_person_opens_first(http: httpx.Client) -> None:
    answer = http.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_file_goes_to_storage_and_comes_back_whole(http: httpx.Client, admin: httpx.BasicAuth) -> None:
    path, content = f"/api/storage/v1/files/e2e/{uuid.uuid4()}.bin", bytes(range(256)) * 4096
    try:
        stored = http.put(path, content=content, auth=admin)
        assert stored.json()["sha256"] == hashlib.sha256(content).hexdigest()
        assert http.get(path, auth=admin).content == content
        part = http.get(path, headers={"Range": "bytes=1000-1999"}, auth=admin)
        assert (part.status_code, part.content) == (206, content[1000:2000])
    finally:
        assert http.delete(path, auth=admin).status_code == 204
    assert http.get(path, auth=admin).status_code == 404


def test_a_value_goes_to_the_cache_and_comes_back(http: httpx.Client, admin: httpx.BasicAuth) -> None:
    path = f"/api/cache/v1/entries/e2e:{uuid.uuid4()}"
    assert http.put(path, content=b"value", headers={"X-TTL-Seconds": "60"}, auth=admin).status_code == 204
    assert http.get(path, auth=admin).content == b"value"
    assert http.delete(path, auth=admin).status_code == 204
    assert http.get(path, auth=admin).status_code == 404


def test_every_service_is_seen_up_by_monitoring(http: httpx.Client) -> None:
    services = http.get("/api/monitoring/v1/services").json()
    states = {service["name"]: service["state"] for service in services["services"]}
    expected = {"model-service", "cache-service", "storage-service", "monitoring-service", "traefik"}
    assert expected <= states.keys()
    assert set(states.values()) == {"up"}
