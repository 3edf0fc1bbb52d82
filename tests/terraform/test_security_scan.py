# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""checkov finds nothing, and what it is told to leave out has a reason and is needed."""

from __future__ import annotations

import re
from pathlib import Path

from security_scan import failed_checks, skipped_checks
from terraform_cli import CONFIGURATION, copy_configuration

SKIP = re.compile(r"^ *#checkov:skip=(?P<id>\w+):?(?P<reason>.*)\n", re.MULTILINE)


def files() -> list[Path]:
    return [file for file in CONFIGURATION.rglob("*.tf") if ".terraform" not in file.parts]


def test_checkov_finds_nothing(tmp_path: Path) -> None:
    assert failed_checks(copy_configuration(tmp_path / "terraform")) == []


def test_each_skip_has_a_reason() -> None:
    skips = {(file.name, skip["id"]): skip["reason"] for file in files() for skip in SKIP.finditer(file.read_text())}

    assert [place for place, reason in skips.items() if len(reason.split()) < 5] == []


def test_each_skip_is_needed(tmp_path: Path) -> None:
    copied = copy_configuration(tmp_path / "terraform")
    skipped = {(check.id, Path(check.file).name) for check in skipped_checks(copied)}
    for file in copied.rglob("*.tf"):
        file.write_text(SKIP.sub("", file.read_text()))

    failed = {(check.id, Path(check.file).name) for check in failed_checks(copied)}

    assert failed == skipped
