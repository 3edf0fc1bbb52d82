# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""INT8 models in a store: checking that a file is one, and deriving one from a file of higher precision."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import (
    GgufError,
    Header,
    Tensor,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import (
    INT8,
    Int8Report,
    architecture,
    int8_report,
    kv_head_widths,
    kv_types,
    low_precision_tensors,
    nominal_quantization,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import parts_of, read_model
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    ModelStore,
    Recipe,
    Record,
    data_names,
    model_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    file_digest,
    fsync_path,
    require_space,
    telling_full,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import Progress
from ansible_collections.llm.orchestrator.plugins.module_utils._quantizer import (
    OUTPUT_NAME,
    RECIPE,
    QuantizationJob,
    int8_bytes,
    quantize,
    required_memory,
)

_NAMED_TENSORS = 3


class NotInt8Error(ModelFileError):
    """The file is a model, but not INT8; `report` says how far from it."""

    def __init__(self, message: str, report: Int8Report) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Derivation:
    """The INT8 file `name` that is wanted of `source`. `user` is (uid, gid), `timeout` in seconds."""

    store: ModelStore
    source: Path
    name: str
    image: str
    user: tuple[int, int]
    memory_bytes: Optional[int]
    allow_requantize: bool
    kv_type: str
    timeout: float
    progress: Progress
    set_attributes: Callable[[Path], bool]

    def waiting(self) -> None:
        self.progress.message("another run is quantizing this model: waiting for it")


@dataclass(frozen=True)
class Derived:
    """The INT8 file; without a path where it would be made but may not be."""

    changed: bool
    path: Optional[Path]
    sha256: Optional[str]
    record: Optional[Record]


def model_header(path: Path) -> Header:
    """The header of the model file `path`; raises ModelFileError for what is none."""
    try:
        return read_model(path)
    except GgufError as error:
        raise ModelFileError(f"{path} is not a usable model: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}") from error


def require_int8(path: Path, header: Header) -> Int8Report:
    """Raises NotInt8Error unless the model is INT8."""
    report = int8_report(header)
    if report.is_int8:
        return report
    raise NotInt8Error(
        f"{path} is {nominal_quantization(header) or 'without tensors'}, not INT8 ({INT8}):"
        f" {report.share:.1%} of its weight matrices are {INT8}; {_some(report.differing)}",
        report,
    )


def require_kv_type(path: Path, header: Header, kv_type: str) -> None:
    """Raises ModelFileError unless the model's KV cache can have the type."""
    if kv_type in kv_types(header):
        return
    key, value = kv_head_widths(header)
    raise ModelFileError(
        f"{path} can't have a KV cache of type {kv_type}: its heads are {key} (keys) and {value} (values) wide, and"
        " multiples of 32 are needed; take f16"
    )


def ensure_derived(wanted: Derivation, check: bool) -> Derived:
    """Make the INT8 file unless it is there; with `check` only say what would be done."""
    if check and not wanted.source.exists():
        # In a first run under check mode the task before this one has only said that it would fetch the source.
        return Derived(True, None, None, None)
    header = model_header(wanted.source)
    require_kv_type(wanted.source, header, wanted.kv_type)
    recorded = ModelStore(wanted.source.parent.parent).record_beside(wanted.source)
    source_sha256 = recorded.sha256 if recorded else _digest(wanted, parts_of(wanted.source))
    if int8_report(header).is_int8:
        return Derived(False, wanted.source, source_sha256, recorded)
    _require_precision(wanted, header)
    key = f"int8-{source_sha256}"
    record = wanted.store.derivative(source_sha256, RECIPE)
    named = record is not None and wanted.store.condition(record.sha256, wanted.name) == "present"
    leftovers = any(wanted.store.has_leftovers(one) for one in (key, record.sha256 if record else key))
    if check and not named:
        return Derived(True, None, None, record)
    if not check and (not named or leftovers):
        with wanted.store.lock(key, wanted.waiting), telling_full(wanted.store.root):
            record = wanted.store.derivative(source_sha256, RECIPE)
            try:
                record = record or _derive(wanted, header, source_sha256, recorded)
            finally:
                wanted.store.clean(key)
            _ensure_named(wanted, record)
    if record is None:
        raise AssertionError("what is named has a record")
    path = wanted.store.file(record.sha256, wanted.name)
    return Derived(wanted.set_attributes(path) or not named, path, record.sha256, record)


def parse_user(user: str) -> tuple[int, int]:
    """UID and GID of the quantizer: as asked where the module is root, else its own."""
    match = re.fullmatch(r"(\d+):(\d+)", user)
    if not match:
        raise ModelFileError(f"user {user!r} must be numeric, UID:GID")
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return int(match[1]), int(match[2])


def _require_precision(wanted: Derivation, header: Header) -> None:
    low = low_precision_tensors(header)
    if low and not wanted.allow_requantize:
        raise ModelFileError(
            f"{wanted.source} is {nominal_quantization(header)}, of lower precision than INT8, which can't"
            f" bring back what was lost ({_some(low)}): take the model in F16, BF16 or F32, or set"
            " allow_requantize for a trial"
        )


def _derive(wanted: Derivation, header: Header, source_sha256: str, recorded: Record | None) -> Record:
    store, key = wanted.store, f"int8-{source_sha256}"
    store.clean(key)
    work = store.work(key)
    expected = int8_bytes(header) + header.data_offset
    require_space(work, expected)
    output = work / "output"
    output.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(output, *wanted.user)
    job = QuantizationJob(
        key=key,
        source=parts_of(wanted.source),
        output=output,
        image=wanted.image,
        user=wanted.user,
        memory_bytes=wanted.memory_bytes or required_memory(header),
        allow_requantize=wanted.allow_requantize,
        timeout=wanted.timeout,
        expected_bytes=expected,
    )
    image_id = quantize(job, wanted.progress.update)
    data = work / data_names(1)[0]
    os.rename(output / OUTPUT_NAME, data)
    if os.geteuid() == 0:
        os.chown(data, 0, 0)
    data.chmod(0o600)
    made = model_header(data)
    _require_same_model(header, made)
    require_int8(data, made)
    fsync_path(data)
    record = Record(
        source=recorded.source if recorded else str(wanted.source),
        revision=recorded.revision if recorded else None,
        sha256=_digest(wanted, [data]),
        size=made.file_bytes,
        architecture=architecture(made),
        quantization=nominal_quantization(made),
        made=Recipe(source_sha256, RECIPE, f"{wanted.image}@{image_id}"),
    )
    wanted.set_attributes(data)
    with store.lock(record.sha256, wanted.waiting):
        store.publish([data], wanted.name, record)
    return record


def _ensure_named(wanted: Derivation, record: Record) -> None:
    store, sha256 = wanted.store, record.sha256
    present = store.condition(sha256, wanted.name) == "present"
    if present and not store.has_leftovers(sha256):
        return
    with store.lock(sha256, wanted.waiting):
        if not present:
            store.remove(sha256, wanted.name)
            store.link(sha256, wanted.name)
        store.clean(sha256)


def _require_same_model(source: Header, made: Header) -> None:
    shapes = [{tensor.name: tensor.dims for tensor in header.tensors} for header in (source, made)]
    if shapes[0] != shapes[1] or architecture(source) != architecture(made):
        raise ModelFileError("the quantizer's output is another model than its source: other tensors or architecture")


def _digest(wanted: Derivation, paths: list[Path]) -> str:
    return model_digest(tuple(file_digest(path, wanted.progress.update, "computing the digest") for path in paths))


def _some(tensors: tuple[Tensor, ...]) -> str:
    if not tensors:
        return "it has no weight matrix at all"
    named = ", ".join(f"{tensor.name} is {tensor.type.name}" for tensor in tensors[:_NAMED_TENSORS])
    rest = len(tensors) - _NAMED_TENSORS
    return f"{named} and {rest} more differ" if rest > 0 else named
