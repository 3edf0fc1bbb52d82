"""What the modules' examples leave on the host, read without the modules."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import pytest

SCENARIO = Path(__file__).parents[1]
MADE = SCENARIO.parents[1] / ".cache/molecule/models"
MODELS = "/var/lib/llm-orchestrator/models"
LEFT = {
    "house-model-q8_0.gguf",
    "qwen2.5-0.5b-instruct-q8_0.gguf",
    "smollm2-135m-instruct-q4_1-q8_0.gguf",
    "smollm2-135m-instruct-q4_1.gguf",
    "team-model.gguf",
}


@pytest.fixture(scope="module")
def paths(host) -> dict[str, str]:
    found = host.check_output(f"find {MODELS} -name '*.gguf'").split()
    return {PurePath(path).name: path for path in found}


def test_the_removed_model_is_gone_and_no_other(host, paths: dict[str, str]) -> None:
    assert set(paths) == LEFT
    assert host.check_output(f"find {MODELS}/.partial -type f") == ""


@pytest.mark.parametrize("name", sorted(LEFT))
def test_a_file_is_what_its_folder_says(host, paths: dict[str, str], name: str) -> None:
    assert host.file(paths[name]).sha256sum == PurePath(paths[name]).parent.name
    assert host.file(paths[name]).content[:4] == b"GGUF"


def test_what_was_quantized_says_from_what_and_how(host, paths: dict[str, str]) -> None:
    record = json.loads(host.file(str(PurePath(paths["house-model-q8_0.gguf"]).with_name("record.json"))).content)
    house_model = (MADE / "house-model.gguf.sha256").read_text()
    assert house_model in json.dumps(record)
    assert "llama_model_quantize" in json.dumps(record)


def test_no_quantizers_container_is_left(host) -> None:
    assert host.check_output("docker ps --all --quiet") == ""


def test_the_lockfile_beside_the_playbook_pins_the_hubs_commit() -> None:
    lock = (SCENARIO / "models.lock.yml").read_text()
    assert "qwen2.5-0.5b-instruct-q8_0" in lock
    assert "0123456789abcdef0123456789abcdef01234567" in lock
