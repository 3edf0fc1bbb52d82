# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models in several files: all parts are visible and of one model, or none is."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import model_digest
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    Fault,
    FaultServer,
    Handler,
    break_off,
    serve,
    status,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Store
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import I32, U16, model, pair

DATA_BYTES = 2 << 20
COUNT = 3


def part(number: int, *, count: int = COUNT, tensors: int = COUNT, tensor: int | None = None) -> bytes:
    """The file `number`, counted from 0, of a model in `count` files with `tensors` tensors, of which it has one."""
    pairs = [
        pair("split.no", U16, number),
        pair("split.count", U16, count),
        pair("split.tensors.count", I32, tensors),
    ]
    name = f"blk.{number if tensor is None else tensor}.weight"
    whole = model({name: ((1024, DATA_BYTES // 4096), "F32")}, pairs, file_type=0)
    return whole[:-DATA_BYTES] + random.Random(number).randbytes(DATA_BYTES)


def changed(content: bytes, upto: int) -> bytes:
    """Of the same size, and other bytes up to `upto`."""
    return bytes(byte ^ 1 for byte in content[:upto]) + content[upto:]


@dataclass
class SplitModel:
    """A server's model of three files, and the faults that its paths have until they are taken away."""

    server: FaultServer
    contents: list[bytes]
    broken: dict[str, Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.files = dict(zip(self.paths, self.contents, strict=True))
        self.server.otherwise = self._answer

    def _answer(self, handler: Handler) -> None:
        self.broken.get(handler.path, serve if handler.path in self.server.files else status(404))(handler)

    @property
    def paths(self) -> list[str]:
        return [f"/{name}" for name in self.names("large")]

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(content).hexdigest() for content in self.contents]

    @property
    def sha256(self) -> str:
        return model_digest(tuple(self.digests))

    def names(self, name: str) -> list[str]:
        return [f"{name}-{number:05d}-of-{COUNT:05d}.gguf" for number in range(1, COUNT + 1)]

    def options(self, **options: Any) -> dict[str, Any]:
        return {"name": "house", "source": self.server.origin + self.paths[0], "sha256": self.digests, **options}

    def visible(self, *names: str) -> list[str]:
        parts = [part for name in names for part in self.names(name)]
        return sorted(f"{self.sha256}/{name}" for name in [*parts, "record.json"])

    def assert_whole(self, store: Store) -> None:
        assert store.visible() == self.visible("house")
        found = [(store.root / self.sha256 / name).read_bytes() for name in self.names("house")]
        assert found == self.contents
        assert store.leftovers() == []


@pytest.fixture
def split(server: FaultServer) -> SplitModel:
    return SplitModel(server, [part(number) for number in range(COUNT)])


def test_check_create_again_and_remove(store: Store, split: SplitModel) -> None:
    planned = store.run("model_download", check=True, **split.options())
    assert planned["changed"]
    assert not store.root.exists()
    made = store.run("model_download", **split.options(mode="0640"))
    assert (made["changed"], made["sha256"], made["diff"]) == (True, split.sha256, planned["diff"])
    assert made["path"] == str(store.root / split.sha256 / split.names("house")[0])
    split.assert_whole(store)
    sizes = [len(content) for content in split.contents]
    parts = [{"sha256": sha256, "size": size} for sha256, size in zip(split.digests, sizes, strict=True)]
    assert (made["record"]["parts"], made["record"]["size"]) == (parts, sum(sizes))
    assert (made["pin"]["parts"], made["pin"]["size"], made["pin"]["basis"]) == (parts, sum(sizes), "given")
    modes = {path.stat().st_mode & 0o777 for path in Path(made["path"]).parent.glob("*.gguf")}
    assert modes == {0o640}

    asked = len(split.server.paths)
    for check in (True, False):
        again = store.run("model_download", check=check, **split.options(mode="0640"))
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
    assert len(split.server.paths) == asked

    gone = {"name": "house", "sha256": split.sha256, "state": "absent"}
    assert store.run("model_download", check=True, **gone)["changed"]
    split.assert_whole(store)
    assert store.run("model_download", **gone)["changed"]
    assert store.visible() == store.leftovers() == []
    assert not store.run("model_download", **gone)["changed"]


def test_a_download_that_breaks_off_in_a_part_goes_on_there(store: Store, split: SplitModel) -> None:
    upto = 1 << 20
    split.broken[split.paths[1]] = break_off(upto)
    failed = store.run("model_download", **split.options(retries=0))
    assert "1.0 MB kept for the next run" in failed["msg"]
    assert store.visible() == []

    # What is there already would be wrong now if it were fetched again.
    split.broken.clear()
    split.server.files[split.paths[0]] = changed(split.contents[0], upto=len(split.contents[0]))
    split.server.files[split.paths[1]] = changed(split.contents[1], upto)
    assert store.run("model_download", **split.options())["changed"]
    split.assert_whole(store)


@pytest.mark.parametrize("number", range(COUNT))
def test_a_part_with_a_wrong_digest_is_named_and_nothing_is_left(store: Store, split: SplitModel, number: int) -> None:
    path = split.paths[number]
    split.server.files[path] = changed(split.contents[number], upto=1)
    failed = store.run("model_download", **split.options())
    assert f"{path} has sha256 " in failed["msg"]
    assert f"expected {split.digests[number]}" in failed["msg"]
    assert store.visible() == store.leftovers() == []


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([part(0), part(1, count=4), part(2)], "part 2 of 3 says of itself to be number 1 of 4"),
        ([part(0), part(2), part(1)], "part 2 of 3 says of itself to be number 2 of 3"),
        ([part(0), part(1, tensor=0), part(2)], "a tensor is in several parts"),
        ([part(0, tensors=4), part(1), part(2)], "the parts have 3 tensors, 4 are announced"),
    ],
    ids=["of another count", "in another order", "with a tensor again", "with too few tensors"],
)
def test_parts_that_are_not_of_one_model_are_refused(
    store: Store, server: FaultServer, contents: list[bytes], message: str
) -> None:
    failed = store.run("model_download", **SplitModel(server, contents).options())
    assert message in failed["msg"]
    assert store.visible() == store.leftovers() == []


def test_a_part_that_is_missing_at_the_source_is_named(store: Store, split: SplitModel) -> None:
    missing = split.server.files.pop(split.paths[2])
    failed = store.run("model_download", **split.options())
    assert f"{split.paths[2]}: HTTP 404" in failed["msg"]
    assert store.visible() == []
    split.server.files[split.paths[2]] = missing
    assert store.run("model_download", **split.options())["changed"]
    split.assert_whole(store)


def test_as_many_digests_as_files_are_needed(store: Store, split: SplitModel) -> None:
    for digests in (split.digests[:1], split.digests[:2], [*split.digests, "0" * 64]):
        failed = store.run("model_download", **split.options(sha256=digests))
        assert f"sha256 has {len(digests)} digests, and" in failed["msg"]
        assert "is in 3 files: give one for each" in failed["msg"]
    assert split.server.paths == []
    assert not store.root.exists()


def test_another_part_than_the_first_is_refused(store: Store, split: SplitModel) -> None:
    failed = store.run("model_download", **split.options(source=split.server.origin + split.paths[1]))
    assert "is part 2 of 3: give the first part's" in failed["msg"]
    assert split.server.paths == []


def test_a_part_that_is_damaged_or_missing_is_repaired(store: Store, split: SplitModel) -> None:
    first = Path(store.run("model_download", **split.options())["path"])
    second = first.with_name(split.names("house")[1])
    second.write_bytes(split.contents[1][:-1])
    assert store.run("model_download", **split.options())["diff"]["before"]["state"] == "damaged"
    split.assert_whole(store)
    first.unlink()
    assert store.run("model_download", **split.options())["changed"]
    split.assert_whole(store)

    # Of the same size: only reading it can tell.
    second.write_bytes(changed(split.contents[1], upto=1))
    assert not store.run("model_download", **split.options())["changed"]
    assert store.run("model_download", check=True, **split.options(verify=True))["changed"]
    assert store.run("model_download", **split.options(verify=True))["changed"]
    split.assert_whole(store)
    assert not store.run("model_download", **split.options(verify=True))["changed"]


def test_right_parts_without_a_record_are_adopted(store: Store, split: SplitModel) -> None:
    path = Path(store.run("model_download", **split.options())["path"])
    (path.parent / "record.json").unlink()
    asked = len(split.server.paths)
    assert store.run("model_download", **split.options())["changed"]
    split.assert_whole(store)
    assert len(split.server.paths) == asked


def test_a_second_name_is_no_second_download(store: Store, split: SplitModel) -> None:
    first = store.run("model_download", **split.options())
    asked = len(split.server.paths)
    second = store.run("model_download", **split.options(name="other"))
    assert second["changed"]
    assert os.path.samefile(first["path"], second["path"])
    assert store.visible() == split.visible("house", "other")
    assert len(split.server.paths) == asked
    store.run("model_download", name="other", state="absent")
    split.assert_whole(store)


def test_without_any_digest_the_first_use_is_trusted_and_remembered(store: Store, split: SplitModel) -> None:
    options = split.options(sha256=None)
    assert "declares no SHA-256" in store.run("model_download", **options)["msg"]
    assert store.visible() == []
    made = store.run("model_download", **options, trust_on_first_use=True)
    assert (made["pin"]["basis"], made["sha256"]) == ("first_use", split.sha256)
    split.assert_whole(store)
    again = store.run("model_download", **options)
    assert (again["changed"], again["pin"]["basis"]) == (False, "recorded")
