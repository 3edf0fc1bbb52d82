"""Small and broken model files, made of a whole one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy


def small_model(source: Path, target: Path, *, layers: int = 2, **changes: Any) -> Path:
    """The model's first layers alone; ``changes`` to its metadata have ``__`` for a dot."""
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return rewritten(source, target, layers, {"llama.block_count": layers, **changed})


def rewritten(source: Path, target: Path, layers: int, changes: Mapping[str, Any]) -> Path:
    writer = gguf.GGUFWriter(target, "llama")
    for name, value, kind, item in _metadata_of(source):
        if name not in changes:
            writer.add_key_value(name, value, kind, item)
    for name, value in changes.items():
        if value is not None:
            writer.add_key_value(name, value, *_kinds_of(value))
    for tensor in gguf.GGUFReader(source).tensors:
        parts = tensor.name.split(".")
        if parts[0] != "blk" or int(parts[1]) < layers:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    return _written(writer)


@cache
def _metadata_of(source: Path) -> list[tuple[str, Any, gguf.GGUFValueType, gguf.GGUFValueType | None]]:
    """Read once: a vocabulary takes seconds."""
    return [
        (name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, field in gguf.GGUFReader(source).fields.items()
        if not name.startswith("GGUF.") and name != "general.architecture"
    ]


def lora_adapter(target: Path, *, strength: float = 1.0, width: int = 576, outputs: int = 576) -> Path:
    """A LoRA adapter of rank 4 on the query of the first layer."""
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 4.0)
    shapes = {"lora_a": (4, width), "lora_b": (outputs, 4)}
    for name, shape in shapes.items():
        values = random.normal(0, strength, shape).astype(numpy.float32)
        writer.add_tensor(f"blk.0.attn_q.weight.{name}", values)
    return _written(writer)


def _kinds_of(value: Any) -> tuple[gguf.GGUFValueType, gguf.GGUFValueType | None]:
    if isinstance(value, list):
        return gguf.GGUFValueType.ARRAY, _kinds_of(value[0])[0]
    kinds = {
        bool: gguf.GGUFValueType.BOOL,
        int: gguf.GGUFValueType.UINT32,
        float: gguf.GGUFValueType.FLOAT32,
        str: gguf.GGUFValueType.STRING,
    }
    return kinds[type(value)], None


def _written(writer: gguf.GGUFWriter) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(writer.path)
