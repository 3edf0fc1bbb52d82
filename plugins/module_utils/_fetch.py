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

from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_http import Declared, HttpFile
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_wheel import (
    WheelMember,
    fetch_wheel_member,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import MAX_PARTS
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import (
    HttpOptions,
    Location,
    check_url,
    without_secrets,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._locations import (
    Access,
    hub_location,
    hub_revision,
    s3_location,
    storage_location,
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
# A part's file name, with a revision or a version behind it.
_SPLIT = re.compile(r"(?P<head>.*-)(?P<number>\d{5})(?P<of>-of-(?P<count>\d{5})\.gguf)(?P<rest>[@?#].*)?", re.DOTALL)
_FORMS = (
    "hf://OWNER/REPOSITORY/PATH@REVISION, pypi://PACKAGE==VERSION/PATH/IN/WHEEL, https://, http://, s3://BUCKET/KEY,"
    " storage://PATH and file:///ABSOLUTE/PATH"
)


@dataclass(frozen=True)
class Source:
    """A place that a model file comes from: `name` as it may be recorded and shown, without secrets.

    `declared` asks what the source says of the file; `fetch` completes a partial file and returns the SHA-256 that the
    source says of it only then, if it does.
    """

    name: str
    declared: Callable[[], Declared]
    fetch: Callable[[PartialFile, Report], Optional[str]]
    declares_late: bool = False
    # Where it is, if it is on this host.
    local: Optional[Path] = None
    # As the source names it: a wheel's version, or what the hub calls a revision.
    revision: Optional[str] = None


class WrongDigestError(UnusableBytesError):
    """The source is whole, but not the file that was asked for."""


def part_sources(source: str) -> list[str]:
    """The sources of all parts of a model, by that of its first; of one in a single file itself.

    Raises ModelFileError for another part, or for too many.
    """
    match = _SPLIT.fullmatch(source)
    if not match:
        return [source]
    number, count = int(match["number"]), int(match["count"])
    if number != 1 or not 1 <= count <= MAX_PARTS:
        raise ModelFileError(
            f"source {without_secrets(source)!r} is part {number} of {count}: give the first part's, of at most"
            f" {MAX_PARTS}"
        )
    return [f"{match['head']}{one:05d}{match['of']}{match['rest'] or ''}" for one in range(1, count + 1)]


def parse_source(source: str, options: HttpOptions, access: Access, revision: Optional[str] = None) -> Source:
    """Raises ModelFileError for a source that can't be one. `revision` is of the hub, instead of the source's own."""
    wheel = _PYPI.fullmatch(source)
    if wheel:
        return _wheel_source(source, WheelMember(wheel["package"], wheel["version"], wheel["member"]))
    parts = urlsplit(source)
    if parts.scheme == "hf":
        named = hub_revision(source, revision)
        return _http_source(source, hub_location(source, access, named), options, named)
    if parts.scheme == "storage":
        return _http_source(source, storage_location(source, access), options)
    if parts.scheme == "s3":
        return _http_source(source, s3_location(source, access), options)
    if parts.scheme in ("https", "http"):
        check_url(source, options.allow_http)
        return _http_source(without_secrets(source), Location.of(source), options)
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
        return Source(
            source,
            lambda: Declared(size=_local_size(path)),
            lambda partial, report: _copy(path, partial, report),
            local=path,
        )
    raise ModelFileError(f"source {without_secrets(source)!r} is none of {_FORMS}")


def _http_source(name: str, location: Location, options: HttpOptions, revision: Optional[str] = None) -> Source:
    file = HttpFile(name, location, options)
    return Source(name, file.declared, file.fetch, revision=revision)


def _wheel_source(source: str, member: WheelMember) -> Source:
    return Source(
        source,
        lambda: Declared(revision=member.version),
        lambda partial, report: fetch_wheel_member(member, partial, report),
        # A wheel's list of its files' digests is inside it.
        declares_late=True,
        revision=member.version,
    )


def fetch_verified(source: Source, partial: PartialFile, report: Report) -> str | None:
    """Complete `partial` from `source`; raises ModelFileError unless the bytes have the digest that they have to.

    Returns the digest that the source said of them, if it did so meanwhile.
    """
    if partial.expected is None:
        # Nothing could tell whether what an earlier run left is of the same file.
        partial.restart()
    else:
        partial.take_over(report, "reading what is there already")
        if partial.size and partial.sha256 == partial.expected:
            return None
    resumed = partial.size > 0
    declared = source.fetch(partial, report)
    if partial.expected not in (None, partial.sha256) and resumed:
        # Only the earlier run's part may be stale: once more, from the beginning.
        partial.restart()
        declared = source.fetch(partial, report)
    for expected in (partial.expected, declared):
        require_digest(source, expected, partial.sha256)
    partial.sync()
    return declared


def require_digest(source: Source, expected: Optional[str], found: Optional[str]) -> None:
    """Raises WrongDigestError unless they are the same; None stands for one that nobody knows."""
    if None not in (expected, found) and expected != found:
        raise WrongDigestError(
            f"{source.name} has sha256 {found}, expected {expected}: the file was changed at its source, or the digest"
            " is of another file"
        )


def _local_size(path: Path) -> int:
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file on this host")
    return path.stat().st_size


def _copy(path: Path, partial: PartialFile, report: Report) -> None:
    partial.restart()
    total = _local_size(path)
    try:
        with open(path, "rb", buffering=0) as file:
            require_space(partial.path.parent, total)
            while chunk := file.read(CHUNK_BYTES):
                partial.write(chunk)
                report("copying", partial.size, total)
    except PermissionError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}") from error
