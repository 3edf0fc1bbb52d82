# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images reach a host through a real registry with TLS and a password."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.fleet.conftest import ENVIRONMENT, GATEWAY, Fleet
from platform_runs import PlaybookRun, run_playbook

pytestmark = pytest.mark.docker

IMAGE = "llm-orchestrator/redis:0.1.0"


def provide(hosts: Fleet, place: Path, **variables: str) -> PlaybookRun:
    """Has the role bring one image to the gateway's host."""
    role = {"name": "llm.orchestrator.service_image"}
    task = {"ansible.builtin.include_role": role, "vars": {"service_image_names": ["redis"]}}
    play = place / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "gateway", "vars": variables, "tasks": [task]}]))
    return run_playbook(str(play), inventory=hosts.place / "inventory", env=ENVIRONMENT)


def test_an_image_is_pushed_pulled_by_its_digest_and_the_password_stays_nowhere(
    hosts: Fleet, registry: dict[str, str], tmp_path: Path
) -> None:
    hosts.on(GATEWAY, "sh", "-c", f"docker rmi --force {IMAGE} || :")

    refused = provide(hosts, tmp_path, llm_image_registry_password="wrong")
    assert refused.status != 0
    assert "401 Unauthorized" in refused.message()

    run = provide(hosts, tmp_path)
    run.assert_ok()
    digests = hosts.on(GATEWAY, "docker", "image", "inspect", IMAGE, "--format", "{{json .RepoDigests}}")
    assert f'"{registry["llm_image_registry"]}/redis@sha256:' in digests
    assert registry["llm_image_registry_password"] not in run.output
    for words in (["find", "/run/llm-orchestrator-registry", "-type", "f"], ["find", "/root/.docker", "-type", "f"]):
        assert hosts.on(GATEWAY, "sh", "-c", " ".join([*words, "2>/dev/null || :"])) == ""
    again = provide(hosts, tmp_path)
    again.assert_ok()
    assert again.changed == 0, again.changed_tasks()
