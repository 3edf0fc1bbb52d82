# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each module is formatted, valid, described, and passes its own tests, which refuse what its variables refuse."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hcl_files import blocks, runs, settings_of
from terraform_cli import CONFIGURATION, DIRECTORIES, MODULES, Terraform

TESTED = (*MODULES, "aws")


def test_every_file_is_formatted() -> None:
    unformatted = Terraform(CONFIGURATION).run("fmt", "-check", "-recursive", allowed=(0, 3)).stdout.split()

    assert unformatted == [], "run: terraform fmt -recursive terraform"


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_a_directory_is_valid(configuration: Path, provider: dict[str, str], directory: str) -> None:
    Terraform(configuration / directory, extra_environment=provider).run("validate", "-no-color")


@pytest.mark.parametrize("directory", TESTED)
def test_a_modules_own_tests_pass(configuration: Path, provider: dict[str, str], directory: str) -> None:
    Terraform(configuration / directory, extra_environment=provider).run("test", "-no-color")


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_input_and_output_is_described(directory: str) -> None:
    described = {**blocks(CONFIGURATION / directory, "variable"), **blocks(CONFIGURATION / directory, "output")}

    assert described
    assert [name for name, block in described.items() if len(str(block.get("description", ""))) < 8] == []


@pytest.mark.parametrize("directory", TESTED)
def test_each_validation_of_a_variable_has_a_run_that_it_refuses(directory: str) -> None:
    rules = {
        name: len(settings_of(block, "validation"))
        for name, block in blocks(CONFIGURATION / directory, "variable").items()
        if "validation" in block
    }
    refused = Counter(
        name for run in runs(CONFIGURATION / directory) for name in run.get("expect_failures", []) if "var." in name
    )

    assert rules
    assert {name: count for name, count in rules.items() if refused[f"${{var.{name}}}"] < count} == {}


def test_there_are_more_than_a_hundred_assertions() -> None:
    assertions = sum(len(settings_of(run, "assert")) for directory in TESTED for run in runs(CONFIGURATION / directory))

    assert assertions > 100
