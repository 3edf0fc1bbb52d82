# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that describe a service's container."""

    DOCUMENTATION = r"""
options:
  image:
    description:
      - The image to run. It has to be on the host. Required for O(state=present).
      - With O(engine=swarm) it has to be on the manager or in a registry that the manager reaches. One that came from a
        registry is pulled by the hosts, by its digest. One that was built has to be copied to each host that runs it.
    type: str
  command:
    description:
      - Replaces the image's command.
    type: list
    elements: str
    default: []
  env:
    description:
      - Environment variables. Booleans become V(true) and V(false). Not for secrets, which go to O(secrets).
    type: dict
    default: {}
  secrets:
    description:
      - Secrets, each a file C(/run/secrets/<name>) that only the container's user can read.
      - They appear neither in the environment nor in labels nor in what the engine tells of the container.
      - With O(engine=swarm) they are secrets of the Swarm, and O(configs) its configs, of at most 500 KiB each. The
        container's user has to be known as a number, by O(user) or by an image that is on the manager.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The file's name.
        type: str
        required: true
      value:
        description: The file's content.
        type: str
        required: true
  configs:
    description:
      - Configuration files, which only the container's user can read. Another content makes another container, and
        a rollback returns to the files of the release before.
      - Not for secrets, as the diff shows what they hold.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file's absolute path in the container.
        type: str
        required: true
      content:
        description: What the file holds.
        type: str
        required: true
  mounts:
    description:
      - What is mounted into the container. A volume that is missing is created.
      - With O(engine=swarm) a volume is on one host, which a label of that host says, and the service runs there.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description:
          - The kind of mount. A V(tmpfs) is mounted with C(noexec), C(nosuid), C(nodev) and mode 1777.
        type: str
        choices: [volume, bind, tmpfs]
        required: true
      source:
        description: The volume's name, or the path on the host of a bind.
        type: str
      target:
        description: The path in the container.
        type: str
        required: true
      read_only:
        description: Whether the container can only read it.
        type: bool
        default: false
      size:
        description: The limit of a tmpfs, such as V(16m).
        type: str
      propagation:
        description: How mounts below a bind travel between host and container.
        type: str
        choices: [private, rprivate, shared, rshared, slave, rslave]
  networks:
    description:
      - The networks that the container joins, all before it starts. Without any it has no network.
      - With O(engine=swarm) at least one, each an overlay network of the Swarm.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The network's name. It has to exist.
        type: str
        required: true
      aliases:
        description: More names of the service on this network.
        type: list
        elements: str
        default: []
  labels:
    description:
      - Labels of the container, or with O(engine=swarm) of the service, which they change without a restart.
    type: dict
    default: {}
  ports:
    description:
      - Ports published on the host. They need O(update.order=stop_first).
      - With O(engine=swarm) they are published on the host that runs the container, on all its addresses.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The host's address; with O(engine=swarm) only V(0.0.0.0).
        type: str
        default: 127.0.0.1
      host:
        description: The port on the host.
        type: int
        required: true
      container:
        description: The port in the container.
        type: int
        required: true
      protocol:
        description: The transport protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
  healthcheck:
    description:
      - How the engine checks the container. Without one, the image's own check holds, and without that a
        container that runs for 2 seconds counts as ready.
    type: dict
    suboptions:
      test:
        description: V(CMD) or V(CMD-SHELL), then the command.
        type: list
        elements: str
        required: true
      interval:
        description: Seconds between checks.
        type: float
        default: 5
      timeout:
        description: Seconds that one check may take.
        type: float
        default: 3
      retries:
        description: How many failures in a row make the container unhealthy.
        type: int
        default: 3
      start_period:
        description:
          - Seconds after the start in which failures don't count. With O(engine=swarm) and
            O(update.order=start_first) at least O(update.ready_timeout).
        type: float
        default: 60
  ready_check:
    description:
      - A command in the container that has to succeed once after each start before the container counts as healthy,
        beside O(healthcheck), which it needs. Meant for what is too dear to be checked all the time, such as
        answering a real request.
      - It has to end within the timeout of the health check. The image needs a shell.
    type: list
    elements: str
    default: []
  resources:
    description:
      - What the container may use at most.
    type: dict
    default: {}
    suboptions:
      memory:
        description: Memory such as V(512m), without swap beyond it. Without it there is no limit.
        type: str
      cpus:
        description: Processors, in parts too. Without it there is no limit.
        type: float
      pids:
        description: Processes and threads.
        type: int
        default: 256
  gpus:
    description:
      - How many GPUs the container gets, or V(all). Not with O(engine=swarm).
    type: str
  restart_policy:
    description:
      - What the engine does when the container ends. It holds from the moment that the container is ready.
    type: str
    choices: ["no", on-failure, unless-stopped, always]
    default: unless-stopped
  log:
    description:
      - How the container's log is rotated.
    type: dict
    default: {}
    suboptions:
      max_size:
        description: Size of one file.
        type: str
        default: 10m
      max_files:
        description: Number of files.
        type: int
        default: 3
  user:
    description:
      - The user, and after a colon the group, that the container runs as. Without it the image's own.
    type: str
  group_add:
    description:
      - More groups of that user.
    type: list
    elements: str
    default: []
  read_only:
    description:
      - Whether the container's root file system is read-only.
    type: bool
    default: true
  cap_add:
    description:
      - The capabilities that the service needs. All others are dropped.
    type: list
    elements: str
    default: []
  pid_mode:
    description:
      - V(host) shows the container the host's processes. Not with O(engine=swarm).
    type: str
    choices: [host]
  stop_timeout:
    description:
      - Seconds that the service has to end by itself before it is killed.
    type: int
    default: 30
  replicas:
    description:
      - How many containers of the service run. The first has the service's name, the second C(<name>.2), and so on.
        All answer to the service's name on its networks.
    type: int
    default: 1
  placement:
    description:
      - Which hosts of the Swarm run the service. O(engine=docker) knows one host, and takes no notice.
    type: dict
    default: {}
    suboptions:
      group:
        description:
          - A group of the inventory. Its hosts have the label C(llm.orchestrator.group.<group>=true). Without it, any
            host may run the service.
        type: str
      each_host:
        description: Whether each of these hosts runs one container, instead of O(replicas) in all.
        type: bool
        default: false
  update:
    description:
      - How a container is replaced. It is kept on the container, for what acts on it without its description.
    type: dict
    default: {}
    suboptions:
      order:
        description:
          - V(start_first) starts the new container beside the old one. V(stop_first) is for services of which
            two can't run at once, such as a store with one writer.
        type: str
        choices: [start_first, stop_first]
        default: start_first
      parallelism:
        description: How many replicas are replaced at a time.
        type: int
        default: 1
      ready_timeout:
        description: Seconds that a container has to become ready, and then the gateway to send it requests.
        type: float
        default: 120
      drain_timeout:
        description:
          - Seconds that the old container has for the requests under way before it is killed. Without it
            O(stop_timeout). A Swarm has one time for every stop, the longer of the two.
        type: int
      on_failure:
        description:
          - What becomes of replicas that were replaced already when the next one fails. V(rollback) returns them to
            what they ran before, V(pause) leaves them. The one that failed is removed in any case; by a Swarm that
            pauses it is tried again.
        type: str
        choices: [rollback, pause]
        default: rollback
      gateway:
        description:
          - The Traefik in front. With it, the old container is drained only after Traefik sends requests to the new
            one, which it tells in its metrics of each server that it checks.
          - Without it, or while it does not run, nothing is waited for; nor with O(engine=swarm), where the drain has
            to be longer than the gateway takes to see the new container.
        type: dict
        suboptions:
          name:
            description: The gateway's container. It shares a network with the service.
            type: str
            default: traefik
          port:
            description: Port of its metrics in the container.
            type: int
            default: 8082
"""
