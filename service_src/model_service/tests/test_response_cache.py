"""Deterministic answers come from the cache the second time; a broken cache only costs its timeout."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cache_stub import CacheStub
from support import ServedModel, ask

DETERMINISTIC = {"temperature": 0}
# Patient enough for a busy test machine; the test of a slow cache measures against it.
TIMEOUT_SECONDS = 0.5


@pytest.fixture(scope="module")
def cached_service(model_path: Path) -> Iterator[tuple[ServedModel, CacheStub]]:
    with (
        CacheStub() as stub,
        ServedModel(
            MODEL_PATH=model_path, MODEL_CACHE_URL=stub.url, MODEL_CACHE_TIMEOUT_SECONDS=TIMEOUT_SECONDS
        ) as served,
    ):
        yield served, stub


@pytest.fixture
def stub(cached_service: tuple[ServedModel, CacheStub]) -> Iterator[CacheStub]:
    stub = cached_service[1]
    stub.entries.clear()
    yield stub
    stub.delay_seconds, stub.status = 0.0, 0
    time.sleep(1.1)  # a failure pauses the cache for a second


@pytest.fixture
def http(cached_service: tuple[ServedModel, CacheStub]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cached_service[0].url, timeout=120) as client:
        yield client


def post(http: httpx.Client, **fields: object) -> httpx.Response:
    response = http.post("/v1/chat/completions", json=ask(**fields))
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("fields", [DETERMINISTIC, {"temperature": 1, "seed": 7}])
def test_the_second_answer_is_the_first_ones_body(
    http: httpx.Client, stub: CacheStub, fields: dict[str, object]
) -> None:
    first, second = post(http, **fields), post(http, **fields)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert stub.ttls[-1] == "3600"


def test_a_stream_is_replayed_as_the_same_stream(http: httpx.Client, stub: CacheStub) -> None:
    fields = {**DETERMINISTIC, "stream": True, "stream_options": {"include_usage": True}}
    first, second = post(http, **fields), post(http, **fields)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert second.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 3, "temperature": 1, "seed": 1},
        {"logprobs": True, "top_logprobs": 2},
        {"tools": [{"type": "function", "function": {"name": "look_up"}}], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_an_answer_of_any_form_is_replayed(http: httpx.Client, stub: CacheStub, fields: dict[str, object]) -> None:
    fields = {**DETERMINISTIC, **fields, "max_tokens": 30}
    for stream in (True, False):
        first, second = post(http, **fields, stream=stream), post(http, **fields, stream=stream)
        assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss" if stream else "hit", "hit")
        assert first.content == second.content


def test_a_stream_and_a_whole_answer_share_an_entry(http: httpx.Client, stub: CacheStub) -> None:
    stream = post(http, **DETERMINISTIC, stream=True)
    whole = post(http, **DETERMINISTIC)
    assert whole.headers["X-Cache"] == "hit"
    chunks = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert whole.json()["choices"][0]["message"]["content"] == text
    assert whole.json()["id"] == chunks[0]["id"]


@pytest.mark.parametrize(
    "changed",
    [
        {"content": "Say goodbye."},
        {"max_tokens": 9},
        {"stop": ["!"]},
        {"frequency_penalty": 0.5},
        {"seed": 1},
        {"n": 2},
        {"logit_bias": {"5": 1}},
        {"logprobs": True},
        {"ignore_eos": True},
        {"grammar": 'root ::= "a"'},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "look_up"}}]},
    ],
)
def test_what_changes_the_answer_changes_the_key(
    http: httpx.Client, stub: CacheStub, changed: dict[str, object]
) -> None:
    post(http, **DETERMINISTIC)
    assert post(http, **DETERMINISTIC, **changed).headers["X-Cache"] == "miss"


def test_what_does_not_change_the_answer_does_not_change_the_key(http: httpx.Client, stub: CacheStub) -> None:
    post(http, **DETERMINISTIC)
    assert post(http, **DETERMINISTIC, user="me", service_tier="flex").headers["X-Cache"] == "hit"


def test_an_answer_drawn_at_random_goes_past_the_cache(http: httpx.Client, stub: CacheStub) -> None:
    before = stub.requests
    assert post(http).headers["X-Cache"] == "bypass"
    assert stub.requests == before


def test_a_stream_that_was_left_is_not_kept(http: httpx.Client, stub: CacheStub) -> None:
    body = ask(**DETERMINISTIC, stream=True, max_tokens=200)
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
    time.sleep(1)
    assert stub.entries == {}


@pytest.mark.parametrize("fault", ["slow", "failing", "garbled"])
def test_a_broken_cache_costs_no_answer(http: httpx.Client, stub: CacheStub, fault: str) -> None:
    post(http, **DETERMINISTIC)
    match fault:
        case "slow":
            stub.delay_seconds = 20
        case "failing":
            stub.status = 500
        case "garbled":
            stub.entries = dict.fromkeys(stub.entries, b'{"not": "an answer"}')
    started = time.perf_counter()
    response = post(http, **DETERMINISTIC, max_tokens=8)
    assert response.headers["X-Cache"] == ("miss" if fault == "garbled" else "bypass")
    assert response.json()["choices"][0]["message"]["content"]
    assert time.perf_counter() - started < 18


def test_a_failure_pauses_the_cache_for_a_second(http: httpx.Client, stub: CacheStub) -> None:
    stub.status = 500
    before = stub.requests
    post(http, **DETERMINISTIC, max_tokens=1)
    stub.status = 0
    assert post(http, **DETERMINISTIC, max_tokens=1).headers["X-Cache"] == "bypass"
    assert stub.requests == before + 1


def test_each_tenant_has_entries_of_its_own(model_path: Path) -> None:
    with (
        CacheStub() as stub,
        ServedModel(
            MODEL_PATH=model_path,
            MODEL_CACHE_URL=stub.url,
            MODEL_CACHE_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
            MODEL_API_KEYS="key-of-one,key-of-two",
        ) as served,
        httpx.Client(base_url=served.url, timeout=120) as http,
    ):
        statuses = []
        for key in ("key-of-one", "key-of-two", "key-of-one"):
            headers = {"Authorization": f"Bearer {key}"}
            response = http.post("/v1/chat/completions", json=ask(temperature=0), headers=headers)
            statuses.append(response.headers["X-Cache"])
    assert statuses == ["miss", "miss", "hit"]
