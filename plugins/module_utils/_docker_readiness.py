# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting until a container is ready, or saying why it isn't."""

from __future__ import annotations

import time

from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Container, EngineError

# How long a container without a health check has to run to count as ready.
STABLE_SECONDS = 2.0
_POLL = 0.2
_LOG_LINES = 20
_KILLED = 128 + 9


def await_ready(
    client: DockerClient, container: Container, timeout: float, stable: float, patient: bool = False
) -> Container:
    """Returns the container once it is healthy or, without a health check, has run for stable seconds.

    A new container fails with its first exit or unhealthy verdict. With patience, one that is known to
    have worked has the whole timeout to come back, through restarts too.
    """
    deadline = time.monotonic() + timeout
    started_at, up_since = "", 0.0
    while True:
        now = time.monotonic()
        seen = client.find(container.id)
        if seen is None:
            raise EngineError("its container was removed while it was waited for")
        if seen.health == "healthy" and seen.is_up:
            return seen
        if seen.started_at != started_at:
            started_at, up_since = seen.started_at, now
        if seen.is_up and seen.health is None and now - up_since >= stable:
            return seen
        if _has_failed(seen, patient) or now > deadline:
            raise EngineError(_cause(seen, timeout), client.last_log_lines(seen, _LOG_LINES))
        time.sleep(_POLL)


def _has_failed(container: Container, patient: bool) -> bool:
    if container.status in ("exited", "dead"):
        return True
    return not patient and (container.status == "restarting" or container.health == "unhealthy")


def _cause(container: Container, timeout: float) -> str:
    said = f", its last health check said: {container.health_output}" if container.health_output else ""
    limit = container.record.get("resources", {}).get("memory")
    size = f", its limit is {limit / 2**20:.0f} MiB" if limit else ""
    if container.oom_killed:
        return f"its container ran out of memory{size}"
    if container.error:
        return f"its container did not start: {container.error}"
    if container.status in ("exited", "dead", "restarting"):
        # A busy engine can miss the kernel's word that memory ran out, and nobody else kills a new container.
        doubt = f", killed, probably for lack of memory{size}" if container.exit_code == _KILLED else ""
        return f"its container exited with code {container.exit_code}{doubt}"
    if container.health == "unhealthy":
        return f"its container is unhealthy{said}"
    return f"its container was not ready within {timeout:g} s{said}"
