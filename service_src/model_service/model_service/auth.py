"""API keys, and the tenant that each stands for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

ANONYMOUS = "anonymous"


class ApiKeys:
    """The accepted keys; without any, everybody is the one anonymous tenant."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def tenant_of(self, key: str | None) -> str | None:
        """The tenant, None if the key isn't accepted. Takes the same time whichever key is given."""
        if not self._digests:
            return ANONYMOUS
        given = _digest(key or "")
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return given if any(matches) else None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
