"""A file that crashes llama.cpp, hangs it or is damaged ends a child process, and is named in one line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf_files import lora_adapter, small_model

from model_service.chat_template import digest_of
from model_service.llama.context import ContextSize
from model_service.llama.model import Model
from model_service.preflight import ModelFileError, check_files, compute_bytes, kv_bytes, probe
from model_service.settings import AdapterEntry, ServedModel

SIZE = ContextSize(slots=2, context=256, kv_tokens=512, step_tokens=64, threads=2)


def served(path: Path, **also: Any) -> ServedModel:
    return ServedModel(name="m", path=path, use_int8=True, kv_type="f16", context=256, slots=2, **also)


async def tried(model: ServedModel, timeout_seconds: float = 120) -> int:
    return (await probe(model, SIZE, 100 << 20, timeout_seconds)).memory_bytes


async def refusal(model: ServedModel, timeout_seconds: float = 120) -> str:
    with pytest.raises(ModelFileError) as caught:
        await tried(model, timeout_seconds)
    line = str(caught.value)
    assert str(model.path) in line or "adapter" in line
    assert "\n" not in line
    return line


async def test_a_good_model_is_measured(model_path: Path) -> None:
    check_files(served(model_path))
    bytes_taken = await tried(served(model_path))
    assert model_path.stat().st_size * 0.9 < bytes_taken < model_path.stat().st_size * 2 + (64 << 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"llama__block_count": 100_000},
        {"tokenizer__ggml__tokens": ["a"] * 49152},
        {"llama__attention__layer_norm_rms_epsilon": -1.0},
        {"llama__expert_count": 4},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_file_that_crashes_llama_cpp_is_named(
    model_path: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    line = await refusal(served(small_model(model_path, tmp_path / "broken.gguf", **changes)))
    assert "crashed with SIGABRT on a try" in line
    assert "GGML_ASSERT" in line
    assert line.endswith("download the file again, or serve another one")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"llama__attention__head_count": 0}, "wrong shape"),
        ({"llama__attention__head_count_kv": 9}, "wrong shape"),
        ({"tokenizer__ggml__pre": "nonsense"}, "unknown pre-tokenizer"),
        ({"llama__rope__freq_base": float("nan")}, "its logits are no numbers"),
    ],
    ids=["heads", "kv heads", "tokenizer", "not a number"],
)
async def test_a_file_that_does_not_fit_together_is_named(
    model_path: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in await refusal(served(small_model(model_path, tmp_path / "broken.gguf", **changes)))


@pytest.mark.parametrize("length", [3_000_000, 20_000_000, 140_000_000])
async def test_a_file_cut_short_is_named(model_path: Path, tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut.gguf"
    with model_path.open("rb") as whole:
        cut.write_bytes(whole.read(length))
    assert "cannot load" in await refusal(served(cut))


async def test_a_try_that_takes_too_long_is_ended(model_path: Path) -> None:
    started = asyncio.get_running_loop().time()
    line = await refusal(served(model_path), timeout_seconds=0.05)
    assert "took over 0.05 s" in line
    assert "MODEL_LOAD_TIMEOUT_SECONDS" in line
    assert asyncio.get_running_loop().time() - started < 10


async def test_a_try_that_is_left_ends_its_child(model_path: Path) -> None:
    task = asyncio.create_task(tried(served(model_path)))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_does_not_fit_into_memory_is_told(model_path: Path) -> None:
    huge = replace(SIZE, context=100_000_000, kv_tokens=200_000_000)
    with pytest.raises(ModelFileError, match=r"lower|memory"):
        await probe(served(model_path), huge, 100 << 20, 120)


# The probe as it runs on a machine with a GPU, of which llama.cpp knows once the backends are loaded.
_BESIDE_A_GPU = """
import resource, sys
from model_service import probe
loaded = []
load_backends = probe.load_backends
probe.load_backends = lambda: loaded.append(load_backends())
probe.llama.llama_supports_gpu_offload = lambda: bool(loaded)
assert probe.main() == 0
print(resource.getrlimit(resource.RLIMIT_AS) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_gpus_driver_may_reserve_addresses_without_end(model_path: Path) -> None:
    command = (sys.executable, "-c", _BESIDE_A_GPU, str(model_path), "--memory-bytes", str(1 << 30))
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout.splitlines()[-1:] == ["True"], finished.stderr


async def test_an_adapter_of_another_model_is_named(model_path: Path, tmp_path: Path) -> None:
    small = small_model(model_path, tmp_path / "small.gguf")
    good = AdapterEntry(name="good", path=lora_adapter(tmp_path / "good.gguf"))
    bad = AdapterEntry(name="bad", path=lora_adapter(tmp_path / "bad.gguf", width=64))
    await tried(served(small, adapters=(good,)))
    assert "bad.gguf" in await refusal(served(small, adapters=(good, bad)))


def test_what_is_no_adapter_is_named(model_path: Path) -> None:
    adapter = AdapterEntry(name="a", path=model_path)
    with pytest.raises(ModelFileError, match="is no LoRA adapter"):
        check_files(served(model_path, adapters=(adapter,)))


def test_a_context_that_no_model_has_is_refused(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="context_length is 0"):
        check_files(served(small_model(model_path, tmp_path / "none.gguf", llama__context_length=0)))


def test_an_encoder_is_refused(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is an encoder"):
        check_files(served(small_model(model_path, tmp_path / "none.gguf", llama__attention__causal=False)))


def test_a_model_with_another_template_than_the_pinned_one_is_refused(model_path: Path, model: Model) -> None:
    assert model.chat_template is not None
    check_files(served(model_path, chat_template_sha256=digest_of(model.chat_template)))
    with pytest.raises(ModelFileError, match=f"its SHA-256 is {digest_of(model.chat_template)}, not {'0' * 64}"):
        check_files(served(model_path, chat_template_sha256="0" * 64))
    # What is pinned is the template that is used.
    check_files(served(model_path, chat_template="Hi", chat_template_sha256=digest_of("Hi")))


def test_the_estimate_knows_the_cache_and_the_buffers(model_path: Path) -> None:
    header = check_files(served(model_path))
    assert kv_bytes(header, SIZE) == 512 * 30 * 3 * (64 + 64) * 2
    assert kv_bytes(header, replace(SIZE, kv_type="q8_0")) == kv_bytes(header, SIZE) * 34 // 64
    assert compute_bytes(header, SIZE) == 4 * (64 * (4 * 576 + 2 * 1536) + 2 * 49152)
