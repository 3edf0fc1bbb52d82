# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting until a container is ready and gets requests, or saying why it doesn't."""

from __future__ import annotations

import re
import time

from ansible_collections.llm.orchestrator.plugins.module_utils._description import Gateway, Update
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_client import DockerClient
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError, exit_cause, memory_limit

try:
    import requests
except ImportError:
    # It comes with the docker library, whose absence the modules tell.
    requests = None  # type: ignore[assignment]

# How long a container without a health check has to run to count as ready.
STABLE_SECONDS = 2.0
_POLL = 0.2
_LOG_LINES = 20
_ASK_TIMEOUT = 2.0
# What Traefik tells of each server that it checks: whether it sends it requests.
# https://doc.traefik.io/traefik/observability/metrics/overview/
_SERVER_UP = re.compile(
    r'^traefik_service_server_up\{[^}]*\burl="[a-z0-9]+://([^":/]+|\[[^"]+\])[:/"][^}]*\} (\S+)$', re.M
)


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


def await_route(client: DockerClient, container: Container, update: Update) -> None:
    """Returns once the gateway sends requests to the container.

    At once where there is none to ask: the policy names no gateway, it does not run yet, or it is on no network of
    the container's.
    """
    gateway = update.gateway and client.find(update.gateway.name)
    shared = [name for name in gateway.addresses if name in container.addresses] if gateway and gateway.is_up else []
    if not (update.gateway and gateway and shared):
        return
    deadline = time.monotonic() + update.ready_timeout
    while not _is_routed(gateway.addresses[shared[0]], update.gateway, set(container.addresses.values())):
        if time.monotonic() > deadline:
            raise EngineError(
                f"its container is ready, but {update.gateway.name} sent it no requests within "
                f"{update.ready_timeout:g} s, look at its log and at the labels",
                client.last_log_lines(gateway, _LOG_LINES),
            )
        time.sleep(_POLL)


def _is_routed(address: str, gateway: Gateway, addresses: set[str]) -> bool:
    try:
        with requests.Session() as session:
            # A proxy that the host is to use leads nowhere near its containers.
            session.trust_env = False
            answer = session.get(f"http://{address}:{gateway.port}/metrics", timeout=_ASK_TIMEOUT)
        answer.raise_for_status()
    except requests.exceptions.RequestException:
        return False
    return any(server in addresses and float(value) == 1 for server, value in _SERVER_UP.findall(answer.text))


def _has_failed(container: Container, patient: bool) -> bool:
    if container.status in ("exited", "dead"):
        return True
    return not patient and (container.status == "restarting" or container.health == "unhealthy")


def _cause(container: Container, timeout: float) -> str:
    said = f", its last health check said: {container.health_output}" if container.health_output else ""
    limit = memory_limit(container.record)
    if container.oom_killed:
        return f"its container ran out of memory{limit}"
    if container.error:
        return f"its container did not start: {container.error}"
    if container.status in ("exited", "dead", "restarting"):
        return exit_cause(container.exit_code, container.record)
    if container.health == "unhealthy":
        return f"its container is unhealthy{said}"
    return f"its container was not ready within {timeout:g} s{said}"
