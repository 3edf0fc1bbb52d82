# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a service is reached through Traefik, as labels of its containers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: traefik_labels
short_description: Container labels that make Traefik route to a service
description:
  - Makes a service's labels for Traefik's Docker or Swarm provider from what a person says about the service's routes.
  - Traefik drops a router on whose settings two containers disagree, as the old and the new container of a service
    do while a release that changes them is rolled out. So a router's name ends with a digest of its settings, and each
    of the two containers brings its own until the old one is gone.
  - Traefik asks each container for C(/health/ready) every two seconds, and uses those that answer with 200.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
options:
  _input:
    description: The service and its routes.
    type: dict
    required: true
    suboptions:
      service:
        description: Traefik's name of the service, the same in every release.
        type: str
        required: true
      network:
        description: The Docker network on which Traefik reaches the container.
        type: str
        required: true
      provider:
        description: The provider by which Traefik finds it, V(docker) or V(swarm).
        type: str
        default: docker
      port:
        description: The container's port.
        type: int
        required: true
      routes:
        description: What requests go there.
        type: list
        elements: dict
        required: true
        suboptions:
          path:
            description: The path that requests begin with. Either this or a rule.
            type: str
          strip:
            description: Whether the service gets requests without that path.
            type: bool
            default: false
          rule:
            description: A rule in Traefik's own words.
            type: str
          priority:
            description: Which route is taken if several match; Traefik's default is the length of the rule.
            type: int
          middlewares:
            description: What a request passes first.
            type: list
            elements: str
            default: []
notes:
  - Port and health check belong to the service that all its containers share. A release that changes these can't stand
    beside the one before, so its update policy has to stop the old container first.
"""

EXAMPLES = r"""
- name: Run a service behind the gateway
  llm.orchestrator.container_service:
    name: translator
    image: registry.example.org/translator:1.4
    networks: [{name: llm}]
    labels: "{{ routing | llm.orchestrator.traefik_labels }}"
    update: {gateway: {name: traefik, port: 8082}}
  vars:
    routing:
      service: translator
      network: llm
      port: 8000
      routes:
        - {path: /api/translator, strip: true, middlewares: [api-limits@file]}
"""

RETURN = r"""
_value:
  description: The labels, all values being strings.
  type: dict
"""

_ROUTE_OPTIONS = {"path", "strip", "rule", "priority", "middlewares"}
# The digest tells one release's settings from another's; nobody has to withstand an attack by it.
_DIGEST_LENGTH = 8


def traefik_labels(routing: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a service's containers; AnsibleFilterError names what is missing or unknown."""
    missing = [option for option in ("service", "network", "port", "routes") if not routing.get(option)]
    if missing:
        raise AnsibleFilterError(f"traefik_labels: {', '.join(missing)} is missing in {dict(routing)}")
    service = routing["service"]
    server = f"traefik.http.services.{service}.loadbalancer"
    labels = {
        "traefik.enable": "true",
        f"traefik.{routing.get('provider', 'docker')}.network": routing["network"],
        f"{server}.server.port": str(routing["port"]),
        f"{server}.healthcheck.path": "/health/ready",
        f"{server}.healthcheck.interval": "2s",
    }
    for route in routing["routes"]:
        labels.update(_route_labels(service, route))
    return labels


def _route_labels(service: str, route: Mapping[str, Any]) -> dict[str, str]:
    problem = _problem(route)
    if problem:
        raise AnsibleFilterError(f"traefik_labels: {problem}, in the route {dict(route)} of {service}")
    rule = str(route["rule"] if "rule" in route else f"PathPrefix(`{route['path']}`)")
    middlewares = [str(name) for name in route.get("middlewares", ())]
    stripped = str(route["path"]) if route.get("strip") else ""
    priority = str(route.get("priority", ""))
    digest = _digest(rule, middlewares, stripped, priority)
    labels = {}
    if stripped:
        strip = f"{service}-strip-{digest}"
        labels[f"traefik.http.middlewares.{strip}.stripprefix.prefixes"] = stripped
        middlewares.append(strip)
    settings = {
        "entrypoints": "web",
        "rule": rule,
        "priority": priority,
        "middlewares": ",".join(middlewares),
        "service": service,
    }
    # An empty value is an error to Traefik.
    router = f"traefik.http.routers.{service}-{digest}"
    return {**labels, **{f"{router}.{name}": value for name, value in settings.items() if value}}


def _problem(route: Mapping[str, Any]) -> str:
    unknown = sorted(set(route) - _ROUTE_OPTIONS)
    if unknown:
        return f"unknown option {', '.join(unknown)}"
    if ("path" in route) == ("rule" in route):
        return "give either path or rule"
    return "strip needs a path" if route.get("strip") and "path" not in route else ""


def _digest(*settings: object) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:_DIGEST_LENGTH]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traefik_labels": traefik_labels}
