# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that llama.cpp splits into several files, `<name>-00001-of-0000N.gguf` and so on, read as one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import (
    GgufLimitError,
    Header,
    MalformedGgufError,
    TruncatedGgufError,
    read_header,
)

MAX_PARTS = 1000
_SUFFIX = ".gguf"
_PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>\.gguf)?", re.DOTALL)
_PREFIX = "split."


def part_names(name: str, count: int) -> list[str]:
    """The file names of the model `name` in `count` parts; of one in a single file its own."""
    if count == 1:
        return [name + _SUFFIX]
    return [f"{name}-{number:05d}-of-{count:05d}{_SUFFIX}" for number in range(1, count + 1)]


def split_name(file_name: str) -> tuple[str, int, int] | None:
    """(name, number from 1, count) of a part's file name, with or without `.gguf`; None for any other."""
    match = _PART.fullmatch(file_name)
    return (match["name"], int(match["number"]), int(match["count"])) if match else None


def model_name(file_name: str) -> str:
    """The name of the model that the file is, or is a part of."""
    split = split_name(file_name)
    return split[0] if split else file_name.removesuffix(_SUFFIX)


def parts_of(path: Path) -> list[Path]:
    """The files of the model at `path`, its first one; raises GgufLimitError or MalformedGgufError."""
    split = split_name(path.name)
    if split is None:
        return [path]
    name, number, count = split
    if number != 1:
        raise MalformedGgufError(f"it is part {number} of {count}: give the first part's path")
    if not 1 < count <= MAX_PARTS:
        raise GgufLimitError(f"it is one of {count} parts: 2 to {MAX_PARTS} are possible")
    return [path.parent / part for part in part_names(name, count)]


def read_model(path: str | Path) -> Header:
    """The header of the model at `path`, over all its parts if it is split. Raises as read_header does."""
    paths = parts_of(Path(path))
    return merged([read_header(part) for part in paths])


def merged(headers: list[Header]) -> Header:
    """One header of all the parts' tensors: metadata are the first part's, sizes and offsets sums.

    Raises a GgufError unless the parts are those of one model, all of them and in order.
    """
    first, count = headers[0], len(headers)
    for number, header in enumerate(headers):
        said = (header.metadata.get("split.no", 0), header.metadata.get("split.count", 1))
        # A single file may say that it is one of one, or of none.
        if said != (number, count) and not (count == 1 and said in ((0, 0), (0, 1))):
            raise MalformedGgufError(
                f"part {number + 1} of {count} says of itself to be number {said[0]} of {said[1]}, counted from 0:"
                " the parts are not of one model, or were renamed"
            )
    if count == 1:
        return first
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise MalformedGgufError("a tensor is in several parts")
    announced = first.metadata.get("split.tensors.count")
    if announced != len(tensors):
        raise TruncatedGgufError(f"the parts have {len(tensors)} tensors, {announced} are announced")
    return replace(
        first,
        file_bytes=sum(header.file_bytes for header in headers),
        data_offset=sum(header.data_offset for header in headers),
        metadata={key: value for key, value in first.metadata.items() if not key.startswith(_PREFIX)},
        tensors=tensors,
    )
