# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say which container engine to use."""

    DOCUMENTATION = r"""
options:
  engine:
    description:
      - The kind of container engine. V(docker) is the engine of one host. V(swarm) is a Docker Swarm, which itself
        places, heals and replaces the containers of its services.
    type: str
    choices: [docker, swarm]
    default: docker
  docker_host:
    description:
      - Where the Docker Engine listens. It has to run on the managed host, where secret files are written; with
        O(engine=swarm) it is that of a manager.
    type: str
    default: unix:///var/run/docker.sock
"""
