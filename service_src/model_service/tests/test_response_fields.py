"""What each field of a request for a response asks of the engine; what can't be served is refused by name."""

from __future__ import annotations

import json

import httpx
import pytest
from fake_engine import FakeEngine
from response_support import PATH, SCHEMA, TOOL, answered, ask
from support import MODEL

from model_service.engine import GenerationRequest, InvalidRequestError
from model_service.tool_calls import TRIGGER


def asked(api: httpx.Client, fake: FakeEngine, **fields: object) -> GenerationRequest:
    answered(api, **fields)
    return fake.asked[-1]


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0.0), ("top_p", 0.5), ("top_k", 3), ("seed", 7), ("ignore_eos", True)]
)
def test_a_field_of_sampling_reaches_the_engine(api: httpx.Client, fake: FakeEngine, field: str, value: object) -> None:
    assert getattr(asked(api, fake, **{field: value}).sampling, field) == value


@pytest.mark.parametrize("text_format", [{"type": "json_object"}, SCHEMA])
def test_a_format_is_a_grammar_and_comes_back(
    api: httpx.Client, fake: FakeEngine, text_format: dict[str, object]
) -> None:
    body = answered(api, text={"format": text_format})
    assert (fake.asked[-1].sampling.grammar or "").startswith("root ::=")
    assert body["text"]["format"] == text_format


@pytest.mark.parametrize(
    ("choice", "trigger"),
    [(None, TRIGGER), ("auto", TRIGGER), ("required", None), ({"type": "function", "name": "get_weather"}, None)],
)
def test_a_tool_choice_says_when_the_grammar_begins(
    api: httpx.Client, fake: FakeEngine, choice: object, trigger: str | None
) -> None:
    body = answered(api, tools=[TOOL], tool_choice=choice)
    request = fake.asked[-1]
    assert request.sampling.grammar is not None
    assert request.sampling.grammar_trigger == trigger
    assert '"name": "get_weather"' in str(request.prompt)
    assert body["tool_choice"] == (choice or "auto")


def test_a_conversation_is_the_same_prompt_as_in_a_chat(api: httpx.Client, fake: FakeEngine) -> None:
    history = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": "one"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "two"}]},
    ]
    prompt = asked(api, fake, input=history, instructions="Be brief.", tools=[TOOL]).prompt

    def call(name: str, arguments: str) -> dict[str, object]:
        return {"id": name, "type": "function", "function": {"name": "look", "arguments": arguments}}

    calls = [call("call_1", '{"a": 1}'), call("call_2", "{}")]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": "two"},
    ]
    tool = {"type": "function", "function": {name: TOOL[name] for name in ("name", "parameters")}}
    body = {"model": MODEL, "messages": messages, "tools": [tool]}
    assert api.post("/v1/chat/completions", json=body).status_code == 200
    assert fake.asked[-1].prompt == prompt


@pytest.mark.parametrize(
    "fields",
    [
        {"store": True, "background": False, "truncation": "disabled", "user": "me", "max_tool_calls": 3},
        {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": None}, "prompt_cache_key": "x"},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}, "top_logprobs": 0},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        dict.fromkeys(("previous_response_id", "conversation", "tools", "tool_choice", "text", "prompt")),
    ],
)
def test_what_asks_for_nothing_else_is_accepted(api: httpx.Client, fake: FakeEngine, fields: dict[str, object]) -> None:
    assert api.post(PATH, json=ask(**fields)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.message.content"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.message.role"),
        ({"input": [{"type": "function_call_output", "call_id": "call_1", "output": "x"}]}, "input"),
        ({"input": "half a pair: \ud83d"}, "input.0.message.content"),
        ({"instructions": "\ud83d"}, "instructions"),
        ({"metadata": {"a": "\ud83d"}}, "metadata.a"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools.0.name"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [TOOL, {**TOOL, "name": "x", "parameters": {"$ref": "https://x"}}]}, "tools.1.parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"text": {"format": {**SCHEMA, "schema": {"not": {}}}}}, "text.format"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": SCHEMA}, "tools": [TOOL]}, "text.format"),
        ({"text": {"format": SCHEMA}, "grammar": 'root ::= "a"'}, "grammar"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"], "tools": [TOOL]}, "include"),
        ({"include": ["everything"]}, "include.0"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_served_is_refused_by_name(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], param: str
) -> None:
    content = json.dumps(ask(**fields)).encode()
    response = api.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param.split(".")[0] in error["message"]
    assert fake.asked == []


@pytest.mark.parametrize(
    ("fields", "param"), [({"text": {"format": SCHEMA}}, "text.format"), ({"tools": [TOOL]}, "tools")]
)
def test_a_grammar_that_the_engine_refuses_is_named_by_the_field_it_is_from(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], param: str
) -> None:
    fake.refusal = InvalidRequestError("grammar", "It can't be parsed")
    response = api.post(PATH, json=ask(stream=True, **fields))
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
