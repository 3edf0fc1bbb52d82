"""llama.cpp's backends: the libraries that compute, of which the best for this machine is taken at run time.

The image has one for each generation of CPUs, and may have one for GPUs. A llama-cpp-python that was installed the
ordinary way has one for the CPU alone, linked in, and there is nothing left to load.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from model_service.llama.bindings import llama

_CPU, _GPU, _INTEGRATED_GPU = range(3)  # ggml_backend_dev_type
_VARIANT = re.compile(r"libggml-cpu-(.+?)\.so")


class BackendError(Exception):
    """There is nothing that could compute, in one line."""


@dataclass(frozen=True, slots=True)
class Backends:
    """What computes in this process."""

    cpu_variant: str  # the generation of CPUs, such as zen4; "compiled-in" where there was no choice
    cpu: str
    gpus: tuple[str, ...]


@cache
def load_backends() -> Backends:
    """Loads them, once in a process; before that llama.cpp can load no model. Raises BackendError."""
    if not _cpu_registry():
        _function("ggml_backend_load_all_from_path", None, ctypes.c_char_p)(str(_folder()).encode())
    registry = _cpu_registry()
    if not registry:
        raise BackendError(
            f"llama.cpp has no backend for this CPU: {_folder()} has no libggml-cpu-*.so that runs on it. "
            "Build the image again"
        )
    devices = list(_devices())
    return Backends(
        cpu_variant=_variant(registry),
        cpu=next(description for kind, description in devices if kind == _CPU),
        gpus=tuple(description for kind, description in devices if kind in (_GPU, _INTEGRATED_GPU)),
    )


def _function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml's.

    Asked for through libllama, it is found in the very library that libllama links to. The wheel has several copies
    of that, each with a list of backends of its own, and to any other's list llama.cpp is blind.
    """
    function = getattr(llama._lib, name)
    function.restype, function.argtypes = result, arguments
    return function


def _folder() -> Path:
    return Path(llama._lib._name).parent


def _cpu_registry() -> int | None:
    address: int | None = _function("ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)(b"CPU")
    return address


def _devices() -> Iterator[tuple[int, str]]:
    """Type and description of each."""
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    description = _function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
    for index in range(count()):
        device = get(index)
        yield kind(device), description(device).decode(errors="replace").strip()


class _SymbolInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("library", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _variant(registry: int) -> str:
    """The name of the variant, which only the name of the library tells that the registry lies in."""
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = (ctypes.c_void_p, ctypes.POINTER(_SymbolInfo))
    info = _SymbolInfo()
    found = _VARIANT.match(Path(info.library.decode()).name) if dladdr(registry, ctypes.byref(info)) else None
    return found[1] if found else "compiled-in"
