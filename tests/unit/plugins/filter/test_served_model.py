# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model-service is told of a model, and what that is said to take."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.filter.served_model import served_model

ROOT = "/srv/models"
SKIPPED = {"skipped": True, "changed": False}
MIB = 1 << 20


def result(path: str | None, before: str = "present", **also: Any) -> dict[str, Any]:
    return {"path": path, "diff": {"before": {"state": before}, "after": {"state": "present"}}, **also}


def info(weights: int, is_int8: bool = True, parameters: int = 0) -> dict[str, Any]:
    memory = {"weights": weights, "kv": 10 * MIB, "compute": 5 * MIB}
    return {"is_int8": is_int8, "parameters": parameters, "memory": memory}


def served(model: dict[str, Any], *results: dict[str, Any], **also: Any) -> dict[str, Any]:
    return served_model({"name": "house"} | model, *results, context=512, slots=2, models_dir=ROOT, **also)


def test_what_is_there_counts_with_what_its_header_says() -> None:
    got = served({}, result(f"{ROOT}/ab/house.gguf"), result(f"{ROOT}/cd/house-q8_0.gguf"), info(100 * MIB))
    assert got == {
        "entry": {
            "name": "house",
            "path": "/models/cd/house-q8_0.gguf",
            "use_int8": True,
            "kv_type": "f16",
            "context": 512,
            "slots": 2,
        },
        "path": f"{ROOT}/cd/house-q8_0.gguf",
        "memory_bytes": 170 * MIB,
        "disk_bytes": 0,
        "changes": False,
    }


def test_a_file_that_is_served_as_it_is() -> None:
    got = served({"kv_type": "q8_0"}, result(f"{ROOT}/ab/house.gguf"), SKIPPED, info(100 * MIB, is_int8=False))
    assert (got["entry"]["path"], got["entry"]["use_int8"]) == ("/models/ab/house.gguf", False)
    assert got["entry"]["kv_type"] == "q8_0"
    assert got["memory_bytes"] == 170 * MIB
    assert not got["changes"]


def test_what_is_not_made_int8_yet_counts_as_if_it_were() -> None:
    size = 200 * MIB
    downloaded = result(f"{ROOT}/ab/house.gguf", pin={"size": size})
    got = served({}, downloaded, result(None, "absent"), info(size, is_int8=False, parameters=96 * MIB))
    assert got["memory_bytes"] == int(102 * MIB * 1.5) + 20 * MIB
    assert (got["path"], got["entry"]["path"]) == (None, "/models/unknown/house")
    assert got["disk_bytes"] == size
    assert got["changes"]


@pytest.mark.parametrize(
    ("model", "disk"),
    [
        ({"source": "https://models.example.com/house.gguf"}, 2),
        ({"source": "pypi://house==1/house.gguf"}, 3),
        ({"source": "https://models.example.com/house.gguf", "allow_requantize": True}, 3),
    ],
)
def test_of_what_is_not_there_only_the_size_is_known(model: dict[str, Any], disk: int) -> None:
    size = 128 * MIB
    downloaded = result(None, "absent", pin={"size": size})
    got = served(model, downloaded, result(None, "absent"), SKIPPED)
    # As if it came in 32 bits, which is the least that INT8 of it would take.
    assert got["memory_bytes"] == int(34 * MIB * 1.5)
    assert got["disk_bytes"] == disk * size
    assert got["changes"]


def test_of_some_not_even_that() -> None:
    got = served({}, result(None, "absent", pin=None), result(None, "absent"), SKIPPED)
    assert (got["memory_bytes"], got["disk_bytes"]) == (0, 0)


def test_another_owner_is_a_change_but_takes_no_room() -> None:
    downloaded = result(f"{ROOT}/ab/house.gguf", "present, with another owner or mode", pin={"size": MIB})
    got = served({}, downloaded, result(f"{ROOT}/ab/house.gguf"), info(MIB))
    assert (got["disk_bytes"], got["changes"]) == (0, True)


def test_its_template_and_its_adapters_are_told_where_the_container_has_them() -> None:
    model = {
        "chat_template_sha256": "ab" * 32,
        "adapters": [
            {"name": "poet", "path": f"{ROOT}/adapters/poet.gguf", "scale": 0.5},
            {"name": "plain", "path": f"{ROOT}/plain.gguf"},
        ],
    }
    got = served(model, result(f"{ROOT}/ab/house.gguf"), SKIPPED, info(MIB), chat_template="Hi\n")
    digest = hashlib.sha256(b"Hi\n").hexdigest()
    assert got["entry"]["chat_template_file"] == f"/models/chat_templates/{digest}.jinja"
    assert got["entry"]["chat_template_sha256"] == "ab" * 32
    assert got["entry"]["adapters"] == [
        {"name": "poet", "path": "/models/adapters/poet.gguf", "scale": 0.5},
        {"name": "plain", "path": "/models/plain.gguf", "scale": 1.0},
    ]
    assert "adapters" not in served({}, result(f"{ROOT}/ab/house.gguf"), SKIPPED, info(MIB))["entry"]


def test_fewer_tokens_of_all_requests_together_take_less_memory() -> None:
    whole = served({}, result(f"{ROOT}/ab/house.gguf"), SKIPPED, info(MIB))["memory_bytes"]
    half = served({}, result(f"{ROOT}/ab/house.gguf"), SKIPPED, info(MIB), kv_tokens=512)
    kv = info(MIB)["memory"]["kv"]
    # And each slot no longer has room of its own, from which it's copied by way of one slot's more.
    assert whole - half["memory_bytes"] == kv
