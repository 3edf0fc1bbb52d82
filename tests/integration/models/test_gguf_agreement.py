# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GGUF reader says what the gguf package says: of llama.cpp's vocabularies, and of files that the package made."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import Header, Omitted, read_header
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import read_model
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_types import FILE_TYPES, TENSOR_TYPES
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    llama_pairs,
    llama_tensors,
    model,
)

ROOT = Path(__file__).parents[3]
VALUES: dict[gguf.GGUFValueType, Any] = {
    gguf.GGUFValueType.UINT8: 255,
    gguf.GGUFValueType.INT8: -128,
    gguf.GGUFValueType.UINT16: 65535,
    gguf.GGUFValueType.INT16: -32768,
    gguf.GGUFValueType.UINT32: 2**32 - 1,
    gguf.GGUFValueType.INT32: -(2**31),
    gguf.GGUFValueType.FLOAT32: 0.1,
    gguf.GGUFValueType.BOOL: True,
    gguf.GGUFValueType.STRING: "grüß\0dich",
    gguf.GGUFValueType.UINT64: 2**64 - 1,
    gguf.GGUFValueType.INT64: -(2**63),
    gguf.GGUFValueType.FLOAT64: 0.1,
}


def assert_agrees(ours: Header, path: Path) -> None:
    theirs = gguf.GGUFReader(path)
    assert [(t.name, t.dims, t.type.name, t.elements, t.nbytes, ours.data_offset + t.offset) for t in ours.tensors] == [
        (t.name, tuple(t.shape), t.tensor_type.name, t.n_elements, t.n_bytes, t.data_offset) for t in theirs.tensors
    ]
    assert ours.version == theirs.fields["GGUF.version"].contents()
    names = [name for name in theirs.fields if not name.startswith("GGUF.")]
    assert list(ours.metadata) == names
    for name in names:
        said = theirs.fields[name]
        value = ours.metadata[name]
        if not isinstance(value, Omitted):
            assert value == said.contents(), name
        elif value.kind == "bytes":
            assert value.count == len(said.parts[-1])
        else:
            assert (value.kind == "strings", value.count) == (
                said.types[-1] == gguf.GGUFValueType.STRING,
                len(said.data),
            )


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vocabularies in llama-cpp-python's source, of the version that model-service's image is built with."""
    dockerfile = (ROOT / "service_src/model_service/Dockerfile").read_text()
    requirement = re.findall(r"llama-cpp-python==\S+", dockerfile)[0]
    folder = tmp_path_factory.mktemp("llama-cpp-python")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        vocabularies = [member for member in source if re.search(r"/ggml-vocab-[^/]*\.gguf$", member.name)]
        source.extractall(folder, vocabularies, filter="data")
    archive.unlink()
    return folder


def test_of_every_vocabulary_in_llama_cpp_pythons_source(source_tree: Path) -> None:
    paths = sorted(source_tree.rglob("*.gguf"))
    assert len(paths) > 10
    for path in paths:
        assert_agrees(read_header(path), path)


@pytest.mark.parametrize("weights", ["F32", "F16", "Q8_0", "Q4_0"])
def test_of_the_files_that_other_tests_make(weights: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model(llama_tensors(weights, layers=3), llama_pairs(3)))
    assert_agrees(read_header(path), path)


def written(writer: gguf.GGUFWriter, path: Path) -> None:
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_of_every_type_of_value(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for kind, value in VALUES.items():
        writer.add_key_value(f"one.{kind.name}", value, kind)
        writer.add_key_value(f"some.{kind.name}", [value] * 3, gguf.GGUFValueType.ARRAY, sub_type=kind)
        writer.add_key_value(f"many.{kind.name}", [value] * 5000, gguf.GGUFValueType.ARRAY, sub_type=kind)
    writer.add_string("long", "x" * 2_000_000)
    writer.add_chat_template("{{ messages }}")
    written(writer, path)
    ours = read_header(path)
    assert len(ours.metadata) == 3 * len(VALUES) + 3
    assert_agrees(ours, path)


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_of_every_type_of_tensor(alignment: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    for kind, (_elements, block_bytes) in gguf.GGML_QUANT_SIZES.items():
        for rows in ((), (3,), (2, 3), (1, 2, 3)):
            content = numpy.zeros((*rows, 2 * block_bytes), dtype=numpy.uint8)
            writer.add_tensor(f"{kind.name}.{len(rows) + 1}", content, raw_dtype=kind)
    written(writer, path)
    assert_agrees(read_header(path), path)


def test_of_a_model_that_the_package_splits(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama", split_max_tensors=2)
    for number in range(5):
        writer.add_tensor(f"t{number}.weight", numpy.full((4, 32), number, dtype=numpy.float32))
    written(writer, tmp_path / "model.gguf")
    parts = sorted(tmp_path.iterdir())
    headers = [read_header(part) for part in parts]
    for part, header in zip(parts, headers, strict=True):
        assert_agrees(header, part)
    whole = read_model(parts[0])
    assert whole.tensors == tuple(tensor for header in headers for tensor in header.tensors)
    assert [tensor.name for tensor in whole.tensors] == [f"t{number}.weight" for number in range(5)]
    assert whole.file_bytes == sum(part.stat().st_size for part in parts)
    assert whole.metadata == {"general.architecture": "llama"}


def test_of_the_names_and_sizes_of_types() -> None:
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {number: tuple(TENSOR_TYPES[number]) for number in theirs} == theirs
    named = {kind.value: re.sub("^(MOSTLY|ALL)_", "", kind.name) for kind in gguf.LlamaFileType}
    named.pop(gguf.LlamaFileType.GUESSED.value)
    assert {number: FILE_TYPES.get(number) for number in named} == named
