# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _image_engine as engine


class Lines:
    """Takes the place of Progress and keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Lines()


STEP = {"stream": "Step 3/9 : RUN make"}


def test_a_person_sees_the_step_and_its_newest_line(lines: Lines) -> None:
    log = engine.BuildLog("llm/model:1", lines)
    items = [
        STEP,
        {"stream": "\n"},
        {"stream": " ---> 1a2b\n"},
        {"stream": "[ 31%] Building"},
        {"stream": " C object\n"},
    ]
    assert log.follow([*items, {"stream": "a\rb\x1b[0m\n"}, {"aux": {"ID": "sha256:1"}}]) == "sha256:1"
    assert lines.said == ["step 3/9: RUN make", "step 3/9: [ 31%] Building C object", "step 3/9: b"]


def test_a_done_build_leaves_no_log(lines: Lines, tmp_path: Path) -> None:
    log = engine.BuildLog("llm/model:1", lines)
    log.follow([STEP])
    log.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_build_names_step_and_reason_and_keeps_the_whole_log(lines: Lines) -> None:
    log = engine.BuildLog("llm/model:1", lines)
    noise = [{"stream": f"line {number}\n"} for number in range(100)]
    with pytest.raises(engine.ImageError) as caught:
        log.follow([STEP, {"stream": "\n"}, *noise, {"error": "returned a\nnon-zero code: 2"}])
    message = str(caught.value)
    assert message.startswith(
        "Building the image llm/model:1 failed in step 3/9 (RUN make): returned a non-zero code: 2"
    )
    assert caught.value.details["log"][-3:] == ["line 99", "returned a", "non-zero code: 2"]
    assert len(caught.value.details["log"]) == engine.LOG_TAIL_LINES
    assert "line 0\n" in Path(caught.value.details["log_file"]).read_text()


def test_proxies_are_handed_over_in_both_spellings() -> None:
    given = {"HTTP_PROXY": "http://one:1", "no_proxy": "localhost", "HOME": "/root", "https_proxy": ""}
    assert engine.proxy_build_args(given) == {
        "http_proxy": "http://one:1",
        "HTTP_PROXY": "http://one:1",
        "no_proxy": "localhost",
        "NO_PROXY": "localhost",
    }
