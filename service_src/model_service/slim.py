"""Takes out of a virtual environment what model-service doesn't use, about 130 of its 200 MB.

``slim.py VENV``: run by the Dockerfile after everything is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# CUDA's compiler, where it was asked for; what llama-cpp-python's high-level API needs, as this service uses its
# low-level bindings alone; and pip, which goes last.
UNUSED_PACKAGES = (
    *("cuda-toolkit", "nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-cccl"),
    *("diskcache", "setuptools", "pip"),
)
# The high-level API, and what the build left beside the package: a second copy of its libraries, headers. And CUDA's
# headers.
UNUSED_PATHS = ("llama_cpp/server", "lib", "include", "bin", "nvidia/cu13/include")


def main(venv: Path) -> None:
    subprocess.run([venv / "bin" / "python", "-m", "pip", "uninstall", "--yes", *UNUSED_PACKAGES], check=True)
    (packages,) = (venv / "lib").glob("python3*/site-packages")
    for name in UNUSED_PATHS:
        shutil.rmtree(packages / name, ignore_errors=True)
    for library in (packages / "llama_cpp" / "lib").glob("*.so"):
        link_copies(library)


def link_copies(library: Path) -> None:
    """Each library is there three times, as libx.so, libx.so.0 and libx.so.0.1.2; the wheel can't hold links.

    Loaded under two of its names it would be there twice at run time too, each with a state of its own.
    """
    *others, longest = sorted(library.parent.glob(f"{library.name}*"), key=lambda path: len(path.name))
    for copy in others:
        copy.unlink()
        copy.symlink_to(longest.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
