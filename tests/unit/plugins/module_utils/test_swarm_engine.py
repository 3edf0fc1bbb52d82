# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a service on a Swarm, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import (
    _lock,
    _swarm_progress,
    _swarm_rollout,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description import DEFAULT_UPDATE
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, Outcome
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_engine import SwarmEngine
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import describe
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_swarm import FakeSwarm

VOLUME = {
    "type": "volume",
    "source": "queue",
    "target": "/data",
    "read_only": False,
    "size": None,
    "propagation": None,
}


def with_password(value: str) -> dict[str, Any]:
    return {"secrets": [{"name": "pw", "value": value}]}


def with_config(content: str) -> dict[str, Any]:
    return {"configs": [{"path": "/etc/demo.conf", "content": content}]}


@pytest.fixture
def swarm() -> FakeSwarm:
    return FakeSwarm()


@pytest.fixture
def engine(swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SwarmEngine:
    monkeypatch.setattr(_lock, "_FOLDER", tmp_path)
    monkeypatch.setattr(_swarm_rollout, "STABLE_SECONDS", 0)
    monkeypatch.setattr(_swarm_progress, "_POLL", 0.01)
    return SwarmEngine(swarm)  # type: ignore[arg-type]


@pytest.fixture
def present(engine: SwarmEngine, tmp_path: Path) -> Callable[..., Outcome]:
    def run(image: str = "demo:1", check_mode: bool = False, **changes: Any) -> Outcome:
        return engine.present(describe(image, **changes), tmp_path / "secrets", check_mode)

    return run


def images(outcome: Outcome) -> tuple[str, str | None]:
    assert outcome.service.release
    before = outcome.service.previous
    return outcome.service.release.image, before.image if before else None


def test_a_first_run_creates_and_a_second_changes_nothing(swarm: FakeSwarm, present: Any) -> None:
    created = present(**with_password("one"), **with_config("a"), labels={"a": "b"}, env={"A": 1}, command=["serve"])
    assert created.before == {"state": "absent"}
    assert created.after["configs"] == {"/etc/demo.conf": ["a"]}
    assert created.after["secrets"]["pw"].startswith("(hidden, fingerprint ")
    assert [(one.health, one.host) for one in created.service.instances] == [("none", "two")]
    calls = list(swarm.calls)
    again = present(**with_password("one"), **with_config("a"), labels={"a": "b"}, env={"A": 1}, command=["serve"])
    assert not again.changed
    assert swarm.calls == calls


def test_check_mode_calls_nothing_that_changes(swarm: FakeSwarm, engine: SwarmEngine, present: Any) -> None:
    changes = {**with_password("one"), **with_config("a"), "mounts": [VOLUME]}
    planned = present("later:1", check_mode=True, networks=[{"name": "later", "aliases": []}], **changes)
    assert planned.before == {"state": "absent"}
    assert swarm.calls == []
    present()
    present(env={"A": 1})
    calls = list(swarm.calls)
    assert present("demo:2", check_mode=True, **changes).changed
    for verb in (engine.stopped, engine.restarted, engine.rolled_back):
        assert verb("demo", True).changed
    assert engine.absent("demo", Path("/nowhere"), False, True).changed
    assert swarm.calls == calls


def test_an_update_is_shown_and_keeps_the_release_before(present: Any) -> None:
    present("demo:1")
    outcome = present("demo:2")
    assert outcome.before == {"image": "demo:1", "image_id": "sha256:1"}
    assert outcome.after == {"image": "demo:2", "image_id": "sha256:2"}
    assert images(outcome) == ("demo:2", "demo:1")


def test_scaling_is_no_release(swarm: FakeSwarm, present: Any) -> None:
    present("demo:1")
    present("demo:2")
    tasks = list(swarm.all_tasks)
    outcome = present("demo:2", replicas=3)
    assert (outcome.before, outcome.after) == ({"replicas": 1}, {"replicas": 3})
    assert images(outcome) == ("demo:2", "demo:1")
    assert swarm.all_tasks[:1] == tasks
    assert len(present("demo:2", replicas=1).service.instances) == 1


def test_a_bad_release_is_rolled_back_by_the_swarm_and_told(swarm: FakeSwarm, present: Any) -> None:
    present("demo:1", replicas=2)
    present("demo:2", replicas=2)
    with pytest.raises(EngineError) as caught:
        present("crashing:1", replicas=2)
    assert str(caught.value) == "its container exited with code 1 on two; it was rolled back, the old release runs"
    assert caught.value.log == ["the end of sha256:3"]
    assert caught.value.rolled_back
    assert images(present("demo:2", replicas=2)) == ("demo:2", "demo:1")


def test_a_bad_release_may_be_left_paused_and_gone_on_with(swarm: FakeSwarm, present: Any) -> None:
    pause = {"update": {**vars(DEFAULT_UPDATE), "on_failure": "pause"}}
    present("demo:1")
    told = "exited with code 1 on one; the update is paused, run again to go on"
    with pytest.raises(EngineError, match=told) as caught:
        present("crashing:1", **pause)
    assert caught.value.rolled_back is False
    planned = present("crashing:1", check_mode=True, **pause)
    assert planned.before == {"interrupted_replacement": "paused"}
    assert images(present("demo:2"))[0] == "demo:2"


def test_a_release_that_is_not_ready_in_time_is_undone(swarm: FakeSwarm, present: Any) -> None:
    present("demo:1")
    with pytest.raises(EngineError) as caught:
        present("never-healthy:1", update={**vars(DEFAULT_UPDATE), "ready_timeout": 0.1})
    cause = "its container on two was not ready within 0.1 s"
    assert str(caught.value) == f"{cause}; it was rolled back, the old release runs"
    assert caught.value.rolled_back
    assert images(present("demo:1")) == ("demo:1", None)


def test_a_bad_first_release_leaves_nothing(swarm: FakeSwarm, present: Any) -> None:
    with pytest.raises(EngineError) as caught:
        present("crashing:1", **with_password("one"), **with_config("a"))
    outlook = "the new service was removed, it does not run"
    assert str(caught.value) == f"its container exited with code 1 on two; {outlook}"
    assert caught.value.rolled_back
    assert swarm.by_name == {}
    assert list(swarm.objects) == ["llm-orchestrator.digest-key"]


def test_secrets_and_configs_stay_as_long_as_a_rollback_may_need_them(
    swarm: FakeSwarm, engine: SwarmEngine, present: Any
) -> None:
    def held() -> tuple[int, int]:
        return len(swarm.files("secret", "demo")), len(swarm.files("config", "demo"))

    present(**with_password("one"), **with_config("a"))
    assert held() == (1, 1)
    present(**with_password("two"), **with_config("a"))
    assert held() == (2, 1)
    present(**with_password("three"), **with_config("b"))
    assert held() == (2, 2)
    outcome = engine.rolled_back("demo", False)
    assert outcome.after["configs"] == {"/etc/demo.conf": ["a"]}
    assert held() == (2, 2)
    engine.absent("demo", Path("/nowhere"), False, False)
    assert held() == (0, 0)


def test_no_name_of_a_secret_tells_of_its_value(swarm: FakeSwarm, present: Any) -> None:
    present(**with_password("correct-horse"))
    (name,) = swarm.files("secret")
    swarm.objects.clear()
    swarm.by_name.clear()
    present(**with_password("correct-horse"))
    assert list(swarm.files("secret")) != [name]


def test_a_rollback_returns_and_a_second_goes_forward(engine: SwarmEngine, present: Any) -> None:
    present("demo:1")
    present("demo:2", replicas=2)
    back = engine.rolled_back("demo", False)
    assert (back.before["image"], back.after["image"]) == ("demo:2", "demo:1")
    assert images(back) == ("demo:1", "demo:2")
    assert len(back.service.instances) == 2
    assert images(engine.rolled_back("demo", False)) == ("demo:2", "demo:1")


@pytest.mark.parametrize("runs", [True, False])
def test_a_rollback_without_a_release_before_is_told(engine: SwarmEngine, present: Any, runs: bool) -> None:
    if runs:
        present()
    message = "there is no release before this one to return to, run state=present instead"
    with pytest.raises(EngineError) as caught:
        engine.rolled_back("demo", False)
    assert str(caught.value) == message


def test_a_stopped_service_is_kept_and_comes_back_with_all_its_replicas(engine: SwarmEngine, present: Any) -> None:
    assert not engine.stopped("demo", False).changed
    present(replicas=2)
    assert engine.stopped("demo", False).after == {"state": "stopped"}
    assert not engine.stopped("demo", False).changed
    outcome = present(replicas=2)
    assert (outcome.before, outcome.after) == ({"state": "stopped"}, {"state": "running"})
    engine.stopped("demo", False)
    assert len(engine.restarted("demo", False).service.instances) == 2


def test_a_restart_replaces_every_task(swarm: FakeSwarm, engine: SwarmEngine, present: Any) -> None:
    with pytest.raises(EngineError, match="it has no container to restart, run state=present first"):
        engine.restarted("demo", False)
    present("demo:1")
    present("demo:2")
    before = {task.id for task in swarm.all_tasks}
    outcome = engine.restarted("demo", False)
    assert outcome.after == {"state": "restarted"}
    assert not before & {task.id for task in swarm.all_tasks}
    assert images(outcome) == ("demo:2", "demo:1")
    assert not present("demo:2").changed


def test_what_gathers_on_one_host_while_others_are_away_is_spread_again(
    swarm: FakeSwarm, engine: SwarmEngine, present: Any
) -> None:
    one, two = swarm.hosts
    swarm.hosts = [one, replace(two, is_ready=False)]
    present(replicas=2)
    assert [task.node_id for task in swarm.all_tasks] == ["n-1", "n-1"]
    assert not present(replicas=2).changed  # there is no other host

    swarm.hosts = [one, two]
    calls = list(swarm.calls)
    assert present(replicas=2, check_mode=True).changed
    assert swarm.calls == calls
    assert present(replicas=2).changed
    assert sorted(task.node_id for task in swarm.all_tasks) == ["n-1", "n-2"]
    assert swarm.by_name["demo"].replicas == 2
    assert not present(replicas=2).changed


def test_what_can_t_be_spread_is_told_and_the_release_stays(
    swarm: FakeSwarm, present: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    present(replicas=2)
    swarm.all_tasks = [replace(task, node_id="n-1") for task in swarm.all_tasks]
    update = swarm.update

    def never_ready_elsewhere(service: Any, spec: Any) -> None:
        update(service, spec)
        swarm.all_tasks = [
            replace(task, state="failed", error="task: non-zero exit (1)") if task.node_id == "n-2" else task
            for task in swarm.all_tasks
        ]

    monkeypatch.setattr(swarm, "update", never_ready_elsewhere)
    told = (
        "runs as described, but its containers can't be spread over its hosts: its container exited with code 1 on two"
    )
    with pytest.raises(EngineError, match=told) as caught:
        present(replicas=2)
    assert caught.value.rolled_back is False
    assert "rolled back" not in str(caught.value)
    assert swarm.by_name["demo"].replicas == 2


def test_a_restart_spreads_too(swarm: FakeSwarm, engine: SwarmEngine, present: Any) -> None:
    present(replicas=3)
    swarm.all_tasks = [replace(task, node_id="n-1") for task in swarm.all_tasks]
    engine.restarted("demo", False)
    assert sorted(task.node_id for task in swarm.all_tasks) in (["n-1", "n-1", "n-2"], ["n-1", "n-2", "n-2"])


def test_what_can_t_run_twice_stays_where_it_is(swarm: FakeSwarm, present: Any) -> None:
    update = {**vars(DEFAULT_UPDATE), "order": "stop_first"}
    present(replicas=2, update=update)
    swarm.all_tasks = [replace(task, node_id="n-1") for task in swarm.all_tasks]
    assert not present(replicas=2, update=update).changed


def test_what_was_changed_by_hand_is_seen_and_made_true(swarm: FakeSwarm, present: Any) -> None:
    present(env={"A": 1}, labels={"a": "b"})
    service = swarm.by_name["demo"]
    template = {**service.template, "ContainerSpec": {**service.container, "Env": ["A=2"], "Image": "sha256:2"}}
    labels = {name: value for name, value in service.labels.items() if name != "a"}
    swarm.by_name["demo"] = replace(service, spec={**service.spec, "TaskTemplate": template, "Labels": labels})
    outcome = present(env={"A": 1}, labels={"a": "b"})
    assert outcome.before == {"env": {"A": "2"}, "image_id": "sha256:2"}
    assert outcome.after == {"env": {"A": "1"}, "image_id": "sha256:1", "labels": {"a": "b"}}


def test_a_volume_binds_the_service_to_a_host_that_outlasts_it(
    swarm: FakeSwarm, engine: SwarmEngine, present: Any
) -> None:
    swarm.local_volumes["other"] = "other"
    present(mounts=[VOLUME])
    label = "llm.orchestrator.volume.queue"
    assert [node.labels for node in swarm.hosts] == [{label: "demo"}, {}]
    engine.absent("demo", Path("/nowhere"), False, False)
    assert swarm.hosts[0].labels == {label: "demo"}
    swarm.local_volumes["queue"] = "demo"
    removed = engine.absent("demo", Path("/nowhere"), True, False)
    assert removed.before == {"volumes": ["queue"]}
    assert swarm.local_volumes == {"other": "other"}
    assert swarm.hosts[0].labels == {}


def test_a_volume_on_another_host_is_told_before_anything_is_removed(
    swarm: FakeSwarm, engine: SwarmEngine, present: Any
) -> None:
    swarm.label_node(swarm.hosts[1], "llm.orchestrator.volume.queue", "demo")
    present(mounts=[VOLUME])
    with pytest.raises(EngineError) as caught:
        engine.absent("demo", Path("/nowhere"), True, False)
    assert str(caught.value) == (
        "its volume 'queue' is on two, out of this manager's reach: run state=absent without remove_volumes here, "
        "then engine=docker, state=absent and remove_volumes on two"
    )
    assert "demo" in swarm.by_name


def test_what_is_missing_is_told_before_anything_is_done(swarm: FakeSwarm, present: Any) -> None:
    for changes, message in (
        (
            {"image": "gone:1"},
            "image 'gone:1' is neither on this manager nor in a registry that it reaches, build, copy",
        ),
        ({"networks": [{"name": "gone", "aliases": []}]}, "network 'gone' is not in the Swarm, create it first"),
        (
            {"networks": [{"name": "local", "aliases": []}]},
            "network 'local' is this host's alone, make an overlay network of that name instead",
        ),
        ({"placement": {"group": "gone", "each_host": False}}, "no host of the group gone is ready and active"),
    ):
        with pytest.raises(EngineError, match=message):
            present(**{"image": "demo:1", **changes})
    assert swarm.calls == []


def test_a_service_of_other_make_is_left_alone(swarm: FakeSwarm, engine: SwarmEngine, present: Any) -> None:
    present()
    service = swarm.by_name["demo"]
    swarm.by_name["demo"] = replace(service, spec={**service.spec, "Labels": {}})
    for act in (
        present,
        lambda: engine.stopped("demo", False),
        lambda: engine.restarted("demo", False),
        lambda: engine.rolled_back("demo", False),
        lambda: engine.absent("demo", Path("/nowhere"), False, False),
    ):
        with pytest.raises(EngineError, match="a service 'demo' exists that was made by other means"):
            act()
    assert swarm.calls == ["create"]


def test_a_service_on_each_host_is_neither_stopped_nor_turned_into_replicas(
    swarm: FakeSwarm, engine: SwarmEngine, present: Any
) -> None:
    each_host = {"placement": {"group": None, "each_host": True}}
    outcome = present(**each_host)
    assert outcome.after["replicas"] == "each host"
    assert len(outcome.service.instances) == 2
    assert not present(**each_host).changed
    with pytest.raises(EngineError, match="a Swarm can't stop and keep what runs on each host, run state=absent"):
        engine.stopped("demo", False)
    with pytest.raises(EngineError, match=r"placement.each_host can't change while the service is there"):
        present()
