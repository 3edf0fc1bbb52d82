# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in Terraform's files, for tests that look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hcl2


def blocks(directory: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The directory's blocks of a kind with one label, such as ``variable``, by the label."""
    return {
        _bare(name): block
        for file in sorted(directory.glob("*.tf"))
        for labelled in _load(file).get(kind, [])
        for name, block in labelled.items()
    }


def runs(directory: Path) -> list[dict[str, Any]]:
    """The ``run`` blocks of all tests in the directory."""
    return [
        run
        for file in sorted(directory.glob("tests/*.tftest.hcl"))
        for labelled in _load(file).get("run", [])
        for run in labelled.values()
    ]


def settings_of(block: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """A block's inner blocks of a kind."""
    inner: list[dict[str, Any]] = block.get(kind, [])
    return inner


def _load(file: Path) -> dict[str, Any]:
    with file.open(encoding="utf-8") as opened:
        loaded: dict[str, Any] = hcl2.load(opened)
    return loaded


def _bare(label: str) -> str:
    return label.strip('"')
