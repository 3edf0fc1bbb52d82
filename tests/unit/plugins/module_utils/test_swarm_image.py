# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._engine import EngineError
from ansible_collections.llm.orchestrator.plugins.module_utils._swarm_image import resolve_image, user_id
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.fake_docker import describe


class Registry:
    def __init__(self, **digests: str) -> None:
        self._digests = digests

    def registry_digest(self, image: str) -> str | None:
        return self._digests.get(image.rpartition("/")[2].partition(":")[0])


def image(digests: tuple[str, ...] = (), user: str = "") -> dict[str, Any]:
    return {"Id": "sha256:1", "RepoDigests": list(digests), "Config": {"User": user}}


@pytest.mark.parametrize(
    ("name", "found", "reference"),
    [
        pytest.param("llm/demo:1", image(), "sha256:1", id="built-here"),
        pytest.param("r:5000/demo:1", image(("r:5000/demo@sha256:9",)), "r:5000/demo@sha256:9", id="pulled"),
        pytest.param("llm/demo:1", image(("r:5000/demo@sha256:9",)), "sha256:1", id="pulled-under-another-name"),
        pytest.param("r:5000/demo:1", None, "r:5000/demo@sha256:7", id="in-the-registry-alone"),
        pytest.param("r:5000/demo", None, "r:5000/demo@sha256:7", id="without-a-tag"),
        pytest.param("r:5000/gone:1", None, None, id="nowhere"),
    ],
)
def test_every_host_finds_the_same_image(name: str, found: dict[str, Any] | None, reference: str | None) -> None:
    assert resolve_image(Registry(demo="sha256:7"), name, found) == reference  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("user", "found", "number"),
    [
        ("10001:10001", image(user="5"), 10001),
        (None, image(user="10002:0"), 10002),
        (None, image(), 0),
        ("root", None, 0),
    ],
)
def test_files_belong_to_the_user_of_the_description_or_of_the_image(
    user: str | None, found: dict[str, Any] | None, number: int
) -> None:
    assert user_id(describe("demo:1", user=user), found) == number


@pytest.mark.parametrize(
    ("user", "found", "cause"),
    [
        (None, image(user="redis"), "is 'redis'"),
        ("redis", None, "is 'redis'"),
        (None, None, "is not known on this manager"),
    ],
)
def test_a_user_without_a_number_is_told(user: str | None, found: dict[str, Any] | None, cause: str) -> None:
    with pytest.raises(EngineError) as caught:
        user_id(describe("demo:1", user=user), found)
    assert str(caught.value) == (
        f"the user of image 'demo:1' {cause}, who is to read its secrets and configs: "
        "give user as a number such as 10001"
    )
