# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import (
    _docker_engine,
    _docker_readiness,
    _docker_slot,
    _lock,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description import Description
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_engine import DockerEngine
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import FakeDocker


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker()


@pytest.fixture
def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DockerEngine:
    monkeypatch.setattr(_lock, "_FOLDER", tmp_path)
    for module in (_docker_engine, _docker_slot):
        monkeypatch.setattr(module, "STABLE_SECONDS", 0)
    monkeypatch.setattr(_docker_readiness, "_POLL", 0.01)
    return DockerEngine(docker)  # type: ignore[arg-type]


@pytest.fixture
def present(engine: DockerEngine, tmp_path: Path) -> Any:
    def run(description: Description, check_mode: bool = False) -> Any:
        return engine.present(description, tmp_path / "secrets", check_mode)

    return run
