# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import without_secrets
from ansible_collections.llm.orchestrator.plugins.plugin_utils._lockfile import LockEntry, Lockfile
from ansible_collections.llm.orchestrator.plugins.plugin_utils._progress_action import ProgressActionBase


class ActionModule(ProgressActionBase):
    """model_download, with its progress shown; its lockfile is on the controller, so it is read and written here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        args = self._task.args
        path = args.get("lockfile")
        if not path or args.get("state", "present") != "present":
            return super().run(tmp, task_vars)
        lockfile = Lockfile(self._loader.path_dwim(path))
        locked = lockfile.entry(str(args.get("name")))
        updating = boolean(args.get("update_lock", False), strict=False)
        if locked:
            self._task.args = pinned(args, locked, updating, lockfile)
        try:
            result = super().run(tmp, task_vars)
        finally:
            self._task.args = args
        trusting = boolean(args.get("trust_on_first_use", False), strict=False)
        if result.get("failed") or not (updating or (trusting and not locked)):
            return result
        return result | self._write(lockfile, locked, result)

    def _write(self, lockfile: Lockfile, locked: LockEntry | None, result: dict[str, Any]) -> dict[str, Any]:
        """What changes in the result as the lockfile gets what the module found."""
        pin = result.get("pin")
        if not pin:
            # In check mode nobody knows what would come.
            return {}
        entry = LockEntry(
            **{field.name: pin[field.name] for field in fields(LockEntry)} | {"parts": tuple(pin["parts"])}
        )
        if entry == locked:
            return {}
        name, before = str(self._task.args["name"]), lockfile.text()
        diff = {
            "before_header": str(lockfile.path),
            "after_header": str(lockfile.path),
            "before": before,
            "after": lockfile.planned(name, entry),
        }
        if not self._task.check_mode:
            lockfile.write(name, entry, locked)
        return {"changed": True, "diff": [result["diff"], diff]}


def pinned(args: dict[str, Any], locked: LockEntry, updating: bool, lockfile: Lockfile) -> dict[str, Any]:
    """The arguments with what the lockfile says; fails where the task says otherwise."""
    if updating:
        return {"source": locked.source, **args}
    told: dict[str, Any] = {"source": locked.source, "sha256": locked.digests}
    if without_secrets(str(args.get("source"))) == locked.source:
        told["source"] = args["source"]
    for key, value in told.items():
        given = args.get(key)
        if given not in (None, "", [], value) and [given] != value:
            raise AnsibleActionFail(
                f"{args.get('name')}: {key} is {_shown(given)}, and {lockfile.path} says {_shown(value)}: change one of"
                " them, or refresh the lockfile with update_lock"
            )
    if locked.revision and locked.source.startswith("hf://"):
        told["revision"] = locked.revision
    return args | told


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
