# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that a host with volumes runs at its first start."""

from __future__ import annotations

import json
import subprocess

from terraform_cli import CONFIGURATION, environment

TEMPLATES = CONFIGURATION / "modules" / "hosts" / "templates"
VOLUMES = {"/var/lib/docker": "vol-0123456789abcdef0", "/srv/models": "vol-0fedcba9876543210"}


def rendered() -> str:
    expression = f'jsonencode(templatefile("mount_volumes.sh.tftpl", {{ volumes = {json.dumps(VOLUMES)} }}))'
    done = subprocess.run(
        ["terraform", "console"],
        input=expression,
        cwd=TEMPLATES,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    script: str = json.loads(json.loads(done.stdout))
    return script


def test_it_is_sound_and_mounts_each_volume_at_its_folder() -> None:
    script = rendered()

    checked = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False)

    assert checked.stdout == ""
    assert [line for line in script.splitlines() if line.startswith("mount_volume '")] == [
        "mount_volume 'vol-0fedcba9876543210' '/srv/models'",
        "mount_volume 'vol-0123456789abcdef0' '/var/lib/docker'",
    ]
    # How the device is called: the volume's id without its hyphen.
    assert "nvme-Amazon_Elastic_Block_Store_${1/-/}" in script
