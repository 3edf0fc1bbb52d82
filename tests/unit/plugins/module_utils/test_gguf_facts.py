# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a header says about quantization and memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _gguf_facts as facts
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import Header, read_header
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    ARRAY,
    STRING,
    U32,
    llama_pairs,
    llama_tensors,
    model,
    pair,
)


@pytest.fixture
def read(tmp_path: Path):
    def read_content(content: bytes) -> Header:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return read_header(path)

    return read_content


def test_a_model_of_q8_0_matrices_and_f32_norms_is_int8(read) -> None:
    report = facts.int8_report(read(model(llama_tensors("Q8_0"))))
    assert report.is_int8
    assert report.share == 1


@pytest.mark.parametrize(
    ("name", "dims", "kind"),
    [
        ("blk.0.ffn_gate_inp.weight", (64, 8), "F32"),
        ("token_types.weight", (64, 2), "F16"),
        ("blk.0.ssm_conv1d.weight", (32, 64), "F32"),
        ("blk.0.attn_q.bias", (64,), "F32"),
        ("blk.0.narrow.weight", (48, 64), "F16"),
        ("blk.0.attn_rel_b.weight", (64, 64), "BF16"),
        ("blk.0.column.weight", (64, 1), "F32"),
    ],
)
def test_what_the_quantizer_leaves_alone_may_be_of_high_precision(read, name: str, dims, kind: str) -> None:
    assert facts.int8_report(read(model({**llama_tensors("Q8_0"), name: (dims, kind)}))).is_int8


@pytest.mark.parametrize(
    ("name", "dims", "kind"),
    [
        ("output.weight", (64, 96), "F16"),
        ("output.weight", (256, 96), "Q6_K"),
        ("blk.0.ffn_down_exps.weight", (64, 32, 4), "F16"),
        ("blk.0.ffn_gate_inp.weight", (64, 8), "Q4_0"),
    ],
)
def test_one_matrix_of_another_type_makes_a_model_not_int8(read, name: str, dims, kind: str) -> None:
    report = facts.int8_report(read(model({**llama_tensors("Q8_0"), name: (dims, kind)}, file_type=7)))
    assert not report.is_int8
    assert [tensor.name for tensor in report.differing] == [name]


def test_a_model_without_a_weight_matrix_is_not_int8(read) -> None:
    assert not facts.int8_report(read(model({"output_norm.weight": ((64,), "F32")}))).is_int8


def test_the_histogram_weighs_types_by_elements(read) -> None:
    tensors = {"a.weight": ((64, 3), "Q4_0"), "b.weight": ((64, 1), "F32"), "c.weight": ((64, 4), "Q4_0")}
    found = facts.tensor_types(read(model(tensors)))
    assert list(found) == ["Q4_0", "F32"]
    assert found["Q4_0"] == facts.TensorTypeShare(tensors=2, elements=448, share=0.875)


def test_the_nominal_quantization_is_the_files_own_word_else_its_main_type(read) -> None:
    assert facts.nominal_quantization(read(model(llama_tensors("Q4_0"), file_type=15))) == "Q4_K_M"
    assert facts.nominal_quantization(read(model(llama_tensors("Q4_0"), file_type=1024))) == "Q4_0"
    assert facts.nominal_quantization(read(model(llama_tensors("Q4_0")))) == "Q4_0"
    assert facts.nominal_quantization(read(model())) is None


def test_low_precision_is_anything_below_int8(read) -> None:
    assert not facts.low_precision_tensors(read(model(llama_tensors("BF16"))))
    assert not facts.low_precision_tensors(read(model(llama_tensors("Q8_0"))))
    assert len(facts.low_precision_tensors(read(model(llama_tensors("Q4_1"))))) == 3


def test_memory_is_weights_and_a_cache_for_each_slot_and_a_compute_buffer(read) -> None:
    header = read(model(llama_tensors("Q8_0", layers=2), llama_pairs(2)))
    # 2 layers of 2 KV heads, each with a key and a value of 64 / 8 elements
    assert facts.kv_bytes_per_token(header, "f16") == 2 * 2 * (8 + 8) * 2
    assert facts.kv_bytes_per_token(header, "q8_0") == 68
    memory = facts.memory(header, context=1000, slots=3, kv_type="f16")
    assert memory.weights == sum(tensor.nbytes for tensor in header.tensors)
    assert memory.kv == 128 * 1000 * 3
    assert memory.compute == 512 * (96 + 4 * 64 + 2 * 128) * 4
    assert memory.total == memory.weights + 384_000 + memory.compute


def test_layers_may_have_different_numbers_of_kv_heads(read) -> None:
    pairs = [each for each in llama_pairs(3) if b"head_count_kv" not in each]
    pairs.append(pair("llama.attention.head_count_kv", ARRAY, (U32, [2, 0, 1])))
    header = read(model(llama_tensors("Q8_0", layers=3), pairs))
    assert facts.kv_bytes_per_token(header, "f16") == 3 * 16 * 2


def test_without_the_figures_there_is_no_estimate(read) -> None:
    memory = facts.memory(read(model(llama_tensors("Q8_0"))), context=1000, slots=1, kv_type="f16")
    assert (memory.kv, memory.compute, memory.total) == (None, None, None)


def test_an_absurd_layer_count_costs_nothing(read) -> None:
    pairs = [each for each in llama_pairs() if b"block_count" not in each]
    header = read(model(llama_tensors("Q8_0"), [*pairs, pair("llama.block_count", U32, 2**32 - 1)]))
    assert facts.kv_bytes_per_token(header, "f16") is None


def test_the_chat_templates_digest_is_that_of_its_bytes(read) -> None:
    raw = "{{ 'ü' }}".encode() + b"\xff"
    header = read(model(None, [pair("tokenizer.chat_template", STRING, raw)]))
    assert facts.chat_template(header) == ("{{ 'ü' }}�", hashlib.sha256(raw).hexdigest())
    assert facts.chat_template(read(model())) is None
