# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over HTTP: what the server declares of it, and its bytes, resumed where they broke off."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_ranges import (
    RANGE_BYTES,
    ChangedError,
    Range,
    RangedFile,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import received
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import (
    HAS_REQUESTS,
    HttpOptions,
    Location,
    TransientError,
    get,
    persist,
    require_status,
    validator,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    PartialFile,
    Report,
    megabytes,
    require_space,
)

if HAS_REQUESTS:
    import requests

_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STRUCTURED_DIGEST = re.compile(r"(?:^|[,\s])sha-256=:?(?P<digest>[A-Za-z0-9+/]{43}=):?", re.IGNORECASE)


@dataclass(frozen=True)
class Declared:
    """What a source says of its file before it is fetched; None where it says nothing."""

    sha256: Optional[str] = None
    size: Optional[int] = None
    revision: Optional[str] = None


UNDECLARED = Declared()


def _changed() -> TransientError:
    return TransientError("the file has changed at its source: starting over")


def _kept(partial: PartialFile) -> str:
    return f", with {megabytes(partial.size)} kept for the next run"


@dataclass(frozen=True)
class HttpFile:
    """A file behind HTTP; `name` is for people and records, without secrets."""

    name: str
    location: Location
    options: HttpOptions

    def declared(self) -> Declared:
        """What the server's headers say, those of redirects too; raises ModelFileError if it can't be asked."""
        with requests.Session() as session:
            return persist(lambda: self._ask(session), self.name, self.options)

    def _ask(self, session: requests.Session) -> Declared:
        # Not HEAD, which some servers refuse and a presigned address does not allow.
        responses = get(session, self.location, {}, self.options)
        with responses[-1] as last:
            require_status(last, (200,))
        said = [_declared(response.headers) for response in responses]
        length = last.headers.get("Content-Length", "")
        return Declared(
            sha256=next((one.sha256 for one in said if one.sha256), None),
            size=next((one.size for one in said if one.size), int(length) if length.isdigit() else None),
            revision=next((one.revision for one in said if one.revision), None),
        )

    def fetch(self, partial: PartialFile, report: Report) -> None:
        """Complete `partial`; raises ModelFileError when it can't, and keeps the bytes so far.

        The whole file's digest is for the caller to check.
        """
        furthest = partial.size

        def progressed() -> bool:
            nonlocal furthest
            before, furthest = furthest, max(furthest, partial.size)
            return partial.size > before

        with requests.Session() as session:
            persist(
                lambda: self._attempt(session, partial, report),
                self.name,
                self.options,
                progressed,
                lambda: _kept(partial),
                lambda reason: report(reason, partial.size, None),
            )

    def _attempt(self, session: requests.Session, partial: PartialFile, report: Report) -> None:
        origin = _Origin.load(partial.path)
        headers = {}
        known = origin.validator if origin.name == self.name else None
        if not known and partial.expected is None:
            # Nothing would tell if the rest were of another version.
            partial.restart()
        # Where nobody knows the digest, bytes of several answers could be of several versions.
        several = self.options.connections > 1 and partial.expected is not None
        if partial.size or several:
            headers["Range"] = f"bytes={partial.size}-{partial.size + RANGE_BYTES - 1 if several else ''}"
        if partial.size and known:
            headers["If-Range"] = known
        with get(session, self.location, headers, self.options)[-1] as response:
            total = self._expected_total(response, partial, origin)
            if total == partial.size:
                return
            _Origin(self.name, validator(response)).save(partial.path)
            if total is not None:
                require_space(partial.path.parent, total - partial.size)
            try:
                self._receive(response, partial, report, total)
            except ChangedError:
                partial.restart()
                raise _changed() from None
        if total is not None and partial.size < total:
            raise TransientError(f"the connection broke off at {partial.size} of {total} bytes")

    def _receive(self, response: requests.Response, partial: PartialFile, report: Report, total: Optional[int]) -> None:
        # Closed at once where this fails, so that no other connection goes on.
        with closing(self._body(response, partial, total)) as body:
            for piece in body:
                partial.write(piece)
                report("downloading", partial.size, total)
                if total is not None and partial.size > total:
                    raise ModelFileError(f"{self.name} sent more than the {total} bytes that it announced")

    def _body(
        self, response: requests.Response, partial: PartialFile, total: Optional[int]
    ) -> Generator[bytes, None, None]:
        """All that `partial` lacks: what `response` brings, and what further connections do if it is but a range."""
        first = Range.at(partial.size, total or 0)
        if total is None or first.end + 1 == total or response.headers.get("Content-Range") != first.content_range:
            return received(response, self.options.timeout, self.options.rate_limit)
        ranged = RangedFile(self.name, self.location, self.options, validator(response), lambda: _kept(partial))
        return ranged.pieces(response, first)

    def _expected_total(self, response: requests.Response, partial: PartialFile, origin: _Origin) -> int | None:
        """The whole file's size as the answer says; restarts `partial` where the answer doesn't continue it."""
        if response.status_code == 416 and partial.size:
            if response.headers.get("Content-Range") == f"bytes */{partial.size}":
                return partial.size
            partial.restart()
            raise TransientError("the file is shorter than what was fetched of it: starting over")
        require_status(response, (200, 206))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise ModelFileError(f"{self.name} is sent compressed although the file itself was asked for")
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            now = validator(response)
            changed = partial.size and origin.validator and now and now != origin.validator
            if not match or int(match["first"]) != partial.size or changed:
                partial.restart()
                raise _changed()
            if match["total"] != "*":
                return int(match["total"])
            if self.options.connections > 1:
                raise ModelFileError(
                    f"{self.name} doesn't say how long it is when asked for a range: set connections to 1"
                )
            return None
        partial.restart()
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None


@dataclass(frozen=True)
class _Origin:
    """Which version of the file the partial bytes are of; kept beside them."""

    name: str
    validator: Optional[str]

    @classmethod
    def load(cls, partial: Path) -> _Origin:
        try:
            fields: dict[str, Any] = json.loads(_origin_path(partial).read_text("utf-8"))
            return cls(str(fields["name"]), fields["validator"])
        except (OSError, ValueError, TypeError, KeyError):
            return cls("", None)

    def save(self, partial: Path) -> None:
        _origin_path(partial).write_text(json.dumps({"name": self.name, "validator": self.validator}), "utf-8")


def _origin_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.origin.json")


def _declared(headers: Mapping[str, str]) -> Declared:
    """Of the file itself, by RFC 9530 and its forerunner, S3, and the Hugging Face hub."""
    linked_size = headers.get("X-Linked-Size", "")
    return Declared(
        sha256=_declared_sha256(headers),
        size=int(linked_size) if linked_size.isdigit() else None,
        revision=headers.get("X-Repo-Commit"),
    )


def _declared_sha256(headers: Mapping[str, str]) -> str | None:
    linked = headers.get("X-Linked-Etag", "").strip('"')
    if _SHA256.fullmatch(linked):
        return linked
    encoded = headers.get("x-amz-checksum-sha256", "")
    for name in ("Repr-Digest", "Content-Digest", "Digest"):
        match = _STRUCTURED_DIGEST.search(headers.get(name, ""))
        encoded = encoded or (match["digest"] if match else "")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    # A file that S3 took in parts has a checksum of the parts' checksums, with their number behind a dash.
    return digest.hex() if len(digest) == 32 else None
