"""The service's containers after a rollout, a refused one and a rollback, as the engine describes them."""

from __future__ import annotations

import json

import pytest

REPLICAS = ["queue", "queue.2"]

each_replica = pytest.mark.parametrize("name", REPLICAS)


def test_two_replicas_run_and_nothing_else(host) -> None:
    assert sorted(host.check_output("docker ps --format '{{.Names}}'").split()) == REPLICAS
    stopped = set(host.check_output("docker ps --all --filter status=exited --format '{{.Names}}'").split())
    assert all(name.endswith(".previous") for name in stopped)


@each_replica
def test_it_is_healthy_and_was_checked(host, name: str) -> None:
    assert host.docker(name).inspect()["State"]["Health"]["Status"] == "healthy"
    assert host.check_output(f"docker exec {name} redis-cli get checked") == "1"
    assert host.check_output(f"docker exec {name} redis-cli config get loglevel").split() == ["loglevel", "notice"]


@each_replica
def test_it_is_hardened(host, name: str) -> None:
    inspected = host.docker(name).inspect()
    config = inspected["HostConfig"]
    assert inspected["Config"]["User"].split(":")[0] not in ("", "root", "0")
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert any(option.startswith("no-new-privileges") for option in config["SecurityOpt"])
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 << 20, 500_000_000, 32)


@each_replica
def test_its_secret_is_a_file_and_in_no_description(host, name: str) -> None:
    assert host.check_output(f"docker exec {name} cat /run/secrets/queue_token") == "the-scenarios-token"
    assert "the-scenarios-token" not in json.dumps(host.docker(name).inspect())
