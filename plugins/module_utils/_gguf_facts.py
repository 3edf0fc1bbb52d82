# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GGUF header says about running the model: quantization, INT8 or not, memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import Header, Omitted, Tensor
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_types import FILE_TYPES

CHAT_TEMPLATE = "tokenizer.chat_template"
INT8 = "Q8_0"
_Q8_0_BLOCK_ELEMENTS = 32
UNQUANTIZED = frozenset({"F64", "F32", "F16", "BF16"})
_UNQUANTIZED_OR_INTEGER = UNQUANTIZED | {"I8", "I16", "I32", "I64"}

# Elements to bytes of a KV cache, as a fraction.
KV_TYPES: dict[str, tuple[int, int]] = {"f16": (2, 1), "q8_0": (34, 32)}

# Matrices that llama.cpp's quantizer leaves alone at every file type: small, or too sensitive to gain by it.
_EXEMPT_NAMES = frozenset({"position_embd.weight", "token_types.weight"})
_EXEMPT_PARTS = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w",
    "time_mix_v",
    "time_mix_a",
    "time_mix_g",
    "time_mix_decay_w",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    ".patch_embd",
    ".patch_merger",
    ".rel_pos",
)

# Tokens that llama.cpp computes at once by default; with the widths below, the size of its compute buffer.
_COMPUTE_BATCH_TOKENS = 512


@dataclass(frozen=True)
class TensorTypeShare:
    """Tensors of one type: how many, their elements, and the share of all elements (0 to 1)."""

    tensors: int
    elements: int
    share: float


@dataclass(frozen=True)
class Int8Report:
    """How much of a model is INT8: `share` of its weight matrices' elements, and the tensors that differ."""

    share: float
    differing: tuple[Tensor, ...]

    @property
    def is_int8(self) -> bool:
        return self.share > 0 and not self.differing


@dataclass(frozen=True)
class Memory:
    """Bytes that a loaded model takes. None: the architecture doesn't say enough."""

    weights: int
    kv: int | None
    compute: int | None

    @property
    def total(self) -> int | None:
        if self.kv is None or self.compute is None:
            return None
        return self.weights + self.kv + self.compute


def text(header: Header, key: str) -> str | None:
    """The string under `key`, printable; None where there is none."""
    value = header.metadata.get(key)
    return readable(value) if isinstance(value, str) else None


def readable(value: str) -> str:
    """A string of the header with bytes that are not UTF-8 replaced, so that it can be printed."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def number(header: Header, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def architecture(header: Header) -> str | None:
    return text(header, "general.architecture")


def architecture_number(header: Header, key: str) -> int | None:
    """A figure that the architecture prefixes with its own name, such as `llama.context_length`."""
    return number(header, f"{architecture(header)}.{key}")


def parameters(header: Header) -> int:
    return sum(tensor.elements for tensor in header.tensors)


def vocabulary_size(header: Header) -> int | None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Omitted):
        return tokens.count
    return architecture_number(header, "vocab_size")


def chat_template(header: Header) -> tuple[str, str] | None:
    """The chat template and the SHA-256 of its bytes."""
    raw = header.metadata.get(CHAT_TEMPLATE)
    if not isinstance(raw, str):
        return None
    return readable(raw), hashlib.sha256(raw.encode("utf-8", "surrogateescape")).hexdigest()


def tensor_types(header: Header) -> dict[str, TensorTypeShare]:
    """A histogram by tensor type, the type of most elements first."""
    tensors: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    for tensor in header.tensors:
        tensors[tensor.type.name] += 1
        elements[tensor.type.name] += tensor.elements
    total = sum(elements.values())
    return {
        name: TensorTypeShare(tensors[name], count, round(count / total, 6)) for name, count in elements.most_common()
    }


def nominal_quantization(header: Header) -> str | None:
    """What the file calls itself, or where it doesn't, the type of most elements."""
    file_type = number(header, "general.file_type")
    named = None if file_type is None else FILE_TYPES.get(file_type)
    return named or next(iter(tensor_types(header)), None)


def is_weight_matrix(tensor: Tensor) -> bool:
    """Whether llama.cpp's quantizer would turn this tensor into Q8_0."""
    dimensions = len(tensor.dims)
    while dimensions > 1 and tensor.dims[dimensions - 1] == 1:
        dimensions -= 1
    return (
        dimensions >= 2
        and tensor.name.endswith("weight")
        and tensor.name not in _EXEMPT_NAMES
        and not any(part in tensor.name for part in _EXEMPT_PARTS)
        and tensor.dims[0] % _Q8_0_BLOCK_ELEMENTS == 0
    )


def int8_report(header: Header) -> Int8Report:
    """INT8 is: each weight matrix is Q8_0, and all else is Q8_0 or not quantized at all."""
    matrices = [tensor for tensor in header.tensors if is_weight_matrix(tensor)]
    total = sum(tensor.elements for tensor in matrices)
    int8 = sum(tensor.elements for tensor in matrices if tensor.type.name == INT8)
    exempt = set(header.tensors) - set(matrices)
    differing = tuple(
        tensor
        for tensor in header.tensors
        if tensor.type.name != INT8 and not (tensor in exempt and tensor.type.name in _UNQUANTIZED_OR_INTEGER)
    )
    return Int8Report(round(int8 / total, 6) if total else 0.0, differing)


def low_precision_tensors(header: Header) -> tuple[Tensor, ...]:
    """Weight matrices that already lost precision, so that Q8_0 can't restore what they had."""
    return tuple(
        tensor for tensor in header.tensors if is_weight_matrix(tensor) and tensor.type.name not in UNQUANTIZED | {INT8}
    )


def kv_head_widths(header: Header) -> tuple[int | None, int | None]:
    """Elements of one head's key and of its value in the KV cache, None where the file doesn't say."""
    heads = architecture_number(header, "attention.head_count")
    width = architecture_number(header, "embedding_length")
    head_width = width // heads if width and heads else None
    key = architecture_number(header, "attention.key_length") or head_width
    return key, architecture_number(header, "attention.value_length") or head_width


def kv_types(header: Header) -> list[str]:
    """The types that its KV cache can have: llama.cpp takes Q8_0 only where whole blocks make up each head."""
    whole = all(width is None or width % _Q8_0_BLOCK_ELEMENTS == 0 for width in kv_head_widths(header))
    return [kind for kind in KV_TYPES if whole or kind == "f16"]


def kv_bytes_per_token(header: Header, kv_type: str) -> int | None:
    """Bytes of KV cache for one token in all layers; an upper bound where layers attend to a window only."""
    layers = architecture_number(header, "block_count")
    heads = architecture_number(header, "attention.head_count")
    kv_heads = header.metadata.get(f"{architecture(header)}.attention.head_count_kv", heads)
    if layers is None or layers > len(header.tensors):
        return None
    per_layer = kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers
    key, value = kv_head_widths(header)
    counts = [count for count in per_layer if isinstance(count, int) and count >= 0]
    if key is None or value is None or len(counts) != layers:
        return None
    over, under = KV_TYPES[kv_type]
    return -(-sum(counts) * (key + value) * over // under)


def compute_bytes(header: Header) -> int | None:
    """Estimated bytes of llama.cpp's compute buffer: logits and activations of a batch, 32-bit floats."""
    vocabulary = vocabulary_size(header)
    width = architecture_number(header, "embedding_length")
    if vocabulary is None or width is None:
        return None
    hidden = architecture_number(header, "feed_forward_length") or 4 * width
    return _COMPUTE_BATCH_TOKENS * (vocabulary + 4 * width + 2 * hidden) * 4


def memory(header: Header, context: int | None, slots: int, kv_type: str) -> Memory:
    """What the model takes once loaded with `slots` sequences of `context` tokens each."""
    per_token = kv_bytes_per_token(header, kv_type)
    return Memory(
        weights=sum(tensor.nbytes for tensor in header.tensors),
        kv=None if per_token is None or context is None else per_token * context * slots,
        compute=compute_bytes(header),
    )
