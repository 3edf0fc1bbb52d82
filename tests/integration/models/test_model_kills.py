# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed at random moments: nothing partial is ever visible, and the next run completes.

MODEL_KILLS says how often a download and a quantization are killed.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import model_name
from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import READ_BYTES
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import model_digest
from ansible_collections.llm.orchestrator.plugins.module_utils._quantizer import JOB_LABEL
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    FaultServer,
    Handler,
    asked_range,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import (
    COLLECTIONS_ROOT,
    ModelFile,
    ModuleRun,
    Store,
)
from ansible_collections.llm.orchestrator.tests.integration.models.test_model_quantization import (
    IMAGE,
    write_model,
)
from ansible_collections.llm.orchestrator.tests.integration.models.test_model_split import COUNT, SplitModel, part

# Kills the module before the step of that number that changes something below a directory.
DEADLY = """\
import os, signal, sys
left = int(os.environ["KILL_BEFORE_STEP"])
below = os.environ["KILL_BELOW"]
relative = ("os.remove", "os.rmdir", "os.mkdir")
def hook(event, args):
    global left
    if event == "open":
        changing = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        changing = event in ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod")
    inside = str(args[0]).startswith(below) if args else False
    # shutil.rmtree names what it removes relative to a directory that it holds open.
    if changing and (inside or event in relative and not os.path.isabs(str(args[0]))):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""
KILLS = int(os.environ.get("MODEL_KILLS", "30"))
PIECE_BYTES = 32 << 10
PIECE_SECONDS = 0.002
LAYERS = 8


def stop(run: ModuleRun) -> None:
    """Stop the process where it is, so that what it got to can be looked at before it is killed."""
    run.process.send_signal(signal.SIGSTOP)
    if run.process.returncode is None:
        os.waitid(os.P_PID, run.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def kill(run: ModuleRun) -> None:
    run.process.kill()
    output, errors = run.process.communicate()
    # It may have ended before, but well.
    assert run.process.returncode in (0, -signal.SIGKILL), output + errors


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def partial(store: Store) -> list[str]:
    """The visible directories that hold anything but whole models, their bytes the right ones, and their record.

    A split model is there if its first part is, which is the one that it is opened by.
    """
    wrong = []
    for directory in {(store.root / name).parent for name in store.visible()}:
        files = sorted(directory.glob("*.gguf"))
        names = {model_name(file.name) for file in files if "-of-" not in file.name or "-00001-of-" in file.name}
        digests = {
            model_digest(tuple(sha256(file.read_bytes()) for file in files if model_name(file.name) == name))
            for name in names
        }
        if names and (digests != {directory.name} or not (directory / "record.json").exists()):
            wrong.append(str(directory))
    return wrong


def moments(seconds: float, seed: int) -> Iterator[float]:
    """Spread over the whole of a run that takes that long undisturbed."""
    chance = random.Random(seed)
    for _ in range(KILLS):
        yield chance.uniform(0, seconds)


def timed(store: Store, module: str, **options: Any) -> float:
    started = time.monotonic()
    assert store.run(module, **options)["changed"]
    return time.monotonic() - started


@dataclass
class Answer:
    """An answer in progress: its client's port, the file's byte that it began with, and the one that it got to."""

    port: int
    start: int
    sent: int


class PacedServer:
    """Makes a server send small pieces, and tells how much of the latest answer its client has read."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.answers: list[Answer] = []
        self.running = threading.Event()
        self.running.set()
        server.otherwise = self._serve

    def _serve(self, handler: Handler) -> None:
        content, (start, _end) = handler.content, asked_range(handler) or (0, 0)
        answer = Answer(handler.client_address[1], start, start)
        self.answers.append(answer)
        content_range = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        handler.begin(206 if start else 200, len(content) - start, **content_range)
        for at in range(start, len(content), PIECE_BYTES):
            self.running.wait(60)
            handler.send(content[at : at + PIECE_BYTES])
            answer.sent = min(at + PIECE_BYTES, len(content))
            time.sleep(PIECE_SECONDS)

    def read_by_client(self) -> int | None:
        """The file's bytes that a stopped client has taken from its connection; None if it has no answer."""
        self.running.clear()
        try:
            # The piece that is being sent meanwhile.
            time.sleep(0.02)
            unread = unread_bytes(int(self.server.server_address[1]))
            # A busy machine may only now come to answer one that was killed before.
            return next((one.sent - unread[one.port] for one in reversed(self.answers) if one.port in unread), None)
        finally:
            self.running.set()


def unread_bytes(port: int) -> dict[int, int]:
    """What lies in the queues of each connection to a port of this machine, by its client's port."""
    connection = re.compile(r" *\d+: \w+:(?P<local>\w{4}) \w+:(?P<far>\w{4}) 01 (?P<out>\w{8}):(?P<unread>\w{8})")
    unread, unsent = {}, {}
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if match := connection.match(line):
            local, far = int(match["local"], 16), int(match["far"], 16)
            if far == port:
                unread[local] = int(match["unread"], 16)
            elif local == port:
                unsent[far] = int(match["out"], 16)
    return {client: count + unsent.get(client, 0) for client, count in unread.items()}


def on_disk(store: Store, model_file: ModelFile) -> tuple[str, int]:
    """How far a download got, and the bytes that the next run need not fetch."""
    work = store.root / ".partial" / model_file.sha256
    for stage, path in (("staged", work / "new" / "tiny.gguf"), ("growing", work / "data")):
        if path.exists():
            size = path.stat().st_size
            whole = stage == "growing" and size == len(model_file.content)
            return "whole" if whole else stage, size
    return "visible" if store.visible() else "nothing", 0


def test_a_download_that_is_killed_at_any_moment_goes_on_where_it_was(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    options = {"name": "tiny", "sha256": model_file.sha256, "source": server.url}
    paced = PacedServer(server)
    seconds = timed(store, "model_download", **options)
    shutil.rmtree(store.root)
    stages: Counter[str] = Counter()
    kept = 0
    for moment in moments(seconds, seed=7):
        before = len(paced.answers)
        run = store.start("model_download", **options)
        time.sleep(moment)
        stop(run)
        read = paced.read_by_client()
        kill(run)
        assert partial(store) == []
        assert {answer.start for answer in paced.answers[before:]} <= {kept}
        stage, kept = on_disk(store, model_file)
        stages[stage] += 1
        if stage == "growing" and read is not None:
            # It takes at most so much at a time, through a buffer, and writes it at once.
            assert read - kept <= READ_BYTES + io.DEFAULT_BUFFER_SIZE
        if stage == "visible":
            assert "failed" not in store.run("model_download", **options)
            assert store.leftovers() == []
            store.run("model_download", name="tiny", state="absent")
            assert store.visible() == store.leftovers() == []
    print(f"download of {seconds:.2f} s, killed in the stages {dict(stages)}")
    assert "failed" not in store.run("model_download", **options)
    assert len(store.visible()) == 2
    assert partial(store) == []
    assert store.leftovers() == []


def job_states(engine: docker.DockerClient, source: Path) -> list[str]:
    """Of the containers that quantize the file; one that is being removed can be listed, but not inspected."""
    key = f"int8-{sha256(source.read_bytes())}"
    found = engine.api.containers(all=True, filters={"label": f"{JOB_LABEL}.key={key}"})
    return [container["State"] for container in found]


@pytest.fixture
def half(engine: docker.DockerClient, tmp_path: Path) -> Path:
    """A model in F16 that is no other test's."""
    try:
        engine.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"{IMAGE} is not built")
    return write_model(tmp_path / "tiny.gguf", "F16", layers=LAYERS, fill=str(tmp_path).encode())


def assert_made(store: Store, engine: docker.DockerClient, source: Path, result: dict[str, Any]) -> None:
    assert "failed" not in result, result
    assert len(store.visible()) == 2
    assert partial(store) == []
    assert job_states(engine, source) == []
    assert store.leftovers() == []


def test_a_quantization_that_is_killed_at_any_moment_is_made_by_the_next_run(
    store: Store, engine: docker.DockerClient, half: Path
) -> None:
    options = {"path": str(half), "state": "present", "image": IMAGE}
    seconds = timed(store, "model_quantization", **options)
    shutil.rmtree(store.root)
    stages: Counter[str] = Counter()
    for moment in moments(seconds, seed=8):
        run = store.start("model_quantization", **options)
        time.sleep(moment)
        kill(run)
        assert partial(store) == []
        states = job_states(engine, half)
        stages["visible" if store.visible() else f"container {states[0]}" if states else "no container"] += 1
        if store.visible():
            assert_made(store, engine, half, store.run("model_quantization", **options))
            shutil.rmtree(store.root)
    print(f"quantization of {seconds:.2f} s, killed in the stages {dict(stages)}")
    assert_made(store, engine, half, store.run("model_quantization", **options))


def test_a_run_that_waits_for_one_that_is_killed_quantizes_instead(
    store: Store, engine: docker.DockerClient, half: Path
) -> None:
    """It begins at once, while the engine may still be at what the killed one asked for."""
    options = {"path": str(half), "state": "present", "image": IMAGE}
    seconds = timed(store, "model_quantization", **options)
    shutil.rmtree(store.root)
    for moment in moments(seconds, seed=9):
        run, next_run = (store.start("model_quantization", **options) for _ in range(2))
        time.sleep(moment)
        kill(run)
        assert_made(store, engine, half, next_run.result())
        shutil.rmtree(store.root)


@pytest.fixture
def deadly(tmp_path: Path, store: Store) -> Iterator[Callable[..., bool]]:
    """Runs a module that is killed before its step of the given number; false if it has ended before."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(DEADLY)
    usual = store.environment

    def run(step: int, module: str, **options: Any) -> bool:
        path = f"{shadow}{os.pathsep}{COLLECTIONS_ROOT}"
        store.environment = {"PYTHONPATH": path, "KILL_BELOW": str(store.root), "KILL_BEFORE_STEP": str(step)}
        started = store.start(module, **options)
        store.environment = usual
        output, errors = started.process.communicate()
        assert started.process.returncode in (0, -signal.SIGKILL), output + errors
        return started.process.returncode != 0

    return run


def assert_each_step_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, module: str, **options: Any
) -> None:
    """`prepared` is what the models' directory holds beforehand. Tells all the steps after which something is wrong."""
    shown, left, outcomes = {}, {}, {}
    shutil.copytree(prepared, store.root)
    before = partial(store)
    shutil.rmtree(store.root)
    for step in itertools.count():
        shutil.copytree(prepared, store.root)
        if not deadly(step, module, **options):
            break
        shown[step] = partial(store)
        assert "failed" not in store.run(module, **options)
        # All of a removed model may be gone, whose empty lock then stays for prune.
        left[step] = partial(store) + [name for name in store.leftovers() if not name.endswith(".lock")]
        outcomes[step] = store.visible()
        shutil.rmtree(store.root)
    assert {step: what for step, what in shown.items() if what not in ([], before)} == {}
    assert {step: what for step, what in left.items() if what} == {}
    assert set(map(tuple, outcomes.values())) == {tuple(store.visible())}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    return folder


def test_each_step_of_a_download_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, server: FaultServer, model_file: ModelFile
) -> None:
    options = {"name": "tiny", "sha256": model_file.sha256, "source": server.url}
    assert_each_step_may_be_the_last(store, deadly, prepared, "model_download", **options)


def test_each_step_of_a_split_download_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, server: FaultServer
) -> None:
    split = SplitModel(server, [part(number) for number in range(COUNT)])
    assert_each_step_may_be_the_last(store, deadly, prepared, "model_download", **split.options())


@pytest.mark.parametrize("change", [{"name": "other"}, {"verify": True}], ids=["another name", "a repair"])
def test_each_step_of_a_change_of_a_split_model_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, server: FaultServer, change: dict[str, Any]
) -> None:
    split = SplitModel(server, [part(number) for number in range(COUNT)])
    first = store.run("model_download", **split.options())["path"]
    if "verify" in change:
        Path(first).write_bytes(split.contents[1])
    prepared.rmdir()
    store.root.rename(prepared)
    assert_each_step_may_be_the_last(store, deadly, prepared, "model_download", **split.options(**change))


def test_each_step_of_a_removal_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, server: FaultServer
) -> None:
    split = SplitModel(server, [part(number) for number in range(COUNT)])
    store.run("model_download", **split.options())
    prepared.rmdir()
    store.root.rename(prepared)
    options = {"name": "house", "state": "absent"}
    assert_each_step_may_be_the_last(store, deadly, prepared, "model_download", **options)


def test_each_step_of_a_quantization_may_be_the_last(
    store: Store, deadly: Callable[..., bool], prepared: Path, engine: docker.DockerClient, half: Path
) -> None:
    options = {"path": str(half), "state": "present", "image": IMAGE}
    assert_each_step_may_be_the_last(store, deadly, prepared, "model_quantization", **options)
    assert job_states(engine, half) == []
