"""Several models and adapters in one process with a memory budget, and files that can't be served among them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gguf_files import lora_adapter, small_model
from support import ServedModel, ask, wait_until

from model_service.chat_template import digest_of

GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def small(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(model_path, tmp_path_factory.mktemp("models") / "small.gguf")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lora_adapter(tmp_path_factory.mktemp("adapters") / "poet.gguf")


def served(*models: dict[str, Any], **settings: object) -> ServedModel:
    return ServedModel(MODEL_MODELS=json.dumps(models, default=str), MODEL_PREFIX_STORE_MIB=0, **settings)


def post(served: ServedModel, model: str, **fields: Any) -> httpx.Response:
    body = ask(**{**GREEDY, **fields}) | {"model": model}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=120)


def statuses(served: ServedModel) -> dict[str, str]:
    cards = httpx.get(f"{served.url}/v1/models").json()["data"]
    return {card["id"]: card["status"] for card in cards}


def sample(served: ServedModel, name: str) -> float:
    for line in httpx.get(f"{served.url}/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    raise AssertionError(f"no sample {name}")


@pytest.fixture(scope="module")
def with_budget(small: Path) -> Iterator[ServedModel]:
    models = [{"name": name, "path": small} for name in ("first", "second", "third")]
    # Each takes about 130 MiB: 37 of weights, 24 of KV cache, the rest for buffers. Two fit, three don't.
    with served(*models, MODEL_MEMORY_BUDGET_MIB=310, MODEL_QUEUE_TIMEOUT_SECONDS=0.5, MODEL_CONTEXT=4096) as service:
        yield service


def test_models_take_turns_in_memory(with_budget: ServedModel) -> None:
    assert statuses(with_budget) == {"first": "loaded", "second": "loaded", "third": "unloaded"}
    texts = set()
    for _ in range(2):
        for name in ("first", "second", "third"):
            answer = post(with_budget, name)
            assert answer.status_code == 200, answer.text
            texts.add(answer.json()["choices"][0]["message"]["content"])
    assert len(texts) == 1
    assert sorted(statuses(with_budget).values()) == ["loaded", "loaded", "unloaded"]
    assert sample(with_budget, 'llm_model_loads_total{model_name="third",result="ok"}') == 2
    assert sample(with_budget, 'llm_model_unloads_total{model_name="first"}') >= 1
    loaded = [sample(with_budget, f'llm_model_loaded{{model_name="{name}"}}') for name in ("first", "second", "third")]
    assert sum(loaded) == 2


def test_a_stream_keeps_its_model_and_who_has_to_wait_for_it_is_told(with_budget: ServedModel) -> None:
    out = next(name for name, status in statuses(with_budget).items() if status == "unloaded")
    others = [name for name in statuses(with_budget) if name != out]
    body = ask(stream=True, max_tokens=800, temperature=0)
    with httpx.Client(timeout=120) as http:
        url = f"{with_budget.url}/v1/chat/completions"
        with (
            http.stream("POST", url, json=body | {"model": others[0]}) as one,
            http.stream("POST", url, json=body | {"model": others[1]}) as two,
        ):
            lines = [one.iter_lines(), two.iter_lines()]
            for each in lines:
                next(each)
            refused = post(with_budget, out)
            streams_ended = [[line for line in each if line][-1] for each in lines]
    assert streams_ended == ["data: [DONE]"] * 2
    if refused.status_code == 200:
        pytest.skip("the streams were done before the wait was")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_not_loaded"
    assert int(refused.headers["Retry-After"]) >= 1
    assert post(with_budget, out).status_code == 200


def test_a_file_that_crashes_llama_cpp_fails_alone(model_path: Path, small: Path, tmp_path: Path) -> None:
    broken = small_model(model_path, tmp_path / "broken.gguf", llama__attention__layer_norm_rms_epsilon=-1.0)
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    models = [{"name": "broken", "path": broken}, {"name": "text", "path": text}, {"name": "good", "path": small}]
    with served(*models) as service:
        assert post(service, "good").status_code == 200
        assert statuses(service) == {"broken": "failed", "text": "failed", "good": "loaded"}
        for name, path, said in (("broken", broken, "crashed with SIGABRT"), ("text", text, "magic number")):
            answer = post(service, name)
            assert answer.status_code == 503
            error = answer.json()["error"]
            assert error["code"] == "model_failed"
            assert f"{path}: " in error["message"]
            assert said in error["message"]
        readiness = httpx.get(f"{service.url}/health/ready")
        assert readiness.status_code == 200
        assert "broken is not served: cannot load" in readiness.json()["checks"]["model"]
        assert sample(service, 'llm_model_loads_total{model_name="broken",result="failed"}') == 1


@pytest.mark.parametrize("several", [False, True])
def test_without_a_model_that_can_be_served_the_process_ends_with_one_line(
    model_path: Path, tmp_path: Path, several: bool
) -> None:
    broken = small_model(model_path, tmp_path / "broken.gguf", llama__block_count=100_000)
    names = ("one", "two") if several else ("one",)
    service = served(*({"name": name, "path": broken} for name in names))
    with pytest.raises(AssertionError):  # it ends before it is ready
        service.__enter__()
    assert service.process.wait(60) == 1
    line = service.output().strip().splitlines()[-1]
    assert line.startswith(f"model-service: cannot load {broken}: llama.cpp crashed with SIGABRT on a try: ")


def test_an_adapter_is_a_model_of_its_own(small: Path, adapter: Path) -> None:
    model = {"name": "base", "path": small, "adapters": [{"name": "poet", "path": adapter, "scale": 2.0}]}
    with served(model) as service:
        cards = {card["id"]: card for card in httpx.get(f"{service.url}/v1/models").json()["data"]}
        assert {name: card["parent"] for name, card in cards.items()} == {"base": None, "base:poet": "base"}
        texts = [post(service, name).json()["choices"][0]["message"]["content"] for name in ("base", "base:poet") * 2]
        assert texts[0] == texts[2]
        assert texts[1] == texts[3]
        assert texts[0] != texts[1]
        assert post(service, "base:poet").json()["model"] == "base:poet"
        assert post(service, "base:painter").status_code == 404


def test_a_template_can_be_pinned_and_replaced(small: Path, model_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{{ messages[0].content }} {{ raise_exception('own template') if messages | length > 1 }}")
    pinned = {
        "name": "own",
        "path": small,
        "chat_template_file": file,
        "chat_template_sha256": digest_of(file.read_text()),
    }
    other = {"name": "other", "path": small, "chat_template_sha256": "0" * 64}
    with served(pinned, other) as service:
        messages = [{"role": "user", "content": "Hi"}] * 2
        refused = post(service, "own", messages=messages)
        assert "own template" in refused.json()["error"]["message"]
        assert post(service, "own").status_code == 200
        assert "MODEL_CHAT_TEMPLATE_SHA256" in post(service, "other").json()["error"]["message"]


def test_template_workers_end_with_the_service(small: Path) -> None:
    with served({"name": "m", "path": small}) as service:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
        assert len(children) >= 2
    wait_until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))
