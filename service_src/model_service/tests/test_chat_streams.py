"""A chat completion as a stream: its chunks in OpenAI's form, errors within it, and clients that go."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, says
from serving import serving_fake
from support import ask, wait_until

from model_service.engine import GenerationFailedError, InvalidRequestError, OverloadedError, Sampling

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "get_weather"}}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Pa}\\"ris", "days": [1, 2]}}\n</tool_call>'
ARGUMENTS = '{"city": "Pa}\\"ris", "days": [1, 2]}'


def chunks_of(api: httpx.Client, **fields: object) -> list[dict[str, Any]]:
    response = api.post(CHAT, json=ask(stream=True, **fields))
    assert response.status_code == 200, response.text
    *data, done = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert done == "[DONE]"
    return [json.loads(line) for line in data]


def choices_of(chunks: list[dict[str, Any]], index: int = 0) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


def test_chunks_have_openais_form(api: httpx.Client, fake: FakeEngine) -> None:
    chunks = chunks_of(api)
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert choices_of(chunks) == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {"content": "Hel"}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {"content": "lo"}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"},
    ]


@pytest.mark.parametrize(
    "text", ['"quoted"', "back\\slash", "\n\t\x00\x1f\x7f", "Grüße 🙂", "\u2028\x85", "data: x\n\ndata: y"]
)
def test_any_text_comes_through(api: httpx.Client, fake: FakeEngine, text: str) -> None:
    fake.script = says(text, text)
    deltas = [choice["delta"].get("content", "") for choice in choices_of(chunks_of(api))]
    assert "".join(deltas) == text * 2


def test_tokens_without_text_make_no_chunk(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says("", "a", "", "b", "")
    assert [choice["delta"].get("content") for choice in choices_of(chunks_of(api))] == ["", "a", "b", None]


def test_usage_comes_last_and_is_null_before(api: httpx.Client, fake: FakeEngine) -> None:
    *chunks, last = chunks_of(api, stream_options={"include_usage": True})
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    assert not any("usage" in chunk for chunk in chunks_of(api))


def test_choices_come_side_by_side_each_with_its_own_beginning_and_end(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = lambda request: [f"{request.sampling.seed}-", 0.01, "end"]
    chunks = chunks_of(api, n=3, seed=5)
    for index in range(3):
        first, *deltas, last = choices_of(chunks, index)
        assert first["delta"]["role"] == "assistant"
        assert [choice["delta"]["content"] for choice in deltas] == [f"{5 + index}-", "end"]
        assert last["finish_reason"] == "stop"
    order = [chunk["choices"][0]["index"] for chunk in chunks]
    assert order != sorted(order)


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_have_tokens_bytes_and_the_likeliest(api: httpx.Client, fake: FakeEngine, stream: bool) -> None:
    fake.script = says("é", "", "b")
    options: dict[str, object] = {"logprobs": True, "top_logprobs": 2}
    if stream:
        chosen = [choice["logprobs"] for choice in choices_of(chunks_of(api, **options)) if choice["logprobs"]]
        content = [token for logprobs in chosen for token in logprobs["content"]]
    else:
        content = api.post(CHAT, json=ask(**options)).json()["choices"][0]["logprobs"]["content"]
    assert [(token["token"], token["bytes"]) for token in content] == [("é", [195, 169]), ("", []), ("b", [98])]
    assert content[0]["logprob"] == -0.5
    assert content[0]["top_logprobs"] == [
        {"token": "x0", "logprob": -1.0, "bytes": [120, 48]},
        {"token": "x1", "logprob": -2.0, "bytes": [120, 49]},
    ]


def test_tool_calls_come_as_id_and_name_then_arguments_in_pieces(api: httpx.Client, fake: FakeEngine) -> None:
    text = f"Let me see. {CALL}\n{CALL}"
    fake.script = says(*(text[at : at + 3] for at in range(0, len(text), 3)))
    choices = choices_of(chunks_of(api, tools=[TOOL]))
    assert choices[0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Let me see."
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    for index in (0, 1):
        first, *rest = [call for call in calls if call["index"] == index]
        assert first["id"].startswith("call_")
        assert (first["type"], first["function"]) == ("function", {"name": "get_weather", "arguments": ""})
        assert len(rest) > 3
        assert "".join(call["function"]["arguments"] for call in rest) == ARGUMENTS
        assert all(set(call) == {"index", "function"} for call in rest)
    assert len({call["id"] for call in calls if "id" in call}) == 2
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_a_whole_answer_has_the_same_calls(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says(CALL[:20], CALL[20:])
    (choice,) = api.post(CHAT, json=ask(tools=[TOOL])).json()["choices"]
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": ARGUMENTS}
    assert choice["finish_reason"] == "tool_calls"


def test_an_answer_with_tools_may_be_text(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says("No <tool", "_calls> needed.\n")
    (choice,) = api.post(CHAT, json=ask(tools=[TOOL])).json()["choices"]
    assert choice["message"] == {"role": "assistant", "content": "No <tool_calls> needed.\n", "refusal": None}
    assert choice["finish_reason"] == "stop"


def test_without_tools_a_call_is_text(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says(CALL)
    for fields in ({}, {"tools": [TOOL], "tool_choice": "none"}):
        assert api.post(CHAT, json=ask(**fields)).json()["choices"][0]["message"]["content"] == CALL


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_by_max_tokens_says_so_even_within_a_call(
    api: httpx.Client, fake: FakeEngine, stream: bool
) -> None:
    fake.script, fake.reason = says(CALL[:-20]), "length"
    fields: dict[str, object] = {"tools": [TOOL]}
    choice = (
        choices_of(chunks_of(api, **fields))[-1] if stream else api.post(CHAT, json=ask(**fields)).json()["choices"][0]
    )
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_anything_was_sent_has_its_own_status(
    api: httpx.Client, fake: FakeEngine, stream: bool
) -> None:
    fake.refusal = OverloadedError("queue_full", "Full", retry_after=3)
    response = api.post(CHAT, json=ask(stream=stream, n=2))
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
    assert response.json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"grammar": 'root ::= "a"'}, "grammar"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [TOOL]}, "tools"),
    ],
)
def test_a_grammar_that_the_engine_refuses_is_named_by_the_field_it_is_from(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], param: str
) -> None:
    fake.refusal = InvalidRequestError("grammar", "It can't be parsed")
    response = api.post(CHAT, json=ask(stream=True, **fields))
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_an_error_in_mid_stream_is_its_last_event_and_ends_all_choices(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = lambda request: ["a", GenerationFailedError("Broken")] if request.sampling.seed == 1 else ["b", 30.0]
    response = api.post(CHAT, json=ask(stream=True, n=2, seed=1))
    assert response.status_code == 200
    last = json.loads(response.text.splitlines()[-2].removeprefix("data: "))
    assert last["error"] == {"message": "Broken", "type": "server_error", "param": None, "code": "generation_failed"}
    assert "[DONE]" not in response.text
    wait_until(lambda: fake.running == 0)


def test_an_error_ends_a_whole_answer_with_all_its_choices(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = lambda request: ["a", GenerationFailedError("Broken")] if request.sampling.seed == 1 else ["b", 30.0]
    response = api.post(CHAT, json=ask(n=2, seed=1))
    assert (response.status_code, response.json()["error"]["code"]) == (500, "generation_failed")
    wait_until(lambda: fake.running == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_all_choices_at_once(api: httpx.Client, fake: FakeEngine, stream: bool) -> None:
    fake.script = says("a", 60.0)
    with pytest.raises(httpx.ReadTimeout):
        api.post(CHAT, json=ask(stream=stream, n=8), timeout=1)
    assert len(fake.asked) == 8
    started = time.monotonic()
    wait_until(lambda: fake.running == 0)
    assert time.monotonic() - started < 30


def test_a_silent_stream_is_kept_alive_with_comments() -> None:
    engine = FakeEngine(says("a", 1.0, "b"))
    with serving_fake(engine, keep_alive_seconds=0.2) as url:
        text = httpx.post(f"{url}{CHAT}", json=ask(stream=True), timeout=30).text
    middle = text[text.index('"a"') : text.index('"b"')]
    assert 3 <= middle.count(": keep-alive\n\n") <= 5
    assert text.count(": keep-alive") == middle.count(": keep-alive")


def test_what_is_ready_at_once_is_sent_as_separate_events(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says(*("x" for _ in range(500)))
    assert sum(choice["delta"].get("content") == "x" for choice in choices_of(chunks_of(api))) == 500


def test_sampling_has_a_grammar_for_each_choice(api: httpx.Client, fake: FakeEngine) -> None:
    api.post(CHAT, json=ask(n=2, grammar='root ::= "a"'))
    assert [request.sampling for request in fake.asked] == [Sampling(grammar='root ::= "a"')] * 2
