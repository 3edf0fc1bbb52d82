# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin base that shows what its module is doing while it runs (see module_utils/_progress.py)."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import LEASE_SECONDS, LEASE_SUFFIX

POLL_SECONDS = 1.5
LINE_SECONDS = 5.0
SILENCE_SECONDS = 30.0
# async_wrapper wants a limit; what takes longer than a day has its own time limits.
JOB_LIMIT_SECONDS = 24 * 3600
# What the async machinery adds to a module's result.
JOB_KEYS = ("ansible_job_id", "results_file", "started", "finished", "stdout", "stdout_lines", "stderr", "stderr_lines")


class ProgressLines:
    """Decides which of the polled lines a person gets to see: the new ones, and now and then that it still goes on."""

    def __init__(self, prefix: str, now: float) -> None:
        self._prefix = prefix
        self._shown = ""
        self._shown_at = now - LINE_SECONDS
        self._since = now

    def next(self, text: str, now: float) -> str | None:
        """The line to print for the newest text, if any. Times are in seconds."""
        if not text:
            return None
        if text != self._shown:
            if now - self._shown_at < LINE_SECONDS:
                return None
            self._shown, self._shown_at, self._since = text, now, now
            return self._prefix + text
        if now - self._shown_at < SILENCE_SECONDS:
            return None
        self._shown_at = now
        return f"{self._prefix}{text} (for {now - self._since:.0f} s)"


def poll_command(path: str, job_file: str) -> str:
    """A shell command that keeps the lease and prints the newest line, and fails once the job has ended.

    async_wrapper's file begins with "started" while the job runs and holds the result afterwards. The lease holds
    the module's process id, once it has one.
    """
    lease, progress, job = (shlex.quote(name) for name in (path + LEASE_SUFFIX, path, job_file))
    return (
        f"""{{ [ "$(head -c 10 {job})" = '{{"started"' ] && touch -c {lease} && pid=$(cat {lease})"""
        f""" && {{ [ -z "$pid" ] || kill -0 "$pid"; }} && {{ cat {progress} || :; }}; }} 2>/dev/null"""
    )


class ProgressActionBase(ActionBase):
    """Runs the module of the task's name; `title` says in a word what its lines are about."""

    _supports_check_mode = True
    _supports_async = True
    # Whether it is worth a look in check mode first: cheap, and mostly there is nothing to do.
    looks_first = False

    def title(self, args: dict[str, Any]) -> str:
        """What the progress lines are about, from the task's arguments."""
        return str(args.get("name") or self._task.action.rpartition(".")[2])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if self._task.check_mode or self._task.async_val or self._connection.has_native_async:
            wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
            return result | self._execute_module(module_args=args, task_vars=task_vars, wrap_async=wrap_async)

        if self.looks_first:
            planned = self._look(args, task_vars)
            if not planned.get("changed"):
                return result | planned
        return result | self._run_with_progress(args, task_vars)

    def _look(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self._task.check_mode = True
        try:
            return dict(self._execute_module(module_args=dict(args), task_vars=task_vars))
        finally:
            self._task.check_mode = False

    def _run_with_progress(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        directory = self._make_progress_directory()
        leftovers = [directory]
        try:
            job = self._start_job(args | {"progress_file": f"{directory}/progress"}, task_vars)
            if "ansible_job_id" in job:
                leftovers.append(job["results_file"])
                self._follow(f"{directory}/progress", job["results_file"], task_vars)
                job = self._wait_for_result(job["ansible_job_id"], task_vars)
        finally:
            # Without its lease a module that still runs ends itself.
            self._shell(f"rm -rf {' '.join(map(shlex.quote, leftovers))}")
        return {key: value for key, value in job.items() if key not in JOB_KEYS or (value and "std" in key)}

    def _shell(self, command: str) -> dict[str, Any]:
        return self._low_level_execute_command(command, sudoable=True)

    def _make_progress_directory(self) -> str:
        made = self._shell(
            'd=$(mktemp -d "${TMPDIR:-/tmp}/ansible-llm-progress.XXXXXX") && touch "$d/progress'
            f'{LEASE_SUFFIX}" && echo "$d"'
        )
        if made["rc"] != 0:
            raise AnsibleActionFail(f"Can't make a temporary directory on the target: {made['stderr'].strip()}")
        return str(made["stdout"].strip().splitlines()[-1])

    def _start_job(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self._task.async_val = JOB_LIMIT_SECONDS
        try:
            return dict(self._execute_module(module_args=args, task_vars=task_vars, wrap_async=True))
        finally:
            self._task.async_val = 0

    def _follow(self, path: str, job_file: str, task_vars: dict[str, Any] | None) -> None:
        """Show the module's lines until it has ended."""
        poll = poll_command(path, job_file)
        parent = os.getppid()
        started = reached = time.monotonic()
        host = self._task.delegate_to or (task_vars or {}).get("inventory_hostname", "")
        lines = ProgressLines(f"  [{host}] {self.title(self._task.args)}: ", started)
        while os.getppid() == parent:
            try:
                polled = self._shell(poll)
                reached = time.monotonic()
            except AnsibleConnectionFailure:
                # The job goes on while the lease lasts, so a short break of the network costs nothing.
                if time.monotonic() - reached > LEASE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            if polled["rc"] != 0:
                return
            line = lines.next(polled["stdout"].strip(), reached)
            if line:
                Display().display(line)
            # Short at first: most runs find nothing to do.
            time.sleep(min(POLL_SECONDS, 0.2 + (reached - started) / 4))
        raise AnsibleActionFail("ansible-playbook has gone away")

    def _wait_for_result(self, job_id: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The module's own result, once its job has written it."""
        deadline = time.monotonic() + LEASE_SECONDS
        while time.monotonic() < deadline:
            status = self._job_status(job_id, task_vars)
            if status.get("finished"):
                return status
            time.sleep(0.3)
        raise AnsibleActionFail(f"The module ended without a result (async job {job_id})")

    def _job_status(self, job_id: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        name = "ansible.legacy.async_status"
        task = Task.load({"action": name, "args": {"jid": job_id}, "environment": self._task.environment})
        handler = self._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        try:
            return dict(handler.run(task_vars=task_vars))
        finally:
            handler.cleanup(force=True)
