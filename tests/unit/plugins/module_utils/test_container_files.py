# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _container_files
from ansible_collections.llm.orchestrator.plugins.module_utils._description import Config, Secret

PASSWORD = Secret("password", "hunter2\n")
TOKEN = Secret("token", "t0k3n")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "secrets"
    key = _container_files.load_key(root, create=True)
    assert len(key) == 32
    assert _container_files.load_key(root, create=True) == key
    assert mode(root / ".key") == 0o600
    assert mode(root) == 0o700
    assert [path.name for path in root.iterdir()] == [".key"]


def test_no_key_is_made_where_none_may_be(tmp_path: Path) -> None:
    root = tmp_path / "secrets"
    assert _container_files.load_key(root, create=False) != _container_files.load_key(root, create=False)
    assert not root.exists()


def test_a_digest_depends_on_name_value_and_key() -> None:
    digests = {
        _container_files.digest(b"key", PASSWORD),
        _container_files.digest(b"key", Secret("password", "other")),
        _container_files.digest(b"key", Secret("other", PASSWORD.value)),
        _container_files.digest(b"other", PASSWORD),
    }
    assert len(digests) == 4
    assert _container_files.digest(b"key", PASSWORD) in digests


def test_files_hold_the_exact_value_and_are_read_only_for_their_owner(tmp_path: Path) -> None:
    files = _container_files.write_files(tmp_path / "root", "redis", [PASSWORD, TOKEN], [])
    assert files["/run/secrets/password"].read_bytes() == b"hunter2\n"
    assert files["/run/secrets/token"].read_bytes() == b"t0k3n"
    assert {mode(file) for file in files.values()} == {0o400}
    assert {mode(folder) for folder in list(files["/run/secrets/token"].parents)[:2]} == {0o700}


def test_a_config_is_found_by_its_path_and_lies_beside_the_secrets(tmp_path: Path) -> None:
    config = Config("/etc/redis/redis.conf", "port 6379\n")
    files = _container_files.write_files(tmp_path, "redis", [PASSWORD], [config])
    assert files[config.path].read_text() == config.content
    assert files[config.path].name == "%2Fetc%2Fredis%2Fredis.conf"
    assert mode(files[config.path]) == 0o400
    assert files[config.path].parent == files["/run/secrets/password"].parent


def test_a_second_writing_leaves_the_first_files_alone(tmp_path: Path) -> None:
    first = _container_files.write_files(tmp_path, "redis", [PASSWORD], [])["/run/secrets/password"]
    second = _container_files.write_files(tmp_path, "redis", [Secret("password", "new")], [])["/run/secrets/password"]
    assert first != second
    assert first.read_text() == PASSWORD.value


def test_a_full_disk_is_told_with_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        _container_files.write_files(tmp_path, "redis", [PASSWORD], [])
    assert Path(caught.value.filename).name == PASSWORD.name


def test_no_secrets_make_no_folder(tmp_path: Path) -> None:
    assert _container_files.write_files(tmp_path, "redis", [], []) == {}
    assert list(tmp_path.iterdir()) == []


def test_only_folders_that_nothing_uses_are_removed(tmp_path: Path) -> None:
    old = _container_files.write_files(tmp_path, "redis", [PASSWORD], [])["/run/secrets/password"]
    used = _container_files.write_files(tmp_path, "redis", [PASSWORD], [])["/run/secrets/password"]
    other = _container_files.write_files(tmp_path, "cache", [PASSWORD], [])["/run/secrets/password"]
    _container_files.remove_unused(tmp_path, "redis", [used])
    assert not old.parent.exists()
    assert used.exists()
    assert other.exists()


def test_the_last_removal_takes_the_service_folder_too(tmp_path: Path) -> None:
    _container_files.write_files(tmp_path, "redis", [PASSWORD], [])
    _container_files.remove_unused(tmp_path, "redis", [])
    _container_files.remove_unused(tmp_path, "redis", [])
    assert list(tmp_path.iterdir()) == []
