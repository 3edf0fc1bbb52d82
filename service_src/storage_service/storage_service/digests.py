"""The sha256 that a request announces for its body, in any of the headers in use for it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from storage_service.errors import BadHeader

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
# RFC 9530: `sha-256=:<base64>:`; RFC 3230, which it replaced: `sha-256=<base64>`.
_STRUCTURED = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):\s*(?=,|$)")
_LEGACY = re.compile(r"(?:^|,)\s*sha-256=([A-Za-z0-9+/=]*)\s*(?=,|$)", re.IGNORECASE)


def announced_digests(headers: Mapping[str, str]) -> set[str]:
    """All sha256 digests (hex) that the headers announce; BadHeader for one that can't be checked.

    A header that names other algorithms alone is refused: ignoring it would promise a check that
    never took place.
    """
    digests = set()
    if (value := headers.get("x-content-sha256")) is not None:
        if not _HEX.fullmatch(value.strip()):
            raise BadHeader("X-Content-SHA256", "must be 64 hexadecimal digits")
        digests.add(value.strip().lower())
    structured = (("Content-Digest", _STRUCTURED), ("Repr-Digest", _STRUCTURED))
    for header, pattern in (*structured, ("Digest", _LEGACY)):
        if (value := headers.get(header.lower())) is not None:
            digests.add(_decode(header, pattern.search(value)))
    return digests


def repr_digest(sha256: str) -> str:
    """The value of a Repr-Digest header for a digest in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _decode(header: str, match: re.Match[str] | None) -> str:
    form = "sha-256=<base64>" if header == "Digest" else "sha-256=:<base64>:"
    try:
        digest = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise BadHeader(header, f"must hold {form}, the base64 of 32 bytes")
    return digest.hex()
