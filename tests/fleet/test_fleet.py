# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a fleet, in the order of its tests: deployed, grown, updated, hurt, shrunk, taken down."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from ansible_collections.llm.orchestrator.tests.fleet.conftest import (
    ADDED_HOST,
    DATA,
    GATEWAY,
    MODEL_HOSTS,
    NETWORK,
    PREFIX,
    STORAGE,
    Fleet,
)
from load import Load
from platform_runs import wait_until

pytestmark = pytest.mark.docker

# Where each service runs that has one task.
PLACES = {
    "traefik": GATEWAY,
    "socket-filter": GATEWAY,
    "cache-service": DATA,
    "redis": DATA,
    "redis-exporter": DATA,
    "monitoring-service": DATA,
    "prometheus": DATA,
    "storage-service": STORAGE,
}
# One runs on each host, whatever its groups.
ON_EACH_HOST = "node-exporter"
STREAMS = 1
# For what a Swarm does by itself: it notices a lost host after about 20 s, and a model takes a while to load.
HEALING_SECONDS = 180


def ask(client: openai.OpenAI, text: str) -> str:
    answer = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": text}],
        max_tokens=8,
    )
    return answer.choices[0].message.content or ""


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


def test_each_service_runs_on_the_hosts_of_its_group_and_the_model_answers(fleet: Fleet, client: openai.OpenAI) -> None:
    tasks = fleet.tasks()
    assert set(tasks) == {*PLACES, "model-service", ON_EACH_HOST}
    assert fleet.model_hosts() == list(MODEL_HOSTS)
    assert sorted(tasks[ON_EACH_HOST].values()) == sorted(fleet.addresses)
    for name, host in PLACES.items():
        assert list(tasks[name].values()) == [host], name
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
    fleet.deploy_what_is_there()
    assert fleet.tasks() == tasks


def test_a_model_host_more_takes_its_share_and_nothing_else_is_touched(
    fleet: Fleet, client: openai.OpenAI, load: Load
) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        fleet.provision(model_hosts=3)
        run = fleet.play("llm.orchestrator.site", "-vvv", "--diff")
    assert load.failures == []
    # The new host has joined by one of these; whoever has it can join, too.
    for role in ("worker", "manager"):
        assert fleet.on(GATEWAY, "docker", "swarm", "join-token", "--quiet", role).strip() not in run.output
    after = fleet.tasks()
    for name, tasks in before.items():
        added = {host for task, host in after[name].items() if task not in tasks}
        assert tasks.items() <= after[name].items(), name
        assert added == ({ADDED_HOST} if name in ("model-service", ON_EACH_HOST) else set()), name

    answered = {host: fleet.answered(host) for host in (*MODEL_HOSTS, ADDED_HOST)}
    for number in range(12):
        ask(client, f"Tell me about the number {number}.")
    for host in answered:
        assert fleet.answered(host) > answered[host], host


def test_a_release_reaches_every_host_and_no_request_fails(fleet: Fleet, load: Load) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        fleet.play("llm.orchestrator.update", "-e", "service=model-service", "-e", "model_service_queue_limit=63")
    assert load.failures == []
    after = fleet.tasks()
    assert not set(before.pop("model-service")) & set(after["model-service"])
    assert sorted(after.pop("model-service").values()) == [*MODEL_HOSTS, ADDED_HOST]
    assert after == before


def test_a_rollback_returns_to_the_release_before(fleet: Fleet) -> None:
    run = fleet.play("llm.orchestrator.rollback", "-e", "service=model-service")
    assert run.message().count("model-service runs llm-orchestrator/model-service") == 1
    assert "MODEL_QUEUE_LIMIT=64" in fleet.environment("model-service")


def test_a_host_that_is_lost_during_a_run_holds_up_nobody_else(fleet: Fleet) -> None:
    lost = ADDED_HOST
    # Another folder for models has the run work on each of their hosts.
    folder = "model_service_models_dir=/var/lib/llm-orchestrator/other-models"
    change = ("-e", "cache_service_max_ttl=604801", "-e", "model_service_queue_limit=62", "-e", folder)
    before = fleet.tasks()
    with ThreadPoolExecutor() as beside:
        running = beside.submit(fleet.attempt, "llm.orchestrator.site", *change)
        wait_until(lambda: fleet.tasks()["cache-service"] != before["cache-service"], "the run is half done", 300)
        docker("kill", lost)
        run = running.result()
    assert (run.unreachable, run.failed) == (1, 0), run.output
    assert f"[{lost.removeprefix(PREFIX)}]: UNREACHABLE!" in run.message()
    assert "MODEL_QUEUE_LIMIT=62" in fleet.environment("model-service")
    assert set(fleet.model_hosts()) == set(MODEL_HOSTS)

    docker("start", lost)
    wait_until(lambda: fleet.nodes()[lost] == "Ready", f"{lost} is back", HEALING_SECONDS)
    fleet.deploy()  # with the settings of the inventory again
    assert fleet.model_hosts() == [*MODEL_HOSTS, lost]


def test_a_killed_model_host_takes_only_its_own_requests_with_it_and_its_container_is_back_elsewhere(
    fleet: Fleet, load: Load
) -> None:
    killed = ADDED_HOST
    with load.running(STREAMS):
        wait_until(lambda: load.count("stream") > 0, "a stream is answered")
        docker("kill", killed)
        wait_until(
            lambda: len(fleet.model_hosts()) == 3 and killed not in fleet.model_hosts(),
            f"model-service runs without {killed}",
            HEALING_SECONDS,
        )
        answered = load.count("completion")
        wait_until(lambda: load.count("completion") > answered, "a request is answered")
    # One user of each kind asks at a time, so no more than that can have been on the host.
    asked_the_model = [failure.split()[0] for failure in load.failures]
    assert set(asked_the_model) <= {"stream", "completion"}, load.failures
    assert len(asked_the_model) == len(set(asked_the_model)), load.failures

    docker("start", killed)
    wait_until(lambda: fleet.nodes()[killed] == "Ready", f"{killed} is back", HEALING_SECONDS)


def test_after_a_restart_of_the_gateways_host_all_comes_back(fleet: Fleet, client: openai.OpenAI) -> None:
    def answers() -> bool:
        try:
            return bool(ask(client, "Are you there?"))
        except openai.APIError:
            return False

    docker("restart", GATEWAY)
    wait_until(answers, "the model answers through the gateway", HEALING_SECONDS)
    wait_until(fleet.is_complete, "all tasks run", HEALING_SECONDS)


def test_a_host_that_was_cut_off_is_taken_in_again(fleet: Fleet, client: openai.OpenAI) -> None:
    cut = "fleet-model-1"
    address = fleet.addresses[cut]
    docker("network", "disconnect", NETWORK["name"], cut)
    wait_until(lambda: fleet.nodes()[cut] == "Down", f"{cut} is missed", HEALING_SECONDS)
    docker("network", "connect", "--ip", address, NETWORK["name"], cut)
    wait_until(lambda: fleet.nodes()[cut] == "Ready", f"{cut} is back", HEALING_SECONDS)
    wait_until(fleet.is_complete, "all tasks run", HEALING_SECONDS)
    assert ask(client, "Is it far to the moon?")
    assert fleet.deploy().changed == 1
    assert fleet.model_hosts() == [*MODEL_HOSTS, ADDED_HOST]


def test_a_model_host_less_is_drained_and_removed_and_nothing_else_is_touched(fleet: Fleet, load: Load) -> None:
    before = fleet.tasks()
    with load.running(STREAMS):
        fleet.provision(model_hosts=2)
        run = fleet.deploy()
    assert load.failures == []
    assert f"{ADDED_HOST} has left the inventory: it is drained and removed from the Swarm" in run.message()
    assert set(fleet.nodes()) == set(fleet.addresses)
    after = fleet.tasks()
    assert fleet.model_hosts() == list(MODEL_HOSTS)
    for name in PLACES:
        assert after[name] == before[name], name


def test_down_with_its_data_leaves_nothing(fleet: Fleet) -> None:
    fleet.play("llm.orchestrator.down", "-e", "down_remove_data=true")
    for host in fleet.addresses:
        assert fleet.on(host, "docker", "ps", "--all", "--quiet") == ""
        assert fleet.on(host, "docker", "volume", "ls", "--quiet") == ""
        assert fleet.on(host, "docker", "images", "--quiet") == ""
        assert fleet.on(host, "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
