"""The quantizer makes a file that is INT8, or says why it can't."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import quantize

from model_service.gguf import read_header
from model_service.llama.model import FTYPE_Q8_0


def test_a_file_is_made_int8(source_path: Path, tmp_path: Path) -> None:
    assert read_header(source_path).number("general.file_type") != FTYPE_Q8_0
    made = tmp_path / "made.gguf"
    finished = quantize(source_path, made, "--allow-requantize")
    assert finished.returncode == 0, finished.stderr
    assert "blk.0.attn_k.weight" in finished.stderr
    assert read_header(made).number("general.file_type") == FTYPE_Q8_0


def test_a_quantized_file_is_refused_unless_that_is_allowed(source_path: Path, tmp_path: Path) -> None:
    finished = quantize(source_path, tmp_path / "made.gguf")
    assert finished.returncode == 1
    assert "--allow-requantize" in finished.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["/nonexistent.gguf", __file__])
def test_a_source_that_is_no_model_is_named(source: str, tmp_path: Path) -> None:
    finished = quantize(source, tmp_path / "made.gguf")
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("quantize: ")
    assert source in last
    assert list(tmp_path.iterdir()) == []


def test_the_source_is_never_overwritten(source_path: Path) -> None:
    size = source_path.stat().st_size
    assert quantize(source_path, source_path, "--allow-requantize").returncode == 1
    assert source_path.stat().st_size == size
