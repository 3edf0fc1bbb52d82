"""Conditional requests: If-Match and If-None-Match (RFC 9110, section 13)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage_service.errors import BadHeader

_TAG = r'(?:W/)?"[^"]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")


def etag(sha256: str) -> str:
    """The strong entity tag of a file with this digest."""
    return f'"{sha256}"'


@dataclass(frozen=True)
class Conditions:
    """What a request demands of the current state; ``None`` demands nothing."""

    if_match: str | None = None
    if_none_match: str | None = None

    def __post_init__(self) -> None:
        for header, value in (("If-Match", self.if_match), ("If-None-Match", self.if_none_match)):
            if value is not None and value.strip() != "*" and not _TAGS.fullmatch(value):
                raise BadHeader(header, 'must be * or a list of entity tags such as "0a1b"')

    def match_fails(self, current: str | None) -> bool:
        """Whether If-Match refuses a file whose entity tag is ``current`` (None: no such file)."""
        return self.if_match is not None and not _holds(self.if_match, current, weak=False)

    def none_match_fails(self, current: str | None) -> bool:
        """Whether If-None-Match refuses it: a 304 for a read, a 412 for a write."""
        return self.if_none_match is not None and _holds(self.if_none_match, current, weak=True)

    def write_fails(self, current: str | None) -> bool:
        return self.match_fails(current) or self.none_match_fails(current)


def _holds(header: str, current: str | None, *, weak: bool) -> bool:
    if current is None:
        return False
    if header.strip() == "*":
        return True
    tags = re.findall(_TAG, header)
    return current in ([tag.removeprefix("W/") for tag in tags] if weak else tags)
