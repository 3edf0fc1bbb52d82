# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _docker_readiness
from ansible_collections.llm.orchestrator.plugins.module_utils._description import DEFAULT_UPDATE, Gateway
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_readiness import await_ready, await_route
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError

STARTING = Container(
    id="id",
    name="demo",
    service="demo",
    image="demo:1",
    image_id="sha256:1",
    status="running",
    health="starting",
    health_output="",
    exit_code=0,
    error="",
    oom_killed=False,
    restart_count=0,
    started_at="first",
    stop_timeout=1,
    recorded='{"resources": {"memory": 67108864}}',
)
HEALTHY = replace(STARTING, health="healthy")
UNHEALTHY = replace(STARTING, health="unhealthy", health_output="no model")
UNCHECKED = replace(STARTING, health=None)
CRASHED = replace(STARTING, status="exited", exit_code=3)
RESTARTING = replace(STARTING, status="restarting", exit_code=3)


class Film:
    """A container seen at each poll, one poll a second; the last picture stays."""

    def __init__(self, *pictures: Container | None) -> None:
        self.pictures = pictures
        self.now = 0

    def find(self, _id: str) -> Container | None:
        return self.pictures[min(self.now, len(self.pictures) - 1)]

    def last_log_lines(self, _container: Container, count: int) -> list[str]:
        return [f"one of {count}"]

    def monotonic(self) -> float:
        return float(self.now)

    def sleep(self, _seconds: float) -> None:
        self.now += 1


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(*pictures: Container | None, stable: float = 2, patient: bool = False) -> tuple[Container, int]:
        film = Film(*pictures)
        monkeypatch.setattr(_docker_readiness, "time", film)
        ready = await_ready(film, STARTING, timeout=10, stable=stable, patient=patient)  # type: ignore[arg-type]
        return ready, film.now

    return run


def test_a_checked_container_is_ready_once_healthy(wait: Any) -> None:
    assert wait(STARTING, STARTING, HEALTHY) == (HEALTHY, 2)


def test_an_unchecked_container_is_ready_after_a_stable_time(wait: Any) -> None:
    assert wait(UNCHECKED) == (UNCHECKED, 2)
    assert wait(UNCHECKED, stable=0) == (UNCHECKED, 0)


def test_a_restart_between_two_looks_begins_the_stable_time_again(wait: Any) -> None:
    again = replace(UNCHECKED, started_at="second")
    assert wait(UNCHECKED, UNCHECKED, again) == (again, 4)


@pytest.mark.parametrize(
    ("picture", "cause"),
    [
        (CRASHED, "its container exited with code 3"),
        (RESTARTING, "its container exited with code 3"),
        (
            replace(CRASHED, oom_killed=True, exit_code=137),
            "its container ran out of memory, its limit is 64 MiB",
        ),
        (
            replace(CRASHED, exit_code=137),
            "its container exited with code 137, killed, probably for lack of memory, its limit is 64 MiB",
        ),
        (replace(CRASHED, error="no such file"), "its container did not start: no such file"),
        (UNHEALTHY, "its container is unhealthy, its last health check said: no model"),
        (STARTING, "its container was not ready within 10 s"),
        (None, "its container was removed while it was waited for"),
    ],
)
def test_a_new_container_fails_with_its_cause(wait: Any, picture: Container | None, cause: str) -> None:
    with pytest.raises(EngineError) as caught:
        wait(STARTING, picture)
    assert str(caught.value) == cause
    assert caught.value.log == ([] if picture is None else ["one of 20"])


def test_a_known_container_may_restart_and_be_unhealthy_for_a_while(wait: Any) -> None:
    again = replace(HEALTHY, started_at="second")
    assert wait(UNHEALTHY, RESTARTING, STARTING, again, patient=True) == (again, 3)


def test_a_known_container_that_ended_for_good_fails_at_once(wait: Any) -> None:
    with pytest.raises(EngineError, match="exited with code 3"):
        wait(UNHEALTHY, CRASHED, patient=True)


def test_patience_ends_with_the_timeout(wait: Any) -> None:
    with pytest.raises(EngineError, match="its container is unhealthy, its last health check said: no model"):
        wait(UNHEALTHY, patient=True)


class Metrics(HTTPServer):
    """A gateway's metrics, as text for each time that it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MetricsHandler)
        self.lines: list[str] = []


class MetricsHandler(BaseHTTPRequestHandler):
    server: Metrics

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        # Each answer but the last is given once.
        self.wfile.write((self.server.lines.pop(0) if len(self.server.lines) > 1 else self.server.lines[0]).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with Metrics() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def server_up(address: str, value: int) -> str:
    return f'traefik_service_server_up{{service="demo@docker",url="http://{address}:5000"}} {value}\n'


def route(monkeypatch: pytest.MonkeyPatch, metrics: Metrics, **changes: Any) -> int:
    """Waits for requests to 10.0.0.9; returns after how many looks they came."""
    gateway = replace(HEALTHY, **{"name": "traefik", "addresses": {"llm": "127.0.0.1"}, **changes})
    film = Film(gateway)
    monkeypatch.setattr(_docker_readiness, "time", film)
    update = replace(DEFAULT_UPDATE, ready_timeout=10, gateway=Gateway("traefik", metrics.server_port))
    await_route(film, replace(HEALTHY, addresses={"llm": "10.0.0.9"}), update)  # type: ignore[arg-type]
    return film.now


def test_a_container_serves_once_the_gateway_sends_it_requests(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    # Nothing listens there.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost")
    metrics.lines = [server_up("10.0.0.8", 1), server_up("10.0.0.9", 0), server_up("10.0.0.9", 1)]
    assert route(monkeypatch, metrics) == 2


def test_a_gateway_that_sends_no_requests_is_named(monkeypatch: pytest.MonkeyPatch, metrics: Metrics) -> None:
    metrics.lines = [server_up("10.0.0.8", 1)]
    with pytest.raises(EngineError) as caught:
        route(monkeypatch, metrics)
    assert str(caught.value) == (
        "its container is ready, but traefik sent it no requests within 10 s, look at its log and at the labels"
    )
    assert caught.value.log == ["one of 20"]


@pytest.mark.parametrize("changes", [{"status": "exited"}, {"addresses": {"other": "127.0.0.1"}}])
def test_a_gateway_that_is_down_or_elsewhere_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics, changes: dict[str, Any]
) -> None:
    assert route(monkeypatch, metrics, **changes) == 0
