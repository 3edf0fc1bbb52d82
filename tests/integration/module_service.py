# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""container_service as the target's Python runs it, whatever its engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils import _engine

IMAGE = "llm-orchestrator/base:0.1.0"
COLLECTIONS_ROOT = Path(_engine.__file__).parents[5]
MODULES = "ansible_collections.llm.orchestrator.plugins.modules"
ENDS_ON_SIGTERM = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"
# Its limits are for a busy machine; a test of a limit has its own.
WORKLOAD: dict[str, Any] = {
    "image": IMAGE,
    "command": ["python3", "-c", ENDS_ON_SIGTERM],
    "healthcheck": {"test": ["CMD", "true"], "interval": 0.2, "timeout": 60, "retries": 2, "start_period": 0},
    "resources": {"memory": "64m", "cpus": 0.5},
    "stop_timeout": 3,
    "update": {"ready_timeout": 90},
}


@dataclass
class ModuleService:
    """One service of a test, as the modules are asked for it; more_options go to both."""

    name: str
    secrets_dir: Path
    more_options: dict[str, Any] = field(default_factory=dict)
    python_path: list[str] = field(default_factory=lambda: [str(COLLECTIONS_ROOT)])

    def command(self, module: str, arguments: dict[str, Any]) -> tuple[list[str], str]:
        """A command line and what it reads from its standard input."""
        return [sys.executable, "-m", f"{MODULES}.{module}"], json.dumps({"ANSIBLE_MODULE_ARGS": arguments})

    def arguments(self, state: str = "present", check: bool = False, **options: Any) -> dict[str, Any]:
        described = WORKLOAD if state == "present" else {}
        common = {"name": self.name, "state": state, "secrets_dir": str(self.secrets_dir)}
        return {**described, **common, **self.more_options, **options, "_ansible_check_mode": check}

    def start(self, module: str, arguments: dict[str, Any]) -> subprocess.Popen[str]:
        command, text = self.command(module, arguments)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(self.python_path)}
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        output, errors = self.start(module, arguments).communicate(timeout=300)
        assert output, errors
        result: dict[str, Any] = json.loads(output)
        return result

    def ensure(self, state: str = "present", check: bool = False, **options: Any) -> dict[str, Any]:
        result = self.run("container_service", self.arguments(state, check, **options))
        assert not result.get("failed"), result
        return result

    def refuse(self, state: str = "present", **options: Any) -> dict[str, Any]:
        """A run that has to fail, with one line."""
        result = self.run("container_service", self.arguments(state, **options))
        assert result.get("failed"), result
        assert result["msg"].startswith(f"service {options.get('name', self.name)}: "), result["msg"]
        assert "\n" not in result["msg"]
        return result

    def info(self) -> dict[str, Any]:
        (service,) = self.run("container_service_info", {**self.more_options, "name": self.name})["services"]
        return dict(service)
