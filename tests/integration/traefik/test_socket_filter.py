# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.docker


def ask_filter(gateway: Any, request_line: str, headers: str = "", body: str = "") -> int:
    """The status of a request that goes out byte by byte as it stands here."""
    with socket.create_connection((gateway.address(gateway.filter, "a-socket"), 2375), timeout=10) as wire:
        wire.sendall(f"{request_line} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n{headers}\r\n{body}".encode())
        return int(wire.recv(4096).split()[1])


def test_the_filter_lets_through_what_traefik_reads(gateway: Any) -> None:
    container = gateway.engine.containers.get(gateway.backend).id
    assert ask_filter(gateway, "HEAD /_ping") == 200
    for path in ("/version", "/containers/json?all=1", f"/containers/{container}/json"):
        assert ask_filter(gateway, f"GET {path}") == 200
        assert ask_filter(gateway, f"GET /v1.41{path}") == 200


def test_the_filter_refuses_everything_else(gateway: Any) -> None:
    one = f"/containers/{gateway.engine.containers.get(gateway.backend).id}"
    body = "Content-Length: 2\r\n"
    assert ask_filter(gateway, "POST /v1.41/containers/create", body, "{}") == 403
    assert ask_filter(gateway, f"DELETE {one}") == 403
    assert ask_filter(gateway, f"POST {one}/exec", body, "{}") == 403
    assert ask_filter(gateway, f"PUT {one}/archive?path=/") == 403
    for path in ("/info", "/images/json", "/secrets", f"{one}/logs", f"{one}/archive", f"{one}/top"):
        assert ask_filter(gateway, f"GET {path}") == 403
    # What Traefik reads of a Swarm only.
    for path in ("/networks", "/services", "/tasks", f"/nodes/{25 * 'a'}"):
        assert ask_filter(gateway, f"GET {path}") == 403
    assert ask_filter(gateway, "GET /containers/json", body, "{}") == 403
    assert ask_filter(gateway, "GET /containers/json", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n") == 403
    assert ask_filter(gateway, "GET /events", "Connection: Upgrade\r\nUpgrade: tcp\r\n") == 403


@pytest.mark.parametrize(
    "path",
    [
        "//containers/json",
        "/v1.41//containers/json",
        "/containers/json/",
        "/containers/json/../../images/json",
        "/containers/../images/json",
        "/containers/%2e%2e/images/json",
        "/%76ersion",
        "/containers/json%00",
        "/containers/json;/../../info",
        "/v1.41/v1.41/info",
        "/VERSION",
    ],
)
def test_the_filter_refuses_tricks_with_paths(gateway: Any, path: str) -> None:
    assert ask_filter(gateway, f"GET {path}") == 403


@pytest.mark.parametrize("target", ["http://other/images/json", "/containers/json#/../info"])
def test_the_filter_refuses_odd_request_targets(gateway: Any, target: str) -> None:
    assert ask_filter(gateway, f"GET {target}") in (400, 403)


def test_events_come_through_the_filter_as_they_happen(gateway: Any) -> None:
    url = f"http://{gateway.address(gateway.filter, 'a-socket')}:2375/v1.41/events"
    with httpx.stream("GET", url, params={"filters": '{"event": ["create"]}'}, trust_env=False) as events:
        made = gateway.engine.containers.create("llm-orchestrator/base:0.1.0", "true", name=f"{gateway.name}-event")
        seen = next(line for line in events.iter_lines() if made.id in line)
        made.remove()
    assert json.loads(seen)["Action"] == "create"
