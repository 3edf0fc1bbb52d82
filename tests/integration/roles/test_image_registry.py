# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""service_image pushes no tag twice, which a registry whose tags never move (ECR) refuses, even for the same image."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.fleet.image_registry import PASSWORD, USER, image_registry

pytestmark = pytest.mark.docker

LOGINS = Path("/run/llm-orchestrator-registry")
NAME = "llm-it-registry/image-of-a-test:0.1.0"
PUSHED = re.compile(r'"PUT /v2/llm-orchestrator/image-of-a-test/manifests/(\S+) [^"]*" 201 ')
COLLECTIONS = ":".join(path for path in sys.path if (Path(path) / "ansible_collections/llm/orchestrator").is_dir())


@dataclass(frozen=True)
class Registry:
    """A real one: the variables by which the role uses it, and its log."""

    variables: dict[str, str]
    log: Path

    @property
    def repository(self) -> str:
        return f"{self.variables['llm_image_registry']}/image-of-a-test"

    def pushed(self) -> list[str]:
        """The tags under which it was sent an image, each time that it was."""
        return PUSHED.findall(self.log.read_text())

    def tags(self) -> list[str]:
        address, _, path = self.repository.partition("/")
        url, auth = f"https://{address}/v2/{path}/tags/list", (USER, PASSWORD)
        answer = httpx.get(url, auth=auth, verify=False, trust_env=False).raise_for_status()
        return sorted(answer.json()["tags"])


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with image_registry("127.0.0.1", tmp_path) as variables:
        yield Registry(variables, tmp_path / "registry.log")


@pytest.fixture
def ids(engine: docker.DockerClient) -> Iterator[list[str]]:
    """The IDs of two images, which two builds made under one name."""
    made = []
    for number in ("1", "2"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            member = tarfile.TarInfo(number)
            member.mtime = int(time.time())
            archive.addfile(member)
        engine.api.import_image_from_data(file.getvalue(), *NAME.split(":"))
        made.append(str(engine.images.get(NAME).id))
    yield made
    for one in made:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(one, force=True)


def bring(
    place: Path, registry: Registry, image: str, first_password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    """Has the role bring the image to two hosts that lack it; they and the build host are this machine."""
    role: dict[str, Any] = {
        "ansible.builtin.include_role": {"name": "llm.orchestrator.service_image", "tasks_from": "pull"},
        "vars": {
            "__service_image_host": "{{ inventory_hostname }}",
            "__service_image_missing": [NAME],
            "__service_image_built": {"results": [{"image": {"id": image, "name": NAME}}, {"image": {}}]},
            "service_image_names": [],
            "service_image_registry": registry.variables["llm_image_registry"],
            "service_image_registry_ca": registry.variables["llm_image_registry_ca"],
            "service_image_registry_user": USER,
            "service_image_registry_password": "{{ password }}",
        },
    }
    passwords = {"one": first_password, "two": PASSWORD}
    hosts = {name: {"ansible_connection": "local", "password": word} for name, word in passwords.items()}
    (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (place / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml"],
        cwd=place,
        env=os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def pulled(registry: Registry, output: str) -> list[str]:
    """The hosts that pulled the image by its digest."""
    return sorted(re.findall(rf"\[(\w+)\] => \(item={registry.repository}@sha256:", output))


def test_no_tag_is_pushed_twice_and_another_image_has_another_tag(
    tmp_path: Path, engine: docker.DockerClient, registry: Registry, ids: list[str]
) -> None:
    tags = [f"0.1.0-{one.removeprefix('sha256:')[:12]}" for one in ids]
    for image, expected in ((ids[0], tags[:1]), (ids[0], tags[:1]), (ids[1], tags)):
        engine.images.get(image).tag(*NAME.split(":"))
        done = bring(tmp_path, registry, image)

        assert done.returncode == 0, done.stdout + done.stderr
        assert registry.pushed() == expected
        # Each host pulls by the digest, and the build host is left with no name that only the registry needs.
        assert pulled(registry, done.stdout) == ["one", "two"], done.stdout
        assert engine.images.list(registry.repository) == []
        assert engine.images.get(NAME).id == image
        assert [*LOGINS.glob("*")] == []
    assert registry.tags() == sorted(tags)


def test_a_push_that_fails_ends_the_run_with_its_reason_and_leaves_nothing(
    tmp_path: Path, engine: docker.DockerClient, registry: Registry, ids: list[str]
) -> None:
    (tmp_path / "images").write_text("where the images should go")

    done = bring(tmp_path, registry, ids[1])

    assert done.returncode != 0
    assert "Error pushing image" in done.stdout + done.stderr
    assert engine.images.list(registry.repository) == []
    assert [*LOGINS.glob("*")] == []


def test_a_host_that_cannot_log_in_leaves_the_others_alone(
    tmp_path: Path, engine: docker.DockerClient, registry: Registry, ids: list[str]
) -> None:
    done = bring(tmp_path, registry, ids[1], first_password="wrong")

    assert done.returncode != 0
    assert pulled(registry, done.stdout) == ["two"], done.stdout
    assert engine.images.list(registry.repository) == []
    assert [*LOGINS.glob("*")] == []
