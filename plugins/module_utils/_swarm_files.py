# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets and configs as objects of the Swarm, whose names say what they hold.

Such an object never changes: another content is another object, which a task of that release mounts. So a rollback
finds what it returns to, and an object that no release refers to any more is removed.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ansible_collections.llm.orchestrator.plugins.module_utils import _container_files as container_files
from ansible_collections.llm.orchestrator.plugins.module_utils._description import (
    LABEL_PREFIX,
    LABEL_SERVICE,
    Description,
    DescriptionError,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_client import SwarmClient

KINDS = ("secret", "config")

_KEY_NAME = "llm-orchestrator.digest-key"
_KEY_BYTES = 32
_DIGEST_DIGITS = 32
# What a Swarm of any age takes.
_LARGEST = {"secret": 500 * 1024, "config": 500 * 1024}
# A name has at most 64 characters: the beginning of the service's, a dot, a digest.
_SHOWN_NAME = 31


@dataclass(frozen=True)
class SwarmFile:
    """A secret or a config of the Swarm, and what a container sees it as: a secret's name or a config's path."""

    kind: str
    target: str
    name: str
    id: str


def check_sizes(description: Description) -> None:
    contents = [("secret", secret.name, secret.value) for secret in description.secrets]
    contents += [("config", config.path, config.content) for config in description.configs]
    for kind, target, content in contents:
        if len(content.encode()) > _LARGEST[kind]:
            raise DescriptionError(
                f"{kind}s: '{target}' is larger than {_LARGEST[kind] // 1024} KiB, the most that a Swarm's {kind} holds"
            )


def load_key(client: SwarmClient, create: bool) -> bytes:
    """The Swarm's key of the secrets' digests, made once. Where none may be made, one that matches no record.

    All managers need the same one, so it is a config, which they alone can read; a secret can't be read by anybody.
    """
    key = client.config_content(_KEY_NAME)
    if key is None and create:
        client.create_file("config", _KEY_NAME, random.token_bytes(_KEY_BYTES), {LABEL_PREFIX + "key": "digests"})
        # Another manager may have made it at the same time.
        key = client.config_content(_KEY_NAME)
    return key or random.token_bytes(_KEY_BYTES)


def digests(client: SwarmClient, description: Description, create: bool) -> dict[str, str]:
    """What tells each secret from another one, by its name."""
    if not description.secrets:
        return {}
    key = load_key(client, create)
    return {secret.name: container_files.digest(key, secret) for secret in description.secrets}


def ensure_files(client: SwarmClient, description: Description, known: Mapping[str, str]) -> list[SwarmFile]:
    """The objects that hold the description's secrets and configs, made where they are missing.

    known are the secrets' digests. No object's name tells anything of a secret to who lacks the key.
    """
    wanted = [("secret", one.name, one.value, known[one.name]) for one in description.secrets]
    wanted += [("config", one.path, one.content, one.content) for one in description.configs]
    there = {kind: client.files(kind, description.name) for kind in KINDS}
    files = []
    for kind, target, content, identity in wanted:
        name = object_name(description.name, kind, target, identity)
        file_id = there[kind].get(name)
        if file_id is None:
            file_id = client.create_file(kind, name, content.encode(), {LABEL_SERVICE: description.name})
        files.append(SwarmFile(kind, target, name, file_id))
    return files


def object_name(service: str, kind: str, target: str, identity: str) -> str:
    text = "\0".join((service, kind, target, identity))
    return f"{service[:_SHOWN_NAME]}.{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]}"


def remove_unused(client: SwarmClient, service: str, used: Collection[str]) -> None:
    """Removes each of the service's secrets and configs whose ID is not in use."""
    for kind in KINDS:
        for file_id in client.files(kind, service).values():
            if file_id not in used:
                client.remove_file(kind, file_id)
