"""What a GGUF file's header says, read within bounds before native code sees the file.

No number in the file is trusted: each length is checked against the file's size and a limit before it is used.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# Generous against real models, which have about 100 pairs and 600,000 strings in vocabulary and merges.
_MAX_PAIRS = 16_384
_MAX_STRINGS = 2_000_000
_MAX_TEXT_BYTES = 1 << 20
# A longer array is passed over: a vocabulary, not something of the architecture's.
_MAX_KEPT_ITEMS = 1024
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_BOOL, _STRING, _ARRAY = 7, 8, 9
# Value type to layout, as the format numbers them: u8 i8 u16 i16 u32 i32 f32 bool, from 10 on u64 i64 f64.
_SCALARS = {
    **{kind: struct.Struct("<" + code) for kind, code in enumerate("BbHhIif?")},
    **{10 + kind: struct.Struct("<" + code) for kind, code in enumerate("Qqd")},
}

Scalar = int | float | bool | str
Value = Scalar | list[Scalar]


class GgufError(Exception):
    """The file is not a GGUF that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata of a GGUF file, without long arrays, of which ``lengths`` has the number of items."""

    metadata: dict[str, Value]
    lengths: dict[str, int]

    def text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def architecture(self) -> str | None:
        return self.text("general.architecture")

    def of_architecture(self, key: str) -> int | None:
        """A figure that the architecture prefixes with its own name, such as ``llama.context_length``."""
        return self.number(f"{self.architecture}.{key}")


def read_header(path: Path) -> Header:
    """Raises GgufError for what is no GGUF, OSError for what can't be read."""
    # O_NONBLOCK: a FIFO of this name is refused below instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            raise GgufError("it is empty, or not a file")
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content).header()
    finally:
        os.close(descriptor)


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0
        self._strings_left = _MAX_STRINGS
        self._lengths: dict[str, int] = {}

    def header(self) -> Header:
        magic = self._take(min(len(_MAGIC), len(self._content)))
        if magic != _MAGIC:
            raise GgufError(f"its first bytes, the magic number, are {magic!r} instead of {_MAGIC!r}")
        version = self._u32()
        if version not in _VERSIONS:
            raise GgufError(f"it is GGUF version {version}; versions 2 and 3 in little endian are supported")
        self._u64()  # the number of tensors
        pairs = self._u64()
        if pairs > _MAX_PAIRS:
            raise GgufError(f"its header announces {pairs} metadata pairs, more than {_MAX_PAIRS}")
        metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = self._string()
            kind = self._u32()
            if kind != _ARRAY:
                metadata[key] = self._scalar(kind)
            elif (items := self._array(key)) is not None:
                metadata[key] = items
        return Header(metadata, self._lengths)

    def _array(self, key: str) -> list[Scalar] | None:
        kind, count = self._u32(), self._u64()
        self._lengths[key] = count
        if kind == _STRING:
            self._strings_left -= count
            if self._strings_left < 0:
                raise GgufError(f"its header has more than {_MAX_STRINGS} strings")
            self._skip_strings(count)
            return None
        size = self._layout(kind).size
        if count <= _MAX_KEPT_ITEMS:
            return [self._scalar(kind) for _ in range(count)]
        self._demand(count * size)
        self._at += count * size
        return None

    def _skip_strings(self, count: int) -> None:
        content, at = self._content, self._at
        last = len(content) - _U64.size
        for _ in range(count):
            if at > last:
                self._demand(at - self._at + _U64.size)
            at += _U64.size + _U64.unpack_from(content, at)[0]
        self._demand(at - self._at)
        self._at = at

    def _scalar(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self._string()
        layout = self._layout(kind)
        value: Scalar = layout.unpack(self._take(layout.size))[0]
        return value

    def _layout(self, kind: int) -> struct.Struct:
        if kind not in _SCALARS:
            raise GgufError(f"its header has a value of type {kind} at byte {self._at}, which GGUF doesn't have")
        return _SCALARS[kind]

    def _string(self) -> str:
        length = self._u64()
        if length > _MAX_TEXT_BYTES:
            raise GgufError(f"its header has a text of {length} bytes at byte {self._at}, more than {_MAX_TEXT_BYTES}")
        return self._take(length).decode(errors="replace")

    def _u32(self) -> int:
        return int(_U32.unpack(self._take(_U32.size))[0])

    def _u64(self) -> int:
        return int(_U64.unpack(self._take(_U64.size))[0])

    def _take(self, count: int) -> bytes:
        self._demand(count)
        start = self._at
        self._at += count
        return self._content[start : self._at]

    def _demand(self, count: int) -> None:
        if self._at + count > len(self._content):
            raise GgufError(f"it ends at byte {len(self._content)}, in the middle of its header")
