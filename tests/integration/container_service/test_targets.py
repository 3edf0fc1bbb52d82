# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ansible-test target, run by ansible-playbook itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _engine

pytestmark = pytest.mark.docker

TARGETS = Path(__file__).parents[1] / "targets"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  roles: [container_service]
"""


def test_a_playbook_takes_a_service_through_its_life(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "play.yml",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-e",
            f"container_service_secrets_dir={tmp_path}/secrets",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(Path(_engine.__file__).parents[5]),
            "ANSIBLE_ROLES_PATH": str(TARGETS),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "correct-horse-battery" not in done.stdout
