"""The names that files may have."""

from __future__ import annotations

import hashlib
import re

from storage_service.errors import NameRefused

MAX_NAME_BYTES = 1024
MAX_SEGMENTS = 32
# An entry's file is its last segment plus one character, and file systems allow 255 bytes.
MAX_SEGMENT_BYTES = 254

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def check_name(name: str) -> str:
    """Returns a relative name such as ``models/tiny.gguf``; NameRefused with the reason for any other."""
    if not name:
        raise NameRefused("it is empty")
    if len(name) > MAX_NAME_BYTES:
        raise NameRefused(f"it has {len(name)} characters, {MAX_NAME_BYTES} are allowed")
    segments = name.split("/")
    if len(segments) > MAX_SEGMENTS:
        raise NameRefused(f"it has {len(segments)} parts between slashes, {MAX_SEGMENTS} are allowed")
    for segment in segments:
        if not segment:
            raise NameRefused("it begins or ends with a slash, or has two in a row")
        if len(segment) > MAX_SEGMENT_BYTES:
            raise NameRefused(f"a part of it has {len(segment)} characters, {MAX_SEGMENT_BYTES} are allowed")
        if not _SEGMENT.fullmatch(segment):
            raise NameRefused(f"the part {segment!r} must consist of A-Z a-z 0-9 . _ - and not begin with a dot")
    return name


def name_key(name: str) -> str:
    """A fixed-length stand-in for the name, fit for a file name: its sha256."""
    return hashlib.sha256(name.encode()).hexdigest()


def is_sha256(text: object) -> bool:
    """Whether it is a sha256 as this service writes it: 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None
