# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_info as Ansible runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Store
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    ARRAY,
    F32,
    STRING,
    header,
    llama_pairs,
    llama_tensors,
    model,
    pair,
)

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def test_says_what_a_model_is(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    pairs = [
        *llama_pairs(),
        pair("general.name", STRING, "Tiny"),
        pair("tokenizer.chat_template", STRING, TEMPLATE),
        pair("odd.numbers", ARRAY, (F32, [float("inf"), 0.5])),
        pair("odd.text", STRING, b"\xff"),
    ]
    path.write_bytes(model(llama_tensors("Q8_0"), pairs, file_type=7))
    info = store.run("model_info", path=str(path), context=100, slots=2, kv_type="q8_0")
    assert not info["changed"]
    expected = {
        "format_version": 3,
        "file_bytes": path.stat().st_size,
        "architecture": "llama",
        "model_name": "Tiny",
        "parameters": 64 * 96 + 64 + 64 * 64 + 128 * 64 + 64,
        "context_length": 2048,
        "vocabulary_size": 96,
        "chat_template": TEMPLATE,
        "chat_template_sha256": hashlib.sha256(TEMPLATE.encode()).hexdigest(),
        "quantization": "Q8_0",
        "is_int8": True,
        "int8_share": 1.0,
        "kv_bytes_per_token": {"f16": 64, "q8_0": 34},
    }
    assert {key: info[key] for key in expected} == expected
    assert info["memory"]["kv"] == 34 * 100 * 2
    assert info["memory"]["total"] == sum(info["memory"][part] for part in ("weights", "kv", "compute"))
    assert info["metadata"]["tokenizer.ggml.tokens"] == "96 strings"
    assert info["metadata"]["odd.numbers"] == ["inf", 0.5]
    assert info["metadata"]["odd.text"] == "�"


def test_the_models_own_context_is_the_default_and_what_is_unknown_is_nothing(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model(llama_tensors("Q8_0"), llama_pairs()))
    assert store.run("model_info", path=str(path))["memory"]["context"] == 2048
    path.write_bytes(header())
    info = store.run("model_info", path=str(path))
    unknown = ("architecture", "model_name", "context_length", "vocabulary_size", "chat_template", "quantization")
    assert [info[key] for key in unknown] == [None] * len(unknown)
    assert info["memory"]["total"] is None


def test_what_is_no_model_or_no_question_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert "is not a usable model: the version at byte 4" in store.run("model_info", path=str(path))["msg"]
    assert "can't be read: No such file" in store.run("model_info", path=str(tmp_path / "none"))["msg"]
    assert "slots is 0" in store.run("model_info", path=str(path), slots=0)["msg"]
