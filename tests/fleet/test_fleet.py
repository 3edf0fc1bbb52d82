# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a fleet, in the order of its tests: deployed, grown, updated, shrunk, taken down."""

from __future__ import annotations

import openai
import pytest
from ansible_collections.llm.orchestrator.tests.fleet.conftest import GATEWAY, MODEL_HOSTS, Fleet
from load import Load

pytestmark = pytest.mark.docker

SERVICES = {
    "cache-service",
    "model-service",
    "monitoring-service",
    "node-exporter",
    "prometheus",
    "redis",
    "redis-exporter",
    "socket-filter",
    "storage-service",
    "traefik",
}
# One runs on each host, whatever its groups.
ON_EACH_HOST = "node-exporter"
STREAMS = 1


def ask(client: openai.OpenAI, text: str) -> str:
    answer = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": text}],
        max_tokens=8,
    )
    return answer.choices[0].message.content or ""


def test_each_service_runs_on_the_hosts_of_its_group_and_the_model_answers(fleet: Fleet, client: openai.OpenAI) -> None:
    tasks = fleet.tasks()
    assert set(tasks) == SERVICES
    assert sorted(tasks["model-service"].values()) == ["fleet-model-1"]
    assert sorted(tasks[ON_EACH_HOST].values()) == ["fleet-gateway", "fleet-model-1"]
    for name in SERVICES - {"model-service", ON_EACH_HOST}:
        assert list(tasks[name].values()) == [GATEWAY], name
    assert ask(client, "Why is the sky blue?").strip()


def test_the_sockets_filter_lets_through_what_traefik_reads_of_a_swarm_and_no_more(fleet: Fleet) -> None:
    label = "label=com.docker.swarm.service.name=socket-filter"
    (container,) = fleet.on(GATEWAY, "docker", "ps", "--quiet", "--filter", label).split()
    node = fleet.on(GATEWAY, "docker", "node", "inspect", "self", "--format", "{{.ID}}").strip()
    read = (
        "import sys, http.client as h\n"
        "for path in sys.argv[1:]:\n"
        "    wire = h.HTTPConnection('127.0.0.1', 2375); wire.request('GET', path); print(wire.getresponse().status)"
    )

    def statuses(*paths: str) -> set[str]:
        return set(fleet.on(GATEWAY, "docker", "exec", container, "python3", "-c", read, *paths).split())

    assert statuses("/services", "/v1.41/tasks", "/networks?filters={}", f"/nodes/{node}") == {"200"}
    assert statuses("/swarm", "/secrets", "/configs", "/nodes", "/swarm/unlockkey", f"/nodes/{node}/update") == {"403"}


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    tasks = fleet.tasks()
    run = fleet.deploy(model_hosts=1)
    assert run.changed == 0, run.output
    assert fleet.tasks() == tasks


def test_a_model_host_more_takes_its_share_and_nothing_else_is_touched(
    fleet: Fleet, client: openai.OpenAI, load: Load
) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        fleet.deploy(model_hosts=2)
    assert load.failures == []
    after = fleet.tasks()
    for name, tasks in before.items():
        added = {host for task, host in after[name].items() if task not in tasks}
        assert tasks.items() <= after[name].items(), name
        assert added == ({"fleet-model-2"} if name in ("model-service", ON_EACH_HOST) else set()), name

    answered = {host: fleet.answered(host) for host in MODEL_HOSTS}
    for number in range(12):
        ask(client, f"Tell me about the number {number}.")
    for host in MODEL_HOSTS:
        assert fleet.answered(host) > answered[host], host


def test_a_release_reaches_every_host_and_no_request_fails(fleet: Fleet, load: Load) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        fleet.play("llm.orchestrator.update", "-e", "service=model-service", "-e", "model_service_queue_limit=63")
    assert load.failures == []
    after = fleet.tasks()
    assert not set(before.pop("model-service")) & set(after["model-service"])
    assert sorted(after.pop("model-service").values()) == list(MODEL_HOSTS)
    assert after == before


def test_a_rollback_returns_to_the_release_before(fleet: Fleet) -> None:
    run = fleet.play("llm.orchestrator.rollback", "-e", "service=model-service")
    assert run.message().count("model-service runs llm-orchestrator/model-service") == 1
    spec = fleet.on(
        GATEWAY, "docker", "service", "inspect", "model-service", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Env}}"
    )
    assert "MODEL_QUEUE_LIMIT=64" in spec
    assert fleet.deploy(model_hosts=2).changed == 0


def test_a_model_host_less_is_drained_and_removed_and_nothing_else_is_touched(fleet: Fleet, load: Load) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        run = fleet.deploy(model_hosts=1)
    assert load.failures == []
    assert "fleet-model-2 has left the inventory: it is drained and removed from the Swarm" in run.message()
    assert fleet.nodes() == {GATEWAY, "fleet-model-1"}
    after = fleet.tasks()
    assert list(after["model-service"].values()) == ["fleet-model-1"]
    for name in SERVICES - {"model-service", ON_EACH_HOST}:
        assert after[name] == before[name], name


def test_down_with_its_data_leaves_nothing(fleet: Fleet) -> None:
    fleet.play("llm.orchestrator.down", "-e", "down_remove_data=true", model_hosts=1)
    for host in (GATEWAY, "fleet-model-1"):
        assert fleet.on(host, "docker", "ps", "--all", "--quiet") == ""
        assert fleet.on(host, "docker", "volume", "ls", "--quiet") == ""
        assert fleet.on(host, "docker", "images", "--quiet") == ""
        assert fleet.on(host, "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
