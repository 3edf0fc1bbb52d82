# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several replicas, and the way back to the release before."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._description import DEFAULT_UPDATE, Description
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_engine import DockerEngine
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import (
    REPLACEMENT_CALLS,
    ROLLBACK_CALLS,
    FakeDocker,
    Killed,
    describe,
    the_one,
)


def several(image: str, replicas: int = 3, **update: Any) -> Description:
    return describe(image, replicas=replicas, update={**vars(DEFAULT_UPDATE), "ready_timeout": 1, **update})


def serving(docker: FakeDocker) -> dict[str, str]:
    return {one.name: one.image for one in docker.by_id.values() if one.is_serving}


def kept(docker: FakeDocker) -> dict[str, str]:
    return {one.name: one.image for one in docker.by_id.values() if one.is_previous}


def test_each_replica_has_a_name_and_a_second_run_changes_nothing(docker: FakeDocker, present: Any) -> None:
    assert present(several("demo:1")).after["replicas"] == 3
    assert serving(docker) == {"demo": "demo:1", "demo.2": "demo:1", "demo.3": "demo:1"}
    assert not present(several("demo:1")).changed


def test_replicas_are_replaced_one_after_the_other(docker: FakeDocker, present: Any) -> None:
    present(several("demo:1"))
    docker.calls.clear()
    present(several("demo:2"))
    assert set(serving(docker).values()) == {"demo:2"}
    assert set(kept(docker).values()) == {"demo:1"}
    assert [call for call in docker.calls if call in ("start", "stop")] == ["start", "stop"] * 3


def test_a_batch_is_ready_before_any_of_its_old_ones_stops(docker: FakeDocker, present: Any) -> None:
    present(several("demo:1"))
    docker.calls.clear()
    present(several("demo:2", parallelism=2))
    steps = [call for call in docker.calls if call in ("start", "stop")]
    assert steps == ["start", "start", "stop", "stop", "start", "stop"]


def test_fewer_replicas_remove_the_last_ones_alone(docker: FakeDocker, present: Any) -> None:
    present(several("demo:1"))
    first = docker.find("demo")
    outcome = present(several("demo:1", replicas=1))
    assert (outcome.before, outcome.after) == ({"replicas": 3}, {"replicas": 1})
    assert the_one(docker) == first


def test_only_the_replica_that_differs_is_replaced_and_shown(docker: FakeDocker, present: Any) -> None:
    present(several("demo:1"))
    odd = docker.find("demo.2")
    assert odd
    docker.change(odd.id, image_id="sha256:0")
    before = {name: docker.find(name) for name in ("demo", "demo.3")}
    outcome = present(several("demo:1"))
    assert outcome.before == {"unlike_replicas": {"demo.2": {"image_id": "sha256:0"}}}
    assert {name: docker.find(name) for name in before} == before
    assert docker.find("demo.2") != odd


@pytest.mark.parametrize(
    ("on_failure", "first", "outlook"),
    [
        ("rollback", "demo:1", "; the replicas that were replaced before returned to the old release"),
        ("pause", "demo:2", ""),
    ],
)
def test_a_release_that_fails_on_a_later_replica_is_undone_on_all_or_left(
    docker: FakeDocker, present: Any, monkeypatch: pytest.MonkeyPatch, on_failure: str, first: str, outlook: str
) -> None:
    present(several("demo:1"))
    start, started = docker.start, []

    def fail_second(container: Any) -> None:
        start(container)
        started.append(container.name)
        if container.name == "demo.2.next":
            docker.change(container.id, health="unhealthy")

    monkeypatch.setattr(docker, "start", fail_second)
    with pytest.raises(EngineError) as caught:
        present(several("demo:2", on_failure=on_failure))
    assert str(caught.value).endswith(f"is unhealthy; the new container was removed, the old one runs on{outlook}")
    assert caught.value.rolled_back is (on_failure == "rollback")
    assert serving(docker) == {"demo": first, "demo.2": "demo:1", "demo.3": "demo:1"}
    assert "demo.3.next" not in started


def test_a_replica_that_does_not_return_either_is_named(
    docker: FakeDocker, present: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    present(several("demo:1"))
    start = docker.start

    def fail_all_but_the_first(container: Any) -> None:
        start(container)
        if container.name != "demo.next":
            docker.change(container.id, health="unhealthy")

    monkeypatch.setattr(docker, "start", fail_all_but_the_first)
    told = "; demo was replaced before and does not return: its container is unhealthy"
    with pytest.raises(EngineError, match=told) as caught:
        present(several("demo:2"))
    assert caught.value.rolled_back is False
    assert serving(docker) == {"demo": "demo:2", "demo.2": "demo:1", "demo.3": "demo:1"}


@pytest.mark.parametrize(
    ("old_is_broken", "outlook"),
    [(False, "the old one runs again"), (True, "but the old one does not come back: its container exited with code 1")],
)
def test_a_release_that_fails_after_the_old_one_stopped_tells_what_became_of_that(
    docker: FakeDocker, present: Any, old_is_broken: bool, outlook: str
) -> None:
    present(describe("demo:1", "stop_first"))
    if old_is_broken:
        docker.change(the_one(docker).id, image="crashing:1")
    with pytest.raises(EngineError, match=f"the new container was removed, {outlook}") as caught:
        present(describe("never-healthy:1", "stop_first"))
    assert caught.value.rolled_back is not old_is_broken


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_bad_release_of_a_service_that_was_stopped_leaves_it_so(
    docker: FakeDocker, engine: DockerEngine, present: Any, order: str
) -> None:
    present(describe("demo:1", order))
    engine.stopped("demo", check_mode=False)
    with pytest.raises(EngineError) as caught:
        present(describe("crashing:1", order))
    outlook = "the new container was removed, the old one is kept and does not run, as before"
    assert str(caught.value) == f"its container exited with code 1; {outlook}"
    assert caught.value.rolled_back
    assert (the_one(docker).image, the_one(docker).state) == ("demo:1", "stopped")


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_where_the_engine_makes_no_container_nothing_was_started(
    docker: FakeDocker, present: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    def refuse(*_arguments: Any) -> str:
        raise EngineError("Docker can't create its container: no space left on device")

    create = docker.create
    for there, outlook in ((False, "the service does not run"), (True, "the old one runs on")):
        if there:
            monkeypatch.setattr(docker, "create", create)
            present(describe("demo:1", order))
        monkeypatch.setattr(docker, "create", refuse)
        with pytest.raises(EngineError) as caught:
            present(describe("demo:2", order))
        assert str(caught.value).endswith(f": no space left on device; nothing was started, {outlook}")
        assert caught.value.rolled_back


def test_a_folder_that_can_not_hold_the_files_is_named(present: Any, tmp_path: Path) -> None:
    (tmp_path / "secrets").touch()
    with pytest.raises(EngineError) as caught:
        present(describe("demo:1", configs=[{"path": "/etc/demo.conf", "content": "port 1"}]))
    outlook = "nothing was started, the service does not run"
    assert str(caught.value) == f"can't use {tmp_path}/secrets/demo (Not a directory); {outlook}"


def test_a_container_that_someone_removes_meanwhile_is_named(
    docker: FakeDocker, present: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = docker.create

    def created_and_removed(*arguments: Any) -> str:
        container_id = create(*arguments)
        del docker.by_id[container_id]
        return container_id

    monkeypatch.setattr(docker, "create", created_and_removed)
    with pytest.raises(EngineError, match="its container id-1 was removed by someone else, run again"):
        present(describe("demo:1"))


def test_a_rollback_returns_to_the_container_before_and_again_forward(
    docker: FakeDocker, engine: DockerEngine, present: Any
) -> None:
    present(describe("demo:1"))
    old = the_one(docker)
    present(describe("demo:2"))
    new = the_one(docker)
    docker.was_always_up = True
    outcome = engine.rolled_back("demo", check_mode=False)
    assert outcome.before == {"image": "demo:2", "image_id": "sha256:2"}
    assert outcome.after == {"image": "demo:1", "image_id": "sha256:1"}
    assert docker.was_always_up
    assert the_one(docker).id == old.id
    assert docker.policies == {old.id: "unless-stopped", new.id: "no"}
    assert not present(describe("demo:1")).changed
    engine.rolled_back("demo", check_mode=False)
    assert the_one(docker).id == new.id


def test_a_rollback_in_check_mode_tells_and_does_nothing(
    docker: FakeDocker, engine: DockerEngine, present: Any
) -> None:
    present(describe("demo:1"))
    present(describe("demo:2"))
    calls = list(docker.calls)
    assert engine.rolled_back("demo", check_mode=True).after == {"image": "demo:1", "image_id": "sha256:1"}
    assert docker.calls == calls


@pytest.mark.parametrize("check_mode", [True, False])
def test_without_a_release_before_there_is_no_rollback(
    docker: FakeDocker, engine: DockerEngine, present: Any, check_mode: bool
) -> None:
    present(describe("demo:1"))
    refusal = "has no release before this one to return to, run state=present instead"
    with pytest.raises(EngineError, match=f"demo {refusal}"):
        engine.rolled_back("demo", check_mode)
    present(describe("demo:2"))
    present(several("demo:2", replicas=2))
    with pytest.raises(EngineError, match=rf"demo\.2 {refusal}"):
        engine.rolled_back("demo", check_mode)
    assert serving(docker) == {"demo": "demo:2", "demo.2": "demo:2"}


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_rollback_that_fails_leaves_the_present_one_and_can_be_tried_again(
    docker: FakeDocker, engine: DockerEngine, present: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    present(describe("demo:1", order))
    old = the_one(docker)
    present(describe("demo:2", order))
    new = the_one(docker)
    start = docker.start

    def fail_old(container: Any) -> None:
        start(container)
        if container.id == old.id:
            docker.change(container.id, health="unhealthy")

    with monkeypatch.context() as patch:
        patch.setattr(docker, "start", fail_old)
        with pytest.raises(EngineError, match="the previous container was stopped, the old one runs"):
            engine.rolled_back("demo", check_mode=False)
    assert the_one(docker).id == new.id
    assert the_one(docker).is_serving
    engine.rolled_back("demo", check_mode=False)
    assert the_one(docker).id == old.id


def test_a_previous_container_that_does_not_start_is_not_said_to_be_removed(
    docker: FakeDocker, engine: DockerEngine, present: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    present(describe("demo:1"))
    present(describe("demo:2"))

    def refuse(container: Any) -> None:
        raise EngineError("Docker can't start its container: no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(docker, "start", refuse)
        with pytest.raises(EngineError, match="on device; the previous container was stopped, the old one runs on"):
            engine.rolled_back("demo", check_mode=False)
    engine.rolled_back("demo", check_mode=False)
    assert the_one(docker).image == "demo:1"


def test_a_rollback_has_none_to_return_to_where_the_release_before_had_to_come_back(
    docker: FakeDocker, engine: DockerEngine, present: Any
) -> None:
    present(describe("demo:1"))
    docker.calls_left = REPLACEMENT_CALLS - 1
    with pytest.raises(Killed):
        present(describe("demo:2"))
    docker.calls_left = 10**6
    failed = docker.find("demo.next")
    assert failed
    docker.change(failed.id, status="exited")
    with pytest.raises(EngineError) as caught:
        engine.rolled_back("demo", check_mode=False)
    outlook = "nothing was started, the old one runs on"
    assert str(caught.value) == f"demo has no release before this one to return to; {outlook}"
    assert serving(docker) == {"demo": "demo:1"}


@pytest.mark.parametrize("calls", range(1, ROLLBACK_CALLS + 1))
def test_absent_removes_what_a_killed_rollback_left(
    docker: FakeDocker, engine: DockerEngine, present: Any, tmp_path: Path, calls: int
) -> None:
    present(describe("demo:1"))
    present(describe("demo:2"))
    docker.calls_left = calls
    with pytest.raises(Killed):
        engine.rolled_back("demo", check_mode=False)
    docker.calls_left = 10**6
    assert engine.absent("demo", tmp_path, remove_volumes=False, check_mode=False).changed
    assert docker.by_id == {}


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize("calls", range(1, ROLLBACK_CALLS + 1))
@pytest.mark.parametrize("again", ["demo:1", "demo:2"])
@pytest.mark.parametrize("reboots", [False, True])
def test_a_rollback_killed_after_any_call_is_converged_by_the_next_run(
    docker: FakeDocker, engine: DockerEngine, present: Any, order: str, calls: int, again: str, reboots: bool
) -> None:
    present(describe("demo:1", order))
    present(describe("demo:2", order))
    docker.calls_left = calls
    docker.was_always_up = True
    with pytest.raises(Killed):
        engine.rolled_back("demo", check_mode=False)
    docker.calls_left = 10**6
    if reboots:
        docker.reboot()
    present(describe(again, order))
    container = the_one(docker)
    assert (container.name, container.image, container.status) == ("demo", again, "running")
    assert docker.policies[container.id] == "unless-stopped"
    assert len(serving(docker)) == 1
    kept = docker.find("demo.previous")
    assert kept
    assert {kept.image, container.image} == {"demo:1", "demo:2"}
    assert len(docker.by_id) == 2
    assert not present(describe(again, order)).changed
    if order == "start_first":
        assert docker.was_always_up


@pytest.mark.parametrize("calls", range(1, 20))
@pytest.mark.parametrize("reboots", [False, True])
def test_a_rollout_of_replicas_killed_after_any_call_is_converged_by_the_next(
    docker: FakeDocker, present: Any, calls: int, reboots: bool
) -> None:
    present(several("demo:1", replicas=2))
    docker.calls_left = calls
    docker.was_always_up = True
    with contextlib.suppress(Killed):
        present(several("demo:2", replicas=2, parallelism=2))
    docker.calls_left = 10**6
    if reboots:
        docker.reboot()
    present(several("demo:2", replicas=2))
    assert serving(docker) == {"demo": "demo:2", "demo.2": "demo:2"}
    assert not any(name.endswith(".next") for name in (one.name for one in docker.by_id.values()))
    assert docker.was_always_up
