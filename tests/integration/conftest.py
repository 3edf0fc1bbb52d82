# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules run by the real ansible-playbook, on this machine and its Docker Engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

BASE = "llm-orchestrator/base:0.1.0"


@dataclass(frozen=True)
class Outcome:
    """What a task answered, and all that a person saw meanwhile."""

    result: dict[str, Any]
    output: str


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., Outcome]:
    """Run one module as one task, with ansible-playbook's options and environment as wanted."""

    def run(module: str, *options: str, environment: dict[str, str] | None = None, **arguments: Any) -> Outcome:
        answer = tmp_path / "answer.json"
        tasks = [
            {"name": "Run", f"llm.orchestrator.{module}": arguments, "register": "out", "ignore_errors": True},
            {
                "name": "Keep",
                "ansible.builtin.copy": {"content": "{{ out | to_json }}", "dest": str(answer)},
                "check_mode": False,
                "diff": False,
            },
        ]
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        play["vars"] = {"ansible_python_interpreter": sys.executable}
        play["environment"] = environment or {}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml"), *options],
            cwd=tmp_path,
            env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": collections_path(), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Outcome(json.loads(answer.read_text()), done.stdout)

    return run


def collections_path() -> str:
    return ":".join(path for path in sys.path if (Path(path) / "ansible_collections/llm/orchestrator").is_dir())


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()
