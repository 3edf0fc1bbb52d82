"""Byte ranges of a file (RFC 9110, section 14)."""

from __future__ import annotations

import re

from storage_service.errors import RangeNotSatisfiable

# 19 digits hold any file size; a longer number would only be work for the parser.
_RANGE = re.compile(r"bytes=\s*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))\s*", re.IGNORECASE)


def parse_range(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for; None means the whole file.

    As the RFC allows, a header with another unit, several ranges or a wrong form is ignored, and so
    is any range of an empty file. RangeNotSatisfiable when the range begins after the end.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None or size == 0:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        if length == 0:
            raise RangeNotSatisfiable(size)
        return range(size - length, size)
    start = int(first)
    end = int(last) + 1 if last else size
    if last and end <= start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return range(start, min(end, size))
