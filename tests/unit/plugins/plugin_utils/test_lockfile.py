# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.llm.orchestrator.plugins.plugin_utils._lockfile import LockEntry, Lockfile

ENTRY = LockEntry("hf://house/tiny/tiny.gguf@main", "0" * 40, "ab" * 32, 8_400_000)


@pytest.fixture
def lockfile(tmp_path: Path) -> Lockfile:
    return Lockfile(str(tmp_path / "vars" / "models.lock.yml"))


def test_what_was_written_is_read_and_each_model_keeps_its_place(lockfile: Lockfile) -> None:
    assert (lockfile.entry("tiny"), lockfile.text()) == (None, "")
    planned = lockfile.planned("tiny", ENTRY)
    lockfile.write("tiny", ENTRY, None)
    assert lockfile.text() == planned
    assert lockfile.entry("tiny") == ENTRY

    other = replace(ENTRY, source="file:///tiny.gguf", revision=None)
    lockfile.write("other", other, None)
    assert (lockfile.entry("other"), lockfile.entry("tiny")) == (other, ENTRY)
    assert lockfile.text().index("other:") < lockfile.text().index("tiny:")
    assert lockfile.text().startswith("# Which file each model is.")
    assert [path.name for path in lockfile.path.parent.iterdir()] == ["models.lock.yml"]


def test_a_refreshed_entry_replaces_the_one_that_was_seen(lockfile: Lockfile) -> None:
    lockfile.write("tiny", ENTRY, None)
    lockfile.path.chmod(0o600)
    newer = replace(ENTRY, sha256="cd" * 32)
    lockfile.write("tiny", newer, ENTRY)
    assert lockfile.entry("tiny") == newer
    assert lockfile.path.stat().st_mode & 0o777 == 0o600


def test_a_split_model_has_its_parts_beside(lockfile: Lockfile) -> None:
    parts = ({"sha256": "cd" * 32, "size": 5}, {"sha256": "ef" * 32, "size": 3})
    split = replace(ENTRY, size=8, parts=parts)
    lockfile.write("large", split, None)
    lockfile.write("tiny", ENTRY, None)
    assert (lockfile.entry("large"), lockfile.entry("tiny")) == (split, ENTRY)
    assert split.digests == ["cd" * 32, "ef" * 32]
    assert ENTRY.digests == [ENTRY.sha256]
    assert lockfile.text().count("parts:") == 1


def test_hosts_that_got_different_files_are_told(lockfile: Lockfile) -> None:
    lockfile.write("tiny", ENTRY, None)
    # Another host, which saw no entry either, and got the same file; and one that got another.
    lockfile.write("tiny", ENTRY, None)
    with pytest.raises(AnsibleActionFail, match="hosts got different files from hf://house/tiny"):
        lockfile.write("tiny", replace(ENTRY, sha256="cd" * 32), None)
    assert lockfile.entry("tiny") == ENTRY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read: while parsing"),
        ("\xff", "can't be read: 'utf-8'"),
        ("- tiny", "has no 'version: 1'"),
        ("version: 2", "has no 'version: 1'"),
        ("{version: 1, models: [tiny]}", "'models' is no mapping"),
        ("{version: 1, models: {tiny: abc}}", "tiny needs source, revision, sha256 and size"),
        ("{version: 1, models: {tiny: {source: x}}}", "tiny needs source, revision, sha256 and size"),
        ("{version: 1, models: {tiny: {source: x, revision: null, sha256: abc, size: 1}}}", "64 hexadecimal digits"),
        (
            "{version: 1, models: {tiny: {source: x, revision: null, sha256: %s, size: 1, parts: [1]}}}" % ("a" * 64),
            "for a split model parts with their sha256",
        ),
        ("{version: 1, models: {tiny: {source: 1, revision: null, sha256: abc, size: 1}}}", "needs a source"),
    ],
)
def test_what_is_no_lockfile_is_refused_with_its_path(lockfile: Lockfile, text: str, message: str) -> None:
    lockfile.path.parent.mkdir()
    lockfile.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnsibleActionFail) as refused:
        lockfile.entry("tiny")
    assert message in str(refused.value)
    assert str(lockfile.path) in str(refused.value)
