"""llama-cpp-python's low-level bindings without its high-level API.

``import llama_cpp`` would load the high-level API too, and with it numpy and diskcache, which nothing
here uses and the image leaves out. So the package is registered bare, and only the module with the
C functions is imported from it.
"""

from __future__ import annotations

import importlib.util
import sys
import types


def _register_bare_package(name: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{name} is not installed")
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


if "llama_cpp" not in sys.modules:
    _register_bare_package("llama_cpp")

from llama_cpp import llama_cpp as llama  # noqa: E402

__all__ = ["llama"]
