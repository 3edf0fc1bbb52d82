# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GGUF reader: right about good files, and quick to refuse every bad one with a reason."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import (
    GgufError,
    GgufLimitError,
    Header,
    MalformedGgufError,
    NotGgufError,
    Omitted,
    TruncatedGgufError,
    UnsupportedGgufError,
    read_header,
)
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I8,
    I64,
    STRING,
    U32,
    U64,
    header,
    llama_pairs,
    llama_tensors,
    model,
    pair,
    string,
    tensor,
)

MUTATIONS = 20_000
SEED = 20261122


def bounded(path: Path) -> Header:
    """What read_header says, as long as it takes less than a second of the processor's time and 64 MiB."""
    started = time.process_time()
    try:
        return read_header(path)
    finally:
        assert time.process_time() - started < 1
        # Once more, as counting memory takes time itself.
        tracemalloc.start()
        with contextlib.suppress(GgufError):
            read_header(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 << 20


def read(directory: Path, content: bytes) -> Header:
    path = directory / "model.gguf"
    path.write_bytes(content)
    return bounded(path)


def refused(directory: Path, content: bytes, kind: type[GgufError]) -> str:
    with pytest.raises(kind) as error:
        read(directory, content)
    return str(error.value)


def test_reads_what_the_file_says(tmp_path: Path) -> None:
    pairs = [
        pair("a.text", STRING, "grüß"),
        pair("a.flag", BOOL, 1),
        pair("a.small", I8, -3),
        pair("a.large", U64, 2**63),
        pair("a.float", F64, 0.5),
        pair("a.numbers", ARRAY, (I64, [1, -2, 3])),
        pair("a.strings", ARRAY, (STRING, ["x", "", "yz"])),
    ]
    found = read(tmp_path, model(llama_tensors("Q8_0"), pairs))
    assert found.version == 3
    assert found.metadata == {
        "general.architecture": "llama",
        "a.text": "grüß",
        "a.flag": True,
        "a.small": -3,
        "a.large": 2**63,
        "a.float": 0.5,
        "a.numbers": [1, -2, 3],
        "a.strings": Omitted("strings", 3),
    }
    assert [tensor.name for tensor in found.tensors] == list(llama_tensors("Q8_0"))
    query = found.tensors[2]
    assert (query.dims, query.type.name, query.elements) == ((64, 64), "Q8_0", 4096)
    assert query.nbytes == 4096 // 32 * 34
    assert found.data_offset % 32 == 0


def test_reads_version_2_and_files_without_tensors(tmp_path: Path) -> None:
    assert read(tmp_path, header([pair("k", U32, 1)], version=2)).metadata == {"k": 1}


def test_honours_the_alignment_that_the_file_names(tmp_path: Path) -> None:
    pairs = [pair("general.alignment", U32, 256)]
    head = header(pairs, [tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 256)])
    found = read(tmp_path, head.ljust(256, b"\0") + bytes(256 + 32))
    assert (found.data_offset, found.tensors[1].offset) == (256, 256)


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = model({"a.weight": ((32, 2), "Q8_0")}, [pair("k", ARRAY, (STRING, ["x", "yy"])), pair("f", F32, 1.5)])
    data_bytes = 2 * 34  # the padding behind the last tensor may be missing
    last = whole.rindex(b"\0" * 96) + data_bytes
    path = tmp_path / "model.gguf"
    for length in range(last):
        path.write_bytes(whole[:length])
        with pytest.raises((TruncatedGgufError, NotGgufError)):
            read_header(path)
    path.write_bytes(whole)
    assert read_header(path).tensors


HUGE = 2**63
HOSTILE = {
    "an empty file": (b"", NotGgufError, "does not begin"),
    "a web page": (b"<!DOCTYPE html><html>Sign in</html>", NotGgufError, "does not begin"),
    "version 1": (header(version=1), UnsupportedGgufError, "version 1"),
    "version 4": (header(version=4), UnsupportedGgufError, "version 4"),
    "big endian": (b"GGUF\0\0\0\3" + bytes(16), UnsupportedGgufError, "big-endian"),
    "a huge tensor count": (header(tensor_count=HUGE), GgufLimitError, "tensors"),
    "a huge pair count": (header(pair_count=HUGE), GgufLimitError, "metadata pairs"),
    "more pairs than there are": (header(pair_count=3), TruncatedGgufError, "the file ends"),
    "a huge key": (header([struct.pack("<Q", HUGE)], pair_count=1), MalformedGgufError, "metadata key"),
    "an empty key": (header([pair("", U32, 1)]), MalformedGgufError, "metadata key of 0"),
    "a key that is no text": (header([pair(b"\xff\xfe", U32, 1)]), MalformedGgufError, "not UTF-8"),
    "a duplicate key": (header([pair("k", U32, 1), pair("k", U32, 2)]), MalformedGgufError, "twice"),
    "an unknown value type": (header([string("k") + struct.pack("<I", 99)]), MalformedGgufError, "type 99"),
    "a boolean of 2": (header([pair("k", BOOL, 2)]), MalformedGgufError, "boolean of 2"),
    "a huge string": (
        header([string("k") + struct.pack("<IQ", STRING, HUGE)]),
        TruncatedGgufError,
        "the file ends",
    ),
    "a string count that overflows": (
        header([string("k") + struct.pack("<IIQ", ARRAY, STRING, 2**61)]),
        GgufLimitError,
        "strings",
    ),
    "a number count that overflows": (
        header([string("k") + struct.pack("<IIQ", ARRAY, U64, 2**61 + 1)]),
        TruncatedGgufError,
        "the file ends",
    ),
    "a huge string in an array": (
        header([string("k") + struct.pack("<IIQQ", ARRAY, STRING, 1, 2**64 - 1)]),
        TruncatedGgufError,
        "the file ends",
    ),
    "an array of arrays": (
        header([string("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1)]),
        MalformedGgufError,
        "array of arrays",
    ),
    "an array of an unknown type": (
        header([string("k") + struct.pack("<IIQ", ARRAY, 77, 1)]),
        MalformedGgufError,
        "type 77",
    ),
    "alignment 0": (header([pair("general.alignment", U32, 0)]), MalformedGgufError, "alignment is 0"),
    "alignment 48": (header([pair("general.alignment", U32, 48)]), MalformedGgufError, "power of two"),
    "a huge alignment": (header([pair("general.alignment", U32, 2**31)]), MalformedGgufError, "alignment"),
    "an alignment that is text": (
        header([pair("general.alignment", STRING, "32")]),
        MalformedGgufError,
        "alignment",
    ),
    "no dimension": (header([], [tensor("t", (), 0, 0)]), MalformedGgufError, "0 dimensions"),
    "five dimensions": (header([], [tensor("t", (1,) * 5, 0, 0)]), MalformedGgufError, "5 dimensions"),
    "a dimension of 0": (header([], [tensor("t", (0, 4), 0, 0)]), MalformedGgufError, "dimension of 0"),
    "dimensions that overflow": (
        header([], [tensor("t", (2**40, 2**40), 0, 0)]),
        TruncatedGgufError,
        "the whole file",
    ),
    "a removed tensor type": (header([], [tensor("t", (32,), 4, 0)]), MalformedGgufError, "type 4"),
    "a broken block": (header([], [tensor("t", (31, 1), 8, 0)]), MalformedGgufError, "block of 32"),
    "a long tensor name": (header([], [tensor("t" * 64, (1,), 0, 0)]), MalformedGgufError, "tensor name"),
    "a duplicate tensor": (
        header([], [tensor("t", (8,), 0, 0), tensor("t", (8,), 0, 32)]) + bytes(200),
        MalformedGgufError,
        "twice",
    ),
    "overlapping tensors": (
        header([], [tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 0)]) + bytes(200),
        MalformedGgufError,
        "its place is 32",
    ),
    "a huge offset": (
        header([], [tensor("t", (8,), 0, 2**64 - 32)]) + bytes(200),
        MalformedGgufError,
        "its place is 0",
    ),
    "data behind the end": (header([], [tensor("t", (64,), 0, 0)]), TruncatedGgufError, "takes 256 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused_with_a_reason(case: str, tmp_path: Path) -> None:
    content, kind, reason = HOSTILE[case]
    assert reason in refused(tmp_path, content, kind)


def test_a_count_that_only_a_large_file_could_hold_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    counted = string("k") + struct.pack("<IIQ", ARRAY, U64, 2**30) + bytes(64)
    path.write_bytes(header([counted, pair("last", STRING, "x")]))
    os.truncate(path, 2**35)
    with pytest.raises(GgufError):
        bounded(path)


def test_endless_small_strings_are_bounded_in_time(tmp_path: Path) -> None:
    arrays = [string(f"k{n}") + struct.pack("<IIQ", ARRAY, STRING, 1_500_000) + bytes(12_000_000) for n in range(2)]
    assert "strings" in refused(tmp_path, header(arrays), GgufLimitError)


def test_metadata_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    pairs = [pair(f"k{number}", STRING, "x" * 1_000_000) for number in range(20)]
    assert "metadata is over" in refused(tmp_path, header(pairs), GgufLimitError)


def test_a_very_long_string_is_passed_over(tmp_path: Path) -> None:
    pairs = [pair("long", STRING, "x" * 2_000_000), pair("next", U32, 7)]
    assert read(tmp_path, header(pairs)).metadata == {"long": Omitted("bytes", 2_000_000), "next": 7}


def mutated(whole: bytes, head: int, chance: random.Random) -> bytes:
    """`whole`, whose first `head` bytes are its header, with one to four changes in that."""
    content = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(4, head), chance.choice((1, 4, 8))
        change = chance.choice(("replace", "replace", "replace", "insert", "delete", "copy", "truncate"))
        new = chance.choice((b"\xff" * 8, bytes(8), chance.randbytes(8), struct.pack("<Q", 2**31)))[:length]
        if change == "truncate":
            del content[at:]
        elif change == "copy":
            start = chance.randrange(4, head)
            content[at : at + 4 * length] = content[start : start + 4 * length]
        else:
            content[at : at + (0 if change == "insert" else length)] = b"" if change == "delete" else new
    return bytes(content)


def test_mutated_headers_end_in_a_header_or_a_reason_at_once(tmp_path: Path) -> None:
    values = [pair(f"k{kind}", kind, "x" if kind == STRING else 1) for kind in (*range(ARRAY), U64, I64, F64)]
    arrays = [pair("strings", ARRAY, (STRING, ["x"] * 9)), pair("numbers", ARRAY, (I64, [1] * 9))]
    wholes = [
        model(llama_tensors("Q4_0", layers=2), llama_pairs(2), file_type=2),
        model({"a.weight": ((32, 2), "Q8_0")}, values + arrays),
    ]
    heads = [read(tmp_path, whole).data_offset for whole in wholes]
    chance = random.Random(SEED)
    path = tmp_path / "model.gguf"
    reasons = []
    for number in range(MUTATIONS):
        content = mutated(wholes[number % 2], heads[number % 2], chance)
        path.write_bytes(content)
        try:
            found = bounded(path)
        except GgufError as error:
            reasons.append(str(error))
        else:
            assert all(found.data_offset + t.offset + t.nbytes <= len(content) for t in found.tensors)
    assert len(reasons) > MUTATIONS / 2
    assert all(reasons)


def test_a_pipe_under_the_models_name_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(NotGgufError, match="regular file"):
        read_header(tmp_path / "model.gguf")


def test_a_huge_sparse_file_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    rows = 2**25
    path.write_bytes(header([pair("general.architecture", STRING, "llama")], [tensor("t.weight", (1024, rows), 8, 0)]))
    os.truncate(path, 2**36)
    assert bounded(path).tensors[0].elements == 1024 * rows
