# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients notice of servers that fail."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.docker


@pytest.fixture
def served(gateway: Any, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Makes a route to servers, in a file of its own, and returns its path; nothing is known of their health."""

    def serve(*servers: str) -> str:
        name = request.node.name.replace("_", "-")
        gateway.configure(
            "resilience.yml",
            {
                "routers": {
                    name: {"entryPoints": ["web"], "rule": f"PathPrefix(`/{name}`)", "priority": 999, "service": name}
                },
                "services": {name: {"loadBalancer": {"servers": [{"url": server} for server in servers]}}},
            },
        )
        with gateway.client(gateway.password) as admin:
            gateway.wait_until(lambda: name in admin.get("/api/http/routers").text, f"the route {name}")
        return f"/{name}"

    return serve


def test_a_request_that_reached_no_server_is_tried_at_the_next(
    gateway: Any, client: httpx.Client, served: Callable[..., str]
) -> None:
    # In turns: without another try, every second request would fail.
    path = served(f"http://{gateway.backend}:1", f"http://{gateway.backend}:8000")
    assert [client.post(path, content=b"body").status_code for _ in range(6)] == [200] * 6
    assert [client.get(path).status_code for _ in range(6)] == [200] * 6


def test_a_request_that_reached_a_server_is_never_sent_again(
    gateway: Any, client: httpx.Client, served: Callable[..., str]
) -> None:
    path = served(f"http://{gateway.backend}:8000")
    before = client.get("/bare/").json()["hangups"]
    assert client.post(f"{path}/hangup", content=b"body").status_code == 502
    assert client.get("/bare/").json()["hangups"] == before + 1


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_whatever_a_service_answers_leaves_its_route_open(client: httpx.Client, status: int) -> None:
    assert {client.get(f"/bare/status/{status}").status_code for _ in range(10)} == {status}
    assert client.get("/bare/").status_code == 200


def test_a_service_that_can_not_be_reached_is_left_alone_and_taken_back_when_it_can(
    gateway: Any, client: httpx.Client, served: Callable[..., str]
) -> None:
    path = served(f"http://{gateway.name}-late:8000")
    gateway.wait_until(lambda: client.get(path).status_code == 503, "the circuit breaker to open")
    assert client.get("/bare/").status_code == 200
    late = gateway.start("late", 8000)
    try:
        gateway.wait_until(lambda: client.get(path).status_code == 200, "the circuit breaker to try again")
        gateway.wait_until(
            lambda: [client.get(path).status_code for _ in range(20)] == [200] * 20, "the circuit breaker to close"
        )
    finally:
        late.remove(force=True)


def test_an_upload_reaches_the_service_before_it_is_whole(gateway: Any) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as wire:
        wire.sendall(b"POST /bare/early HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n\r\nhalf")
        assert wire.recv(4096).split()[1] == b"200"
