# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Terraform roots that have outputs only, so that they need no provider and no network, and Ansible's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FLEET: dict[str, Any] = {
    "version": 1,
    "hosts": {
        "gw-1": {"address": "10.0.1.10", "groups": ["gateway"], "vars": {"zone": "eu-1a"}},
        "model-1": {"address": "10.0.1.20", "groups": ["model_servers"], "vars": {"zone": "eu-1a", "memory_gib": 64}},
        "model-2": {"address": "10.0.1.21", "groups": ["model_servers"], "vars": {"zone": "eu-1b", "memory_gib": 16}},
    },
    "groups": {"model_servers": {"vars": {"slots": 8}}},
    "vars": {"ansible_user": "admin"},
}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


def environment(**changes: str) -> dict[str, str]:
    """Without what would make Terraform or Ansible look elsewhere."""
    names = [name for name in os.environ if not name.startswith(("TF_", "ANSIBLE_", "LLM_"))]
    collections = ":".join(entry for entry in sys.path if Path(entry, "ansible_collections/llm/orchestrator").is_dir())
    return {name: os.environ[name] for name in names} | {
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "ANSIBLE_NOCOLOR": "1",
        **changes,
    }


def run(command: list[str], directory: Path, env: Mapping[str, str] | None = None) -> Done:
    done = subprocess.run(
        command, cwd=directory, env=env or environment(), capture_output=True, text=True, timeout=120, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Root:
    """A directory of Terraform."""

    directory: Path

    def write(self, outputs: Mapping[str, Any], backend: str = "", sensitive: bool = False) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        blocks = {name: {"value": value, "sensitive": sensitive} for name, value in outputs.items()}
        configuration: dict[str, Any] = {"output": blocks}
        if backend:
            configuration["terraform"] = {"backend": {backend: {}}}
        # Terraform would take ${ and %{ in JSON for templates of its own.
        text = json.dumps(configuration).replace("${", "$${").replace("%{", "%%{")
        (self.directory / "main.tf.json").write_text(text)

    def terraform(self, *arguments: str) -> str:
        done = run(["terraform", *arguments], self.directory)
        assert done.status == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, outputs: Mapping[str, Any], **options: Any) -> None:
        self.write(outputs, **options)
        self.terraform("init", "-input=false")
        self.terraform("apply", "-auto-approve", "-input=false")


@dataclass(frozen=True)
class InventoryFile:
    """A file for the plugin, and Ansible's commands on it."""

    path: Path

    def write(self, **options: Any) -> InventoryFile:
        self.path.write_text(yaml.safe_dump({"plugin": "llm.orchestrator.terraform"} | options))
        return self

    def ansible(self, command: str, *arguments: str, **env: str) -> Done:
        # This one instead of the user's.
        self.path.with_name("ansible.cfg").touch()
        binary = str(Path(sys.executable).with_name(command))
        return run([binary, "-i", str(self.path), *arguments], self.path.parent, environment(**env))

    def graph(self, *arguments: str, **env: str) -> str:
        """What `ansible-inventory --graph` shows, without a warning."""
        done = self.ansible("ansible-inventory", "--graph", *arguments, **env)
        assert (done.status, done.stderr) == (0, ""), done
        return done.stdout

    def shown(self, *arguments: str) -> Any:
        """What `ansible-inventory` answers in JSON, less the mark that text has which is no template."""
        done = self.ansible("ansible-inventory", *arguments)
        assert (done.status, done.stderr) == (0, ""), done
        return json.loads(done.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))

    def error(self, *arguments: str, **env: str) -> str:
        """The one line with which `ansible-inventory` fails, less the file's name."""
        done = self.ansible("ansible-inventory", "--graph", *arguments, **env)
        assert (done.status, done.stdout) == (4, ""), done
        (line,) = done.stderr.strip().splitlines()
        _, _, message = line.partition(f"{self.path}: ")
        assert message, line
        return message
