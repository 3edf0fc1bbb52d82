"""``python -m model_service.probe PATH``: loads a model and computes a token, in a process that may die of it.

Native code reads the file, and a file that is damaged, or made to be, can crash it. So the server has this done by a
child before it loads the file itself. Exits with status 0 and prints what was found as JSON, or with 1 and says why
not in the last line on stderr, after "probe: ".
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import signal
import sys
from pathlib import Path

import numpy

from model_service.cpu_quota import default_threads
from model_service.llama.backends import load_backends
from model_service.llama.bindings import llama
from model_service.llama.context import KV_TYPES, Context, ContextSize
from model_service.llama.model import Adapter, Model, ModelError
from model_service.llama.native_log import NativeLog

_PR_SET_PDEATHSIG = 1
# What a thread may reserve beside the model: its stack and its heap.
_BYTES_PER_THREAD = 256 << 20


def probe(
    path: Path, size: ContextSize, native_log: NativeLog, adapters: tuple[Adapter, ...], gpu_layers: int
) -> dict[str, int]:
    """Loads the model and each adapter, computes one token with each; raises ModelError."""
    before = _resident_bytes()
    model = Model(path, native_log, adapters=adapters, gpu_layers=gpu_layers)
    context = Context(model, size)
    for name in (None, *model.adapters):
        context.use_adapter(name)
        context.clear_batch()
        index = context.add(0, 0, [0], wants_logits=True)
        status = context.decode()
        if status != 0:
            raise ModelError(f"cannot compute with {path}: llama_decode returned {status}")
        if not numpy.isfinite(context.logits(index)).all():
            raise ModelError(f"cannot compute with {path}: its logits are no numbers; its weights are damaged")
        context.cache.clear(0)
    return {"memory_bytes": max(0, _resident_bytes() - before)}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _limit_memory(more_bytes: int, threads: int) -> None:
    """Has a size that the file only claims end this process, and not take the server's memory."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    if llama.llama_supports_gpu_offload():
        return  # drivers reserve addresses without end
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = reserved + more_bytes + threads * _BYTES_PER_THREAD
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="model_service.probe", description="Load a model and compute a token")
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("--adapter", type=Path, action="append", default=[], metavar="PATH", help="of LoRA; repeatable")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--kv-tokens", type=int, default=512)
    parser.add_argument("--step-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--kv-type", choices=KV_TYPES, default="f16")
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--memory-bytes", type=int, help="the most it may take; without it there is no limit")
    return parser.parse_args(arguments)


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody waits for it once its parent is gone
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    given = _parsed(sys.argv[1:])
    size = ContextSize(
        slots=given.slots,
        context=given.context,
        kv_tokens=given.kv_tokens,
        step_tokens=given.step_tokens,
        threads=given.threads,
        kv_type=given.kv_type,
    )
    native_log = NativeLog()  # from here on, or the backends' names were the last words of one that crashes
    load_backends()  # before the limit: without them nothing is known of GPUs
    if given.memory_bytes is not None:
        _limit_memory(given.memory_bytes, given.threads)
    adapters = tuple(Adapter(path.name, path) for path in given.adapter)
    try:
        print(json.dumps(probe(given.path, size, native_log, adapters, given.gpu_layers)))
    except ModelError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
