# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things that are asked of a Docker Engine, typed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_DESCRIPTION,
    LABEL_SERVICE,
    LABEL_UPDATE,
    Description,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_config import (
    container_body,
    network_aliases,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_connection import DockerConnection, one_line
from ansible_collections.llm.orchestrator.plugins.module_utils._docker_container import Container
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError

with suppress(ImportError):
    # Its absence is told before a client is made.
    import docker.errors

_DEFAULT_STOP_TIMEOUT = 10


class DockerClient(DockerConnection):
    def image_id(self, image: str) -> str | None:
        with self._explained(f"look for the image {image}"):
            try:
                return str(self._api.inspect_image(image)["Id"])
            except docker.errors.NotFound:
                return None

    def network_id(self, network: str) -> str | None:
        with self._explained(f"look for the network {network}"):
            try:
                return str(self._api.inspect_network(network)["Id"])
            except docker.errors.NotFound:
                return None

    def containers(self, service: str | None = None) -> list[Container]:
        """Containers of one service, or of all, found by their label alone."""
        label = LABEL_SERVICE if service is None else f"{LABEL_SERVICE}={service}"
        with self._explained("list the containers"):
            found = self._api.containers(all=True, filters={"label": label})
        containers = (self.find(entry["Id"]) for entry in found)
        return [container for container in containers if container is not None]

    def find(self, id_or_name: str) -> Container | None:
        with self._explained(f"inspect the container {id_or_name}"):
            try:
                return _to_container(self._api.inspect_container(id_or_name))
            except docker.errors.NotFound:
                return None

    def create(self, description: Description, name: str, recorded: str, files: Mapping[str, Path]) -> str:
        """Makes the container, joined to all its networks, and returns its id. It is not started."""
        with self._explained("create its container"):
            for mount in description.mounts:
                if mount.type == "volume":
                    self._api.create_volume(mount.source, labels={LABEL_SERVICE: description.name})
            body = container_body(description, recorded, files)
            container_id = str(self._api.create_container_from_config(body, name)["Id"])
            for network in description.networks[1:]:
                self._api.connect_container_to_network(
                    container_id, network.name, aliases=network_aliases(description, network)
                )
        return container_id

    def user_id(self, container_id: str) -> int:
        """The number of the user that the container runs as."""
        with self._explained("find the user that its image runs as"):
            user = self._api.inspect_container(container_id)["Config"]["User"].partition(":")[0] or "0"
            if user.isdigit():
                return int(user)
            try:
                stream, _stat = self._api.get_archive(container_id, "/etc/passwd")
            except docker.errors.NotFound:
                stream = []
            for line in _only_file(b"".join(stream)).decode(errors="replace").splitlines():
                fields = line.split(":")
                if len(fields) > 2 and fields[0] == user:
                    return int(fields[2])
        raise EngineError(f"its image has no user '{user}', give user as a number such as 10001")

    def start(self, container: Container) -> None:
        with self._explained("start its container", container.network_ids):
            if container.status == "paused":
                self._api.unpause(container.id)
            else:
                self._api.start(container.id)

    def stop(self, container: Container, timeout: int | None = None) -> None:
        """Lets it drain for so many seconds, by default its own stop_timeout, before it is killed."""
        with self._explained("stop its container"):
            self._api.stop(container.id, timeout=container.stop_timeout if timeout is None else timeout)

    def restart(self, container: Container) -> None:
        with self._explained("restart its container", container.network_ids):
            self._api.restart(container.id, timeout=container.stop_timeout)

    def rename(self, container: Container, name: str) -> None:
        with self._explained("rename its container"):
            self._api.rename(container.id, name)

    def remove(self, id_or_name: str) -> None:
        """Removes a container, running or not; one that is gone is fine. Volumes stay, unnamed ones too."""
        with self._explained("remove its container"), suppress(docker.errors.NotFound):
            self._api.remove_container(id_or_name, force=True, v=False)

    def set_restart_policy(self, container: Container, policy: str) -> None:
        with self._explained("set its restart policy"):
            self._api.update_container(container.id, restart_policy={"Name": policy})

    def last_log_lines(self, container: Container, count: int) -> list[str]:
        with self._explained("read its log"):
            text: bytes = self._api.logs(container.id, tail=count)
        return text.decode(errors="replace").splitlines()[-count:]


def _only_file(archive: bytes) -> bytes:
    if not archive:
        return b""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            file = files.extractfile(member)
            if file is not None:
                return file.read()
    return b""


def _to_container(info: Mapping[str, Any]) -> Container:
    state, config, labels = info["State"], info["Config"], info["Config"]["Labels"] or {}
    health = state.get("Health") or {}
    probes = health.get("Log") or [{}]
    stop_timeout = config.get("StopTimeout")
    networks = info["NetworkSettings"]["Networks"]
    return Container(
        id=info["Id"],
        name=info["Name"].lstrip("/"),
        service=labels.get(LABEL_SERVICE, ""),
        image=config["Image"],
        image_id=info["Image"],
        status=state["Status"],
        health=health.get("Status"),
        # A check that fails says why last, below a traceback.
        health_output=one_line(probes[-1].get("Output") or "", keep_end=True),
        exit_code=state["ExitCode"],
        error=one_line(state["Error"]),
        oom_killed=state["OOMKilled"],
        restart_count=info["RestartCount"],
        started_at=state["StartedAt"],
        stop_timeout=_DEFAULT_STOP_TIMEOUT if stop_timeout is None else stop_timeout,
        recorded=labels.get(LABEL_DESCRIPTION, ""),
        recorded_update=labels.get(LABEL_UPDATE, ""),
        files={mount["Destination"]: Path(mount["Source"]) for mount in info["Mounts"] if mount["Type"] == "bind"},
        network_ids={name: network["NetworkID"] for name, network in networks.items()},
        addresses={name: network["IPAddress"] for name, network in networks.items() if network["IPAddress"]},
    )
