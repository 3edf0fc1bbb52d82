"""Several models in one process, each with settings of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import MODEL, ServedModel, ask

OTHER = "four-bit-model"


@pytest.fixture(scope="module")
def both(model_path: Path, source_path: Path) -> Iterator[ServedModel]:
    models = [
        {"name": MODEL, "path": str(model_path), "context": 256},
        {"name": OTHER, "path": str(source_path), "use_int8": False, "slots": 2, "kv_type": "q8_0"},
    ]
    with ServedModel(MODEL_MODELS=json.dumps(models)) as served:
        yield served


@pytest.fixture
def client(both: ServedModel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=both.url, timeout=120) as client:
        yield client


def test_each_answers_by_its_name(client: httpx.Client, both: ServedModel) -> None:
    assert [card["id"] for card in client.get("/v1/models").json()["data"]] == [MODEL, OTHER]
    for model in (MODEL, OTHER):
        answer = client.post("/v1/chat/completions", json=ask(temperature=0) | {"model": model})
        assert answer.status_code == 200
        assert answer.json()["model"] == model
        assert client.get(f"/v1/models/{model}").json()["id"] == model
    missing = client.post("/v1/chat/completions", json=ask() | {"model": "neither"})
    assert missing.status_code == 404
    assert f"'{MODEL}', '{OTHER}'" in missing.json()["error"]["message"]


def test_each_has_its_own_slots_context_and_metrics(client: httpx.Client, both: ServedModel) -> None:
    samples = client.get("/metrics").text.splitlines()
    assert f'llm_slots{{model_name="{MODEL}"}} 4.0' in samples
    assert f'llm_slots{{model_name="{OTHER}"}} 2.0' in samples
    long = ask("word " * 300)
    assert client.post("/v1/chat/completions", json=long).json()["error"]["code"] == "context_length_exceeded"
    assert client.post("/v1/chat/completions", json=long | {"model": OTHER}).status_code == 200


def test_both_answer_at_the_same_time(client: httpx.Client) -> None:
    story = ask("Tell a story.", stream=True, max_tokens=150)
    with client.stream("POST", "/v1/chat/completions", json=story) as response:
        lines = response.iter_lines()
        next(lines)
        other = client.post("/v1/chat/completions", json=ask(max_tokens=4) | {"model": OTHER})
        assert other.status_code == 200
        assert [line for line in lines if line][-1] == "data: [DONE]"
