# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to a Docker Engine's API, with its errors turned into one clear line."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import LABEL_SERVICE
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError

try:
    import docker
    import docker.errors
    import requests.exceptions
except ImportError:
    DOCKER_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    DOCKER_IMPORT_ERROR = None

_REQUEST_TIMEOUT = 60
CONFLICT = 409
_RELEASE_SECONDS = 10.0
_POLL = 0.3

# What the Engine says, and what it means to the person who runs the play.
_EXPLANATIONS = (
    (
        r"Bind for (\S+) failed: port is already allocated|listen \w+ (\S+): bind: address already in use",
        "port {found} is in use on {where}, free it or publish another",
    ),
    (
        r"could not select device driver",
        "this host's engine offers no GPU, install the NVIDIA Container Toolkit or leave gpus out",
    ),
    (r"bind source path does not exist: (\S+)", "the mount's source {found} is not on {where}, create it first"),
    (r"network (\S+) not found", "its network {found} is gone, run state=present again"),
    (
        r"not a swarm manager|not part of a swarm",
        "the engine on this host manages no Swarm, run this on one of the Swarm's managers",
    ),
    (r"update out of sequence", "somebody else changed the service meanwhile, run again"),
    (r"does not have a leader", "the Swarm has no leader, bring back more than half of its managers"),
)


class DockerConnection:
    """What the clients of both engines build on."""

    def __init__(self, host: str) -> None:
        self._host = host
        with self._explained("connect"):
            self._api: Any = docker.APIClient(base_url=host, version="auto", timeout=_REQUEST_TIMEOUT)

    def volumes(self, service: str | None = None) -> list[str]:
        """The names of the volumes on this host, of all or those made for a service."""
        filters = {"label": f"{LABEL_SERVICE}={service}"} if service else None
        with self._explained("list the volumes"):
            found = self._api.volumes(filters=filters)["Volumes"] or ()
        return sorted(str(volume["Name"]) for volume in found)

    def remove_volume(self, name: str) -> None:
        """Removes a volume; a container that has ended may hold it for a moment yet."""
        deadline = time.monotonic() + _RELEASE_SECONDS
        with self._explained(f"remove the volume {name}"), suppress(docker.errors.NotFound):
            while True:
                try:
                    self._api.remove_volume(name)
                    return
                except docker.errors.APIError as error:
                    if error.status_code != CONFLICT or time.monotonic() > deadline:
                        raise
                time.sleep(_POLL)

    @contextmanager
    def _explained(self, doing: str, names: Mapping[str, str] | None = None) -> Iterator[None]:
        """Turns what goes wrong inside into one line; names are IDs by the names that a person knows them by."""
        try:
            yield
        except docker.errors.APIError as error:
            said = str(error.explanation or error)
            for name, known_id in (names or {}).items():
                said = said.replace(known_id or name, name)
            raise EngineError(explain(said, f"Docker can't {doing}")) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineError(
                f"Docker at {self._host} does not answer ({one_line(str(error))}), "
                "check that it runs and that this user may use it"
            ) from error


def explain(said: str, otherwise: str, where: str = "this host") -> str:
    """What the Engine's words mean, where that is known."""
    for pattern, meaning in _EXPLANATIONS:
        match = re.search(pattern, said)
        if match:
            return meaning.format(found=next((group for group in match.groups() if group), ""), where=where)
    return f"{otherwise}: {one_line(said)}"


def one_line(text: str, limit: int = 300, keep_end: bool = False) -> str:
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return "…" + line[1 - limit :] if keep_end else line[: limit - 1] + "…"
