# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One output of Terraform or OpenTofu: through the command, from a saved JSON file, or from a state file.

Each way either returns the output's value or raises AnsibleParserError with one line that says why there is none. The
commands themselves answer `{}`, and don't fail, where there is no state, no such workspace or no output.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError

_COMMANDS = ("terraform", "tofu")
_CONFIGURATIONS = ("*.tf", "*.tf.json", "*.tofu", "*.tofu.json")
_STATE_VERSION = 4
# What a terminal would show as colours and frames.
_DECORATION = re.compile("\x1b\\[[0-9;]*m|[\u2500-\u257f]")
_MESSAGE_LENGTH = 600


@dataclass(frozen=True)
class TerraformProject:
    """A directory of Terraform, and how its command is run there.

    `binary` is a name or a path, by default whichever of terraform and tofu is there. `timeout` is in seconds.
    """

    directory: Path
    binary: str | None
    workspace: str | None
    timeout: float

    def output(self, name: str) -> Any:
        """The output's value, from the state of the selected workspace."""
        if not self.directory.is_dir():
            raise AnsibleParserError(
                f"project_path: {self.directory} is no directory; name the one with your Terraform root"
            )
        outputs = _parsed(
            self._run("output", "-json", "-no-color"), f"the answer of `{self._shown('output', '-json')}`"
        )
        if outputs == {}:
            raise AnsibleParserError(self._why_empty())
        where = f"the Terraform state of {self.directory} (workspace {self.selected_workspace()})"
        return _chosen(outputs, name, where)

    def selected_workspace(self) -> str:
        """Which workspace the command takes: the given one, or what `terraform workspace select` has left."""
        if self.workspace:
            return self.workspace
        with suppress(OSError, UnicodeDecodeError):
            return (self._data_directory() / "environment").read_text("utf-8").strip() or "default"
        return "default"

    def fingerprint(self) -> list[str]:
        """All that decides which state is read, without reading it: another list, another state."""
        backend = b""
        with suppress(OSError):
            backend = (self._data_directory() / "terraform.tfstate").read_bytes()
        arguments = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("TF_CLI_ARGS")]
        place = [os.path.realpath(self.directory), self.binary or "", self.selected_workspace()]
        return [*place, backend.decode("utf-8", "replace"), *arguments]

    def _data_directory(self) -> Path:
        return self.directory / os.environ.get("TF_DATA_DIR", ".terraform")

    def _why_empty(self) -> str:
        """What it is that isn't there, if the command knows no output at all."""
        if not any(next(self.directory.glob(pattern), None) for pattern in _CONFIGURATIONS):
            return f"{self.directory} has no Terraform configuration and no outputs; check project_path"
        place = f"workspace {self.selected_workspace()} of {self.directory}"
        if not self._run("state", "pull").strip():
            return f"there is no Terraform state in {place}; run terraform init and terraform apply, or check workspace"
        return f"the Terraform state in {place} has no outputs; run terraform apply there (it may have been destroyed)"

    def _run(self, *arguments: str) -> str:
        command = [self._found_binary(), *arguments]
        environment = os.environ | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        if self.workspace:
            environment["TF_WORKSPACE"] = self.workspace
        try:
            status, stdout, stderr = _completed(command, self.directory, environment, self.timeout)
        except OSError as error:
            raise AnsibleParserError(f"{command[0]} can't be run: {error.strerror}; check binary_path") from error
        except subprocess.TimeoutExpired as error:
            raise AnsibleParserError(
                f"`{self._shown(*arguments)}` didn't end within {self.timeout:g} s; run it by hand to see what it"
                " waits for, or raise timeout"
            ) from error
        if status != 0:
            raise AnsibleParserError(f"`{self._shown(*arguments)}` failed with exit code {status}: {_one_line(stderr)}")
        return stdout

    def _found_binary(self) -> str:
        for name in [self.binary] if self.binary else _COMMANDS:
            path = shutil.which(name)
            if path:
                return path
        if self.binary:
            raise AnsibleParserError(f"binary_path: there is no command {self.binary}; install it, or correct the path")
        raise AnsibleParserError(
            f"neither {' nor '.join(_COMMANDS)} is on PATH; install one, name it in binary_path, or read a file with"
            " output_file or state_file"
        )

    def _shown(self, *arguments: str) -> str:
        """The command as a person would type it."""
        name = os.path.basename(self.binary or self._found_binary())
        workspace = f"TF_WORKSPACE={self.workspace} " if self.workspace else ""
        return f"{workspace}{name} -chdir={self.directory} {' '.join(arguments)}"


def read_output_file(path: Path, name: str) -> Any:
    """The output's value from what `terraform output -json`, or that with the output's name, has written."""
    document = _parsed_file("output_file", path)
    if {"terraform_version", "outputs"} <= set(document):
        raise AnsibleParserError(f"{path} is a state; name it in state_file instead of output_file")
    if "format_version" in document:
        raise AnsibleParserError(
            f"{path} is the answer of terraform show; write it with terraform output -json instead"
        )
    # That of all outputs wraps each one, which the fields of our own don't look like.
    if all(_is_wrapped(output) for output in document.values()):
        return _chosen(document, name, str(path))
    return document


def read_state_file(path: Path, name: str) -> Any:
    """The output's value from a local state file of format version 4."""
    state = _parsed_file("state_file", path)
    if "encrypted_data" in state:
        raise AnsibleParserError(
            f"{path} is encrypted; read it with project_path, through the command that has the key"
        )
    if "backend" in state:
        raise AnsibleParserError(
            f"{path} only says where the state is kept, which is not in a file; read it with project_path instead"
        )
    version = state.get("version")
    if version != _STATE_VERSION:
        is_what = f"version {version}" if isinstance(version, int) else "no version of the format"
        raise AnsibleParserError(
            f"{path} has {is_what}, not {_STATE_VERSION}, which is what Terraform 0.12 and later and OpenTofu write"
        )
    outputs = state.get("outputs")
    if not isinstance(outputs, dict) or not all(_is_wrapped(output) for output in outputs.values()):
        raise AnsibleParserError(f"{path} is no state: its outputs are no object of outputs")
    return _chosen(outputs, name, f"the state {path}")


def _chosen(outputs: Any, name: str, where: str) -> Any:
    if not isinstance(outputs, dict) or not all(_is_wrapped(output) for output in outputs.values()):
        raise AnsibleParserError(f"{where} holds no outputs as terraform output -json writes them")
    if name not in outputs:
        there_are = f"there are {', '.join(sorted(outputs))}" if outputs else "there are no outputs at all"
        raise AnsibleParserError(
            f"{where} has no output {name} ({there_are}); add it to the Terraform root and run terraform apply"
        )
    return outputs[name]["value"]


def _is_wrapped(output: Any) -> bool:
    return isinstance(output, dict) and {"value", "type"} <= set(output)


def _parsed_file(option: str, path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise AnsibleParserError(f"{option}: {path} isn't there; write it, or correct the path") from error
    except OSError as error:
        raise AnsibleParserError(f"{option}: {path} can't be read: {error.strerror}") from error
    if not content.strip():
        raise AnsibleParserError(f"{option}: {path} is empty; the command that should have written it may have failed")
    document = _parsed(content, str(path))
    if not isinstance(document, dict):
        raise AnsibleParserError(f"{path} has to hold a JSON object")
    return document


def _parsed(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise AnsibleParserError(f"{where} is no JSON: {error.msg} in {place}") from error
    except UnicodeDecodeError as error:
        raise AnsibleParserError(f"{where} is no JSON: it isn't text in UTF-8, UTF-16 or UTF-32") from error


def _completed(
    command: list[str], directory: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, str, str]:
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            # With what it has started, which would keep the pipes open. Reading outputs holds no lock.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, stdout, stderr


def _one_line(stderr: str) -> str:
    """Terraform's own message without warnings before it, frames and line ends."""
    words = " ".join(_DECORATION.sub(" ", stderr).split())
    message = words[max(words.find("Error: "), 0) :] or "it said nothing"
    return message if len(message) <= _MESSAGE_LENGTH else message[:_MESSAGE_LENGTH] + " …"
