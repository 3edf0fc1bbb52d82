# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of steps, and what becomes of a run that ends after any of them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import Config, Description
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_engine import DockerEngine
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import (
    REPLACEMENT_CALLS,
    FakeDocker,
    Killed,
    describe,
    the_one,
)


def test_a_first_run_creates_and_a_second_changes_nothing(docker: FakeDocker, present: Any) -> None:
    assert present(describe("demo:1")).changed
    calls = list(docker.calls)
    assert not present(describe("demo:1")).changed
    assert docker.calls == calls
    assert the_one(docker).name == "demo"
    assert docker.policies[the_one(docker).id] == "unless-stopped"


def test_check_mode_calls_nothing_that_changes(docker: FakeDocker, present: Any, tmp_path: Path) -> None:
    outcome = present(describe("demo:1"), check_mode=True)
    assert outcome.before == {"state": "absent"}
    assert outcome.after["image"] == "demo:1"
    assert docker.calls == []
    assert list(tmp_path.iterdir()) == []


def test_check_mode_takes_an_image_that_is_not_there_yet(present: Any) -> None:
    assert present(describe("later:1"), check_mode=True).after["image"] == "later:1"


def test_start_first_never_leaves_the_service_down(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1"))
    docker.was_always_up = True
    outcome = present(describe("demo:2"))
    assert outcome.before == {"image": "demo:1", "image_id": "sha256:1"}
    assert outcome.after == {"image": "demo:2", "image_id": "sha256:2"}
    assert docker.was_always_up
    assert docker.calls[-8:] == [
        *("create", "start", "set_restart_policy", "stop"),
        *("remove", "set_restart_policy", "rename", "rename"),
    ]


def test_stop_first_never_runs_both_at_once(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1", "stop_first"))
    present(describe("demo:2", "stop_first"))
    assert docker.calls[-8:] == [
        *("create", "stop", "start", "set_restart_policy"),
        *("remove", "set_restart_policy", "rename", "rename"),
    ]


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize(
    ("image", "cause"), [("crashing:1", "exited with code 1"), ("never-healthy:1", "is unhealthy")]
)
def test_a_bad_release_leaves_the_old_one_running(
    docker: FakeDocker, present: Any, order: str, image: str, cause: str
) -> None:
    present(describe("demo:1", order))
    good = the_one(docker)
    with pytest.raises(EngineError, match=f"{cause}.*the old one runs") as caught:
        present(describe(image, order))
    assert caught.value.log == [f"the end of {image}"]
    assert the_one(docker) == replace(good, status="running", health="healthy")


def test_a_bad_first_release_is_removed(docker: FakeDocker, present: Any) -> None:
    with pytest.raises(EngineError) as caught:
        present(describe("crashing:1"))
    outlook = "the new container was removed, the service does not run"
    assert str(caught.value) == f"its container exited with code 1; {outlook}"
    assert docker.by_id == {}


def test_a_missing_image_or_network_is_told_before_anything_is_done(docker: FakeDocker, present: Any) -> None:
    with pytest.raises(EngineError, match="image 'gone:1' is not on this host, build or pull it first"):
        present(describe("gone:1"))
    docker.networks.clear()
    with pytest.raises(EngineError, match="network 'llm' is not on this host, create it first"):
        present(describe("demo:1"))
    assert docker.calls == []


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize("calls", range(1, REPLACEMENT_CALLS + 1))
@pytest.mark.parametrize("again", ["demo:1", "demo:2"])
@pytest.mark.parametrize("reboots", [False, True])
def test_a_run_killed_after_any_call_is_converged_by_the_next(
    docker: FakeDocker, present: Any, order: str, calls: int, again: str, reboots: bool
) -> None:
    present(describe("demo:1", order))
    docker.calls_left = calls
    docker.was_always_up = True
    with pytest.raises(Killed):
        present(describe("demo:2", order))
    docker.calls_left = 10**6
    if reboots:
        docker.reboot()
    present(describe(again, order))
    container = the_one(docker)
    assert (container.name, container.image, container.status) == ("demo", again, "running")
    assert docker.policies[container.id] == "unless-stopped"
    assert not present(describe(again, order)).changed
    assert not docker.removed_while_serving
    if order == "start_first":
        assert docker.was_always_up


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize("calls", range(1, REPLACEMENT_CALLS + 2))
def test_a_killed_run_keeps_the_release_before_and_not_an_older_one(
    docker: FakeDocker, present: Any, order: str, calls: int
) -> None:
    present(describe("demo:1", order))
    present(describe("demo:2", order))
    release_before = the_one(docker).id
    docker.calls_left = calls
    with contextlib.suppress(Killed):
        present(describe("demo:3", order))
    docker.calls_left = 10**6
    present(describe("demo:3", order))
    kept = docker.find("demo.previous")
    assert the_one(docker).image == "demo:3"
    assert kept
    assert kept.id == release_before


def test_a_replacement_killed_before_the_new_one_served_can_be_called_off(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1"))
    old = the_one(docker)
    docker.calls_left = docker.calls.index("create") + 1
    with pytest.raises(Killed):
        present(describe("demo:2"))
    docker.calls_left = 10**6
    outcome = present(describe("demo:1"))
    assert outcome.before == {"interrupted_replacement": "demo.next"}
    assert the_one(docker) == old


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize("calls", range(1, REPLACEMENT_CALLS + 1))
def test_a_killed_run_followed_by_a_bad_release_still_serves(
    docker: FakeDocker, present: Any, order: str, calls: int
) -> None:
    present(describe("demo:1", order))
    docker.calls_left = calls
    with pytest.raises(Killed):
        present(describe("demo:2", order))
    docker.calls_left = 10**6
    with pytest.raises(EngineError):
        present(describe("crashing:1", order))
    container = the_one(docker)
    assert container.name == "demo"
    assert container.is_serving


@pytest.mark.parametrize("calls", range(1, REPLACEMENT_CALLS + 1))
def test_a_killed_run_followed_by_a_missing_image_still_serves(docker: FakeDocker, present: Any, calls: int) -> None:
    present(describe("demo:1", "stop_first"))
    docker.calls_left = calls
    with pytest.raises(Killed):
        present(describe("demo:2", "stop_first"))
    docker.calls_left = 10**6
    with pytest.raises(EngineError, match="gone:1"):
        present(describe("gone:1", "stop_first"))
    assert the_one(docker).is_serving


def test_a_stopped_container_that_is_right_is_started_not_replaced(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1"))
    good = the_one(docker)
    docker.change(good.id, status="exited")
    outcome = present(describe("demo:1"))
    assert (outcome.before, outcome.after) == ({"state": "stopped"}, {"state": "running"})
    assert the_one(docker).id == good.id


def test_a_container_on_a_network_that_was_made_anew_is_replaced(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1"))
    docker.networks["llm"] = "net-2"
    assert present(describe("demo:1")).after == {"network_ids": {"llm": "net-2"}}
    assert the_one(docker).network_ids == {"llm": "net-2"}


def test_an_unreadable_record_means_a_replacement(docker: FakeDocker, present: Any) -> None:
    present(describe("demo:1"))
    first = the_one(docker)
    docker.change(first.id, recorded="{not json")
    assert present(describe("demo:1")).changed
    assert the_one(docker).id != first.id


def test_another_ones_container_of_that_name_is_never_touched(
    docker: FakeDocker, engine: DockerEngine, present: Any, tmp_path: Path
) -> None:
    present(describe("demo:1"))
    docker.change(the_one(docker).id, service="")
    foreign, calls = the_one(docker), list(docker.calls)
    for act in (
        lambda: present(describe("demo:2")),
        lambda: engine.stopped("demo", check_mode=False),
        lambda: engine.restarted("demo", check_mode=False),
        lambda: engine.absent("demo", tmp_path, remove_volumes=False, check_mode=False),
    ):
        with pytest.raises(EngineError) as caught:
            act()
        assert str(caught.value) == (
            "a container 'demo' exists that was made by other means "
            "(it lacks the label llm.orchestrator.service=demo), rename or remove it first"
        )
    assert the_one(docker) == foreign
    assert docker.calls == calls


@pytest.mark.parametrize("calls", range(1, REPLACEMENT_CALLS + 1))
def test_absent_removes_what_a_killed_run_left(
    docker: FakeDocker, engine: DockerEngine, present: Any, tmp_path: Path, calls: int
) -> None:
    present(describe("demo:1"))
    docker.calls_left = calls
    with pytest.raises(Killed):
        present(describe("demo:2", "stop_first"))
    docker.calls_left = 10**6
    assert engine.absent("demo", tmp_path, remove_volumes=False, check_mode=False).changed
    assert docker.by_id == {}
    assert not engine.absent("demo", tmp_path, remove_volumes=False, check_mode=False).changed


def test_absent_says_so_where_only_a_previous_container_is_left(
    docker: FakeDocker, engine: DockerEngine, present: Any, tmp_path: Path
) -> None:
    present(describe("demo:1"))
    present(describe("demo:2"))
    docker.remove("demo")
    outcome = engine.absent("demo", tmp_path, remove_volumes=False, check_mode=False)
    assert (outcome.before, outcome.after) == ({"state": "stopped"}, {"state": "absent"})
    assert docker.by_id == {}


def test_a_service_may_have_the_name_of_an_option(docker: FakeDocker, present: Any) -> None:
    service = replace(describe("demo:1"), name="image")
    assert present(service).changed
    assert not present(service).changed


def test_a_config_that_differs_is_shown_by_lines_and_makes_another_container(docker: FakeDocker, present: Any) -> None:
    def configured(content: str) -> Description:
        return replace(describe("demo:1"), configs=(Config("/etc/demo.conf", content),))

    present(configured("port 1\nlog on\n"))
    first = the_one(docker)
    assert not present(configured("port 1\nlog on\n")).changed
    assert "log on" not in first.recorded
    outcome = present(configured("port 2\nlog on\n"), check_mode=True)
    assert outcome.before == {"configs": {"/etc/demo.conf": ["port 1", "log on", ""]}}
    assert outcome.after == {"configs": {"/etc/demo.conf": ["port 2", "log on", ""]}}
    present(configured("port 2\nlog on\n"))
    assert the_one(docker).files["/etc/demo.conf"].read_text() == "port 2\nlog on\n"
    assert first.files["/etc/demo.conf"].read_text() == "port 1\nlog on\n", "a rollback needs it"
    present(describe("demo:1"))
    assert not first.files["/etc/demo.conf"].exists()


def test_a_config_that_was_lost_or_changed_on_the_host_is_written_again(docker: FakeDocker, present: Any) -> None:
    service = replace(describe("demo:1"), configs=(Config("/etc/demo.conf", "port 1\n"),))
    present(service)
    file = the_one(docker).files["/etc/demo.conf"]
    file.unlink()
    assert present(service).before == {"configs": {"/etc/demo.conf": []}}
    file = the_one(docker).files["/etc/demo.conf"]
    file.chmod(0o600)
    file.write_text("port 3\n")
    assert present(service).before == {"configs": {"/etc/demo.conf": ["port 3", ""]}}
    assert the_one(docker).files["/etc/demo.conf"].read_text() == "port 1\n"


def test_stopped_stops_once_and_needs_no_container(docker: FakeDocker, engine: DockerEngine, present: Any) -> None:
    assert not engine.stopped("demo", check_mode=False).changed
    present(describe("demo:1"))
    assert engine.stopped("demo", check_mode=True).changed
    assert the_one(docker).is_up
    assert engine.stopped("demo", check_mode=False).changed
    assert not engine.stopped("demo", check_mode=False).changed
    assert the_one(docker).status == "exited"


def test_restarted_restarts_each_time_and_needs_a_container(
    docker: FakeDocker, engine: DockerEngine, present: Any
) -> None:
    with pytest.raises(EngineError, match="it has no container to restart, run state=present first"):
        engine.restarted("demo", check_mode=False)
    present(describe("demo:1"))
    assert engine.restarted("demo", check_mode=True).changed
    assert docker.calls[-1] != "restart"
    assert engine.restarted("demo", check_mode=False).changed
    assert docker.calls[-1] == "restart"
