"""Formats of strings as patterns. An unknown format is an annotation, as JSON Schema has it.

Each is narrower than its standard where that standard is wide, so what it lets through is valid by any reading.
"""

from __future__ import annotations

_DATE = r"[12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_TIME = rf"{_CLOCK}:[0-5]\d(\.\d{{1,6}})?(Z|[+\-]{_CLOCK})"
_LABEL = r"[a-z0-9]([a-z0-9\-]{0,30}[a-z0-9])?"
_HOST = rf"({_LABEL}\.){{1,4}}[a-z]{{2,12}}"
_WORD = r"[A-Za-z0-9_+\-]{1,24}"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_HEX = "[0-9a-fA-F]"

FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": r"P(\d{1,4}[YMWD]|(\d{1,4}D)?T(\d{1,4}H|\d{1,4}M|\d{1,4}S|\d{1,4}H\d{1,4}M))",
    "email": rf"{_WORD}(\.{_WORD}){{0,3}}@{_HOST}",
    "hostname": rf"({_LABEL}\.){{0,4}}[a-z]{{2,12}}",
    "ipv4": rf"({_BYTE}\.){{3}}{_BYTE}",
    "ipv6": rf"{_HEX}{{1,4}}(:{_HEX}{{1,4}}){{7}}",
    "uuid": rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "uri": rf"https?://{_HOST}(/[A-Za-z0-9._~\-]{{1,60}}){{0,8}}/?(\?[A-Za-z0-9._~=&\-]{{0,120}})?",
}
