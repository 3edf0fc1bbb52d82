# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real image registry with TLS and a password: Debian's ``docker-registry``."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import httpx
from gateway_certificates import write_pair
from platform_runs import wait_until

USER, PASSWORD = "deployer", "correct-horse-battery"


@contextmanager
def image_registry(host: str, place: Path) -> Iterator[dict[str, str]]:
    """Serves at an address of this machine's; gives the variables by which the roles use it.

    The place has its images in ``images``, and in ``registry.log`` what it was asked for.
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    certificate, key = write_pair(place, "registry", address=host)
    users = place / "users"
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    config = place / "registry.json"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(place / "images")}},
                "http": {"addr": address, "tls": {"certificate": str(certificate), "key": str(key)}},
                "auth": {"htpasswd": {"realm": "test", "path": str(users)}},
            }
        )
    )
    with (
        (place / "registry.log").open("wb") as log,
        subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: asks_for_a_password(address), "the registry serves", 20)
            yield {
                "llm_image_registry": f"{address}/llm-orchestrator",
                "llm_image_registry_ca": str(certificate),
                "llm_image_registry_user": USER,
                "llm_image_registry_password": PASSWORD,
            }
        finally:
            process.terminate()
            forget(address)


def asks_for_a_password(address: str) -> bool:
    try:
        return httpx.get(f"https://{address}/v2/", verify=False, trust_env=False).status_code == 401
    except httpx.TransportError:
        return False


def forget(address: str) -> None:
    """What this machine's engine knows of it, if anything was pushed."""
    # It isn't there where the tests ended before anything was pushed.
    shutil.rmtree(f"/etc/docker/certs.d/{address}", ignore_errors=True)
    pushed = f"reference={address}/*/*"
    names = subprocess.run(
        ["docker", "images", "--filter", pushed, "--format", "{{.Repository}}:{{.Tag}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if names:
        subprocess.run(["docker", "rmi", *names], capture_output=True, check=True)
