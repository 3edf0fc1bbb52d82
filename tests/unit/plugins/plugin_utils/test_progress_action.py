# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A collection with one slow module, run by the real ansible-playbook: what a person sees, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.llm.orchestrator.plugins.plugin_utils._progress_action import ProgressLines, poll_command

MODULE = """\
#!/usr/bin/python
from __future__ import annotations
import os, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress

def main():
    module = AnsibleModule(dict(
        steps=dict(type="int", default=0), how=dict(default="ok"), pid_file=dict(type="path"), **PROGRESS_ARGS
    ), supports_check_mode=True)
    if module.check_mode or not module.params["steps"]:
        module.exit_json(changed=module.check_mode, shown=bool(module.params["progress_file"]))
    progress = Progress(module.params["progress_file"])
    if module.params["pid_file"]:
        with open(module.params["pid_file"], "w") as stream:
            stream.write(str(os.getpid()))
    for step in range(module.params["steps"]):
        progress.message(f"step {step}")
        time.sleep(1)
    if module.params["how"] == "fail":
        module.fail_json(msg="The disk is full: free 3 GB in /models", path="/models")
    if module.params["how"] == "die":
        os.kill(os.getpid(), 9)
    module.exit_json(changed=True, answer=42)

main()
"""
ACTION = (
    "from ansible_collections.llm.orchestrator.plugins.plugin_utils._progress_action import ProgressActionBase\n"
    "class ActionModule(ProgressActionBase):\n    pass\n"
)


@pytest.fixture
def playbook(tmp_path: Path):
    """Start ansible-playbook on one task; its output goes to a file."""
    root = tmp_path / "collections/ansible_collections/test/slow/plugins"
    for kind, text in (("modules", MODULE), ("action", ACTION)):
        (root / kind).mkdir(parents=True)
        (root / kind / "slow.py").write_text(text)
    collections = [str(tmp_path / "collections")]
    collections += [path for path in sys.path if (Path(path) / "ansible_collections/llm/orchestrator").is_dir()]
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": ":".join(collections),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_ASYNC_DIR": str(tmp_path / "jobs"),
        "TMPDIR": str(tmp_path / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "PYTHONUNBUFFERED": "1",
    }
    (tmp_path / "tmp").mkdir()

    def start(*options: str, **arguments: object) -> subprocess.Popen[str]:
        task = {"name": "Slow", "test.slow.slow": arguments, "register": "out"}
        show = {"name": "Show", "ansible.builtin.debug": {"var": "out"}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task, show]}
        play["vars"] = {"ansible_python_interpreter": sys.executable}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml"), *options],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def nothing_left(tmp_path: Path) -> bool:
    leftovers = [*(tmp_path / "tmp").iterdir(), *(tmp_path / "jobs").glob("*"), *(tmp_path / "remote").glob("*")]
    return [entry for entry in leftovers if not entry.name.startswith("ansible-local-")] == []


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def test_lines_appear_while_the_module_runs_and_its_result_is_the_tasks(playbook, tmp_path: Path) -> None:
    run = playbook(steps=4)
    output = run.communicate(timeout=300)[0]
    assert run.returncode == 0, output
    assert "  [localhost] slow: step " in output
    assert output.index("  [localhost] slow: step ") < output.index("changed: [localhost]")
    assert "answer: 42" in output
    assert "ansible_job_id" not in output
    wait_until(lambda: nothing_left(tmp_path), 60)


def test_a_module_with_nothing_to_do_shows_nothing(playbook) -> None:
    output = playbook(steps=0).communicate(timeout=300)[0]
    assert "ok: [localhost]" in output
    assert "[localhost] slow" not in output


def test_a_failure_keeps_its_message_and_leaves_nothing(playbook, tmp_path: Path) -> None:
    run = playbook(steps=1, how="fail")
    output = run.communicate(timeout=300)[0]
    assert run.returncode == 2
    assert "The disk is full: free 3 GB in /models" in output
    assert "path: /models" in output
    wait_until(lambda: nothing_left(tmp_path), 60)


def test_a_module_that_is_killed_is_a_failure(playbook) -> None:
    run = playbook(steps=1, how="die")
    output = run.communicate(timeout=300)[0]
    assert run.returncode == 2, output


def test_wrong_arguments_are_reported_as_by_any_module(playbook) -> None:
    output = playbook(stepz=1).communicate(timeout=300)[0]
    assert "Unsupported parameters" in output


def test_check_mode_runs_the_module_once_without_progress(playbook, tmp_path: Path) -> None:
    run = playbook("--check", steps=5)
    output = run.communicate(timeout=300)[0]
    assert run.returncode == 0
    assert "shown: false" in output
    assert "step" not in output.split("TASK [Show]")[0].split("TASK [Slow]")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_takes_its_module_along(playbook, tmp_path: Path, number: int) -> None:
    pid_file = tmp_path / "pid"
    run = playbook(steps=120, pid_file=str(pid_file))
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", 30)
    run.send_signal(number)
    run.communicate(timeout=30)
    wait_until(lambda: not Path("/proc", pid_file.read_text()).exists(), 45)
    wait_until(lambda: not list((tmp_path / "tmp").glob("ansible-llm-progress*")), 10)


def test_lines_are_new_or_a_sign_of_life() -> None:
    lines = ProgressLines("> ", now=0.0)
    assert lines.next("", 0.5) is None
    assert lines.next("one", 1.0) == "> one"
    assert lines.next("two", 2.0) is None
    assert lines.next("three", 6.0) == "> three"
    assert lines.next("three", 20.0) is None
    assert lines.next("three", 36.0) == "> three (for 30 s)"
    assert lines.next("three", 40.0) is None
    assert lines.next("four", 41.5) == "> four"


@pytest.mark.parametrize(
    ("job", "lease", "going_on"),
    [
        ('{"started": true, "finished": false}', "", True),
        ('{"started": 1, "finished": 0}', str(os.getpid()), True),
        ('{"started": true, "finished": false}', "4194999", False),
        ('{"changed": true}', "", False),
        ('{"started": true, "finished": false}', None, False),
    ],
)
def test_the_poll_knows_whether_the_job_goes_on(tmp_path: Path, job: str, lease: str | None, going_on: bool) -> None:
    (tmp_path / "job").write_text(job)
    if lease is not None:
        (tmp_path / "progress.lease").write_text(lease)
    command = poll_command(str(tmp_path / "progress"), str(tmp_path / "job"))
    assert (subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0) == going_on
