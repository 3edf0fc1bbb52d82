# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""models.lock.yml: what a task writes into it, and what another one takes from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import FaultServer
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import ModelFile, Store

Run = Callable[..., Any]


@pytest.fixture
def lockfile(tmp_path: Path) -> Path:
    return tmp_path / "models.lock.yml"


@pytest.fixture
def download(run_module: Run, store: Store) -> Run:
    def run(*options: str, **arguments: Any) -> dict[str, Any]:
        done = run_module("model_download", *options, name="tiny", models_dir=str(store.root), **arguments)
        return dict(done.result)

    return run


def test_a_first_use_pins_the_file_for_all_later_ones(
    download: Run, store: Store, server: FaultServer, model_file: ModelFile, lockfile: Path
) -> None:
    # A relative path is taken from the playbook's directory.
    first = {"source": server.url + "?token=secret", "lockfile": lockfile.name, "trust_on_first_use": True}
    planned = download("--check", **first)
    assert planned["changed"]
    assert not lockfile.exists()
    assert download(**first)["changed"]
    entry = {"source": server.url, "revision": None, "sha256": model_file.sha256, "size": len(model_file.content)}
    assert yaml.safe_load(lockfile.read_text()) == {"version": 1, "models": {"tiny": entry}}
    assert not download(**first)["changed"]

    # The source has another file now: those who ask by the lockfile don't take it.
    download(state="absent")
    server.content = ModelFile(2).content
    failed = download(lockfile=str(lockfile))
    assert f"expected {model_file.sha256}" in failed["msg"]
    assert store.visible() == []
    server.content = model_file.content
    assert download(lockfile=str(lockfile))["pin"]["basis"] == "given"


def test_the_lockfile_is_refreshed_where_asked_for_and_shows_the_difference(
    download: Run, store: Store, server: FaultServer, model_file: ModelFile, lockfile: Path
) -> None:
    refresh = {"lockfile": str(lockfile), "update_lock": True, "trust_on_first_use": True}
    assert download(source=server.url, **refresh)["changed"]
    before = lockfile.read_text()
    assert not download(**refresh)["changed"]
    assert lockfile.read_text() == before

    server.content, newer = ModelFile(2).content, ModelFile(2).sha256
    refreshed = download("--diff", **refresh)
    assert refreshed["changed"]
    diff = refreshed["diff"][1]
    assert (diff["before_header"], diff["before"]) == (str(lockfile), before)
    assert diff["after"] == lockfile.read_text()
    assert newer in diff["after"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "file:///other.gguf"}, "source is file:///other.gguf, and"),
        ({"sha256": "0" * 64}, "refresh the lockfile with update_lock"),
    ],
)
def test_a_task_that_contradicts_the_lockfile_fails(
    download: Run, store: Store, lockfile: Path, arguments: dict[str, Any], message: str
) -> None:
    entry = {"source": "file:///tiny.gguf", "revision": None, "sha256": "ab" * 32, "size": 1}
    lockfile.write_text(yaml.safe_dump({"version": 1, "models": {"tiny": entry}}))
    failed = download(lockfile=str(lockfile), **arguments)
    assert message in failed["msg"]
    assert not store.root.exists()


def test_a_model_that_the_lockfile_lacks_needs_a_source(download: Run, lockfile: Path) -> None:
    assert "source" in download(lockfile=str(lockfile))["msg"]
