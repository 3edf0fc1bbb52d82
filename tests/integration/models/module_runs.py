# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model modules as the target's Python runs them, models for them to work on, and disks that are full."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils import _gguf
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import model

COLLECTIONS_ROOT = Path(_gguf.__file__).parents[5]
MODULES = "ansible_collections.llm.orchestrator.plugins.modules"
DATA_BYTES = 8 << 20
FILL_ATTEMPTS = 20


class ModuleRun:
    """One run of a module in a process of its own."""

    def __init__(self, module: str, arguments: dict[str, Any], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{MODULES}.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(COLLECTIONS_ROOT), **environment},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        self.process.stdin.close()
        self.process.stdin = None

    def result(self, timeout: float = 120) -> dict[str, Any]:
        output, errors = self.process.communicate(timeout=timeout)
        assert "Traceback" not in errors, errors
        result: dict[str, Any] = json.loads(output)
        assert result.get("failed", False) == (self.process.returncode != 0)
        return result

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Store:
    """A models_dir and the modules that work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}

    def start(self, module: str, *, check: bool = False, **options: Any) -> ModuleRun:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
        if module != "model_info":
            arguments.setdefault("models_dir", str(self.root))
        return ModuleRun(module, arguments, self.environment)

    def run(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        return self.start(module, check=check, **options).result()

    def visible(self) -> list[str]:
        """All that is under the models' directory, less work in progress."""
        files = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return sorted(str(path) for path in files if path.parts[0] != ".partial")

    def leftovers(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in (self.root / ".partial").rglob("*"))


class ModelFile:
    """A model of 8 MiB or as many bytes as given, different in each test."""

    def __init__(self, seed: int, data_bytes: int = DATA_BYTES) -> None:
        whole = model({"a.weight": ((1024, data_bytes // 4096), "F32")}, file_type=0)
        self.content = whole[:-data_bytes] + random.Random(seed).randbytes(data_bytes)
        self.sha256 = hashlib.sha256(self.content).hexdigest()


class Disk:
    """A file system of its own, with a store in which another model lies already."""

    def __init__(self, mount: Path, neighbour: Path) -> None:
        self.mount = mount
        self.filler = mount / "filler"
        self.store = Store(mount / "models")
        self.neighbour = ModelFile(9)
        neighbour.write_bytes(self.neighbour.content)
        source = {"source": f"file://{neighbour}", "sha256": self.neighbour.sha256}
        assert self.store.run("model_download", name="neighbour", **source)["changed"]
        self.visible = self.store.visible()

    def fill(self, free: int = 0) -> None:
        """Leave this much of it free, as another process might.

        A module that writes at this very moment takes room that was just counted, hence more than one try. What it
        writes is bounded.
        """
        with open(self.filler, "ab") as filler:
            for attempt in range(FILL_ATTEMPTS):
                status = os.statvfs(self.mount)
                try:
                    os.posix_fallocate(filler.fileno(), filler.tell(), status.f_bavail * status.f_frsize - free)
                    return
                except OSError as error:
                    if error.errno != errno.ENOSPC or attempt == FILL_ATTEMPTS - 1:
                        raise

    def leave_files(self, count: int) -> None:
        """As many files and directories can be made yet."""
        status = os.statvfs(self.mount)
        limit = f"remount,nr_inodes={status.f_files - status.f_ffree + count}"
        subprocess.run(["mount", "-o", limit, str(self.mount)], check=True)
