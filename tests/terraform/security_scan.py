# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""checkov, which has an environment of its own (scripts/test.sh makes it): it needs older packages than the others."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraform_cli import PROJECT

CHECKOV = PROJECT / ".cache" / "checkov" / "bin" / "checkov"


@dataclass(frozen=True)
class Check:
    """A check that failed or was skipped; ``file`` begins with a slash, at the directory that was scanned."""

    id: str
    file: str
    resource: str
    reason: str = ""


def failed_checks(directory: Path) -> list[Check]:
    return [_check(found) for found in _scan(directory)["failed_checks"]]


def skipped_checks(directory: Path) -> list[Check]:
    return [_check(found) for found in _scan(directory)["skipped_checks"]]


def _scan(directory: Path) -> dict[str, Any]:
    done = subprocess.run(
        [CHECKOV, "--directory", ".", "--framework", "terraform", "--output", "json", "--skip-download"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,  # 1 where something failed
    )
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        raise RuntimeError(f"checkov failed in {directory}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    results: dict[str, Any] = json.loads(done.stdout)["results"]
    return results


def _check(found: dict[str, Any]) -> Check:
    reason = found["check_result"].get("suppress_comment", "")
    return Check(id=found["check_id"], file=found["repo_file_path"], resource=found["resource"], reason=reason)
