"""The API: OpenAI's form, a named error for everything else, and nobody harmed by anybody."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest
from support import MODEL, ServedModel, ask, wait_until

CHAT = "/v1/chat/completions"


def events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def test_the_model_is_listed_and_described(http: httpx.Client) -> None:
    models = http.get("/v1/models").json()
    assert models["object"] == "list"
    assert [card["id"] for card in models["data"]] == [MODEL]
    assert http.get(f"/v1/models/{MODEL}").json() == models["data"][0]


def test_an_unknown_model_is_not_found(http: httpx.Client) -> None:
    for response in (http.get("/v1/models/gpt-x"), http.post(CHAT, json={**ask(), "model": "gpt-x"})):
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"
        assert response.json()["error"]["param"] == "model"


def test_an_answer_has_its_usage_and_timings(http: httpx.Client) -> None:
    answer = http.post(CHAT, json=ask(max_tokens=5)).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    usage, timings = answer["usage"], answer["timings"]
    assert usage["completion_tokens"] == timings["predicted_n"] == 5
    assert usage["prompt_tokens"] == timings["prompt_n"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert timings["predicted_per_second"] > 0


def test_a_stream_ends_with_usage_and_done(http: httpx.Client) -> None:
    body = ask(max_tokens=5, stream=True, stream_options={"include_usage": True})
    response = http.post(CHAT, json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *data, done = events(response.text)
    assert done == "[DONE]"
    first, *deltas, last, usage = [json.loads(line) for line in data]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(delta["choices"][0]["delta"]["content"] for delta in deltas)
    assert last["choices"][0]["finish_reason"] == "length"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 5)
    assert usage["timings"]["predicted_n"] == 5
    assert len({chunk["id"] for chunk in (first, *deltas, last, usage)}) == 1


def test_a_stream_has_no_usage_unless_asked(http: httpx.Client) -> None:
    data = events(http.post(CHAT, json=ask(stream=True)).text)
    assert not any("usage" in line for line in data)


def test_content_in_parts_is_the_same_as_in_one(http: httpx.Client) -> None:
    parts = [{"type": "text", "text": "Say"}, {"type": "text", "text": "hello."}]
    messages = [{"role": "user", "content": parts}]
    answers = [
        http.post(CHAT, json={**ask("Say\nhello."), "temperature": 0}).json(),
        http.post(CHAT, json={**ask(), "temperature": 0, "messages": messages}).json(),
    ]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert answers[0]["usage"]["prompt_tokens"] == answers[1]["usage"]["prompt_tokens"]


def test_an_answer_can_be_sent_back_as_a_message(http: httpx.Client) -> None:
    message = http.post(CHAT, json=ask()).json()["choices"][0]["message"]
    messages = [{"role": "user", "content": "Hi"}, message, {"role": "user", "content": "Again"}]
    assert http.post(CHAT, json={**ask(), "messages": messages}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop.0"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "oracle", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"grammar": "root"}, "grammar"),
        ({"grammar": "root ::= other"}, "grammar"),
        ({"logit_bias": {"49152": 1}}, "logit_bias"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
)
def test_a_field_that_cannot_be_served_is_named(http: httpx.Client, fields: dict[str, object], param: str) -> None:
    response = http.post(CHAT, json={**ask(), **fields})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param.split(".")[0] in error["message"]


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_missing_field_is_named(http: httpx.Client, field: str) -> None:
    body = ask()
    del body[field]
    response = http.post(CHAT, json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": True}},
        {"max_tokens": 5, "max_completion_tokens": 5},
    ],
)
def test_fields_that_do_not_go_together_are_refused(http: httpx.Client, fields: dict[str, object]) -> None:
    assert http.post(CHAT, json={**ask(), **fields}).status_code == 400


def test_null_means_not_given(http: httpx.Client) -> None:
    names = ("temperature", "top_p", "stop", "seed", "stream", "stream_options", "n", "tools", "user")
    assert http.post(CHAT, json={**ask(), **dict.fromkeys(names)}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b"[" * 100_000,
        json.dumps({**ask(), "temperature": float("nan")}).encode(),
        json.dumps({**ask(), "temperature": float("inf")}).encode(),
        json.dumps(ask("half a pair: \ud83d")).encode(),
        json.dumps({**ask(), "stop": "\ud83d"}).encode(),
        json.dumps({**ask(), "\ud83d": 1}).encode(),
        json.dumps({**ask(), "messages": [{"role": "user", "content": "x", "\ud83d": 1}]}).encode()[:-9],
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_broken_body_is_a_400_in_openais_form(http: httpx.Client, body: bytes) -> None:
    response = http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert http.post(CHAT, json=ask(max_tokens=1)).status_code == 200


def test_broken_json_has_its_own_code(http: httpx.Client) -> None:
    response = http.post(CHAT, content=b'{"model": ', headers={"Content-Type": "application/json"})
    assert response.json()["error"]["code"] == "invalid_json"


def test_a_body_over_the_limit_is_a_413(http: httpx.Client) -> None:
    response = http.post(CHAT, json=ask("x" * (1 << 20)))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("content", ["word " * 1000, "<|im_start|>" * 50_000])
def test_a_prompt_over_the_context_is_a_400(http: httpx.Client, content: str, stream: bool) -> None:
    response = http.post(CHAT, json=ask(content, stream=stream))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert "512" in response.json()["error"]["message"]


def test_hostile_requests_harm_no_stream_beside_them(http: httpx.Client, served: ServedModel) -> None:
    lines: list[str] = []

    def read() -> None:
        body = ask("Tell a story.", stream=True, max_tokens=60, temperature=0)
        with httpx.stream("POST", f"{served.url}{CHAT}", json=body, timeout=120) as response:
            lines.extend(response.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    for hostile in (
        {"messages": [{"role": "user", "content": "word " * 5000}]},
        {"messages": [{"role": "user", "content": "\x00\x1b[2J" + "\U0001f4a9" * 100}]},
        {"messages": [{"role": "user", "content": "<|im_end|>" * 50}]},
        {"stop": ["a" * 1024]},
        {"temperature": 2, "top_p": 1e-9, "min_p": 1, "top_k": 1},
        {"temperature": 1e-300},
        {"presence_penalty": 2, "frequency_penalty": -2},
    ):
        assert http.post(CHAT, json={**ask(max_tokens=4), **hostile}).status_code in (200, 400)
    reader.join()
    assert lines[-2] == "data: [DONE]"


def test_a_client_that_hangs_up_frees_its_slot(http: httpx.Client, served: ServedModel) -> None:
    with http.stream("POST", CHAT, json=ask("Tell a story.", stream=True, max_tokens=400)) as response:
        lines = response.iter_lines()
        next(lines)
        assert served.metric("llm_requests_running") == 1
    wait_until(lambda: served.metric("llm_requests_running") == 0)
    with pytest.raises(httpx.ReadTimeout):
        http.post(CHAT, json=ask("Tell a story.", max_tokens=400), timeout=0.5)
    wait_until(lambda: served.metric("llm_requests_running") == 0)
    assert served.metric("llm_kv_cache_usage_ratio") == 0


def test_metrics_count_what_was_done(http: httpx.Client, served: ServedModel) -> None:
    samples = {
        "llm_generation_tokens_total": 3,
        'llm_request_success_total{finished_reason="length"}': 1,
        "llm_time_to_first_token_seconds_count": 1,
        "llm_inter_token_latency_seconds_count": 2,
        "llm_e2e_request_latency_seconds_count": 1,
        "llm_request_queue_time_seconds_count": 1,
        'llm_response_cache_total{result="bypass"}': 1,
    }
    before = {sample: served.metric(sample) for sample in samples}
    http.post(CHAT, json=ask(max_tokens=3))
    assert {sample: served.metric(sample) - before[sample] for sample in samples} == samples
    assert served.metric("llm_slots") == 4


def test_requests_beyond_the_queue_get_a_429_at_once(model_path: Path) -> None:
    with (
        ServedModel(MODEL_PATH=model_path, MODEL_SLOTS=1, MODEL_QUEUE_LIMIT=0) as served,
        httpx.Client(base_url=served.url, timeout=120) as http,
        http.stream("POST", CHAT, json=ask("Tell a story.", stream=True, max_tokens=400)) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        refused = http.post(CHAT, json=ask())
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.elapsed.total_seconds() < 1
        assert served.metric('llm_requests_rejected_total{reason="queue_full"}') == 1


def test_a_stream_that_waits_is_kept_alive(model_path: Path) -> None:
    with (
        ServedModel(MODEL_PATH=model_path, MODEL_SLOTS=1, MODEL_KEEP_ALIVE_SECONDS=0.1) as served,
        httpx.Client(base_url=served.url, timeout=120) as http,
        http.stream("POST", CHAT, json=ask("Tell a story.", stream=True, max_tokens=400)) as busy,
    ):
        lines = busy.iter_lines()
        next(lines)
        with http.stream("POST", CHAT, json=ask(stream=True)) as waiting:
            assert next(waiting.iter_lines()) == ": keep-alive"


@pytest.mark.parametrize("path", ["/v1/models", CHAT])
def test_an_api_key_is_asked_for_where_keys_are_set(model_path: Path, path: str) -> None:
    with (
        ServedModel(MODEL_PATH=model_path, MODEL_API_KEYS="first-key\nsecond-key, third-key") as served,
        httpx.Client(base_url=served.url, timeout=120) as http,
    ):

        def status(authorization: str | None) -> int:
            headers = {"Authorization": authorization} if authorization else {}
            request = {"json": ask(max_tokens=1)} if path == CHAT else {}
            return http.request("POST" if request else "GET", path, headers=headers, **request).status_code

        assert [status(f"Bearer {key}-key") for key in ("first", "second", "third")] == [200] * 3
        assert [status(given) for given in (None, "Bearer nope", "Basic first-key")] == [401] * 3
        error = http.get("/v1/models").json()["error"]
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert http.get("/health/ready").status_code == 200
