# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over HTTP into a partial file: resumed where it broke off, retried on what may pass."""

from __future__ import annotations

import email.utils
import ipaddress
import json
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urljoin, urlsplit, urlunsplit

from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    PartialFile,
    Report,
    megabytes,
    require_space,
)

try:
    import requests
except ImportError:
    HAS_REQUESTS = False
else:
    HAS_REQUESTS = True

# What a connection that breaks off may lose: small, so that even one that often does gets on.
NETWORK_CHUNK_BYTES = 64 << 10
MAX_REDIRECTS = 10
MAX_WAIT_SECONDS = 60.0
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HINTS = {
    401: "it wants credentials",
    403: "access is denied: a token or the acceptance of a licence may be missing",
    404: "there is no such file: check the address",
    410: "the file was removed there",
}
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class HttpOptions:
    """`retries` count attempts in a row without a new byte; `timeout` is seconds without a byte."""

    retries: int
    timeout: float
    allow_http: bool


class _TransientError(Exception):
    """It may work next time, `wait` seconds from now where the server said so."""

    def __init__(self, message: str, wait: Optional[float] = None) -> None:
        super().__init__(message)
        self.wait = wait


def check_url(url: str, allow_http: bool) -> None:
    """Raises ModelFileError for an address without a host, or in clear text over a network."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ModelFileError(f"{without_secrets(url)!r} names no host")
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or _is_loopback(parts.hostname))):
        return
    raise ModelFileError(
        f"{without_secrets(url)} would be fetched without TLS: use https, or set allow_http where the network"
        " is trusted"
    )


def without_secrets(url: str) -> str:
    """The address without credentials and query, which in presigned addresses is one too."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def fetch_http(url: str, partial: PartialFile, options: HttpOptions, report: Report) -> None:
    """Complete `partial` from `url`; raises ModelFileError when it can't, and keeps the bytes so far."""
    failures = 0
    furthest = partial.size
    with requests.Session() as session:
        while True:
            try:
                _attempt(session, url, partial, options, report)
                return
            except (_TransientError, requests.exceptions.RequestException) as error:
                if not _may_pass(error):
                    raise ModelFileError(f"{without_secrets(url)}: {_reason(error)}") from error
                failures = 1 if partial.size > furthest else failures + 1
                furthest = max(furthest, partial.size)
                if failures > options.retries:
                    raise ModelFileError(
                        f"{without_secrets(url)}: {_reason(error)}; gave up after {failures} attempts,"
                        f" with {megabytes(partial.size)} kept for the next run"
                    ) from error
                report(f"retrying after: {_reason(error)}", partial.size, None)
                time.sleep(_pause(failures, getattr(error, "wait", None)))


def _attempt(session: requests.Session, url: str, partial: PartialFile, options: HttpOptions, report: Report) -> None:
    origin = _Origin.load(partial.path)
    headers = {"Accept-Encoding": "identity", "User-Agent": "llm.orchestrator"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if origin.url == without_secrets(url) and origin.validator:
            headers["If-Range"] = origin.validator
    with _get(session, url, headers, options) as response:
        total = _expected_total(response, partial, origin)
        if total == partial.size:
            return
        _Origin.of(response, url).save(partial.path)
        if total is not None:
            require_space(partial.path.parent, total - partial.size)
        for chunk in response.iter_content(NETWORK_CHUNK_BYTES):
            partial.write(chunk)
            report("downloading", partial.size, total)
            if total is not None and partial.size > total:
                raise ModelFileError(f"{without_secrets(url)} sent more than the {total} bytes that it announced")
    if total is not None and partial.size < total:
        raise _TransientError(f"the connection broke off at {partial.size} of {total} bytes")


def _get(session: requests.Session, url: str, headers: dict[str, str], options: HttpOptions) -> requests.Response:
    # Redirects are followed here, because each address must pass check_url before anything is sent to it.
    for _hop in range(MAX_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=options.timeout)
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(url, response.headers["Location"])
        check_url(url, options.allow_http)
    raise ModelFileError(f"{without_secrets(url)}: more than {MAX_REDIRECTS} redirects")


def _expected_total(response: requests.Response, partial: PartialFile, origin: _Origin) -> int | None:
    """The whole file's size as the answer says; restarts `partial` where the answer doesn't continue it."""
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise _TransientError(f"HTTP {status} {response.reason}", _retry_after(response))
    if status == 416 and partial.size:
        if response.headers.get("Content-Range") == f"bytes */{partial.size}":
            return partial.size
        partial.restart()
        raise _TransientError("the file is shorter than what was fetched of it: starting over")
    if status not in (200, 206):
        hint = _HINTS.get(status, "that can't be fetched")
        raise ModelFileError(f"{without_secrets(response.url)}: HTTP {status} {response.reason}: {hint}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelFileError(
            f"{without_secrets(response.url)} is sent compressed although the file itself was asked for"
        )
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        now = _Origin.of(response, response.url).validator
        if not match or int(match["first"]) != partial.size or (origin.validator and now and now != origin.validator):
            partial.restart()
            raise _TransientError("the file has changed at its source: starting over")
        return None if match["total"] == "*" else int(match["total"])
    partial.restart()
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


@dataclass(frozen=True)
class _Origin:
    """Which version of the file the partial bytes are of; kept beside them."""

    url: str
    validator: Optional[str]

    @classmethod
    def of(cls, response: requests.Response, url: str) -> _Origin:
        etag = response.headers.get("ETag", "")
        # If-Range knows strong validators only (RFC 9110, 13.1.5).
        strong = etag if etag.startswith('"') else None
        return cls(without_secrets(url), strong or response.headers.get("Last-Modified"))

    @classmethod
    def load(cls, partial: Path) -> _Origin:
        try:
            fields: dict[str, Any] = json.loads(_origin_path(partial).read_text("utf-8"))
            return cls(str(fields["url"]), fields["validator"])
        except (OSError, ValueError, TypeError, KeyError):
            return cls("", None)

    def save(self, partial: Path) -> None:
        _origin_path(partial).write_text(json.dumps({"url": self.url, "validator": self.validator}), "utf-8")


def _origin_path(partial: Path) -> Path:
    return partial.with_name("origin.json")


def _may_pass(error: Exception) -> bool:
    if "certificate" in str(error).lower():
        return False
    errors = requests.exceptions
    passing = (_TransientError, errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError)
    return isinstance(error, passing)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    date = email.utils.parsedate_tz(value)
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


def _pause(failures: int, asked: float | None) -> float:
    backoff: float = 0.5 * 2 ** min(failures, 8) * random.uniform(0.75, 1.25)
    return min(MAX_WAIT_SECONDS, max(backoff, asked or 0.0))


def _reason(error: Exception) -> str:
    """The innermost cause in words: requests wraps urllib3, which wraps the socket's error."""
    cause: Any = error
    while isinstance(getattr(cause, "reason", None), Exception):
        cause = cause.reason
    while cause.args and isinstance(cause.args[0], Exception):
        cause = cause.args[0]
    reason = " ".join(str(cause).split()) or type(cause).__name__
    if "certificate" in reason.lower():
        reason += " (for a private CA set REQUESTS_CA_BUNDLE in the task's environment)"
    return reason
