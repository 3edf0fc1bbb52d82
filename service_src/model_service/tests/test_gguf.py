"""The reader of GGUF headers believes no number in the file."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
from pathlib import Path

import pytest

from model_service.gguf import GgufError, read_header
from model_service.llama.model import Model


def test_the_header_says_what_llama_cpp_says(model_path: Path, model: Model) -> None:
    header = read_header(model_path)
    assert header.architecture == "llama"
    assert header.number("general.file_type") == 7
    assert header.of_architecture("context_length") == model.trained_context
    assert header.text("tokenizer.chat_template") == model.chat_template
    assert header.lengths["tokenizer.ggml.tokens"] == model.vocab_size
    assert header.number("tokenizer.ggml.add_bos_token") is None


def _file(pairs: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, pairs) + rest


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"GG", "magic number"),
        (b"PK\x03\x04 a zip file", "magic number"),
        (b"GGUF", "in the middle of its header"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
        (_file(1 << 60), "metadata pairs"),
        (_file(1), "in the middle of its header"),
        (_file(1, struct.pack("<Q", (1 << 64) - 1)), "a text of 18446744073709551615 bytes"),
        (_file(1, _pair("a", 8, struct.pack("<Q", 1 << 62))), "a text of"),
        (_file(1, _pair("a", 99, b"")), "a value of type 99"),
        (_file(1, _pair("a", 9, struct.pack("<IQ", 9, 1))), "a value of type 9"),
        (_file(1, _pair("a", 9, struct.pack("<IQ", 8, 1 << 50))), "strings"),
        (_file(1, _pair("a", 9, struct.pack("<IQ", 8, 2) + struct.pack("<Q", 1 << 63))), "in the middle"),
        (_file(1, _pair("a", 9, struct.pack("<IQ", 4, 1 << 62))), "in the middle"),
        (_file(1, _pair("a", 9, struct.pack("<IQ", 10, 3) + bytes(8))), "in the middle"),
    ],
)
def test_what_is_no_gguf_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file.gguf"
    file.write_bytes(content)
    with pytest.raises(GgufError, match=said):
        read_header(file)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(GgufError):
        read_header(tmp_path / "fifo")
    with pytest.raises((GgufError, OSError)):
        read_header(tmp_path)


def test_a_damaged_header_is_read_or_refused_in_little_time(model_path: Path, tmp_path: Path) -> None:
    whole = model_path.open("rb").read(2_000_000)
    chance = random.Random(7)
    file = tmp_path / "file.gguf"
    started = time.perf_counter()
    for _ in range(200):
        damaged = bytearray(whole[: chance.randrange(30, len(whole))])
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(min(len(damaged), 4000))] = chance.randrange(256)
        file.write_bytes(damaged)
        with contextlib.suppress(GgufError):
            read_header(file)
    assert time.perf_counter() - started < 60
