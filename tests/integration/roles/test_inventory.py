# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which inventories site.yml takes where model-service is on ECS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
WITHOUT_MODELS = ["gateway", "cache_servers", "storage_servers", "monitoring_servers"]


def preflight(place: Path, groups: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"children": {group: {"hosts": {"one": host}} for group in groups}, "vars": variables}}
    (place / "hosts.yml").write_text(yaml.safe_dump(inventory))
    tasks = [{"ansible.builtin.import_tasks": str(REPOSITORY / "playbooks/tasks/preflight_inventory.yml")}]
    (place / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"],
        cwd=place,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_no_host_has_models_where_they_are_on_ecs(tmp_path: Path) -> None:
    done = preflight(tmp_path, WITHOUT_MODELS, llm_ecs_cluster="llm")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("groups", "variables", "message"),
    [
        pytest.param(
            WITHOUT_MODELS,
            {},
            "The inventory has no host in model_servers; each of gateway, model_servers, cache_servers, "
            "storage_servers, monitoring_servers needs one, save model_servers where model-service is on ECS "
            "(llm_ecs_cluster).",
            id="nowhere",
        ),
        pytest.param(
            [*WITHOUT_MODELS, "model_servers"],
            {"llm_ecs_cluster": "llm"},
            "model-service is on ECS (llm_ecs_cluster is 'llm') and on hosts (model_servers has one), and the gateway "
            "would not know which to ask; empty that group, or leave llm_ecs_cluster out.",
            id="twice",
        ),
        pytest.param(
            WITHOUT_MODELS[1:],
            {"llm_ecs_cluster": "llm"},
            "The inventory has no host in gateway; each of gateway, cache_servers, storage_servers, monitoring_servers "
            "needs one.",
            id="no-gateway",
        ),
    ],
)
def test_what_else_is_missing_or_too_much_is_told(
    tmp_path: Path, groups: list[str], variables: dict[str, str], message: str
) -> None:
    done = preflight(tmp_path, groups, **variables)
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split()), done.stdout + done.stderr
