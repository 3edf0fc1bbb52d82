# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
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

BASE = "llm-orchestrator/base:0.1.0"
NAME = "llm-test/image-build:1"
DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS stage
LABEL llm.test=image-build
RUN echo built > /tmp/stage
FROM ${BASE_IMAGE}
ARG GREETING=none
COPY app/ /app/
COPY --from=stage /tmp/stage /app/
USER root
RUN printf '%s' "${GREETING}${http_proxy}" > /greeting
USER llm
"""


@pytest.fixture(autouse=True)
def removed_afterwards(engine: docker.DockerClient) -> Iterator[None]:
    yield
    for label in (f"llm.orchestrator.image={NAME}", "llm.test=image-build"):
        for image in engine.images.list(filters={"label": label}):
            engine.images.remove(image.id, force=True)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "app/tests").mkdir(parents=True)
    (root / "app/Dockerfile").write_text(DOCKERFILE)
    (root / "app/main.py").write_text("print('one')\n")
    (root / "app/tests/test_main.py").write_text("")
    (root / "other").mkdir()
    return root


@pytest.fixture
def build(run_module: Callable[..., Any], context: Path) -> Callable[..., Any]:
    arguments = {
        "name": NAME,
        "context": str(context),
        "include": ["app"],
        "dockerfile": "app/Dockerfile",
        "build_args": {"BASE_IMAGE": BASE},
    }
    return lambda *options, **more: run_module("image_build", *options, **arguments | more)


def read_file(engine: docker.DockerClient, path: str) -> str:
    container = engine.containers.create(NAME, ["true"])
    try:
        archive = b"".join(container.get_archive(path)[0])
    finally:
        container.remove()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.extractfile(path.strip("/")).read().decode()


def building(engine: docker.DockerClient, command: str) -> list[Any]:
    """The containers in which the engine runs a step with this command."""
    return [one for one in engine.containers.list() if command in " ".join(one.attrs["Config"]["Cmd"] or [])]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def test_a_killed_build_ends_and_the_next_run_makes_the_image(
    build: Callable[..., Any], context: Path, engine: docker.DockerClient
) -> None:
    step = "sleep 300.25"
    (context / "app/Dockerfile").write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nCOPY app/ /app/\nRUN {step}\n")
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(build)
        wait_until(lambda: bool(building(engine, step)), "the long step")
        for process in psutil.process_iter(["cmdline", "cwd"]):
            ours = process.info["cwd"] == str(context.parent)
            if ours and any("AnsiballZ_image_build" in word for word in process.info["cmdline"] or []):
                process.kill()
        assert killed.result().result["failed"]
    wait_until(lambda: not building(engine, step), "the end of the build whose client is gone")
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(NAME)
    (context / "app/Dockerfile").write_text(DOCKERFILE)
    assert build().result["changed"]
    assert engine.images.get(NAME)


def test_built_once_rebuilt_when_its_files_change_and_removed(
    build: Callable[..., Any], run_module: Callable[..., Any], context: Path, engine: docker.DockerClient
) -> None:
    planned = build("--check", "--diff")
    assert planned.result["changed"]
    assert planned.result["image"] == {}
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(NAME)

    first = build("--diff")
    assert first.result["changed"]
    assert first.result["diff"] == planned.result["diff"]
    assert "[localhost] image-build image: " in first.output
    image = engine.images.get(NAME)
    assert first.result["image"]["id"] == image.id
    assert image.labels["llm.orchestrator.image"] == NAME
    assert image.labels["llm.orchestrator.fingerprint"] == first.result["image"]["fingerprint"]
    assert image.attrs["Config"]["User"] == "llm"

    (context / "app/tests/test_main.py").write_text("# not part of the image")
    (context / "app/__pycache__").mkdir()
    (context / "app/__pycache__/main.pyc").write_bytes(b"x")
    (context / "app/main.py").touch()
    (context / "other/file").write_text("not sent")
    again = build()
    assert not again.result["changed"]
    assert again.result["image"] == first.result["image"]

    (context / "app/main.py").write_text("print('two')\n")
    assert build("--check").result["changed"]
    changed = build()
    assert changed.result["changed"]
    assert changed.result["image"]["id"] != first.result["image"]["id"]
    assert changed.result["removed"] == [first.result["image"]["id"]]
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(first.result["image"]["id"])

    assert run_module("image_build", "--check", name=NAME, state="absent").result["changed"]
    assert run_module("image_build", name=NAME, state="absent").result["changed"]
    assert not run_module("image_build", name=NAME, state="absent").result["changed"]


def test_a_replaced_image_goes_with_the_first_build_after_its_last_container(
    build: Callable[..., Any], context: Path, engine: docker.DockerClient
) -> None:
    old = build().result["image"]["id"]
    container = engine.containers.create(NAME, ["true"])
    try:
        (context / "app/main.py").write_text("print('two')\n")
        assert build().result["removed"] == []
        assert engine.images.get(old)
    finally:
        container.remove()
    assert build(force=True).result["removed"].count(old) == 1


def test_build_arguments_count_and_proxies_do_not(build: Callable[..., Any], engine: docker.DockerClient) -> None:
    arguments = {"BASE_IMAGE": BASE, "GREETING": "hello"}
    first = build(build_args=arguments)
    proxied = {"http_proxy": "http://user:hidden@127.0.0.1:9"}
    assert not build(build_args=arguments, environment=proxied).result["changed"]
    forced = build(build_args=arguments, environment=proxied, force=True)
    assert forced.result["changed"]
    assert forced.result["image"]["fingerprint"] == first.result["image"]["fingerprint"]
    assert read_file(engine, "/greeting") == "hellohttp://user:hidden@127.0.0.1:9"
    assert "hidden" not in str(engine.images.get(NAME).history())
    assert build(build_args={"BASE_IMAGE": BASE, "GREETING": "bye"}).result["changed"]


def test_a_new_base_image_builds_it_again(build: Callable[..., Any], engine: docker.DockerClient) -> None:
    base = "llm-test/base:1"
    engine.images.get(BASE).tag(base)
    try:
        arguments = {"BASE_IMAGE": base}
        build(build_args=arguments)
        assert not build(build_args=arguments).result["changed"]
        other = engine.containers.create(BASE, ["true"])
        other.commit(repository="llm-test/base", tag="1")
        other.remove()
        assert build(build_args=arguments).result["changed"]
    finally:
        engine.images.remove(NAME, force=True)
        engine.images.remove(base, force=True)


def test_a_step_that_fails_is_named_with_the_end_of_the_log(
    build: Callable[..., Any], context: Path, engine: docker.DockerClient
) -> None:
    with (context / "app/Dockerfile").open("a") as dockerfile:
        dockerfile.write("RUN echo about to fail && exit 3\n")
    result = build().result
    assert result["failed"]
    assert result["msg"].startswith(f"Building the image {NAME} failed in step 12/14 (RUN echo about to fail")
    assert "returned a non-zero code: 3" in result["msg"]
    assert "\n" not in result["msg"]
    assert "about to fail" in result["log"]
    log_file = Path(result["log_file"])
    assert "about to fail" in log_file.read_text()
    log_file.unlink()
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(NAME)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": "/nowhere"}, "The build context /nowhere is not a directory"),
        ({"include": ["missing"]}, "include: missing does not exist in the build context"),
        ({"include": ["../.."]}, "include: ../.. lies outside the build context"),
        ({"include": ["other"]}, "The Dockerfile app/Dockerfile is not among the files sent"),
        ({"environment": {"DOCKER_HOST": "unix:///nowhere.sock"}}, "Can't reach the Docker Engine"),
    ],
)
def test_wrong_input_is_one_clear_line(build: Callable[..., Any], arguments: dict[str, Any], message: str) -> None:
    result = build(**arguments).result
    assert result["failed"]
    assert message in result["msg"]
