"""``python -m model_service.quantize SRC DST``: makes an INT8 (Q8_0) file of a GGUF file.

llama.cpp's own log, a line for each tensor, goes to stderr. DST grows as it is written, so that its size
shows the progress, and is removed if that fails; it is whole once this exits with status 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from model_service.cpu_quota import default_threads
from model_service.llama.backends import BackendError, load_backends
from model_service.llama.bindings import llama
from model_service.llama.model import FTYPE_Q8_0


class QuantizeError(Exception):
    """Why there is no file, in one line."""


def quantize(source: Path, destination: Path, *, allow_requantize: bool, threads: int) -> None:
    if not source.is_file():
        raise QuantizeError(f"{source} is not a file")
    if not destination.parent.is_dir():
        raise QuantizeError(f"{destination.parent} is not a directory")
    if destination.exists() and destination.samefile(source):
        raise QuantizeError(f"{destination} is the source itself")
    params = llama.llama_model_quantize_default_params()
    params.ftype = FTYPE_Q8_0
    params.allow_requantize = allow_requantize
    params.nthread = threads
    try:
        status = llama.llama_model_quantize(str(source).encode(), str(destination).encode(), params)
        if status != 0:
            advice = "" if allow_requantize else "; a file that is quantized already needs --allow-requantize"
            raise QuantizeError(f"llama.cpp could not quantize {source}, see its log above{advice}")
        with destination.open("rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="model_service.quantize", description="Make a Q8_0 GGUF file")
    parser.add_argument("source", type=Path, metavar="SRC")
    parser.add_argument("destination", type=Path, metavar="DST")
    parser.add_argument(
        "--allow-requantize",
        action="store_true",
        help="take a file that is quantized already; its quality does not come back",
    )
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    try:
        load_backends()
        quantize(
            arguments.source,
            arguments.destination,
            allow_requantize=arguments.allow_requantize,
            threads=arguments.threads,
        )
    except (BackendError, QuantizeError, OSError) as error:
        print(f"quantize: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
