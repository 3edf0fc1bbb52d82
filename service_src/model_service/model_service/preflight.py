"""What is checked of a model's files before the server loads them: the header, then all of it in a child process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from model_service.chat_template import digest_of
from model_service.gguf import GgufError, Header, read_header
from model_service.llama.context import ContextSize
from model_service.llama.model import FTYPE_Q8_0
from model_service.settings import ServedModel

_CHAT_TEMPLATE = "tokenizer.chat_template"
_PART = re.compile(r"(.*)-00001-of-(\d{5})\.gguf")
_REFUSED = "probe: "  # as the probe begins its own last words
_LEAST_CONTEXT = 64
_TAIL_BYTES = 16 << 10
_PACKAGE_ROOT = Path(__file__).parents[1]
_ADVICE = "download the file again, or serve another one"
# Of the KV cache, bytes of an element as a fraction.
_KV_BYTES = {"f16": (2, 1), "q8_0": (34, 32)}
# How much more than expected the child may take: llama.cpp keeps some weights twice.
_MEMORY_FACTOR = 3
_MEMORY_BESIDE = 2 << 30


class ModelFileError(Exception):
    """A file that can't be served: which, why, and what to do, in one line."""


def check_files(model: ServedModel) -> Header:
    """The header of the model's file; raises ModelFileError where it is not what the settings ask for."""
    header = _header(model.path)
    if model.use_int8 and header.number("general.file_type") != FTYPE_Q8_0:
        found = header.number("general.file_type")
        raise ModelFileError(
            f"{model.path} is not INT8: its general.file_type is {'missing' if found is None else found}, Q8_0 is "
            f"{FTYPE_Q8_0}. Quantize it (model_service.quantize), or set USE_INT8=false"
        )
    trained = header.of_architecture("context_length")
    if trained is not None and trained < _LEAST_CONTEXT:
        raise ModelFileError(f"cannot load {model.path}: its context_length is {trained}; {_ADVICE}")
    if header.metadata.get(f"{header.architecture}.attention.causal") is False:
        raise ModelFileError(f"cannot serve {model.path}: it is an encoder, which generates no text; take a decoder")
    for adapter in model.adapters:
        if _header(adapter.path).text("adapter.type") != "lora":
            raise ModelFileError(f"{adapter.path} is no LoRA adapter: its header doesn't say adapter.type lora")
    template = model.chat_template or header.text(_CHAT_TEMPLATE)
    if model.chat_template_sha256 is not None:
        found_digest = None if template is None else digest_of(template)
        if found_digest != model.chat_template_sha256:
            raise ModelFileError(
                f"{model.path} has another chat template than MODEL_CHAT_TEMPLATE_SHA256 pins: its SHA-256 is "
                f"{found_digest}, not {model.chat_template_sha256}. Read the template, then pin it"
            )
    return header


def files_of(model: ServedModel) -> list[Path]:
    """The model's file, all parts of a split one, and its adapters."""
    paths = [model.path, *(adapter.path for adapter in model.adapters)]
    split = _PART.fullmatch(model.path.name)
    if split:
        stem, count = split.groups()
        paths += [model.path.with_name(f"{stem}-{part:05}-of-{count}.gguf") for part in range(2, int(count) + 1)]
    return paths


def state_of_files(model: ServedModel) -> list[os.stat_result]:
    """As the disk knows them; raises ModelFileError where one is missing."""
    try:
        return [path.stat() for path in files_of(model)]
    except OSError as error:
        raise ModelFileError(f"cannot load {model.path}: {error.filename} can't be read: {error.strerror}") from error


def kv_bytes(header: Header, size: ContextSize) -> int:
    """The KV cache of all layers; an upper bound where some attend to a window only, 0 where nothing is known."""
    layers = header.of_architecture("block_count") or 0
    heads = header.of_architecture("attention.head_count") or 0
    width = header.of_architecture("embedding_length") or 0
    kv_heads = header.metadata.get(f"{header.architecture}.attention.head_count_kv", heads)
    per_layer = kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers
    head_width = width // heads if heads else 0
    key = header.of_architecture("attention.key_length") or head_width
    value = header.of_architecture("attention.value_length") or head_width
    over, under = _KV_BYTES[size.kv_type]
    return size.kv_tokens * sum(n for n in per_layer if isinstance(n, int)) * (key + value) * over // under


def compute_bytes(header: Header, size: ContextSize) -> int:
    """About what a step takes: activations of its tokens and logits of each sequence, as 32-bit floats."""
    width = header.of_architecture("embedding_length") or 0
    hidden = header.of_architecture("feed_forward_length") or 4 * width
    vocabulary = header.lengths.get("tokenizer.ggml.tokens", 0)
    return 4 * (size.step_tokens * (4 * width + 2 * hidden) + size.slots * vocabulary)


@dataclass(frozen=True, slots=True)
class Report:
    """What the probe found: the memory that the model takes once loaded."""

    memory_bytes: int


async def probe(
    model: ServedModel, size: ContextSize, expected_bytes: int, timeout_seconds: float, *, gpu_layers: int = 0
) -> Report:
    """Has a child process load the model and compute a token; raises ModelFileError unless that goes well."""
    options = {
        "--slots": size.slots,
        "--context": size.context,
        "--kv-tokens": size.kv_tokens,
        "--step-tokens": size.step_tokens,
        "--threads": size.threads,
        "--kv-type": size.kv_type,
        "--gpu-layers": gpu_layers,
        "--memory-bytes": expected_bytes * _MEMORY_FACTOR + _MEMORY_BESIDE,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "model_service.probe", str(model.path)),
        *(f"{name}={value}" for name, value in options.items()),
        *(f"--adapter={adapter.path}" for adapter in model.adapters),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_seconds):
            output, errors, status = await asyncio.gather(_tail(process.stdout), _tail(process.stderr), process.wait())
    except TimeoutError:
        raise ModelFileError(
            f"cannot load {model.path}: a try took over {timeout_seconds:g} s; {_ADVICE}, "
            "or raise MODEL_LOAD_TIMEOUT_SECONDS if the disk is slow"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status == 0:
        return Report(**json.loads(output))
    raise ModelFileError(_reason(model.path, status, errors))


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except GgufError as error:
        raise ModelFileError(f"cannot load {path}: {error}; {_ADVICE}") from error
    except OSError as error:
        raise ModelFileError(f"cannot load {path}: {error.strerror}") from error


def _reason(path: Path, status: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if status == 1 and lines and lines[-1].startswith(_REFUSED):
        said = lines[-1].removeprefix(_REFUSED)
        return f"{said}; {_ADVICE}" if said.startswith("cannot") else f"cannot load {path}: {said}"
    said = next((line for line in lines if "GGML_ASSERT" in line or "GGML_ABORT" in line or "what():" in line), "")
    said = said or (lines[-1] if lines else "without a word")
    if status == -signal.SIGKILL:
        return f"cannot load {path}: the try was killed, likely for want of memory ({said}); lower slots or context"
    how = f"crashed with {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"cannot load {path}: llama.cpp {how} on a try: {said}; {_ADVICE}"


async def _tail(stream: asyncio.StreamReader) -> str:
    tail = b""
    while chunk := await stream.read(_TAIL_BYTES):
        tail = (tail + chunk)[-_TAIL_BYTES:]
    return tail.decode(errors="replace")


def _environment() -> dict[str, str]:
    """This process's without its own settings, among which may be keys."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_")}
    path = os.pathsep.join([str(_PACKAGE_ROOT), *sys.path])
    # Where a debugger is installed, ggml would run it to print a backtrace.
    return {**environment, "PYTHONPATH": path, "GGML_NO_BACKTRACE": "1"}
