"""A service that dies takes nothing else down, and comes back by itself."""

from __future__ import annotations

import os
import signal

import docker
import httpx
import pytest
from platform_runs import CONTAINERS, wait_until

# What must go on answering while the container is away: path → whether it needs the password.
PATHS = {
    "model-service": "/v1/models",
    "cache-service": "/api/cache/v1/stats",
    "storage-service": "/api/storage/v1/stats",
    "monitoring-service": "/api/monitoring/v1/services",
}
# Whom a container's absence may touch besides itself.
DEPENDENTS = {"redis": {"cache-service"}, "traefik": set(PATHS), "socket-filter": set()}


def answers(http: httpx.Client, path: str, auth: httpx.BasicAuth) -> bool:
    try:
        return http.get(path, auth=auth).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_killed_container_leaves_the_others_answering_and_comes_back(
    name: str, http: httpx.Client, admin: httpx.BasicAuth, engine: docker.DockerClient
) -> None:
    container = engine.containers.get(name)
    wait_until(lambda: all(answers(http, path, admin) for path in PATHS.values()), "all services answering first")
    restarts = container.attrs["RestartCount"]

    # The process itself, as a crash would end it: Docker takes its own `kill` for an operator's wish.
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)

    touched = DEPENDENTS.get(name, set()) | {name}
    for service, path in PATHS.items():
        if service not in touched:
            assert answers(http, path, admin), f"{service} stopped answering when {name} was killed"

    def is_back() -> bool:
        container.reload()
        state = container.attrs["State"]
        return container.attrs["RestartCount"] > restarts and state.get("Health", {}).get("Status") == "healthy"

    wait_until(is_back, f"{name} running and healthy again")
    wait_until(lambda: all(answers(http, path, admin) for path in PATHS.values()), "all services answering again")


def test_answers_are_computed_while_the_cache_is_away(http: httpx.Client, engine: docker.DockerClient) -> None:
    model = http.get("/v1/models").json()["data"][0]["id"]
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 4,
        "temperature": 0,
    }
    cache = engine.containers.get("cache-service")
    cache.pause()  # the worse case than a dead one: it takes connections and says nothing
    try:
        answer = http.post("/v1/chat/completions", json=body)
    finally:
        cache.unpause()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
