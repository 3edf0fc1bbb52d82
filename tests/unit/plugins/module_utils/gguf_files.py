# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes small GGUF files for tests, right ones and, piece by piece, wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_types import TENSOR_TYPES

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_CODES = {
    U8: "B",
    I8: "b",
    U16: "H",
    I16: "h",
    U32: "I",
    I32: "i",
    F32: "f",
    BOOL: "B",
    U64: "Q",
    I64: "q",
    F64: "d",
}
_TYPE_NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}
ALIGNMENT = 32


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, item: Any) -> bytes:
    return string(item) if kind == STRING else struct.pack("<" + _CODES[kind], item)


def pair(key: str | bytes, kind: int, item: Any) -> bytes:
    """A metadata pair; an array is given as (type of its items, items)."""
    if kind == ARRAY:
        of, items = item
        body = struct.pack("<IQ", of, len(items)) + b"".join(value(of, each) for each in items)
    else:
        body = value(kind, item)
    return string(key) + struct.pack("<I", kind) + body


def tensor(name: str | bytes, dims: Iterable[int], kind: int, offset: int) -> bytes:
    sizes = tuple(dims)
    return string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def header(
    pairs: Iterable[bytes] = (),
    tensors: Iterable[bytes] = (),
    *,
    version: int = 3,
    pair_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    pairs, tensors = list(pairs), list(tensors)
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(pairs) if pair_count is None else pair_count,
    )
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)


def model(
    tensors: Mapping[str, tuple[tuple[int, ...], str]] | None = None,
    pairs: Iterable[bytes] = (),
    *,
    file_type: int | None = None,
    fill: bytes = b"\0",
) -> bytes:
    """A whole file: an architecture, the given tensors as (dims, type) and data for them."""
    described = [pair("general.architecture", STRING, "llama"), *pairs]
    if file_type is not None:
        described.append(pair("general.file_type", U32, file_type))
    infos, size = [], 0
    for name, (dims, type_name) in (tensors or {}).items():
        number = _TYPE_NUMBERS[type_name]
        infos.append(tensor(name, dims, number, size))
        elements = 1
        for dim in dims:
            elements *= dim
        nbytes = elements // TENSOR_TYPES[number].block_elements * TENSOR_TYPES[number].block_bytes
        size += padded(nbytes)
    head = header(described, infos)
    return head + b"\0" * (padded(len(head)) - len(head)) + (fill * size)[:size]


def padded(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


def llama_tensors(weights: str, layers: int = 1, width: int = 64) -> dict[str, tuple[tuple[int, ...], str]]:
    """The tensors of a tiny llama whose matrices are of the type `weights`."""
    tensors: dict[str, tuple[tuple[int, ...], str]] = {"token_embd.weight": ((width, 96), weights)}
    for layer in range(layers):
        tensors[f"blk.{layer}.attn_norm.weight"] = ((width,), "F32")
        tensors[f"blk.{layer}.attn_q.weight"] = ((width, width), weights)
        tensors[f"blk.{layer}.ffn_down.weight"] = ((2 * width, width), weights)
    tensors["output_norm.weight"] = ((width,), "F32")
    return tensors


def llama_pairs(layers: int = 1, width: int = 64) -> list[bytes]:
    """The figures that the memory estimate and llama.cpp's quantizer need."""
    return [
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.block_count", U32, layers),
        pair("llama.context_length", U32, 2048),
        pair("llama.embedding_length", U32, width),
        pair("llama.feed_forward_length", U32, 2 * width),
        pair("llama.attention.head_count", U32, 8),
        pair("llama.attention.head_count_kv", U32, 2),
        pair("tokenizer.ggml.tokens", ARRAY, (STRING, [f"t{number}" for number in range(96)])),
    ]
