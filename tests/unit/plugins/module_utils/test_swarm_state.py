# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_state import (
    network_ids,
    observed,
    read_node,
    read_service,
    read_task,
)

RECORD = {
    "image": "demo:1",
    "command": ["serve"],
    "env": {"A": "x=y"},
    "networks": [{"name": "llm"}, {"name": "cache"}],
    "placement": ["node.labels.a == true"],
    "secrets": {"pw": "digest-1"},
    "configs": {"/etc/a": "sha256:1"},
    "read_only": True,
    "replicas": 2,
}


def info(state: str | None = None, replicas: int | None = 2, **container: Any) -> dict[str, Any]:
    """A service as the API tells of it."""
    spec = {
        "Name": "demo",
        "Labels": {
            "llm.orchestrator.service": "demo",
            "llm.orchestrator.description": json.dumps(RECORD),
            "llm.orchestrator.previous": "{}",
        },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "r:5000/demo:1@sha256:9",
                "Args": ["serve"],
                "Env": ["A=x=y"],
                "ReadOnly": True,
                "Secrets": [{"File": {"Name": "pw"}}],
                "Configs": [{"File": {"Name": "/etc/a"}}],
                **container,
            },
            "Networks": [{"Target": "net-1"}, {"Target": "net-2"}],
            "Placement": {"Constraints": ["node.labels.a == true"]},
        },
        "Mode": {"Global": {}} if replicas is None else {"Replicated": {"Replicas": replicas}},
    }
    status = {"UpdateStatus": {"State": state}} if state else {}
    return {"ID": "s", "Version": {"Index": 7}, "Spec": spec, **status}


LINES = {"/etc/a": ["port 1"]}
AS_DESCRIBED = {
    **RECORD,
    "configs": LINES,
    "image_id": "sha256:9",
    "network_ids": {"llm": "net-1", "cache": "net-2"},
    "state": "running",
}


def test_a_service_is_what_its_record_says() -> None:
    service = read_service(info())
    assert (service.name, service.version, service.is_ours) == ("demo", 7, True)
    assert observed(service, LINES) == AS_DESCRIBED


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"Args": ["other"]}, {"command": ["other"]}),
        ({"Env": ["A=2", "B=3"]}, {"env": {"A": "2", "B": "3"}}),
        ({"User": "5"}, {"user": "5"}),
        ({"ReadOnly": False}, {"read_only": False}),
        ({"Image": "sha256:8"}, {"image_id": "sha256:8"}),
    ],
)
def test_what_was_changed_by_hand_is_seen(changes: dict[str, Any], seen: dict[str, Any]) -> None:
    assert observed(read_service(info(**changes)), LINES) == {**AS_DESCRIBED, **seen}


def test_files_and_settings_that_are_gone_are_seen() -> None:
    seen = observed(read_service(info(Secrets=[], Env=None)), {})
    assert "secrets" not in seen
    assert "env" not in seen
    assert seen["configs"] == {"/etc/a": []}


@pytest.mark.parametrize(
    ("state", "replicas", "seen"),
    [
        (None, 0, {"state": "stopped", "replicas": 2}),
        (None, 3, {"replicas": 3}),
        (None, None, {"replicas": "each host"}),
        ("paused", 2, {"interrupted_replacement": "paused"}),
        ("rollback_paused", 2, {"interrupted_replacement": "rollback_paused"}),
        ("rollback_completed", 2, {}),
    ],
)
def test_scale_and_interruptions_are_seen(state: str | None, replicas: int | None, seen: dict[str, Any]) -> None:
    assert observed(read_service(info(state, replicas)), LINES) == {**AS_DESCRIBED, **seen}


def test_a_service_without_a_record_that_can_be_read_differs_in_everything() -> None:
    told = info()
    told["Spec"]["Labels"] = {}
    service = read_service(told)
    assert not service.is_ours
    assert "image" not in observed(service, {})
    assert network_ids(told["Spec"]) == {}


def test_a_task_is_read_with_and_without_a_container() -> None:
    told = {"ID": "t", "Spec": {"a": 1, "Placement": {}}, "DesiredState": "running"}
    pending = read_task({**told, "Status": {"State": "pending", "Err": "no node", "Timestamp": "1"}})
    assert (pending.container_id, pending.node_id, pending.slot, pending.is_running) == ("", "", 0, False)
    assert pending.is_alive
    status = {"State": "failed", "Err": "x", "Timestamp": "2", "ContainerStatus": {"ContainerID": "c", "ExitCode": 3}}
    failed = read_task({**told, "Slot": 2, "NodeID": "n", "Status": status})
    assert (failed.container_id, failed.has_failed, failed.is_alive) == ("c", True, False)
    assert failed.is_of({"a": 1, "Placement": {"Constraints": ["b"]}, "Runtime": "container"})
    assert not failed.is_of({"a": 2})


@pytest.mark.parametrize(
    ("state", "availability", "usable"),
    [("ready", "active", True), ("down", "active", False), ("ready", "drain", False), ("ready", "pause", False)],
)
def test_a_host_is_usable_when_it_answers_and_takes_tasks(state: str, availability: str, usable: bool) -> None:
    told = {
        "ID": "n",
        "Version": {"Index": 1},
        "Spec": {"Availability": availability, "Labels": None},
        "Description": {"Hostname": "one"},
        "Status": {"State": state},
    }
    assert read_node(told).is_usable is usable
