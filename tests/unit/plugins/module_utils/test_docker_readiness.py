# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _docker_readiness
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_readiness import await_ready
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Container, EngineError

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
