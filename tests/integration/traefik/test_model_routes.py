# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model API's routes that the gateway's own files hold: limits by key, and the canary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.docker

ADDRESS_BURST = 24


@pytest.fixture(scope="module")
def model(gateway: Any) -> Iterator[Any]:
    """Two model-services, of which the second gets no requests yet."""
    service = "traefik.http.services.model-service.loadbalancer"
    labels = {
        "gateway-test": gateway.name,
        "traefik.enable": "true",
        "traefik.http.routers.model-service.rule": "PathPrefix(`/v1`)",
        "traefik.http.routers.model-service.middlewares": "api-limits@file",
        "traefik.http.routers.model-service.service": "model-service",
        "traefik.http.middlewares.model-service-strip.stripprefix.prefixes": "/api/model",
        f"{service}.server.port": "5000",
        f"{service}.healthcheck.path": "/health/ready",
        f"{service}.healthcheck.interval": "1s",
    }
    containers = [gateway.start("model", 5000, **labels), gateway.start("canary", 5000)]
    gateway.variables = {
        "traefik_limit_by": "key",
        "traefik_rate_limit_average": 1,
        "traefik_address_rate_limit_average": 1,
        "traefik_address_rate_limit_burst": ADDRESS_BURST,
        "traefik_model_middlewares": ["api-limits@file"],
    }
    route(gateway, None)
    with gateway.client(gateway.password) as admin:
        gateway.wait_until(lambda: "model-v1-key@file" in admin.get("/api/http/routers").text, "the routes by key")
    try:
        yield gateway
    finally:
        gateway.variables = {}
        gateway.deploy(tasks_from="configure")
        for container in containers:
            container.remove(force=True)


def route(gateway: Any, weight: int | None, **variables: Any) -> None:
    canary = None if weight is None else {"service": f"{gateway.name}-canary", "weight": weight}
    gateway.deploy(tasks_from="configure", traefik_canary=canary, **variables)


def statuses(client: httpx.Client, path: str, keys: list[str]) -> list[int]:
    return [client.get(path, headers={"Authorization": f"Bearer {key}"} if key else {}).status_code for key in keys]


def test_each_key_has_limits_of_its_own_and_made_up_ones_no_more_than_their_address(
    model: Any, client: httpx.Client
) -> None:
    first = statuses(client, "/v1/models", ["first"] * model.burst * 2)
    assert first[: model.burst] == [200] * model.burst
    assert 429 in first
    assert statuses(client, "/v1/models", ["second"] * model.burst) == [200] * model.burst
    made_up = statuses(client, "/v1/models", [f"key-{number}" for number in range(ADDRESS_BURST * 2)])
    assert made_up[0] == 200
    assert 429 in made_up
    assert statuses(client, "/v1/models", [""] * model.burst) == [200] * model.burst
    assert client.get("/api/model/docs", headers={"Authorization": "Bearer third"}).json()["path"] == "/docs"


def answered_by(client: httpx.Client, requests: int) -> Counter[str]:
    """By which container, or with which status if by none."""
    answers = [client.get("/v1/models") for _ in range(requests)]
    return Counter(
        answer.json()["host"] if answer.status_code == 200 else str(answer.status_code) for answer in answers
    )


def test_a_canary_gets_its_share_and_without_it_all_goes_to_the_first(model: Any, client: httpx.Client) -> None:
    stable, canary = (model.engine.containers.get(f"{model.name}-{name}") for name in ("model", "canary"))
    wide = {"traefik_rate_limit_average": 1000, "traefik_rate_limit_burst": 1000, "traefik_limit_by": "address"}
    for weight in (25, 100):
        route(model, weight, **wide)
        shares = {canary.id[:12]: weight, stable.id[:12]: 100 - weight}
        expected = Counter({host: share * 2 // 5 for host, share in shares.items() if share})
        model.wait_until(lambda wanted=expected: answered_by(client, 40) == wanted, f"{weight} % for the canary")
        canary.stop(timeout=0)
        model.wait_until(lambda: answered_by(client, 40) == {stable.id[:12]: 40}, "all for the first, alone")
        canary.start()
    route(model, 0, **wide)
    model.wait_until(lambda: answered_by(client, 40) == {stable.id[:12]: 40}, "all for the first")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"traefik_canary": {"service": "model-service", "weight": 10}}, "it must name a second container"),
        ({"traefik_canary": {"service": "canary", "weight": 101}}, "and its share in percent, such as"),
        ({"traefik_canary": {"service": "canary", "weight": -1}}, "and its share in percent, such as"),
        ({"traefik_canary": {"service": "canary"}}, "missing required arguments: weight found in traefik_canary"),
        ({"traefik_limit_by": "name"}, "value of traefik_limit_by must be one of: address, key, got: name"),
        ({"traefik_address_max_in_flight": 1}, "traefik_address_max_in_flight is 1; it must be 2 or more"),
        ({"traefik_retry_attempts": 11}, "traefik_retry_attempts is 11; it must be 1 to 10"),
        ({"traefik_circuit_breaker_percent": 0}, "traefik_circuit_breaker_percent is 0; it must be 1 to 100"),
        ({"traefik_model_path_prefix": "model"}, "traefik_model_path_prefix is 'model'"),
        ({"traefik_model_middlewares": ["limits"]}, "give a path such as /api/model and names such as api-limits@file"),
        ({"traefik_tls": "on"}, "value of traefik_tls must be one of: off, acme, certificate, self_signed, got: on"),
        *(
            (
                {"traefik_tls": "self_signed", "traefik_tls_port": port, "traefik_port": 8080},
                f"traefik_tls_port is {port}; it must be 1 to 65535 and not traefik_port, which redirects to it",
            )
            for port in (0, 65536, 8080)
        ),
        (
            {"traefik_tls": "self_signed", "traefik_tls_names": []},
            "traefik_tls_names is []; give the names and addresses that clients use",
        ),
    ],
)
def test_a_wrong_setting_of_a_route_is_refused_before_anything_changes(
    gateway: Any, variables: dict[str, Any], message: str
) -> None:
    assert message in gateway.refused(**variables)
