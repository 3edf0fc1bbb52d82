#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_service_info
short_description: Tell what the services of this collection run
version_added: 0.1.0
description:
  - Tells the state of the services that M(llm.orchestrator.container_service) made, of one or of all.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
requirements:
  - python >= 3.9
  - docker >= 5.0.3 (Python package)
extends_documentation_fragment:
  - llm.orchestrator.container_engine
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: N/A
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
options:
  name:
    description:
      - The service to tell about. Without it, all are.
    type: str
seealso:
  - module: llm.orchestrator.container_service
"""

EXAMPLES = r"""
- name: Look at all services
  llm.orchestrator.container_service_info:
  register: all_services

- name: Say which are not serving
  ansible.builtin.debug:
    msg: "{{ all_services.services | rejectattr('health', 'eq', 'healthy') | map(attribute='name') }}"

- name: Look at all services of a Swarm, on one of its managers
  llm.orchestrator.container_service_info:
    engine: swarm

- name: Look at Redis
  llm.orchestrator.container_service_info:
    name: redis
"""

RETURN = r"""
services:
  description: The services, by name. Empty when the named one has no container.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The service's name.
      returned: always
      type: str
      sample: redis
    image:
      description: The image that it runs.
      returned: always
      type: str
      sample: llm-orchestrator/redis:0.1.0
    image_id:
      description: The ID of that image, or its digest in the registry that a Swarm's hosts pull it from.
      returned: always
      type: str
      sample: sha256:d1e4e04af872f1c87f2a4a1f0e6d5d6bb9a3a7c6c8a2f1f5d8f4b6f6e0e5a111
    state:
      description: V(running) or V(stopped).
      returned: always
      type: str
      sample: running
    health:
      description: What its health check says, V(none) without one.
      returned: always
      type: str
      sample: healthy
    started_at:
      description: When its container last started.
      returned: always
      type: str
      sample: "2026-11-22T23:17:47.123456789Z"
    restart_count:
      description: How often the engine has restarted it by itself since. A Swarm remembers the last few.
      returned: always
      type: int
      sample: 0
    description:
      description:
        - The description that it was made from. Of a secret only a keyed fingerprint is shown, of a config its digest.
      returned: always
      type: dict
      sample: {image: "llm-orchestrator/redis:0.1.0", read_only: true, stop_timeout: 30}
    containers:
      description: Its containers; those that are being replaced too.
      returned: always
      type: list
      elements: dict
      contains:
        id:
          description: The container's ID.
          returned: always
          type: str
          sample: 7f2c1f0bb6a1
        name:
          description: The container's name.
          returned: always
          type: str
          sample: redis
        health:
          description: What its health check says, V(none) without one.
          returned: always
          type: str
          sample: healthy
        host:
          description: The host that runs it.
          returned: with O(engine=swarm)
          type: str
          sample: cache-1
    previous:
      description: What a rollback returns to.
      returned: when it has replaced a release
      type: dict
      contains:
        image:
          description: Its image.
          returned: always
          type: str
          sample: redis:1
        image_id:
          description: The ID of that image.
          returned: always
          type: str
          sample: sha256:0c4e04af872f1c87f2a4a1f0e6d5d6bb9a3a7c6c8a2f1f5d8f4b6f6e0e5a222
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils._comparison import masked
from ansible_collections.llm.orchestrator.plugins.module_utils._container_module import (
    ENGINE_SPEC,
    connect,
    run,
    service_facts,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Service


def describe(service: Service) -> dict[str, Any]:
    return {
        **service_facts(service),
        "state": service.state,
        "health": service.health,
        "started_at": service.started_at,
        "restart_count": service.restart_count,
        "description": masked(service.record),
    }


def result(module: AnsibleModule) -> dict[str, Any]:
    return {
        "changed": False,
        "services": [describe(service) for service in connect(module).services(module.params["name"])],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ENGINE_SPEC, "name": {"type": "str"}},
        supports_check_mode=True,
    )
    run(module, result, what="services")


if __name__ == "__main__":
    main()
