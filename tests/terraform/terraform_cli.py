# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The terraform command, on copies of this project's configuration.

The AWS provider comes from a mirror on this machine's disk where there is one, else from where ``terraform init`` gets
it; then it is kept in .cache, so that it comes once.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PROJECT = Path(__file__).parents[2]
CONFIGURATION = PROJECT / "terraform"

#: What each module's or root's directory is, below terraform/.
MODULES = tuple(sorted(f"modules/{path.name}" for path in (CONFIGURATION / "modules").iterdir() if path.is_dir()))
EXAMPLES = tuple(sorted(f"examples/{path.name}" for path in (CONFIGURATION / "examples").iterdir() if path.is_dir()))
DIRECTORIES = (*MODULES, "aws", *EXAMPLES)

_PROVIDER = "hashicorp/aws"
_MIRROR_DEPTH = 6
_LIMIT_SECONDS = 600
_START_SECONDS = 60


class TerraformError(Exception):
    """A command that failed; its text is what terraform said."""


@functools.cache
def mirror() -> Path | None:
    """The directory that holds ``<registry>/hashicorp/aws/<version>/<platform>/``, if there is one on the disk."""
    found = subprocess.run(
        ["find", "/", "-xdev", "-maxdepth", str(_MIRROR_DEPTH), "-type", "d", "-path", f"*/{_PROVIDER}"],
        capture_output=True,
        text=True,
        check=False,  # a directory that may not be read
    )
    for line in sorted(found.stdout.splitlines()):
        if list(Path(line).glob("5.*/*/terraform-provider-aws*")):
            return Path(line).parents[2]
    return None


def provider_cache() -> Path:
    """The directory in which terraform keeps providers."""
    cache = PROJECT / ".cache" / "terraform-plugins"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def environment() -> dict[str, str]:
    """What terraform runs with: nothing of this machine's AWS, and no settings file that isn't there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if not Path(kept.get("TF_CLI_CONFIG_FILE", "/dev/null")).exists():
        del kept["TF_CLI_CONFIG_FILE"]
    return kept | {"TF_IN_AUTOMATION": "1", "TF_PLUGIN_CACHE_DIR": str(provider_cache()), "CHECKPOINT_DISABLE": "1"}


@contextmanager
def running_provider(directory: Path) -> Iterator[dict[str, str]]:
    """The environment in which terraform uses one provider that runs already.

    Else each ``run`` of a test starts its own, which takes most of its time. For commands that ask the provider about
    schemas and rules alone: it knows no AWS. ``directory`` is one that was initialised.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([str(_provider(directory)), "-debug"], stdout=said, env=environment())
        try:
            yield {"TF_REATTACH_PROVIDERS": _address(process, said)}
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], said: IO[str]) -> str:
    """What the provider says of where it is, once it is there."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        said.seek(0)
        if found := re.search(r"TF_REATTACH_PROVIDERS='(.+)'", said.read()):
            return found[1]
        time.sleep(0.2)
    raise TerraformError(f"the provider did not start within {_START_SECONDS} s: {process.args!r}")


def _provider(directory: Path) -> Path | None:
    """The provider that ``init`` put into the directory."""
    return next(directory.glob(f".terraform/providers/*/{_PROVIDER}/*/*/terraform-provider-aws*"), None)


def copy_configuration(target: Path) -> Path:
    """A copy of terraform/ with what ``init`` made in it."""
    shutil.copytree(CONFIGURATION, target, symlinks=True, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return target


@dataclass(frozen=True)
class Terraform:
    """The command in one directory."""

    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)
    extra_environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Runs it without asking anything; TerraformError unless it exits with one of ``allowed``."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=environment() | self._unverified_provider() | self.extra_environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
        if done.returncode not in allowed:
            raise TerraformError(f"terraform {' '.join(arguments)} in {self.directory}:\n{done.stdout}{done.stderr}")
        return done

    def init(self) -> None:
        """Makes the directory ready; one at a time, as the directory of kept providers is safe for one alone."""
        found = mirror()
        with (provider_cache() / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.run("init", "-input=false", "-no-color", *([f"-plugin-dir={found}"] if found else []))

    def apply(self, *targets: str, **variables: Any) -> None:
        """Makes all of it true, or what the targets need."""
        chosen = [f"-target={target}" for target in targets]
        self.run("apply", "-auto-approve", "-input=false", "-no-color", *chosen, *self._arguments(variables))

    def destroy(self, **variables: Any) -> None:
        self.run("destroy", "-auto-approve", "-input=false", "-no-color", *self._arguments(variables))

    def plan(self, **variables: Any) -> dict[str, list[str]]:
        """What an apply would do: actions by the resource's address, less what stays and what is only read."""
        file = self.directory / "wanted.tfplan"
        self.run("plan", f"-out={file}", "-input=false", "-no-color", *self._arguments(variables))
        shown = json.loads(self.run("show", "-json", str(file)).stdout)
        return {
            change["address"]: change["change"]["actions"]
            for change in shown.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    def outputs(self) -> dict[str, Any]:
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json").stdout).items()}

    def _unverified_provider(self) -> dict[str, str]:
        """Has terraform take what ``init`` put there as it is; else each command reads the provider's 700 MB."""
        found = _provider(self.directory)
        if found is None:
            return {}
        settings = self.directory / ".terraform" / "provider.tfrc"
        overrides = f'dev_overrides {{\n    "{_PROVIDER}" = "{found.parent.resolve()}"\n  }}'
        settings.write_text(f"provider_installation {{\n  {overrides}\n  direct {{}}\n}}\n")
        return {"TF_CLI_CONFIG_FILE": str(settings)}

    def _arguments(self, variables: dict[str, Any]) -> list[str]:
        given = self.variables | variables
        return [
            f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()
        ]
