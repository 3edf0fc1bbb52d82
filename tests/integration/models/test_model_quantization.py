# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_quantization with the model-service image's quantizer, and with one that misbehaves."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._quantizer import JOB_LABEL
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Store
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    STRING,
    llama_pairs,
    llama_tensors,
    model,
    pair,
)

IMAGE = os.environ.get("MODEL_SERVICE_IMAGE", "llm-orchestrator/model-service:0.1.0")
BASE_IMAGE = "llm-orchestrator/base:0.1.0"

# Does what the source's name asks for: the last word behind "behaviour:".
MISBEHAVING = """\
import os, re, sys, time
source = open(sys.argv[1], "rb").read()
behaviour = re.search(rb"behaviour:(\\w+)", source)[1].decode()
if behaviour == "fails":
    print("loading model", file=sys.stderr)
    sys.exit("quantize: no kernel for this tensor")
if behaviour == "copies":
    open(sys.argv[2], "wb").write(source)
if behaviour == "links":
    os.symlink("/etc/hostname", sys.argv[2])
if behaviour == "sleeps":
    open(sys.argv[2], "wb").write(source[:1000])
    time.sleep(300)
if behaviour == "eats":
    kept = [bytearray(1 << 20) for _ in range(1000)]
if behaviour == "looks":
    found = [os.getuid(), os.access(sys.argv[1], os.W_OK), os.access("/", os.W_OK), os.listdir("/sys/class/net")]
    found += re.findall("CapEff:\\\\t(\\\\w+)|NoNewPrivs:\\\\t(\\\\d)", open("/proc/self/status").read())
    sys.exit(str(found))
"""
DOCKERFILE = f"""\
FROM {BASE_IMAGE}
USER root
RUN mkdir -p /opt/venv/bin /app/model_service && ln -s "$(command -v python3)" /opt/venv/bin/python
COPY quantize.py /app/model_service/
ENV PYTHONPATH=/app
USER llm
"""


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    try:
        engine.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"{IMAGE} is not built")
    return IMAGE


@pytest.fixture(scope="session")
def misbehaving_image(engine: docker.DockerClient) -> Iterator[str]:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, text in (("Dockerfile", DOCKERFILE), ("quantize.py", MISBEHAVING)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    tag = "llm-orchestrator-test/misbehaving-quantizer:latest"
    engine.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    yield tag
    engine.images.remove(tag, force=True)


def write_model(path: Path, weights: str, *, layers: int = 2, behaviour: str = "none", fill: bytes = b"\0") -> Path:
    pairs = [*llama_pairs(layers), pair("general.name", STRING, f"behaviour:{behaviour}")]
    path.write_bytes(model(llama_tensors(weights, layers), pairs, fill=fill))
    path.chmod(0o644)
    return path


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A model in F16 that is no other test's."""
    return write_model(tmp_path / "tiny.gguf", "F16", fill=str(tmp_path).encode())


def jobs(engine: docker.DockerClient) -> list[Any]:
    return engine.containers.list(all=True, filters={"label": JOB_LABEL})


def test_verified_says_how_far_a_model_is_from_int8(store: Store, tmp_path: Path) -> None:
    good = store.run("model_quantization", path=str(write_model(tmp_path / "good.gguf", "Q8_0")))
    assert (good["int8_share"], good["differing"], good["changed"]) == (1.0, {}, False)

    bad = store.run("model_quantization", path=str(write_model(tmp_path / "bad.gguf", "Q4_0")))
    assert "is Q4_0, not INT8 (Q8_0): 0.0% of its weight matrices are Q8_0" in bad["msg"]
    assert "token_embd.weight is Q4_0" in bad["msg"]
    assert "and 2 more differ" in bad["msg"]
    assert len(bad["differing"]) == 5

    (tmp_path / "none.gguf").write_text("nothing")
    assert "not a GGUF file" in store.run("model_quantization", path=str(tmp_path / "none.gguf"))["msg"]
    assert "No such file" in store.run("model_quantization", path=str(tmp_path / "missing.gguf"))["msg"]


def test_an_int8_model_is_made_once_and_then_found(
    store: Store, engine: docker.DockerClient, image: str, half: Path
) -> None:
    options = {"path": str(half), "state": "present", "image": image}
    planned = store.run("model_quantization", check=True, **options)
    assert planned["changed"]
    assert planned["path"] is None
    assert not store.root.exists()

    made = store.run("model_quantization", **options)
    assert made["changed"]
    assert planned["diff"] == made["diff"]
    path = Path(made["path"])
    assert path == store.root / made["sha256"] / "tiny-q8_0.gguf"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made["sha256"]
    assert made["record"]["made"]["source_sha256"] == hashlib.sha256(half.read_bytes()).hexdigest()
    assert store.run("model_info", path=str(path))["is_int8"]
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o644)
    assert store.leftovers() == []
    assert jobs(engine) == []

    # An image that isn't there shows that no container is needed.
    again = store.run("model_quantization", **{**options, "image": "no/such:image"})
    assert not again["changed"]
    assert again["sha256"] == made["sha256"]

    other = store.run("model_quantization", **options, name="other")
    assert other["changed"]
    assert os.path.samefile(other["path"], made["path"])

    of_itself = store.run("model_quantization", **{**options, "path": made["path"]})
    assert not of_itself["changed"]
    assert of_itself["path"] == made["path"]


def test_a_person_sees_what_it_does(
    run_module: Callable[..., Any], store: Store, misbehaving_image: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour="sleeps", fill=str(tmp_path).encode())
    options = {"path": str(source), "state": "present", "image": misbehaving_image, "models_dir": str(store.root)}
    done = run_module("model_quantization", **options, timeout=8)
    assert "took over 8 s" in done.result["msg"]
    assert re.search(r"^  \[localhost\] model_quantization: \w+", done.output, re.MULTILINE), done.output


def test_check_mode_takes_a_source_that_is_not_there_for_one_yet_to_be_fetched(
    store: Store, engine: docker.DockerClient
) -> None:
    options = {"path": str(store.root / "0" / "tiny.gguf"), "state": "present"}
    planned = store.run("model_quantization", check=True, **options)
    assert (planned["changed"], planned["path"]) == (True, None)
    assert "can't be read: No such file" in store.run("model_quantization", **options)["msg"]


def test_lower_precision_is_refused_unless_asked_for(store: Store, image: str, tmp_path: Path) -> None:
    options = {"path": str(write_model(tmp_path / "low.gguf", "Q4_0")), "state": "present", "image": image}
    for check in (True, False):
        refused = store.run("model_quantization", check=check, **options)
        assert "lower precision than INT8" in refused["msg"]
        assert "allow_requantize" in refused["msg"]
    assert not store.root.exists()
    made = store.run("model_quantization", **options, allow_requantize=True)
    assert store.run("model_quantization", path=made["path"])["int8_share"] == 1.0


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fails", "quantize: no kernel for this tensor (exit 1)"),
        ("copies", "not INT8"),
        ("links", "wrote no file"),
        ("nothing", "wrote no file"),
    ],
)
def test_a_quantizer_that_goes_wrong_leaves_nothing(
    store: Store,
    engine: docker.DockerClient,
    misbehaving_image: str,
    tmp_path: Path,
    behaviour: str,
    reason: str,
) -> None:
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour=behaviour)
    failed = store.run("model_quantization", path=str(source), state="present", image=misbehaving_image)
    assert reason in failed["msg"]
    assert store.visible() == []
    assert store.leftovers() == []
    assert jobs(engine) == []


def test_the_quantizer_has_no_network_no_capability_and_nothing_to_write_but_its_output(
    store: Store, misbehaving_image: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour="looks")
    failed = store.run("model_quantization", path=str(source), state="present", image=misbehaving_image)
    user = 10001 if os.geteuid() == 0 else os.geteuid()
    seen = f"[{user}, False, False, ['lo'], ('0000000000000000', ''), ('', '1')]"
    assert seen in failed["msg"]


def test_a_quantizer_over_its_memory_limit_or_its_time_is_stopped(
    store: Store, engine: docker.DockerClient, misbehaving_image: str, tmp_path: Path
) -> None:
    options = {"state": "present", "image": misbehaving_image}
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour="eats")
    failed = store.run("model_quantization", **options, path=str(source), memory="64m")
    assert "memory limit of 67.1 MB: raise memory" in failed["msg"]
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour="sleeps")
    failed = store.run("model_quantization", **options, path=str(source), timeout=2)
    assert "took over 2 s" in failed["msg"]
    assert jobs(engine) == []
    assert store.leftovers() == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(
    store: Store, engine: docker.DockerClient, image: str, misbehaving_image: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "tiny.gguf", "F16", behaviour="sleeps", fill=str(tmp_path).encode())
    run = store.start("model_quantization", path=str(source), state="present", image=misbehaving_image)
    deadline = time.monotonic() + 60
    while not any(name.endswith("model.gguf") for name in store.leftovers()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.kill()
    assert len(jobs(engine)) == 1
    assert store.visible() == []

    made = store.run("model_quantization", path=str(source), state="present", image=image)
    assert made["changed"]
    assert jobs(engine) == []
    assert store.leftovers() == []
    assert store.visible() == [f"{made['sha256']}/record.json", f"{made['sha256']}/tiny-q8_0.gguf"]


def test_runs_at_the_same_time_quantize_once(store: Store, image: str, half: Path) -> None:
    options = {"path": str(half), "state": "present", "image": image}
    results = [run.result() for run in [store.start("model_quantization", **options) for _ in range(3)]]
    assert len({result["sha256"] for result in results}) == 1
    assert len(store.visible()) == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"image": "no/such:image"}, "image no/such:image is not on this host"),
        ({"user": "llm"}, "must be numeric"),
        ({"memory": "much"}, "is no size"),
        ({"name": "a/b"}, "can't be a model's name"),
    ],
)
def test_wrong_options_are_named(
    store: Store, engine: docker.DockerClient, half: Path, option: dict[str, str], message: str
) -> None:
    failed = store.run("model_quantization", path=str(half), state="present", **option)
    assert message in failed["msg"]


def test_an_engine_that_does_not_answer_is_named(store: Store, half: Path) -> None:
    store.environment = {"DOCKER_HOST": "unix:///no/such/socket"}
    failed = store.run("model_quantization", path=str(half), state="present")
    assert "the Docker Engine can't quantize" in failed["msg"]
    assert store.leftovers() == []
