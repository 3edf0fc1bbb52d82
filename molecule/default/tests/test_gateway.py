"""The platform as a client meets it at the gateway."""

from __future__ import annotations

import httpx
import pytest

MODELS = ["smollm2-135m-instruct", "four-bits"]


def test_both_models_are_listed(gateway: httpx.Client) -> None:
    assert [model["id"] for model in gateway.get("/v1/models").json()["data"]] == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_a_chat_completion_is_answered(gateway: httpx.Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    answer = gateway.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].strip()


def test_who_has_no_key_is_refused(gateway: httpx.Client) -> None:
    for authorization in ("", "Bearer sk-wrong"):
        answer = gateway.get("/v1/models", headers={"Authorization": authorization})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_plain_http_is_sent_to_https(gateway: httpx.Client) -> None:
    answer = httpx.get(f"http://{gateway.base_url.host}:8080/v1/models", trust_env=False)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"{str(gateway.base_url).rstrip('/')}/v1/models"


def test_a_stream_comes_in_pieces(gateway: httpx.Client) -> None:
    body = {
        "model": MODELS[0],
        "messages": [{"role": "user", "content": "Count to ten."}],
        "max_tokens": 16,
        "stream": True,
    }
    with gateway.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert len(events) > 3
    assert events[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/api/model/docs", "/api/model/openapi.json", "/api/monitoring/v1/services"]
)
def test_an_open_route_answers(gateway: httpx.Client, path: str) -> None:
    assert gateway.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/api/cache/v1/stats", "/api/storage/v1/stats", "/dashboard/", "/api/overview"])
def test_an_administrator_route_wants_the_password(gateway: httpx.Client, admin: httpx.BasicAuth, path: str) -> None:
    assert gateway.get(path).status_code == 401
    assert gateway.get(path, auth=httpx.BasicAuth("admin", "wrong")).status_code == 401
    assert gateway.get(path, auth=admin).status_code == 200


def test_a_file_of_two_names_is_there_once_beside_the_int8_one(host) -> None:
    found = host.check_output("stat --format '%i %n' /var/lib/llm-orchestrator/models/*/*.gguf").splitlines()
    inodes = {path.rsplit("/", 1)[1]: inode for inode, path in (line.split() for line in found)}
    assert sorted(inodes) == ["four-bits.gguf", "smollm2-135m-instruct-q8_0.gguf", "smollm2-135m-instruct.gguf"]
    assert inodes["four-bits.gguf"] == inodes["smollm2-135m-instruct.gguf"]
