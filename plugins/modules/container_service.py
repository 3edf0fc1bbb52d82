#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_service
short_description: Run one described service in a container
version_added: 0.1.0
description:
  - Makes one described service true on a container engine, and keeps it serving while it is changed.
  - The description is recorded on the container. A later run compares the record, and the image's ID, with
    what is wanted; C(changed), check mode and the diff come from that one comparison.
  - A container that differs is replaced. The new one has to become ready first, or the old one serves on and
    the task fails with the cause. A run that was interrupted is ended or undone by the next one.
  - With O(engine=swarm) the description becomes a service of a Docker Swarm, and the record a label of that. The Swarm
    replaces its containers and rolls back a release of which one fails; the task then fails with the cause. A release
    that finds no host, or is not ready in time, is undone by the module.
  - Every container runs without any capability that is not named, with C(no-new-privileges) and with a
    rotated log.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
requirements:
  - python >= 3.9
  - docker >= 5.0.3 (Python package)
extends_documentation_fragment:
  - llm.orchestrator.container_description
  - llm.orchestrator.container_engine
attributes:
  check_mode:
    support: full
    description: Says what would be done and changes nothing.
  diff_mode:
    support: full
    description: >-
      Shows what differs, field by field, and of a config line by line. Of a secret only a keyed fingerprint is shown.
  idempotent:
    support: partial
    details: O(state=restarted) restarts and O(state=rolled_back) goes back on every run.
    description: A second run with the same options changes nothing.
options:
  name:
    description:
      - The service's name. It also names the container, and is its alias on each of its networks.
    type: str
    required: true
  state:
    description:
      - V(present) runs the service as described, and returns once it is ready.
      - V(rolled_back) returns to the containers that the present ones have replaced, with their image and
        description, behind the same gate. The present ones are kept in turn, so a second time returns to them.
      - V(stopped), V(restarted), V(rolled_back) and V(absent) act on the containers that are there and don't look
        at the description.
      - V(absent) also removes the service's secrets and configs. No state removes a volume unless O(remove_volumes)
        says so.
    type: str
    choices: [present, stopped, absent, restarted, rolled_back]
    default: present
  remove_volumes:
    description:
      - Whether O(state=absent) also removes the volumes that were made for the service, with all data in them.
        Volumes that were there before it stay.
      - With O(engine=swarm) it removes those on the manager that it runs on, and fails before it removes anything if
        another host holds one.
    type: bool
    default: false
  secrets_dir:
    description:
      - Folder on the host that holds the files of O(secrets) and of O(configs), for root only. Not for O(engine=swarm).
    type: path
    default: /etc/llm-orchestrator/secrets
seealso:
  - module: llm.orchestrator.container_service_info
"""

EXAMPLES = r"""
- name: Run the cache service
  llm.orchestrator.container_service:
    name: cache-service
    image: llm-orchestrator/cache-service:0.1.0
    env:
      CACHE_PORT: 5001
    secrets:
      - name: cache_redis_password
        value: "{{ cache_service_redis_password }}"
    mounts:
      - {type: tmpfs, target: /tmp, size: 16m}
    networks:
      - name: llm
      - name: llm-cache
    healthcheck:
      test: [CMD, /opt/venv/bin/python, -m, service_kit.healthcheck, "http://127.0.0.1:5001/health/ready"]
    resources: {memory: 256m, cpus: 0.5}

- name: Run Redis, which must never run twice on its data
  llm.orchestrator.container_service:
    name: redis
    image: llm-orchestrator/redis:0.1.0
    configs:
      - path: /etc/llm-orchestrator/redis.conf
        content: "{{ lookup('ansible.builtin.template', 'redis.conf.j2') }}"
    mounts:
      - {type: volume, source: llm-redis-data, target: /data}
    networks:
      - name: llm-cache
    update: {order: stop_first}

- name: Run two of it on the cache hosts of a Swarm, from one of its managers
  llm.orchestrator.container_service:
    engine: swarm
    name: cache-service
    image: registry.example.org/llm-orchestrator/cache-service:0.1.0
    networks:
      - name: llm
    replicas: 2
    placement: {group: cache_servers}

- name: Restart the cache service
  llm.orchestrator.container_service:
    name: cache-service
    state: restarted

- name: Return to the release before
  llm.orchestrator.container_service:
    name: cache-service
    state: rolled_back

- name: Remove the cache service
  llm.orchestrator.container_service:
    name: cache-service
    state: absent

- name: Remove Redis and its data
  llm.orchestrator.container_service:
    name: redis
    state: absent
    remove_volumes: true
"""

RETURN = r"""
service:
  description: The service as it is now.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      returned: always
      type: str
      sample: cache-service
    image:
      description: The image that it runs.
      returned: when it has a container
      type: str
      sample: llm-orchestrator/cache-service:0.1.0
    image_id:
      description: The ID of that image, or its digest in the registry that a Swarm's hosts pull it from.
      returned: when it has a container
      type: str
      sample: sha256:d1e4e04af872f1c87f2a4a1f0e6d5d6bb9a3a7c6c8a2f1f5d8f4b6f6e0e5a111
    containers:
      description: Its containers.
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
          sample: cache-service
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
          sample: cache-service:1
        image_id:
          description: The ID of that image.
          returned: always
          type: str
          sample: sha256:0c4e04af872f1c87f2a4a1f0e6d5d6bb9a3a7c6c8a2f1f5d8f4b6f6e0e5a222
rolled_back:
  description:
    - Whether the change that failed was undone, so that the service is as it was before. The release before runs;
      a service that was stopped or was not there is so again.
    - V(false) says that somebody has to look. What ran before does not come back, or O(update.on_failure=pause) left
      what was replaced already.
  returned: failure of a change that was begun
  type: bool
  sample: true
log:
  description: The last 20 log lines of a container that did not become ready.
  returned: failure of a container
  type: list
  elements: str
  sample: ["cache_redis_password: file is missing"]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils._container_module import (
    SERVICE_SPEC,
    connect,
    run,
    service_facts,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    DescriptionError,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._description_parsing import (
    parse_description,
    parse_name,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import Outcome


def ensure(module: AnsibleModule) -> Outcome:
    params, check_mode = module.params, module.check_mode
    name, secrets_root = parse_name(params["name"]), Path(params["secrets_dir"])
    if params["remove_volumes"] and params["state"] != "absent":
        raise DescriptionError("remove_volumes goes with state=absent only")
    if params["state"] == "present":
        # A broken rule is told before the engine is asked for anything.
        description = parse_description(params)
        return connect(module).present(description, secrets_root, check_mode)
    engine = connect(module)
    if params["state"] == "stopped":
        return engine.stopped(name, check_mode)
    if params["state"] == "restarted":
        return engine.restarted(name, check_mode)
    if params["state"] == "rolled_back":
        return engine.rolled_back(name, check_mode)
    return engine.absent(name, secrets_root, params["remove_volumes"], check_mode)


def result(module: AnsibleModule) -> dict[str, Any]:
    outcome = ensure(module)
    return {
        "changed": outcome.changed,
        "diff": {"before": dict(outcome.before), "after": dict(outcome.after)},
        "service": service_facts(outcome.service),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=SERVICE_SPEC,
        supports_check_mode=True,
    )
    run(module, result, what=f"service {module.params['name']}")


if __name__ == "__main__":
    main()
