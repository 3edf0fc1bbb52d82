# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.docker


@pytest.fixture
def refilled(gateway: Any) -> None:
    """The rate limit's bucket is full again, whatever tests came before."""
    time.sleep(gateway.burst / gateway.rate + 0.5)


def test_a_path_reaches_its_service_without_its_prefix(client: httpx.Client) -> None:
    assert client.get("/bare/v1/things?q=1").json()["path"] == "/v1/things?q=1"


@pytest.mark.parametrize("path", ["/bare/a%2fb", "/bare/..%5cb", "/bare/%00"])
def test_a_path_that_could_be_read_in_two_ways_is_refused(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 400


@pytest.mark.parametrize("path", ["/v1/models", "/api/model/docs", "/api/storage", "/"])
def test_a_service_that_is_away_is_unavailable_rather_than_unknown(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert client.get("/v1x").status_code == 404


def test_every_answer_carries_the_security_headers(client: httpx.Client) -> None:
    for path in ("/bare/", "/dashboard/", "/v1/models"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.usefixtures("refilled")
def test_more_requests_than_the_rate_get_429_and_when_to_retry(gateway: Any, client: httpx.Client) -> None:
    answers = [client.get("/limited/") for _ in range(gateway.burst * 4)]
    assert [answer.status_code for answer in answers[: gateway.burst]] == [200] * gateway.burst
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["Retry-After"]) >= 1


@pytest.mark.usefixtures("refilled")
def test_more_requests_at_once_than_allowed_get_429(gateway: Any) -> None:
    with gateway.client() as client, ThreadPoolExecutor(gateway.in_flight + 2) as pool:
        answers = [
            pool.submit(client.get, "/limited/slow", headers={"Host": f"host-{number}"})
            for number in range(gateway.in_flight + 2)
        ]
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * gateway.in_flight + [429, 429]


@pytest.mark.parametrize("excess", [1, 4, 5, 105, 905, 1000, 8904, 8905, 10**5])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/model/v1/models"])
def test_a_body_over_the_limit_is_refused_before_any_service(
    gateway: Any, client: httpx.Client, path: str, excess: int
) -> None:
    answer = client.post(path, content=b"x" * (gateway.max_body + excess))
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("size", [0, 1, 9, 99, 999, 1000, 1089, 1094, 1095])
def test_a_body_within_the_limit_passes(client: httpx.Client, size: int) -> None:
    assert client.post("/v1/chat/completions", content=b"x" * size).status_code == 503


def test_only_the_model_api_has_that_limit_and_what_says_no_length_is_left_to_the_service(
    gateway: Any, client: httpx.Client
) -> None:
    body = b"x" * (gateway.max_body + 1)
    assert client.post("/bare/", content=body).status_code == 200
    assert client.post("/v1/chat/completions", content=iter([body])).status_code == 503


@pytest.mark.usefixtures("refilled")
def test_a_stream_passes_all_middlewares_unbuffered_and_outlives_the_read_timeout(
    gateway: Any, client: httpx.Client
) -> None:
    arrivals = []
    with client.stream("POST", "/limited/stream", content=b"{}") as answer:
        for line in answer.iter_lines():
            if line:
                arrivals.append((time.monotonic(), line))
    assert [line for _, line in arrivals] == [f"data: {number}" for number in range(10)]
    assert arrivals[-1][0] - arrivals[0][0] > gateway.read_timeout


@pytest.mark.usefixtures("refilled")
def test_the_dashboard_and_what_it_reads_want_the_password(gateway: Any, admin: httpx.Client) -> None:
    with gateway.client() as stranger, gateway.client("wrong") as guesser:
        assert stranger.get("/dashboard/").status_code == 401
        assert stranger.get("/api/rawdata").status_code == 401
        assert guesser.get("/dashboard/").status_code == 401
    assert "Traefik" in admin.get("/dashboard/").text
    assert admin.get("/dashboard").headers["Location"].endswith("/dashboard/")
    overview = admin.get("/api/overview").json()["http"]
    assert [overview[kind]["errors"] for kind in ("routers", "middlewares", "services")] == [0, 0, 0]


@pytest.mark.usefixtures("refilled")
def test_a_service_behind_the_password_never_sees_it(client: httpx.Client, admin: httpx.Client) -> None:
    assert client.get("/private/").status_code == 401
    assert "Authorization" not in admin.get("/private/").json()["headers"]


@pytest.mark.usefixtures("refilled")
def test_guesses_of_the_password_are_limited(gateway: Any) -> None:
    with gateway.client("wrong") as guesser:
        statuses = [guesser.get("/private/").status_code for _ in range(gateway.burst * 4)]
    assert statuses[0] == 401
    assert 429 in statuses


def test_the_access_log_is_json_without_secrets(gateway: Any, client: httpx.Client) -> None:
    secret, marker = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"Authorization": f"Bearer {secret}", "Cookie": f"session={secret}", "X-Api-Key": secret}
    client.get(f"/bare/{marker}?key={secret}", headers=headers | {"X-Request-Id": marker})

    def entries() -> list[dict[str, Any]]:
        return [entry for entry in gateway.log(gateway.name) if marker in entry.get("RequestPath", "")]

    gateway.wait_until(lambda: bool(entries()), "the request in the access log")
    assert entries()[0]["request_X-Request-Id"] == marker
    assert entries()[0]["DownstreamStatus"] == 200
    assert secret not in gateway.engine.containers.get(gateway.name).logs().decode()


def test_metrics_name_services_and_routers_on_the_private_network_only(gateway: Any, client: httpx.Client) -> None:
    client.get("/bare/")
    private = f"http://{gateway.address(gateway.name, 'llm')}:8082"
    metrics = httpx.get(f"{private}/metrics", trust_env=False).text
    assert 'service="backend@docker"' in metrics
    assert 'router="bare@docker"' in metrics
    assert httpx.get(f"{private}/ping", trust_env=False).status_code == 200
    assert httpx.get(f"{private}/api/overview", trust_env=False).status_code == 404
    assert client.get("/metrics").status_code == client.get("/ping").status_code == 404


def test_a_request_that_never_ends_is_given_up(gateway: Any) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=gateway.read_timeout * 5) as wire:
        wire.sendall(b"POST /bare/ HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n\r\nhalf")
        answer = wire.recv(4096)
    assert answer.split()[1:2] != [b"200"]


def test_a_stream_under_way_ends_whole_when_the_gateway_is_stopped(gateway: Any, client: httpx.Client) -> None:
    container = gateway.engine.containers.get(gateway.name)
    with client.stream("GET", "/bare/stream") as answer, ThreadPoolExecutor() as pool:
        lines = answer.iter_lines()
        received = [next(lines)]
        stopped = pool.submit(container.stop, timeout=30)
        received += [line for line in lines if line]
        stopped.result()
    assert received == [f"data: {number}" for number in range(10)]
    assert container.wait()["StatusCode"] == 0
    container.start()
    gateway.wait_until_routed()
