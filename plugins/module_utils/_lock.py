# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run at a time for each service of a host.

A play that is killed leaves its module running on the host for a while: the next one has to wait for it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError

# Not /run/lock, where any user of the host could hold the lock.
_FOLDER = Path("/run/llm-orchestrator")
_PATIENCE = 900.0
_POLL = 0.2


@contextmanager
def service_lock(service: str) -> Iterator[None]:
    """Holds the service's lock; the system frees it when this process ends, however it ends."""
    path = _FOLDER / f"{service}.lock"
    try:
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "run as root" if isinstance(error, PermissionError) else f"{_FOLDER} has to be a folder of root's"
        raise EngineError(f"can't open the lock {path} ({error.strerror}), {hint}") from error
    try:
        _wait_for(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EngineError(f"another run holds {path}, waited {_PATIENCE:.0f} s for it") from None
            time.sleep(_POLL)
