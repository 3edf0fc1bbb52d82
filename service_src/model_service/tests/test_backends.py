"""The best backend for this CPU is loaded, any x86-64 CPU has one, and where none is there one line says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import ServedModel, ask, failure, quantize

from model_service.llama.backends import Backends, load_backends
from model_service.llama.bindings import llama
from model_service.llama.model import Model, ModelError
from model_service.llama.native_log import NativeLog

LIBRARIES = Path(llama._lib._name).parent

_AVX = {"sse4_2", "avx"}
_AVX2 = _AVX | {"f16c", "fma", "avx2", "bmi2"}
_AVX512 = _AVX2 | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
_ZEN4 = _AVX512 | {"avx512_vbmi", "avx512_vnni", "avx512_bf16"}
# What each variant needs, by ggml's CMakeLists.txt, in /proc/cpuinfo's words less their underscores.
NEEDS = {
    variant: {flag.replace("_", "") for flag in flags}
    for variant, flags in {
        "x64": set[str](),
        "sse42": {"sse4_2"},
        "sandybridge": _AVX,
        "ivybridge": _AVX | {"f16c"},
        "piledriver": _AVX | {"f16c", "fma"},
        "haswell": _AVX2,
        "alderlake": _AVX2 | {"avx_vnni"},
        "skylakex": _AVX512,
        "cannonlake": _AVX512 | {"avx512_vbmi"},
        "cascadelake": _AVX512 | {"avx512_vnni"},
        "icelake": _AVX512 | {"avx512_vbmi", "avx512_vnni"},
        "cooperlake": _AVX512 | {"avx512_vnni", "avx512_bf16"},
        "zen4": _ZEN4,
        "sapphirerapids": _ZEN4 | {"amx_int8"},
    }.items()
}


def cpu_flags() -> set[str]:
    line = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    return {flag.replace("_", "") for flag in line.partition(":")[2].split()}


def folder_with(tmp_path: Path, *variants: str) -> Path:
    """llama.cpp's libraries, with these of the CPU's alone; links, as nothing can be run from the tests' /tmp."""
    for library in LIBRARIES.iterdir():
        variant = library.name.partition(".")[0].removeprefix("libggml-cpu-")
        if variant in variants or not library.name.startswith("libggml-cpu"):
            (tmp_path / library.name).symlink_to(library)
    return tmp_path


def loaded_from(folder: Path) -> str:
    """The variant that a process takes whose libraries are there."""
    script = "from model_service.llama.backends import load_backends; print(load_backends().cpu_variant)"
    environment = os.environ | {"LLAMA_CPP_LIB_PATH": str(folder)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_image_has_all_variants_and_each_library_once() -> None:
    files = [path for path in LIBRARIES.iterdir() if not path.is_symlink()]
    names = sorted(path.name.partition(".")[0] for path in files)
    assert names == sorted(["libggml", "libggml-base", "libllama", *(f"libggml-cpu-{name}" for name in NEEDS)])
    others = [path for path in Path(sys.prefix).rglob("lib*ggml*") if path.parent != LIBRARIES]
    assert others == []


def test_the_best_variant_is_taken_that_this_cpu_can_run() -> None:
    flags = cpu_flags()
    taken = load_backends().cpu_variant
    assert NEEDS[taken] <= flags
    better = [name for name, needs in NEEDS.items() if needs > NEEDS[taken] and needs <= flags]
    assert better == []


def test_what_a_lesser_cpu_lacks_is_left(tmp_path: Path) -> None:
    if not NEEDS["haswell"] <= cpu_flags():
        pytest.skip("this CPU has no AVX2")
    assert loaded_from(folder_with(tmp_path, "x64", "sse42", "haswell")) == "haswell"


def test_a_cpu_without_any_extension_answers_too(tmp_path: Path, model_path: Path) -> None:
    settings = {"MODEL_PATH": model_path, "LLAMA_CPP_LIB_PATH": folder_with(tmp_path, "x64")}
    with ServedModel(**settings) as served, httpx.Client(base_url=served.url, timeout=120) as http:
        assert backend_metric(served)["cpu_variant"] == "x64"
        assert http.post("/v1/chat/completions", json=ask(max_tokens=2)).json()["usage"]["completion_tokens"] == 2


def test_the_log_and_the_metrics_say_what_is_computed_with(served: ServedModel) -> None:
    lines = [json.loads(line) for line in served.output().splitlines()]  # and none of llama.cpp's own
    line = next(line for line in lines if line["message"] == "backends loaded")
    expected = load_backends()
    assert Backends(line["cpu_variant"], line["cpu"], tuple(line["gpus"])) == expected
    shown = {"cpu_variant": expected.cpu_variant, "cpu": expected.cpu, "gpus": ", ".join(expected.gpus)}
    assert backend_metric(served) == shown


def backend_metric(served: ServedModel) -> dict[str, str]:
    found = re.search(r"^llm_backend_info\{(.*)\} 1\.0$", httpx.get(f"{served.url}/metrics").text, re.MULTILINE)
    assert found
    return dict(re.findall(r'(\w+)="([^"]*)"', found[1]))


def test_without_a_backend_for_the_cpu_the_service_says_so(tmp_path: Path, model_path: Path) -> None:
    folder = folder_with(tmp_path)
    status, line = failure(MODEL_PATH=model_path, LLAMA_CPP_LIB_PATH=folder)
    assert status == 2
    assert line.startswith(f"model-service: llama.cpp has no backend for this CPU: {folder} has no libggml-cpu-*.so")


def test_without_a_backend_for_the_cpu_the_quantizer_says_so(
    tmp_path: Path, source_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder_with(tmp_path)))
    finished = quantize(source_path, tmp_path / "made.gguf", "--allow-requantize")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("quantize: llama.cpp has no backend for this CPU")


def test_layers_for_a_gpu_that_is_not_there_are_refused(model_path: Path) -> None:
    if load_backends().gpus:
        pytest.skip("this machine has a GPU")
    status, line = failure(MODEL_PATH=model_path, MODEL_GPU_LAYERS=-1)
    assert status == 2
    assert line.startswith("model-service: MODEL_GPU_LAYERS is -1 and there is no GPU")


@pytest.mark.parametrize("layers", [0, 7, -1])
def test_layers_for_a_gpu_reach_llama_cpp(layers: int, native_log: NativeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def load(_path: bytes, params: Any) -> None:
        asked.append(params.n_gpu_layers)

    monkeypatch.setattr(llama, "llama_model_load_from_file", load)
    with pytest.raises(ModelError):
        Model(Path("any.gguf"), native_log, gpu_layers=layers)
    assert asked == [layers]
