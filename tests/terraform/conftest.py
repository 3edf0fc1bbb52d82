# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of terraform/ share: a copy of it that is ready to run."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_simulation import simulated_aws
from terraform_cli import DIRECTORIES, Terraform, copy_configuration, running_provider


def pytest_configure() -> None:
    if shutil.which("terraform") is None:
        pytest.exit(
            "tests/terraform need the terraform command, 1.11 or newer, in the PATH: "
            "https://developer.hashicorp.com/terraform/install",
            returncode=2,
        )


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of terraform/, in which every module and root was initialised; one for all processes of the run."""
    shared = tmp_path_factory.getbasetemp().parent
    copied, done = shared / "terraform", shared / "terraform.done"
    with (shared / "terraform.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(copied, ignore_errors=True)  # of a process that failed halfway, whose error would be hidden
            copy_configuration(copied)
            for directory in DIRECTORIES:
                Terraform(copied / directory).init()
            done.touch()
    return copied


@pytest.fixture(scope="session")
def provider(configuration: Path) -> Iterator[dict[str, str]]:
    """The environment in which commands share one provider; for those that need no AWS."""
    with running_provider(configuration / DIRECTORIES[0]) as shared:
        yield shared


@pytest.fixture
def aws() -> Iterator[str]:
    """The address of a simulated AWS, empty."""
    with simulated_aws() as address:
        yield address
