# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import docker.errors
import psutil
import pytest

NAME = "llm-test/debian:12"
DEBIAN = "llm-orchestrator/debian:12"


@pytest.fixture(autouse=True)
def removed_afterwards(engine: docker.DockerClient) -> Iterator[None]:
    yield
    for image in engine.images.list(filters={"label": f"llm.orchestrator.image={NAME}"}):
        engine.images.remove(image.id, force=True)


def bootstrapping(work_dir: Path) -> psutil.Process:
    """The process that makes the root file system, once it has begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if str(work_dir / "root") in command and any(word.endswith("debootstrap") for word in command):
                return process
        time.sleep(0.1)
    raise AssertionError(f"no debootstrap works in {work_dir}")


def test_bootstrapped_without_a_registry_also_after_a_killed_run_and_then_left_alone(
    run_module: Callable[..., Any], engine: docker.DockerClient, tmp_path: Path
) -> None:
    work_dir = tmp_path / "bootstrap"
    # Nothing listens there.
    arguments = {"name": NAME, "pull": "127.0.0.1:9/debian:12-slim", "work_dir": str(work_dir)}

    assert run_module("image_base", "--check", **arguments).result["changed"]
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(NAME)

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(run_module, "image_base", **arguments)
        bootstrapping(work_dir).parent().kill()
        assert killed.result().result["failed"]
    assert (work_dir / "root").is_dir()

    made = run_module("image_base", **arguments)
    assert made.result["changed"]
    assert "connection refused" in made.result["pull_error"]
    assert made.result["image"]["origin"] == "debootstrap bookworm http://deb.debian.org/debian"
    assert made.result["image"]["size"] < 120_000_000
    assert "[localhost] Debian image: " in made.output
    assert [entry.name for entry in work_dir.iterdir()] == ["lock"]

    container = engine.containers.create(NAME)
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
            sources = tar.extractfile("etc/apt/sources.list.d/debian.sources").read().decode()
            names = tar.getnames()
    finally:
        container.remove()
    assert "Suites: bookworm bookworm-updates\n" in sources
    assert "Suites: bookworm-security\n" in sources
    assert "usr/share/doc/bash/copyright" in names
    assert not [name for name in names if name.startswith(("var/lib/apt/lists/", "usr/share/man/", "proc/"))]

    again = run_module("image_base", **arguments).result
    assert not again["changed"]
    assert again["image"] == made.result["image"]


def test_a_mirror_that_is_not_there_is_named(run_module: Callable[..., Any], tmp_path: Path) -> None:
    mirror = "http://127.0.0.1:9/debian"
    result = run_module("image_base", name=NAME, pull="", mirror=mirror, work_dir=str(tmp_path / "work")).result
    assert result["failed"]
    assert result["msg"].startswith(f"debootstrap of bookworm from {mirror} failed: ")
    assert Path(result["log_file"]).is_file()
    assert result["log"]
    assert not (tmp_path / "work/root").exists()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real, empty image registry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "registry.json"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with subprocess.Popen(["docker-registry", "serve", str(config)], stderr=subprocess.DEVNULL) as process:
        yield address
        process.terminate()


def push(engine: docker.DockerClient, source: str, deadline: float) -> None:
    repository, tag = source.rsplit(":", 1)
    engine.images.get(DEBIAN).tag(repository, tag)
    while "error" in (said := engine.images.push(repository, tag)):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def test_pulled_from_a_registry_and_only_what_was_there_keeps_its_name(
    run_module: Callable[..., Any], engine: docker.DockerClient, registry: str, tmp_path: Path
) -> None:
    source = f"{registry}/library/debian:12-slim"
    arguments = {"name": NAME, "pull": source, "work_dir": str(tmp_path / "bootstrap")}
    push(engine, source, deadline=time.monotonic() + 30)
    engine.images.remove(source)

    made = run_module("image_base", **arguments)
    assert made.result["changed"]
    assert made.result["image"]["origin"] == source
    assert "pull_error" not in made.result
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(source)
    assert b"12" in engine.containers.run(NAME, ["cat", "/etc/debian_version"], remove=True)
    assert not run_module("image_base", **arguments).result["changed"]

    engine.images.pull(source)
    try:
        assert run_module("image_base", force=True, **arguments).result["changed"]
        assert engine.images.get(source)
    finally:
        engine.images.remove(source)

    unknown = run_module(
        "image_base", force=True, **{**arguments, "pull": f"{registry}/no/such:1", "mirror": "http://127.0.0.1:9"}
    )
    assert unknown.result["failed"]
