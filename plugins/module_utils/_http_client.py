# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests for model files: checked at each redirect, tried again on what may pass, told in one line."""

from __future__ import annotations

import email.utils
import ipaddress
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError

try:
    import requests
except ImportError:
    HAS_REQUESTS = False
else:
    HAS_REQUESTS = True

MAX_CONNECTIONS = 16
MAX_REDIRECTS = 10
MAX_WAIT_SECONDS = 60.0
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HINTS = {
    401: "it wants credentials: a token may be missing",
    403: "access is denied: a token or the acceptance of a licence may be missing",
    404: "there is no such file: check the address",
    410: "the file was removed there",
}

# The module options that HttpOptions is made of.
HTTP_ARGS = {
    "allow_http": {"type": "bool", "default": False},
    "connections": {"type": "int", "default": 1},
    "rate_limit": {"type": "int"},
    "retries": {"type": "int", "default": 5},
    "timeout": {"type": "int", "default": 60},
}

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class HttpOptions:
    """`retries` count attempts in a row without progress, `timeout` is seconds, `rate_limit` bytes a second."""

    retries: int
    timeout: float
    allow_http: bool
    rate_limit: Optional[int] = None
    connections: int = 1

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> HttpOptions:
        """Those of a module; raises ModelFileError for what is out of range."""
        least = {"retries": 0, "timeout": 1, "rate_limit": 1, "connections": 1}
        for name, value in ((name, params[name]) for name in least):
            if value is not None and value < least[name]:
                raise ModelFileError(f"{name} is {value}: {least[name]} is the least that is possible")
        if params["connections"] > MAX_CONNECTIONS:
            raise ModelFileError(f"connections is {params['connections']}: {MAX_CONNECTIONS} are the most possible")
        return cls(**{name: params[name] for name in HTTP_ARGS})


@dataclass(frozen=True)
class Location:
    """Where a file is. `address` gives its URL, anew for each request, as it may be signed for a while only.

    `headers` are for that URL's origin alone: they may hold a token, which no redirect carries elsewhere.
    """

    address: Callable[[], str]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Location:
        return cls(lambda: url)


class TransientError(Exception):
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


def get(
    session: requests.Session, location: Location, headers: Mapping[str, str], options: HttpOptions
) -> list[requests.Response]:
    """The answer, its body still to be read, and before it the redirects that led there. Close the last one.

    Raises ModelFileError for what will not pass, TransientError or requests' errors for what may.
    """
    url = location.address()
    check_url(url, options.allow_http)
    origin = _origin(url)
    responses: list[requests.Response] = []
    # Redirects are followed here, because each address must pass check_url before anything is sent to it.
    while len(responses) <= MAX_REDIRECTS:
        own = location.headers if _origin(url) == origin else {}
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity", "User-Agent": "llm.orchestrator", **headers, **own},
            stream=True,
            allow_redirects=False,
            timeout=options.timeout,
        )
        responses.append(response)
        if not response.is_redirect:
            return responses
        response.close()
        url = urljoin(url, response.headers["Location"])
        check_url(url, options.allow_http)
    raise ModelFileError(f"{without_secrets(url)}: more than {MAX_REDIRECTS} redirects")


def require_status(response: requests.Response, wanted: tuple[int, ...]) -> None:
    """Raises TransientError for a status that may pass, and ModelFileError for another that isn't wanted."""
    status = response.status_code
    if status in wanted:
        return
    # The Hugging Face hub says there what is wrong with a repository or its licence.
    said = " ".join(response.headers.get("X-Error-Message", "").split())[:300]
    line = f"HTTP {status} {response.reason}" + (f" ({said})" if said else "")
    if status in _TRANSIENT_STATUS:
        raise TransientError(line, _retry_after(response))
    raise ModelFileError(f"{without_secrets(response.url)}: {line}: {_HINTS.get(status, 'that cannot be fetched')}")


def validator(response: requests.Response) -> str | None:
    """What If-Range may carry to ask for more of the same version; None if the server gives nothing that would do."""
    etag = response.headers.get("ETag", "")
    # If-Range knows strong validators only (RFC 9110, 13.1.5).
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def persist(
    attempt: Callable[[], _Result],
    name: str,
    options: HttpOptions,
    progressed: Callable[[], bool] = lambda: False,
    kept: Callable[[], str] = lambda: "",
    retrying: Callable[[str], None] = lambda reason: None,
) -> _Result:
    """What `attempt` returns, tried again on errors that may pass; else raises ModelFileError.

    `progressed` says whether an attempt got further than the ones before, `kept` what is left for the next run.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except (TransientError, requests.exceptions.RequestException) as error:
            if not _may_pass(error):
                raise ModelFileError(f"{name}: {_reason(error)}") from error
            failures = 1 if progressed() else failures + 1
            if failures > options.retries:
                raise ModelFileError(f"{name}: {_reason(error)}; gave up after {failures} attempts{kept()}") from error
            retrying(f"retrying after: {_reason(error)}")
            time.sleep(_pause(failures, getattr(error, "wait", None)))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _may_pass(error: Exception) -> bool:
    if "certificate" in str(error).lower():
        return False
    errors = requests.exceptions
    passing = (TransientError, errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError)
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
