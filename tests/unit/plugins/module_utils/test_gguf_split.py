# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files make up a split model, and which don't."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import (
    GgufError,
    GgufLimitError,
    MalformedGgufError,
    TruncatedGgufError,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import (
    MAX_PARTS,
    model_name,
    part_names,
    parts_of,
    read_model,
    split_name,
)
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import I32, U16, model, pair

COUNT = 3
TENSORS = 6


def part(number: int, said: Mapping[str, int] | None = None, tensors: tuple[str, ...] = ()) -> bytes:
    """Part `number`, counted from 0, which says of itself what llama.cpp's would, or `said`."""
    numbers = {"no": number, "count": COUNT, "tensors.count": TENSORS, **(said or {})}
    pairs = [pair(f"split.{key}", I32 if "." in key else U16, value) for key, value in numbers.items() if value >= 0]
    names = tensors or tuple(f"{number}.{index}.weight" for index in range(TENSORS // COUNT))
    return model(dict.fromkeys(names, ((32,), "F32")), pairs)


def write(folder: Path, parts: list[bytes]) -> Path:
    for name, content in zip(part_names("tiny", COUNT), parts, strict=True):
        (folder / name).write_bytes(content)
    return folder / part_names("tiny", COUNT)[0]


@pytest.fixture
def parts() -> list[bytes]:
    return [part(number) for number in range(COUNT)]


def test_parts_are_read_as_one_model(tmp_path: Path, parts: list[bytes]) -> None:
    whole = read_model(write(tmp_path, parts))
    assert [tensor.name for tensor in whole.tensors] == [f"{n}.{i}.weight" for n in range(COUNT) for i in range(2)]
    assert whole.file_bytes == sum(map(len, parts))
    assert not [key for key in whole.metadata if key.startswith("split.")]


@pytest.mark.parametrize(
    ("number", "said", "message"),
    [
        (1, {"no": 2}, "part 2 of 3 says of itself to be number 2 of 3"),
        (2, {"count": 4}, "part 3 of 3 says of itself to be number 2 of 4"),
        (0, {"no": -1, "count": -1}, "part 1 of 3 says of itself to be number 0 of 1"),
    ],
)
def test_a_part_of_another_place_or_model_is_named(
    tmp_path: Path, parts: list[bytes], number: int, said: dict[str, int], message: str
) -> None:
    parts[number] = part(number, said)
    with pytest.raises(MalformedGgufError, match=message):
        read_model(write(tmp_path, parts))


def test_two_parts_in_each_others_place_are_noticed(tmp_path: Path, parts: list[bytes]) -> None:
    with pytest.raises(MalformedGgufError, match="part 2 of 3 says of itself to be number 2 of 3"):
        read_model(write(tmp_path, [parts[0], parts[2], parts[1]]))


def test_a_tensor_in_two_parts_is_noticed(tmp_path: Path, parts: list[bytes]) -> None:
    parts[2] = part(2, tensors=("2.0.weight", "0.0.weight"))
    with pytest.raises(MalformedGgufError, match="a tensor is in several parts"):
        read_model(write(tmp_path, parts))


@pytest.mark.parametrize(("announced", "message"), [(7, "6 tensors, 7 are announced"), (-1, "None are announced")])
def test_fewer_tensors_than_announced_are_noticed(
    tmp_path: Path, parts: list[bytes], announced: int, message: str
) -> None:
    parts[0] = part(0, {"tensors.count": announced})
    with pytest.raises(TruncatedGgufError, match=message):
        read_model(write(tmp_path, parts))


@pytest.mark.parametrize("number", range(COUNT))
def test_a_part_that_is_cut_short_or_missing_is_noticed(tmp_path: Path, parts: list[bytes], number: int) -> None:
    whole, parts[number] = parts[number], parts[number][:-1]
    first = write(tmp_path, parts)
    with pytest.raises(GgufError):
        read_model(first)
    parts[number] = whole
    first = write(tmp_path, parts)
    missing = tmp_path / part_names("tiny", COUNT)[number]
    missing.unlink()
    with pytest.raises(FileNotFoundError, match=missing.name):
        read_model(first)


@pytest.mark.parametrize(("no", "count"), [(0, 0), (0, 1)])
def test_a_single_file_may_say_that_it_is_the_only_part(tmp_path: Path, no: int, count: int) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(part(0, {"no": no, "count": count, "tensors.count": 2}))
    assert len(read_model(path).tensors) == 2


def test_a_part_under_the_name_of_a_single_file_is_refused(tmp_path: Path, parts: list[bytes]) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(parts[0])
    with pytest.raises(MalformedGgufError, match="number 0 of 3"):
        read_model(path)


def test_it_is_asked_for_by_its_first_part() -> None:
    with pytest.raises(MalformedGgufError, match="part 2 of 3: give the first part's path"):
        parts_of(Path("tiny-00002-of-00003.gguf"))


@pytest.mark.parametrize("count", [0, 1, MAX_PARTS + 1, 99999])
def test_a_count_that_is_not_possible_opens_no_file(count: int) -> None:
    with pytest.raises(GgufLimitError, match=f"one of {count} parts"):
        parts_of(Path(f"tiny-00001-of-{count:05d}.gguf"))


@pytest.mark.parametrize(
    ("file_name", "split", "name"),
    [
        ("tiny-00002-of-00003.gguf", ("tiny", 2, 3), "tiny"),
        ("tiny-00002-of-00003", ("tiny", 2, 3), "tiny"),
        ("a-00001-of-00002-00002-of-00003.gguf", ("a-00001-of-00002", 2, 3), "a-00001-of-00002"),
        ("tiny-2-of-3.gguf", None, "tiny-2-of-3"),
        ("tiny-00002-of-00003.bin", None, "tiny-00002-of-00003.bin"),
        ("-00001-of-00002.gguf", None, "-00001-of-00002"),
        ("tiny.gguf", None, "tiny"),
    ],
)
def test_what_a_file_name_says(file_name: str, split: tuple[str, int, int] | None, name: str) -> None:
    assert split_name(file_name) == split
    assert model_name(file_name) == name
