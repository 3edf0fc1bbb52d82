# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles refuse before anything is changed: one run, in which each case is a host of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ENGINE = "value of {}_engine must be one of: docker, swarm, got: podman"
GRACE = "on a Swarm it must be 3 or more, as the gateway looks every second which containers there are"
SIZE = "is not a size: cache_service_redis_maxmemory and the memory in cache_service_redis_resources take a number"
PASSWORDS = "cache_service_redis_password and cache_service_redis_monitor_password take 16 to 128 ASCII characters"
LIMITS = "model_service_context ({}) must be at least 64, model_service_slots ({}) 1 to 256"
PREFIX = "it must begin with a slash and not end with one, such as /api/"
STORAGE_SIZES = "storage_service_max_file_bytes ({}) must be above 0 and storage_service_min_free_bytes ({}) not below"
MANAGES = ["{{ inventory_hostname }}"]
TYPE = "unable to convert to int"

# The role, what it is given, and what it says.
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("cache_service", {"engine": "podman"}, ENGINE.format("cache_service")),
    ("cache_service", {"engine": "swarm", "drain_grace_seconds": 2}, GRACE),
    ("cache_service", {"redis_maxmemory": "lots"}, f"'lots' {SIZE}"),
    ("cache_service", {"redis_resources": {"memory": "0", "cpus": 1, "pids": 64}}, f"'0' {SIZE}"),
    ("cache_service", {"redis_maxmemory": "512m"}, "give cache_service_redis_resources at least a quarter more"),
    ("cache_service", {"max_entry_bytes": 0}, "cache_service_max_entry_bytes is 0; it must be above 0 and at most a"),
    ("cache_service", {"max_entry_bytes": 10**9}, "at most a quarter of cache_service_redis_maxmemory"),
    ("cache_service", {"default_ttl": 20, "max_ttl": 10}, "cache_service_default_ttl is 20 and cache_service_max_ttl"),
    ("cache_service", {"redis_timeout": 31}, "cache_service_redis_timeout is 31; it must be above 0, at most 30"),
    ("cache_service", {"redis_save": "often"}, "cache_service_redis_save is 'often'; it takes"),
    ("cache_service", {"redis_password": "short"}, PASSWORDS),
    ("cache_service", {"redis_monitor_password": "with a space in it"}, PASSWORDS),
    ("cache_service", {"path_prefix": "api"}, f"cache_service_path_prefix is 'api'; {PREFIX}cache"),
    ("cache_service", {"published_address": "here"}, "cache_service_published_address is 'here'; give an IPv4 address"),
    (
        "cache_service",
        {"engine": "swarm", "published_address": "10.1.2.3"},
        "cache_service_published_address is '10.1.2.3'; a Swarm publishes on all addresses of a host: set it to",
    ),
    ("storage_service", {"engine": "podman"}, ENGINE.format("storage_service")),
    ("storage_service", {"engine": "swarm", "drain_grace_seconds": 2}, GRACE),
    ("storage_service", {"max_file_bytes": 0, "min_free_bytes": 1}, STORAGE_SIZES.format(0, 1)),
    ("storage_service", {"max_file_bytes": 1, "min_free_bytes": -1}, STORAGE_SIZES.format(1, -1)),
    ("storage_service", {"path_prefix": "/api/"}, f"storage_service_path_prefix is '/api/'; {PREFIX}storage"),
    ("swarm", {"managers": MANAGES, "address_pool": "here"}, "swarm_address_pool is 'here', which is no IPv4 network"),
    # Each host has a network in that one.
    ("swarm", {"managers": MANAGES, "address_pool": "0.0.0.0/0"}, "which containers could not reach; give a range"),
    ("monitoring_service", {"engine": "podman"}, ENGINE.format("monitoring_service")),
    ("monitoring_service", {"scrape_interval": 11}, "monitoring_service_scrape_interval is 11; it must be 1 to 10"),
    ("monitoring_service", {"retention_time": "long"}, "monitoring_service_retention_time is 'long' and"),
    ("monitoring_service", {"retention_size": "2"}, "monitoring_service_retention_size '2'; Prometheus takes a time"),
    ("model_service", {"engine": "podman"}, ENGINE.format("model_service")),
    ("model_service", {"engine": "swarm", "drain_grace_seconds": 2}, GRACE),
    # Of its models.
    ("model_service", {"models": []}, "model_service_models has no model; it needs one at least"),
    ("model_service", {"models": [{"name": "a/b"}]}, "model_service_models has a/b; it needs one at least"),
    ("model_service", {"models": [{"name": "a"}, {"name": "a"}]}, "model_service_models has a, a; it needs one"),
    ("model_service", {"models": [{"name": "a"}]}, "all of the following are missing: source"),
    ("model_service", {"models": [{"name": "a", "source": "ftp://host/x"}]}, "source 'ftp://host/x' is none of hf://"),
    ("model_service", {"models": [{"name": "a", "source": "file:///x", "sha256": "b"}]}, "sha256 'b' is no SHA-256"),
    ("model_service", {"models": [{"name": "a", "slots": 0}, {"name": "b"}]}, LIMITS.format(4096, "8, 0")),
    ("model_service", {"models": [{"name": "a", "quantization": "q4"}]}, "value of quantization must be one of: int8,"),
    ("model_service", {"models": [{"name": "a", "context": 9}]}, LIMITS.format("4096, 9", 8)),
    ("model_service", {"context": 63}, LIMITS.format(63, 8)),
    ("model_service", {"slots": 257}, LIMITS.format(4096, 257)),
    ("model_service", {"gpu_layers": -2}, "model_service_gpu_layers (-2) not below -1"),
    ("model_service", {"gpu_layers": -1}, "model_service_gpus is null; it takes a number or all, and"),
    ("model_service", {"gpus": "-1"}, 'model_service_gpus is \\"-1\\"; it takes a number or all, and'),
    ("model_service", {"step_tokens": 0}, "model_service_step_tokens (0) 1 to 8192"),
    ("model_service", {"queue_limit": -1}, "model_service_queue_limit (-1) and"),
    ("model_service", {"prefix_store_mib": -1}, "model_service_prefix_store_mib (-1) not below 0"),
    ("model_service", {"kv_tokens": 63}, "model_service_kv_tokens (63) at least 64"),
    ("model_service", {"path_prefix": "/"}, f"model_service_path_prefix is '/'; {PREFIX}model"),
    ("model_service", {"api_keys": ["geheim schlüssel"]}, "model_service_api_keys has a key that can't be sent in"),
    # Of the wrong type, which the arguments' specification tells.
    ("model_service", {"update_order": "sideways"}, "value of model_service_update_order must be one of: start_first"),
    ("storage_service", {"ready_timeout": "soon"}, TYPE),
    ("monitoring_service", {"ready_timeout": "soon"}, TYPE),
    ("traefik", {"ready_timeout": "soon"}, TYPE),
    ("traefik", {"engine": "podman"}, ENGINE.format("traefik")),
    ("traefik", {"engine": "swarm"}, "traefik_address is '127.0.0.1'; a Swarm publishes on all addresses of a gateway"),
    ("service_image", {"names": ["mysql"]}, "service_image_names: there is no image mysql; known are"),
    ("service_image", {"build_args": {"mysql": {}}}, "service_image_build_args: there is no image mysql; known are"),
    ("service_image", {"build_host": "elsewhere"}, "images can be built only on the machine that Ansible runs on"),
]  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each case's host failed with, on one line with single spaces."""
    place = tmp_path_factory.mktemp("preflight")
    hosts = {
        f"case{number}": {"case_role": role, **{f"{role}_{name}": value for name, value in given.items()}}
        for number, (role, given, _) in enumerate(CASES)
    }
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (place / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))
    check = {"name": "llm.orchestrator.{{ case_role }}", "tasks_from": "preflight"}
    play = {"hosts": "all", "gather_subset": ["!all", "min"], "tasks": [{"ansible.builtin.include_role": check}]}
    (place / "play.yml").write_text(yaml.safe_dump([play]))
    collections = ":".join(entry for entry in sys.path if Path(entry, "ansible_collections").is_dir())
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"],
        cwd=place,
        env=os.environ
        | {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    failures = re.findall(
        r"^(?:fatal|failed): \[(case[0-9]+)\].*? => (.*?)^(?=\S)", done.stdout, re.DOTALL | re.MULTILINE
    )
    assert failures, done.stdout + done.stderr
    return {host: " ".join(text.split()) for host, text in failures}


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{role}-{'-'.join(given)}" for role, given, _ in CASES])
def test_it_is_refused_with_what_to_do(said: dict[str, str], number: int) -> None:
    assert CASES[number][2] in said[f"case{number}"]
