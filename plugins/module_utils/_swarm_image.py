# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image's name as something that every host of a Swarm understands alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.llm.orchestrator.plugins.module_utils._description import Description
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient


def resolve_image(client: SwarmClient, image: str, found: Mapping[str, Any] | None) -> str | None:
    """The reference by which hosts find this very image; None where nobody has it. found is what is on this host.

    An image that came from a registry has its digest there, by which other hosts pull it. One that was built here is
    known by its ID alone, and has to be copied to the hosts that run it.
    """
    if found is None:
        digest = client.registry_digest(image)
        return f"{_repository(image)}@{digest}" if digest else None
    known = [str(entry) for entry in found.get("RepoDigests") or ()]
    pulled = [entry for entry in known if entry.partition("@")[0] == _repository(image)]
    return pulled[0] if pulled else str(found["Id"])


def user_id(description: Description, found: Mapping[str, Any] | None) -> int:
    """The number of the user that the container runs as, who is to read its secrets and configs."""
    user = description.user
    if user is None and found is not None:
        user = (found["Config"] or {}).get("User") or "0"
    number = (user or "").partition(":")[0]
    if number == "root":
        return 0
    if not number.isdigit():
        known = f"is '{number}'" if number else "is not known on this manager"
        raise EngineError(
            f"the user of image '{description.image}' {known}, who is to read its secrets and configs: "
            "give user as a number such as 10001"
        )
    return int(number)


def _repository(image: str) -> str:
    """The image's name without its tag and digest; a port before the first slash is no tag."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
