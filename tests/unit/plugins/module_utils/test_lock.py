# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _lock
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._lock import service_lock


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(_lock, "_FOLDER", tmp_path)
    monkeypatch.setattr(_lock, "_PATIENCE", 0.3)
    return tmp_path


def test_one_run_at_a_time_for_a_service_and_the_next_after_it(folder: Path) -> None:
    with service_lock("demo"), service_lock("other"):
        error = f"another run holds {folder}/demo.lock, waited 0 s for it"
        with pytest.raises(EngineError, match=error), service_lock("demo"):
            pass
    with service_lock("demo"):
        pass


def test_a_lock_that_can_not_be_opened_says_who_may(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        error = rf"can't open the lock {folder}/demo\.lock \(Permission denied\), run as root"
        with pytest.raises(EngineError, match=error), service_lock("demo"):
            pass
    (folder / "file").touch()
    monkeypatch.setattr(_lock, "_FOLDER", folder / "file")
    error = r"can't open the lock .*/file/demo\.lock \(File exists\), .*/file has to be a folder of root's"
    with pytest.raises(EngineError, match=error), service_lock("demo"):
        pass
