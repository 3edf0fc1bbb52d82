# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded reader of GGUF headers (versions 2 and 3, little endian).

It reads the header alone, never tensor data, and trusts no number in the file: each length is checked against
the file's size and a limit before use, so a hostile file costs neither memory nor time. A header that passes
here is consistent: unique keys and tensors, known types, and every tensor's data inside the file.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Union

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_types import TENSOR_TYPES, TensorType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

# Generous against real models (about 100 pairs, 2,000 tensors, 600,000 strings in vocabulary and merges).
MAX_HEADER_BYTES = 256 << 20
MAX_PAIRS = 16_384
MAX_TENSORS = 32_768
MAX_STRINGS = 2_000_000
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
# What is kept in memory; longer values are passed over and counted.
MAX_KEPT_STRING_BYTES = 1 << 20
MAX_KEPT_ITEMS = 1024
MAX_KEPT_BYTES = 16 << 20

_WINDOW_BYTES = 256 << 10
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7


class GgufError(Exception):
    """The file can't be used as a GGUF model; the message says why."""


class NotGgufError(GgufError):
    """The file is something else."""


class UnsupportedGgufError(GgufError):
    """A GGUF of a version or byte order that is not read here."""


class TruncatedGgufError(GgufError):
    """The file ends before what its header promises."""


class MalformedGgufError(GgufError):
    """The header contradicts itself or the format."""


class GgufLimitError(GgufError):
    """A number in the header is beyond what any real model has."""


@dataclass(frozen=True)
class Omitted:
    """A value that was checked but not kept: `count` items of an array, or bytes of a string."""

    kind: str
    count: int


Scalar = Union[int, float, bool, str]
Item = Union[Scalar, Omitted]
Value = Union[Item, list[Item]]


@dataclass(frozen=True)
class Tensor:
    """One tensor: `dims` are elements per dimension, a row's first; `offset` is within the data section."""

    name: str
    dims: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def elements(self) -> int:
        count = 1
        for dim in self.dims:
            count *= dim
        return count

    @property
    def nbytes(self) -> int:
        return self.elements // self.type.block_elements * self.type.block_bytes


@dataclass(frozen=True)
class Header:
    """All that a GGUF file says of itself before its tensor data."""

    version: int
    file_bytes: int
    data_offset: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]


def read_header(path: str | Path) -> Header:
    """Read and check the header of the GGUF file at `path`.

    Raises a `GgufError` for a file that is not a usable GGUF, and `OSError` for one that can't be read.
    """
    # O_NONBLOCK: a FIFO under this name is refused below instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NotGgufError("not a regular file")
        return _Reader(_Cursor(file, status.st_size)).header()


class _Cursor:
    """A position in the file, with a window of bytes around it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._window = b""
        self._start = 0
        self._at = 0

    @property
    def position(self) -> int:
        return self._start + self._at

    def demand(self, count: int, what: str) -> None:
        """Fail unless `count` more bytes are in the file and within the header's limit."""
        end = self.position + count
        if end > self.size:
            raise TruncatedGgufError(
                f"{what} at byte {self.position} needs {count} bytes, but the file ends at byte {self.size}"
            )
        if end > MAX_HEADER_BYTES:
            raise GgufLimitError(f"{what} ends at byte {end}: the header is over {MAX_HEADER_BYTES} bytes")

    def take(self, count: int, what: str) -> bytes:
        self.demand(count, what)
        self._fill(count)
        start = self._at
        self._at += count
        return self._window[start : self._at]

    def skip(self, count: int, what: str) -> None:
        self.demand(count, what)
        self._at += count

    def skip_strings(self, count: int, what: str) -> None:
        """Step over `count` strings; the loop that a vocabulary of 250,000 tokens goes through."""
        window, at = self._window, self._at
        for _string in range(count):
            if at + 8 > len(window):
                self._at = at
                self.demand(8, what)
                self._fill(8)
                window, at = self._window, self._at
            at += 8 + _U64.unpack_from(window, at)[0]
        self._at = at
        self.demand(0, what)

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack(self.take(8, what))[0])

    def _fill(self, count: int) -> None:
        if self._at + count <= len(self._window):
            return
        position = self.position
        self._file.seek(position)
        self._window = self._file.read(max(count, _WINDOW_BYTES)) or b""
        self._start, self._at = position, 0
        if len(self._window) < count:
            raise TruncatedGgufError(f"the file shrank while it was read, at byte {position}")


@dataclass
class _Reader:
    cursor: _Cursor
    strings_left: int = MAX_STRINGS
    bytes_left: int = MAX_KEPT_BYTES
    metadata: dict[str, Value] = field(default_factory=dict)

    def header(self) -> Header:
        cursor = self.cursor
        if cursor.size < 4 or cursor.take(4, "the magic number") != MAGIC:
            raise NotGgufError("not a GGUF file: it does not begin with the bytes 'GGUF'")
        version = _checked_version(cursor.u32("the version"))
        tensor_count = _limited(cursor.u64("the tensor count"), MAX_TENSORS, "tensors")
        pair_count = _limited(cursor.u64("the metadata count"), MAX_PAIRS, "metadata pairs")
        for _pair in range(pair_count):
            self._pair()
        alignment = self._alignment()
        tensors: dict[str, Tensor] = {}
        expected = 0
        for _tensor in range(tensor_count):
            tensor = self._tensor()
            if tensor.name in tensors:
                raise MalformedGgufError(f"tensor {tensor.name!r} is there twice")
            if tensor.offset != expected:
                raise MalformedGgufError(
                    f"tensor {tensor.name!r} lies at offset {tensor.offset}, its place is {expected}"
                )
            tensors[tensor.name] = tensor
            expected = _aligned(tensor.offset + tensor.nbytes, alignment)
        data_offset = _aligned(cursor.position, alignment)
        for tensor in tensors.values():
            end = data_offset + tensor.offset + tensor.nbytes
            if end > cursor.size:
                raise TruncatedGgufError(
                    f"tensor {tensor.name!r} ends at byte {end}, but the file ends at byte {cursor.size}"
                )
        return Header(version, cursor.size, data_offset, self.metadata, tuple(tensors.values()))

    def _pair(self) -> None:
        key = self._name(MAX_KEY_BYTES, "a metadata key")
        if key in self.metadata:
            raise MalformedGgufError(f"metadata key {key!r} is there twice")
        what = f"the value of {key!r}"
        kind = self.cursor.u32(what)
        self.metadata[key] = self._array(what) if kind == _ARRAY else self._scalar(kind, what)

    def _array(self, what: str) -> Value:
        kind = self.cursor.u32(what)
        if kind == _ARRAY:
            raise MalformedGgufError(f"{what} is an array of arrays, which GGUF readers don't accept")
        count = self.cursor.u64(what)
        if kind == _STRING:
            if count > self.strings_left:
                raise GgufLimitError(f"{what} has {count} strings: over {MAX_STRINGS} in all")
            self.strings_left -= count
            self.cursor.demand(count * 8, what)
            self.cursor.skip_strings(count, what)
            return Omitted("strings", count)
        size = _scalar_format(kind, what).size
        self.cursor.demand(count * size, what)
        if count > MAX_KEPT_ITEMS:
            self.cursor.skip(count * size, what)
            return Omitted("numbers", count)
        self._keep(count * 32, what)
        return [self._scalar(kind, what) for _item in range(count)]

    def _scalar(self, kind: int, what: str) -> Item:
        if kind == _STRING:
            length = self.cursor.u64(what)
            if length > MAX_KEPT_STRING_BYTES:
                self.cursor.skip(length, what)
                return Omitted("bytes", length)
            self.cursor.demand(length, what)
            self._keep(length, what)
            # surrogateescape: a digest over the text is then that of the very bytes in the file.
            return self.cursor.take(length, what).decode("utf-8", "surrogateescape")
        layout = _scalar_format(kind, what)
        value: Scalar = layout.unpack(self.cursor.take(layout.size, what))[0]
        if kind == _BOOL:
            if value not in (0, 1):
                raise MalformedGgufError(f"{what} is a boolean of {value}")
            return bool(value)
        return value

    def _tensor(self) -> Tensor:
        name = self._name(MAX_TENSOR_NAME_BYTES, "a tensor name")
        what = f"tensor {name!r}"
        dimensions = self.cursor.u32(what)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise MalformedGgufError(f"{what} has {dimensions} dimensions: 1 to {MAX_DIMENSIONS} are possible")
        dims = tuple(self.cursor.u64(what) for _dim in range(dimensions))
        kind = self.cursor.u32(what)
        tensor_type = TENSOR_TYPES.get(kind)
        if tensor_type is None:
            raise MalformedGgufError(f"{what} is of type {kind}, which is unknown or was removed from GGUF")
        if 0 in dims:
            raise MalformedGgufError(f"{what} has a dimension of 0")
        if dims[0] % tensor_type.block_elements:
            raise MalformedGgufError(
                f"{what} has rows of {dims[0]}, no multiple of {tensor_type.name}'s block"
                f" of {tensor_type.block_elements}"
            )
        tensor = Tensor(name, dims, tensor_type, self.cursor.u64(what))
        if tensor.nbytes > self.cursor.size:
            raise TruncatedGgufError(f"{what} takes {tensor.nbytes} bytes, but the whole file has {self.cursor.size}")
        return tensor

    def _name(self, limit: int, what: str) -> str:
        length = self.cursor.u64(what)
        if not 1 <= length <= limit:
            raise MalformedGgufError(
                f"{what} of {length} bytes at byte {self.cursor.position}: 1 to {limit} are possible"
            )
        self._keep(length, what)
        raw = self.cursor.take(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedGgufError(f"{what} before byte {self.cursor.position} is not UTF-8") from error

    def _alignment(self) -> int:
        alignment = self.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise MalformedGgufError(
                f"general.alignment is {alignment}: it must be a power of two up to {MAX_ALIGNMENT}"
            )
        return alignment

    def _keep(self, count: int, what: str) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise GgufLimitError(f"{what}: the metadata is over {MAX_KEPT_BYTES} bytes")


# Value type to layout, as the format numbers them: u8 i8 u16 i16 u32 i32 f32 bool, from 10 on u64 i64 f64.
_SCALARS = {
    **{kind: struct.Struct("<" + code) for kind, code in enumerate("BbHhIifB")},
    **{10 + kind: struct.Struct("<" + code) for kind, code in enumerate("Qqd")},
}


def _scalar_format(kind: int, what: str) -> struct.Struct:
    layout = _SCALARS.get(kind)
    if layout is None:
        raise MalformedGgufError(f"{what} is of type {kind}, which GGUF doesn't have")
    return layout


def _checked_version(version: int) -> int:
    if version in VERSIONS:
        return version
    if version and version & 0xFFFF == 0:
        raise UnsupportedGgufError("a big-endian GGUF: convert it to little endian")
    raise UnsupportedGgufError(f"GGUF version {version}: versions 2 and 3 are supported")


def _limited(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise GgufLimitError(f"the header announces {count} {what}: more than {limit}")
    return count


def _aligned(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment
