# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llama.cpp's quantizer in a disposable container: no network, no capabilities, the source read-only."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import Header
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import INT8, is_weight_matrix
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import part_names
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_types import TENSOR_TYPES
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    Report,
    is_full,
    megabytes,
    no_room,
)

try:
    import docker
    from docker.errors import APIError, DockerException, ImageNotFound
    from docker.types import Mount
except ImportError:
    HAS_DOCKER = False
else:
    HAS_DOCKER = True

RECIPE = f"llama.cpp llama_model_quantize {INT8}"
JOB_LABEL = "llm.orchestrator.job"
OUTPUT_NAME = "model.gguf"
_JOB_KIND = "model-quantization"
_ENTRYPOINT = ["/opt/venv/bin/python", "-m", "model_service.quantize"]
_POLL_SECONDS = 0.25
_REMOVAL_SECONDS = 60
_LOG_LINES = 20
# The interpreter, llama.cpp's code and its bookkeeping of tensors.
_BASE_MEMORY_BYTES = 512 << 20
_PIDS_LIMIT = 512
_KILLED = 128 + 9


@dataclass(frozen=True)
class QuantizationJob:
    """One model to quantize, by its files; the output appears as `output/model.gguf`, owned by `user` (uid, gid)."""

    key: str
    source: list[Path]
    output: Path
    image: str
    user: tuple[int, int]
    memory_bytes: int
    allow_requantize: bool
    timeout: float
    expected_bytes: int


def int8_bytes(header: Header) -> int:
    """Size of the INT8 derivative's tensors."""
    int8 = next(kind for kind in TENSOR_TYPES.values() if kind.name == INT8)
    return sum(
        tensor.elements // int8.block_elements * int8.block_bytes if is_weight_matrix(tensor) else tensor.nbytes
        for tensor in header.tensors
    )


def required_memory(header: Header) -> int:
    """Bytes that the quantizer needs: the largest tensor as read, in 32-bit floats, and as written."""
    largest = max((tensor.nbytes + 8 * tensor.elements for tensor in header.tensors), default=0)
    return _BASE_MEMORY_BYTES + largest


def quantize(job: QuantizationJob, report: Report) -> str:
    """Run the job and return the id of the image that did it. Hold the lock of its key.

    Raises ModelFileError when it fails. Its container is removed in any case; one that a killed run left is
    removed first.
    """
    try:
        client = docker.from_env()
        try:
            return _run(client, job, report)
        finally:
            client.close()
    except DockerException as error:
        raise ModelFileError(f"the Docker Engine can't quantize {job.source[0]}: {error}") from error


def _run(client: Any, job: QuantizationJob, report: Report) -> str:
    _remove_containers(client, job.key)
    try:
        image_id = str(client.images.get(job.image).id)
    except ImageNotFound:
        raise ModelFileError(
            f"image {job.image} is not on this host: it carries llama.cpp's quantizer; build or load it first"
        ) from None
    container = _create(client, job)
    try:
        container.start()
        _wait(container, job, report)
        _check(container, job)
    finally:
        _remove_containers(client, job.key)
    return image_id


def _create(client: Any, job: QuantizationJob) -> Any:
    # llama.cpp finds the other parts of a split model by the first one's name.
    inputs = [f"/source/{name}" for name in part_names("model", len(job.source))]
    command = [inputs[0], f"/output/{OUTPUT_NAME}"]
    if job.allow_requantize:
        command.append("--allow-requantize")
    return client.containers.create(
        job.image,
        entrypoint=_ENTRYPOINT,
        command=command,
        labels={JOB_LABEL: _JOB_KIND, f"{JOB_LABEL}.key": job.key},
        user="{}:{}".format(*job.user),
        mounts=[
            *(Mount(inside, str(path), type="bind", read_only=True) for inside, path in zip(inputs, job.source)),
            Mount("/output", str(job.output), type="bind"),
        ],
        tmpfs={"/tmp": "size=16m"},
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        mem_limit=job.memory_bytes,
        memswap_limit=job.memory_bytes,
        pids_limit=_PIDS_LIMIT,
    )


def _remove_containers(client: Any, key: str) -> None:
    """Remove the key's containers, also one that the engine made after the run that asked for it was killed."""
    filters = {"label": [f"{JOB_LABEL}={_JOB_KIND}", f"{JOB_LABEL}.key={key}"]}
    deadline = time.monotonic() + _REMOVAL_SECONDS
    # One that the engine is already removing stays in its list for a while, but can't be inspected or removed.
    while containers := client.containers.list(all=True, filters=filters, sparse=True):
        for container in containers:
            try:
                container.remove(force=True, v=True)
            except APIError as error:
                if error.status_code not in (404, 409) or time.monotonic() > deadline:
                    raise
        time.sleep(_POLL_SECONDS)


def _wait(container: Any, job: QuantizationJob, report: Report) -> None:
    deadline = time.monotonic() + job.timeout
    output = job.output / OUTPUT_NAME
    while container.status in ("created", "running"):
        if time.monotonic() > deadline:
            raise ModelFileError(f"quantizing {job.source[0]} took over {job.timeout:g} s: raise timeout")
        time.sleep(_POLL_SECONDS)
        report("quantizing", output.lstat().st_size if output.exists() else 0, job.expected_bytes)
        container.reload()


def _check(container: Any, job: QuantizationJob) -> None:
    state = container.attrs["State"]
    # Not every engine sets OOMKilled, and nobody else sends SIGKILL to this container.
    if state["OOMKilled"] or state["ExitCode"] == _KILLED:
        raise ModelFileError(
            f"quantizing {job.source[0]} needs more than its memory limit of {megabytes(job.memory_bytes)}:"
            " raise memory"
        )
    if state["ExitCode"] and is_full(job.output):
        raise no_room(job.output)
    if state["ExitCode"]:
        lines = container.logs(tail=_LOG_LINES).decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else "it gave no reason"
        raise ModelFileError(
            f"the quantizer of {job.image} failed on {job.source[0]}: {reason} (exit {state['ExitCode']})"
        )
    output = job.output / OUTPUT_NAME
    # lstat: the container might have left a link to another file of the host there.
    if not output.exists() or not stat.S_ISREG(os.lstat(output).st_mode):
        raise ModelFileError(f"the quantizer of {job.image} ended well but wrote no file")
