# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the model modules share."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import FaultServer
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Disk, ModelFile, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(scope="session")
def model_file() -> ModelFile:
    return ModelFile(1)


@contextmanager
def serving(content: bytes) -> Iterator[FaultServer]:
    server = FaultServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(model_file: ModelFile) -> Iterator[FaultServer]:
    with serving(model_file.content) as server:
        yield server


@pytest.fixture
def other_server(model_file: ModelFile) -> Iterator[FaultServer]:
    with serving(model_file.content) as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(mount)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield Disk(mount, tmp_path / "neighbour.gguf")
    finally:
        subprocess.run(["umount", str(mount)], check=True)
