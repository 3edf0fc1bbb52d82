# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of models on a host: what is visible, and what a killed run may leave."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _model_store
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    ModelStore,
    Part,
    Recipe,
    Record,
    checked_name,
    checked_sha256,
    model_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError

CONTENT = b"GGUF and so on"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PARTS = (b"GGUF one", b"GGUF, two")
DIGESTS = tuple(hashlib.sha256(part).hexdigest() for part in PARTS)
RECORD = Record("file:///x", None, SHA256, len(CONTENT), "llama", "Q8_0", Recipe("0" * 64, "by hand", "none"))


def unexpected() -> None:
    pytest.fail("the lock is free, but was waited for")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def publish(store: ModelStore, name: str = "tiny", record: Record = RECORD) -> Path:
    with store.lock(SHA256, unexpected):
        data = store.work(SHA256) / "data"
        data.write_bytes(CONTENT)
        path = store.publish([data], name, record)
        store.clean(SHA256)
    return path


def test_a_published_file_is_there_with_its_record_and_nothing_else(store: ModelStore) -> None:
    old = os.umask(0o077)
    try:
        path = publish(store)
    finally:
        os.umask(old)
    assert path == store.root / SHA256 / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert store.record(SHA256) == RECORD
    assert store.record_beside(path) == RECORD
    assert store.condition(SHA256, "tiny") == "present"
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert (path.parent / "record.json").stat().st_mode & 0o777 == 0o644
    assert list((store.root / ".partial").iterdir()) == []


def test_a_second_name_of_the_same_bytes_is_stored_once(store: ModelStore) -> None:
    publish(store)
    assert store.link(SHA256, "other")
    assert store.file(SHA256, "other").samefile(store.file(SHA256, "tiny"))
    assert store.names(SHA256) == ["other", "tiny"]


def test_publishing_over_a_damaged_file_replaces_it(store: ModelStore) -> None:
    path = publish(store)
    path.write_bytes(b"short")
    assert store.condition(SHA256, "tiny") == "damaged"
    publish(store)
    assert store.condition(SHA256, "tiny") == "present"


def test_the_record_goes_with_the_last_name(store: ModelStore) -> None:
    publish(store)
    store.link(SHA256, "other")
    store.remove(SHA256, "tiny")
    assert store.record(SHA256) == RECORD
    store.remove(SHA256, "other")
    assert not (store.root / SHA256).exists()
    store.remove(SHA256, "other")


def test_a_model_that_was_staged_when_its_run_was_killed_is_not_fetched_again(store: ModelStore) -> None:
    staged = store.root / ".partial" / SHA256 / "new"
    staged.mkdir(parents=True)
    (staged / "tiny.gguf").write_bytes(CONTENT)
    assert (store.work(SHA256) / "data").read_bytes() == CONTENT
    assert store.condition(SHA256, "tiny") == "absent"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', '{"made": null, "no": "such"}', "\x00"])
def test_a_broken_record_counts_as_none(store: ModelStore, text: str) -> None:
    path = publish(store)
    (path.parent / "record.json").write_text(text)
    assert store.record(SHA256) is None
    assert store.condition(SHA256, "tiny") == "unrecorded"


def publish_split(store: ModelStore, name: str = "large") -> list[Path]:
    parts = tuple(Part(digest, len(part)) for digest, part in zip(DIGESTS, PARTS, strict=True))
    record = Record("file:///l", None, model_digest(DIGESTS), sum(map(len, PARTS)), "llama", "Q8_0", None, parts)
    with store.lock(record.sha256, unexpected):
        data = [store.work(record.sha256) / name for name in ("data-00001", "data-00002")]
        for path, part in zip(data, PARTS, strict=True):
            path.write_bytes(part)
        first = store.publish(data, name, record)
        store.clean(record.sha256)
    files = store.found(record.sha256, name)
    assert files[0] == first
    assert store.record(record.sha256) == record
    return files


def test_a_split_model_is_present_while_all_its_parts_are(store: ModelStore) -> None:
    first, second = publish_split(store)
    digest = model_digest(DIGESTS)
    # As `printf '%s\n' DIGEST… | sha256sum` prints it.
    assert digest == hashlib.sha256(f"{DIGESTS[0]}\n{DIGESTS[1]}\n".encode()).hexdigest()
    assert (first, second) == tuple(store.root / digest / f"large-0000{n}-of-00002.gguf" for n in (1, 2))
    assert [path.read_bytes() for path in (first, second)] == list(PARTS)
    assert store.condition(digest, "large") == "present"
    assert store.file(digest, "large") == first
    assert (store.names(digest), store.named("large"), store.named("larg")) == (["large"], [digest], [])
    assert store.record_beside(first) == store.record(digest)
    assert store.record_beside(second) is None

    assert store.link(digest, "other")
    second.unlink()
    assert [store.condition(digest, name) for name in ("large", "other")] == ["damaged", "present"]
    store.remove(digest, "large")
    assert not first.exists()
    store.remove(digest, "other")
    assert not (store.root / digest).exists()


def test_a_split_model_that_was_staged_in_part_is_not_fetched_again(store: ModelStore) -> None:
    staged = store.root / ".partial" / SHA256 / "new"
    staged.mkdir(parents=True)
    (staged / "large-00001-of-00002.gguf").write_bytes(PARTS[0])
    (staged.parent / "data-00002").write_bytes(PARTS[1])
    work = store.work(SHA256)
    assert [(work / f"data-0000{number}").read_bytes() for number in (1, 2)] == list(PARTS)


def test_a_link_under_a_models_name_is_damaged(store: ModelStore, tmp_path: Path) -> None:
    path = publish(store)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.condition(SHA256, "tiny") == "damaged"


def test_a_derivative_is_found_by_source_and_recipe_while_its_file_is_whole(store: ModelStore) -> None:
    assert store.derivative("0" * 64, "by hand") is None
    path = publish(store)
    assert store.derivative("0" * 64, "by hand") == RECORD
    assert store.derivative("0" * 64, "by machine") is None
    assert store.derivative("1" * 64, "by hand") is None
    path.unlink()
    assert store.derivative("0" * 64, "by hand") is None


def test_the_lock_keeps_another_process_out_and_leaves_no_file(store: ModelStore) -> None:
    collections = Path(_model_store.__file__).parents[5]
    program = (
        "import sys; from pathlib import Path\n"
        "from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import ModelStore\n"
        "with ModelStore(Path(sys.argv[1])).lock('k', lambda: print('waits', flush=True)): print('has it')\n"
    )
    command = [sys.executable, "-c", program, str(store.root)]
    with store.lock("k", unexpected):
        other = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(collections)}, stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "waits\n"
        assert other.poll() is None
    assert other.communicate(timeout=20)[0] == "has it\n"
    assert list((store.root / ".partial").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", ".hidden", "-rf", "x.gguf", "a b", "x" * 129, "a\n", "a-00001-of-00002"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ModelFileError, match="can't be a model's name"):
        checked_name(name)


def test_a_digest_is_64_hexadecimal_digits(store: ModelStore) -> None:
    assert checked_sha256(SHA256.upper()) == SHA256
    with pytest.raises(ModelFileError, match="no SHA-256"):
        checked_sha256(SHA256[:-1] + "g")
