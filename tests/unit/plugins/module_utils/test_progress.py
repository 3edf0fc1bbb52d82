# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _progress

PLUGINS = Path(_progress.__file__).parent


def test_bytes_show_share_rate_and_time_left() -> None:
    line = _progress.describe("demo.gguf", 45_000_000, 100_000_000, seconds=4.0, new=40_000_000)
    assert line == "demo.gguf: 45% of 100.0 MB, 10.0 MB/s, 6 s left"


def test_a_resumed_step_counts_only_what_is_new() -> None:
    line = _progress.describe("demo.gguf", 91_000_000, 100_000_000, seconds=10.0, new=1_000_000)
    assert line == "demo.gguf: 91% of 100.0 MB, 100.0 kB/s, 1 min 30 s left"


def test_without_a_total_only_amount_and_rate_are_known() -> None:
    assert _progress.describe("tar", 2_500, None, seconds=1.0, new=2_500) == "tar: 2.5 kB, 2.5 kB/s"


def test_a_finished_step_has_no_time_left() -> None:
    assert _progress.describe("x", 8, 8, seconds=2.0, new=8, unit="tensors") == "x: 100% of 8 tensors, 4 tensors/s"


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    progress = _progress.Progress(None)
    progress.update("x", 1, 2)
    progress.close()
    assert list(tmp_path.iterdir()) == []


def run_job(directory: Path, body: str) -> subprocess.Popen[bytes]:
    """A process of its own, with its own process group, as async_wrapper starts a module."""
    script = (
        f"import sys, time; sys.path.insert(0, {str(PLUGINS)!r}); import _progress, subprocess\n"
        f"progress = _progress.Progress({str(directory / 'progress')!r})\n{body}"
    )
    return subprocess.Popen([sys.executable, "-c", script], start_new_session=True)


def wait_for(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "progress"
    path.mkdir()
    (path / "progress.lease").touch()
    return path


def test_the_last_line_is_there_even_if_the_step_then_goes_quiet(directory: Path) -> None:
    body = "[progress.message(f'step {n}') for n in range(1000)]\ntime.sleep(30)"
    job = run_job(directory, body)
    try:
        wait_for(lambda: (directory / "progress").exists() and (directory / "progress").read_text() == "step 999\n")
        assert (directory / "progress.lease").read_text() == str(job.pid)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def test_a_job_that_ends_gives_its_lease_back(directory: Path) -> None:
    assert run_job(directory, "progress.message('done')").wait(timeout=10) == 0
    assert [entry.name for entry in directory.iterdir()] == ["progress"]


def test_a_job_without_a_lease_cleans_up_and_ends_with_its_children(directory: Path, tmp_path: Path) -> None:
    marker = tmp_path / "cleaned"
    body = (
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"try:\n    print(child.pid, flush=True); open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "    time.sleep(60)\n"
        f"finally:\n    child.wait(); open({str(marker)!r}, 'w').close()"
    )
    job = run_job(directory, body)
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
    (directory / "progress.lease").unlink()
    assert job.wait(timeout=10) == 128 + signal.SIGTERM
    assert marker.exists()
    assert not directory.exists()
    child = (tmp_path / "child").read_text()
    assert not Path("/proc", child).exists()


def test_a_job_whose_lease_is_old_ends(directory: Path) -> None:
    job = run_job(directory, "time.sleep(60)")
    old = time.time() - _progress.LEASE_SECONDS - 1
    wait_for(lambda: (directory / "progress.lease").read_text() != "")
    os.utime(directory / "progress.lease", (old, old))
    assert job.wait(timeout=10) == 128 + signal.SIGTERM
