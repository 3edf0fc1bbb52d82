# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each seeded mistake is caught, by the run or the check that is there for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from mistakes import MISTAKES, Mistake
from security_scan import failed_checks
from terraform_cli import CONFIGURATION, Terraform

CAUGHT_BY_RUNS = [mistake for mistake in MISTAKES if not mistake.by_checkov]
CAUGHT_BY_CHECKOV = [mistake for mistake in MISTAKES if mistake.by_checkov]


def keep_only(run: str, tests: Path) -> None:
    """Leaves of a test file what all runs share, and one run, as only that one is asked."""
    text = tests.read_text()
    shared = text[: text.index('\nrun "')]
    wanted = re.search(rf'^run "{run}" {{\n.*?^}}\n', text, re.DOTALL | re.MULTILINE)
    assert wanted, f"{tests} has no run {run}"
    tests.write_text(f"{shared}\n{wanted[0]}")


def test_there_are_thirty_mistakes_or_more() -> None:
    assert len({mistake.name for mistake in MISTAKES}) >= 30


@pytest.mark.parametrize("mistake", CAUGHT_BY_RUNS, ids=lambda mistake: mistake.name.replace(" ", "_"))
def test_a_mistake_is_caught_by_a_run(
    configuration: Path, provider: dict[str, str], tmp_path: Path, mistake: Mistake
) -> None:
    tests, run = mistake.caught_by.split("/")
    # The root refers to the modules; a module stands alone.
    for needed in (mistake.directory, "modules") if mistake.directory == "aws" else (mistake.directory,):
        shutil.copytree(configuration / needed, tmp_path / needed, symlinks=True)
    mistake.make(tmp_path)
    keep_only(run, tmp_path / mistake.directory / "tests" / f"{tests}.tftest.hcl")

    terraform = Terraform(tmp_path / mistake.directory, extra_environment=provider)
    done = terraform.run("test", "-no-color", f"-filter=tests/{tests}.tftest.hcl", allowed=(0, 1))

    assert f'run "{run}"... fail' in done.stdout
    # It fails by what it asserts, and not because the copy is broken.
    assert re.search(r"Error: (Test assertion failed|Missing expected failure)", done.stdout + done.stderr)


def test_the_other_mistakes_are_caught_by_checkov(tmp_path: Path) -> None:
    for number, mistake in enumerate(CAUGHT_BY_CHECKOV):
        shutil.copytree(CONFIGURATION / mistake.directory, tmp_path / str(number) / mistake.directory, symlinks=True)
        mistake.make(tmp_path / str(number))

    found = failed_checks(tmp_path)

    for number, mistake in enumerate(CAUGHT_BY_CHECKOV):
        caught = {check.id for check in found if check.file.startswith(f"/{number}/")}
        assert mistake.caught_by in caught, mistake.name
