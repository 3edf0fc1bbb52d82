# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.llm.orchestrator.plugins.filter.traefik_labels import traefik_labels

ROUTE = {"path": "/api/translator", "strip": True, "middlewares": ["api-limits@file"]}


def labels(*routes: dict[str, Any], **routing: Any) -> dict[str, str]:
    return traefik_labels({"service": "translator", "network": "llm", "port": 8000, "routes": list(routes), **routing})


def routers(made: dict[str, str]) -> dict[str, dict[str, str]]:
    """The settings of each router, by its name."""
    found: dict[str, dict[str, str]] = {}
    for label, value in made.items():
        if label.startswith("traefik.http.routers."):
            name, setting = label.removeprefix("traefik.http.routers.").rsplit(".", 1)
            found.setdefault(name, {})[setting] = value
    return found


@pytest.mark.parametrize(("given", "label"), [({}, "docker"), ({"provider": "swarm"}, "swarm")])
def test_the_network_is_told_to_the_provider(given: dict[str, str], label: str) -> None:
    told = {name: value for name, value in labels(ROUTE, **given).items() if name.endswith(".network")}
    assert told == {f"traefik.{label}.network": "llm"}


def test_a_path_is_routed_and_stripped() -> None:
    made = labels(ROUTE)
    ((name, settings),) = routers(made).items()
    digest = name.removeprefix("translator-")
    assert settings == {
        "entrypoints": "web",
        "rule": "PathPrefix(`/api/translator`)",
        "middlewares": f"api-limits@file,translator-strip-{digest}",
        "service": "translator",
    }
    assert made[f"traefik.http.middlewares.translator-strip-{digest}.stripprefix.prefixes"] == "/api/translator"
    assert made["traefik.docker.network"] == "llm"
    assert made["traefik.http.services.translator.loadbalancer.server.port"] == "8000"


def test_what_is_not_set_has_no_label() -> None:
    ((_, settings),) = routers(labels({"rule": "Path(`/`)", "priority": 1})).items()
    assert settings == {"entrypoints": "web", "rule": "Path(`/`)", "priority": "1", "service": "translator"}


def test_routes_that_are_the_same_have_the_same_labels() -> None:
    assert labels(ROUTE) == labels(dict(reversed(ROUTE.items())))
    assert labels({"path": "/v1"}) == labels({"path": "/v1", "strip": False, "middlewares": []})


@pytest.mark.parametrize("change", [{"path": "/t"}, {"strip": False}, {"middlewares": []}, {"priority": 7}])
def test_a_release_with_another_route_leaves_the_one_before_as_it_is(change: dict[str, Any]) -> None:
    before, after = labels(ROUTE), labels({**ROUTE, **change})
    assert not set(routers(before)) & set(routers(after))
    assert all(before[label] == after[label] for label in set(before) & set(after))


@pytest.mark.parametrize(
    ("route", "error"),
    [
        ({"path": "/a", "rule": "Path(`/a`)"}, "give either path or rule, in the route"),
        ({"strip": True}, "give either path or rule"),
        ({"rule": "Path(`/a`)", "strip": True}, "strip needs a path"),
        ({"path": "/a", "host": "b"}, "unknown option host"),
    ],
)
def test_a_route_that_can_not_be_is_refused(route: dict[str, Any], error: str) -> None:
    with pytest.raises(AnsibleFilterError, match=error):
        labels(route)


def test_a_service_without_a_port_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="traefik_labels: port is missing in"):
        labels(ROUTE, port=0)
