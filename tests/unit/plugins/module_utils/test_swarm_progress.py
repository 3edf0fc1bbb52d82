# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _swarm_progress
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_progress import (
    Goal,
    Halted,
    await_ended,
    await_goal,
    await_settled,
    cause,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import Node, SwarmService, Task

OLD = {"ContainerSpec": {"Image": "old"}}
NEW = {"ContainerSpec": {"Image": "new"}}
SERVICE = SwarmService(
    "s", 1, {"Name": "demo", "Labels": {}, "TaskTemplate": NEW, "Mode": {"Replicated": {"Replicas": 1}}}
)
RUNNING = Task("t-1", 1, "n-1", NEW, "running", "running", "", "c-1", "1")
STARTING = replace(RUNNING, state="starting")
CRASHED = replace(RUNNING, state="failed", desired_state="shutdown", error="task: non-zero exit (3)")
HOMELESS = replace(STARTING, state="pending", container_id="", error="no suitable node (x)", node_id="")
OLD_RUNNING = replace(RUNNING, id="t-0", template=OLD)
OLD_DRAINING = replace(OLD_RUNNING, desired_state="shutdown")
UPDATING = replace(SERVICE, update_state="updating")
HOSTS = {"n-1": "one"}
Picture = tuple[SwarmService | None, Sequence[Task]]


class Film:
    """A service seen at each poll, one poll a second; the last picture stays."""

    def __init__(self, *pictures: Picture) -> None:
        self.pictures = pictures
        self.now = 0
        self.refusals = 1  # of an update, as someone else changes the service at that moment

    def picture(self) -> Picture:
        return self.pictures[min(self.now, len(self.pictures) - 1)]

    def service(self, _name: str) -> SwarmService | None:
        return self.picture()[0]

    def tasks(self, _service: SwarmService) -> Sequence[Task]:
        return self.picture()[1]

    def nodes(self) -> list[Node]:
        return [Node("n-1", "one", 1, {}), Node("n-2", "two", 1, {}, is_ready=False)]

    def update(self, service: SwarmService, spec: Mapping[str, Any]) -> None:
        """What a Swarm does that is told the same again shows in the last picture."""
        assert spec == service.spec
        if self.refusals:
            self.refusals -= 1
            raise EngineError("somebody else changed the service meanwhile, run again")
        self.now = len(self.pictures) - 1

    def last_log_lines(self, _service: SwarmService, task: Task, count: int) -> list[str]:
        return [f"{count} of {task.id}"]

    def monotonic(self) -> float:
        return float(self.now)

    def sleep(self, _seconds: float) -> None:
        self.now += 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*pictures: Picture, **goal: Any) -> int:
        film = Film(*pictures)
        monkeypatch.setattr(_swarm_progress, "time", film)
        await_goal(film, "demo", Goal(**{"template": NEW, "count": 1, "timeout": 9, **goal}), HOSTS)  # type: ignore[arg-type]
        return film.now

    return run


def test_it_is_reached_when_all_are_of_the_template_and_run(watch: Any) -> None:
    assert watch((SERVICE, []), (SERVICE, [STARTING]), (SERVICE, [RUNNING])) == 2
    second = replace(RUNNING, id="t-2")
    assert watch((SERVICE, [RUNNING]), (SERVICE, [RUNNING, second]), count=2) == 1


def test_an_update_is_over_when_the_swarm_says_so_and_nothing_old_is_wanted(watch: Any) -> None:
    done = replace(SERVICE, update_state="completed")
    pictures = [
        (SERVICE, [OLD_RUNNING]),
        (UPDATING, [OLD_RUNNING, RUNNING]),
        (UPDATING, [OLD_DRAINING, RUNNING]),
        (done, [OLD_DRAINING, RUNNING]),
    ]
    assert watch(*pictures, judged=True) == 3


def test_where_a_task_runs_is_the_swarms_affair(watch: Any) -> None:
    assert watch((SERVICE, [replace(RUNNING, template={**NEW, "Placement": {"Constraints": ["x"]}})])) == 0


def test_without_a_health_check_it_has_to_run_for_a_while(watch: Any) -> None:
    assert watch((SERVICE, [RUNNING]), stable=2) == 2
    with pytest.raises(EngineError, match="exited with code 3 on one"):
        watch((SERVICE, [RUNNING]), (SERVICE, [CRASHED]), stable=2)


def test_a_first_release_fails_with_its_first_crash(watch: Any) -> None:
    with pytest.raises(EngineError) as caught:
        watch((SERVICE, [STARTING]), (SERVICE, [CRASHED, replace(STARTING, id="t-2")]))
    assert str(caught.value) == "its container exited with code 3 on one"
    assert caught.value.log == ["20 of t-1"]


def test_an_old_crash_is_no_news(watch: Any) -> None:
    assert watch((SERVICE, [CRASHED, replace(RUNNING, id="t-2")]), before=["t-1"]) == 0


def test_what_is_known_to_have_worked_may_crash_and_come_back(watch: Any) -> None:
    assert watch((SERVICE, [CRASHED]), (SERVICE, [CRASHED, replace(RUNNING, id="t-2")]), patient=True) == 1


@pytest.mark.parametrize(
    ("state", "is_rolling_back"),
    [("rollback_started", True), ("rollback_completed", True), ("rollback_paused", True), ("paused", False)],
)
def test_the_swarms_verdict_on_an_update_is_told_with_the_cause(watch: Any, state: str, is_rolling_back: bool) -> None:
    halted = replace(SERVICE, update_state=state)
    with pytest.raises(Halted) as caught:
        watch((UPDATING, [OLD_RUNNING, STARTING]), (halted, [OLD_RUNNING, CRASHED]), judged=True)
    assert str(caught.value) == "its container exited with code 3 on one"
    assert caught.value.is_rolling_back is is_rolling_back


def test_a_verdict_on_an_earlier_update_is_no_news(watch: Any) -> None:
    assert watch((replace(SERVICE, update_state="rollback_completed"), [RUNNING])) == 0


def test_a_rollback_that_fails_is_told(watch: Any) -> None:
    pictures = (
        (replace(SERVICE, update_state="rollback_started"), [RUNNING]),
        (replace(SERVICE, update_state="rollback_paused"), [CRASHED]),
    )
    with pytest.raises(EngineError, match="exited with code 3"):
        watch(*pictures, patient=True)


def test_what_fails_of_a_bad_release_is_not_why_the_one_before_does_not_come_back(watch: Any) -> None:
    with pytest.raises(EngineError) as caught:
        watch((SERVICE, [replace(CRASHED, template=OLD), replace(STARTING, id="t-2")]), patient=True, timeout=5)
    assert str(caught.value) == "its container on one was not ready within 5 s"


def test_a_task_too_many_that_stays_is_ended(watch: Any) -> None:
    both = [RUNNING, replace(RUNNING, id="t-2")]
    seen = [*[(SERVICE, both)] * 20, (SERVICE, [RUNNING])]
    assert watch(*seen, patient=True, timeout=15) == 21
    going = [(SERVICE, both), (SERVICE, both), (SERVICE, [RUNNING])]
    assert watch(*going) == 2
    with pytest.raises(EngineError):
        watch(*[(replace(SERVICE, update_state="rollback_started"), both)] * 20, (SERVICE, [RUNNING]), patient=True)


def test_a_task_that_finds_no_host_is_not_waited_for_long(watch: Any) -> None:
    with pytest.raises(EngineError) as caught:
        watch((SERVICE, [HOMELESS]), timeout=600)
    assert str(caught.value) == "no host can run it: no suitable node (x)"
    assert watch(*[(SERVICE, [HOMELESS])] * 8, (SERVICE, [RUNNING]), timeout=600) == 8


def test_each_next_task_has_the_whole_time(watch: Any) -> None:
    second, third = replace(RUNNING, id="t-2"), replace(RUNNING, id="t-3")
    slow = [(SERVICE, [])] * 6 + [(SERVICE, [RUNNING])] * 6 + [(SERVICE, [RUNNING, second])] * 6
    assert watch(*slow, (SERVICE, [RUNNING, second, third]), count=3) == 18
    with pytest.raises(EngineError, match="its container on one was not ready within 5 s"):
        watch((SERVICE, [STARTING]), timeout=5)
    with pytest.raises(EngineError, match="its tasks were not ready within 5 s"):
        watch((SERVICE, []), timeout=5)


def test_a_service_that_is_removed_meanwhile_is_told(watch: Any) -> None:
    with pytest.raises(EngineError, match="its service was removed while it was waited for"):
        watch((SERVICE, [STARTING]), (None, []))


def test_an_update_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    film = Film((UPDATING, []), (UPDATING, []), (SERVICE, []))
    monkeypatch.setattr(_swarm_progress, "time", film)
    assert await_settled(film, UPDATING, 9) is SERVICE  # type: ignore[arg-type]
    stuck = Film((UPDATING, []))
    monkeypatch.setattr(_swarm_progress, "time", stuck)
    assert await_settled(stuck, UPDATING, 9) is UPDATING  # type: ignore[arg-type]
    assert stuck.now == 9


def test_the_end_of_what_was_replaced_is_waited_for_and_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = replace(OLD_DRAINING, state="complete")
    film = Film((SERVICE, [OLD_DRAINING, RUNNING]), (SERVICE, [OLD_DRAINING, RUNNING]), (SERVICE, [ended, RUNNING]))
    monkeypatch.setattr(_swarm_progress, "time", film)
    await_ended(film, SERVICE, NEW, 9)  # type: ignore[arg-type]
    assert film.now == 2
    on_a_lost_host = Film((SERVICE, [replace(OLD_DRAINING, node_id="n-2"), RUNNING]))
    monkeypatch.setattr(_swarm_progress, "time", on_a_lost_host)
    await_ended(on_a_lost_host, SERVICE, NEW, 9)  # type: ignore[arg-type]
    assert on_a_lost_host.now == 0
    stuck = Film((SERVICE, [OLD_DRAINING]))
    monkeypatch.setattr(_swarm_progress, "time", stuck)
    await_ended(stuck, SERVICE, None, 9)  # type: ignore[arg-type]
    assert stuck.now == 29


CHECKED = {"ContainerSpec": {"Image": "new", "Healthcheck": {"Test": ["CMD", "ok"]}}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"error": "task: non-zero exit (137)"},
            "its container exited with code 137, killed, probably for lack of memory, its limit is 64 MiB on one",
        ),
        (
            {"error": "task: non-zero exit (143): dockerexec: unhealthy container"},
            "its container on one is unhealthy",
        ),
        ({"state": "complete", "error": ""}, "its container exited with code 0 on one"),
        (
            {"state": "complete", "error": "", "template": CHECKED},
            "its container on one is unhealthy, or ended by itself with code 0",
        ),
        (
            {"state": "rejected", "error": "No such image: sha256:1"},
            "image 'demo:1' (sha256:1) is not on one, copy it there or push it to a registry",
        ),
        (
            {"state": "rejected", "error": 'invalid mount config for type "bind": bind source path does not exist: /x'},
            "the mount's source /x is not on one, create it first",
        ),
        (
            {"error": "driver failed programming: listen tcp4 0.0.0.0:80: bind: address already in use"},
            "port 0.0.0.0:80 is in use on one, free it or publish another",
        ),
        (
            {"state": "pending", "error": "no suitable node (host-mode port already in use on 2 nodes)"},
            "another service has its published port on every host that may run it, free it or publish another",
        ),
        ({"error": "starting container failed: x"}, "its container on one did not start: starting container failed: x"),
        ({"state": "starting", "error": ""}, "its container on one was not ready within 5 s"),
    ],
)
def test_why_a_task_does_not_run_is_one_line(changes: dict[str, Any], line: str) -> None:
    record = {"image": "demo:1", "resources": {"memory": 2**26}}
    assert cause(replace(CRASHED, **changes), record, "one", 5) == line
