"""A response: what its request asks of the engine, its body and its events in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, says
from support import MODEL, wait_until

from model_service.answers import Header
from model_service.engine import GenerationFailedError, GenerationRequest, InvalidRequestError, OverloadedError
from model_service.responses_form import ResponseOptions, ResponseStream
from model_service.schemas.response_answers import Response
from model_service.tool_calls import TRIGGER

PATH = "/v1/responses"
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Pa}\\"ris"}}\n</tool_call>'
ARGUMENTS = '{"city": "Pa}\\"ris"}'
SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}


def ask(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "input": "Hi", **fields}


def answered(api: httpx.Client, **fields: object) -> dict[str, Any]:
    response = api.post(PATH, json=ask(**fields))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    Response.model_validate(body)
    return body


def asked(api: httpx.Client, fake: FakeEngine, **fields: object) -> GenerationRequest:
    answered(api, **fields)
    return fake.asked[-1]


def events_of(api: httpx.Client, **fields: object) -> list[dict[str, Any]]:
    response = api.post(PATH, json=ask(stream=True, **fields))
    assert response.status_code == 200, response.text
    events = []
    for block in response.text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_a_whole_response_has_openais_form(api: httpx.Client, fake: FakeEngine) -> None:
    body = answered(api, instructions="Be brief.", metadata={"a": "b"}, temperature=0.5, store=True)
    assert body["id"].startswith("resp_")
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", MODEL)
    (message,) = body["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]
    assert body["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    said = {"instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5, "store": False, "top_p": 0.95}
    assert {name: body[name] for name in said} == said
    assert (body["error"], body["incomplete_details"], body["tools"], body["tool_choice"]) == (None, None, [], "auto")


def test_a_streams_events_have_openais_order(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says("Hel", "", "lo")
    events = events_of(api)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    created, _, added, part, first, second, text, part_done, done, completed = events
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    assert (added["item"]["status"], added["item"]["content"], part["part"]["text"]) == ("in_progress", [], "")
    assert (first["delta"], second["delta"], text["text"]) == ("Hel", "lo", "Hello")
    assert {each["item_id"] for each in (part, first, second, text, part_done)} == {added["item"]["id"]}
    assert part_done["part"]["text"] == "Hello"
    assert completed["response"]["output"] == [done["item"]]
    assert completed["response"]["usage"]["output_tokens"] == 3
    assert completed["response"]["id"] == created["response"]["id"]
    Response.model_validate(created["response"])
    Response.model_validate(completed["response"])


@pytest.mark.parametrize(
    "text", ['"quoted"', "back\\slash", "\n\x00\x7f", "Grüße 🙂", "\u2028\x85", "data: x\n\nevent: y"]
)
def test_any_text_comes_through(api: httpx.Client, fake: FakeEngine, text: str) -> None:
    fake.script = says(text, text)
    events = events_of(api)
    assert "".join(event["delta"] for event in events if event["type"].endswith("text.delta")) == text * 2
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == text * 2


def same_items(whole: dict[str, Any], streamed: dict[str, Any]) -> bool:
    """Whether the two have the same output, apart from its ids."""

    def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in item.items() if name not in ("id", "call_id")} for item in items]

    return without_ids(whole["output"]) == without_ids(streamed["output"])


def test_calls_are_items_after_the_text_before_them(api: httpx.Client, fake: FakeEngine) -> None:
    text = f"Let me see. {CALL}\n{CALL}"
    fake.script = says(*(text[at : at + 3] for at in range(0, len(text), 3)))
    whole = answered(api, tools=[TOOL])
    message, *calls = whole["output"]
    assert message["content"][0]["text"] == "Let me see."
    assert [(call["type"], call["name"], call["arguments"], call["status"]) for call in calls] == [
        ("function_call", "get_weather", ARGUMENTS, "completed")
    ] * 2
    assert len({call["call_id"] for call in calls} | {call["id"] for call in calls}) == 4
    assert (whole["status"], whole["tools"][0]["name"]) == ("completed", "get_weather")

    events = events_of(api, tools=[TOOL])
    assert same_items(whole, events[-1]["response"])
    for index in (1, 2):
        first, *deltas, arguments, done = [event for event in events if event.get("output_index") == index]
        assert (first["type"], first["item"]["arguments"]) == ("response.output_item.added", "")
        assert {event["type"] for event in deltas} == {"response.function_call_arguments.delta"}
        assert len(deltas) > 3
        assert "".join(event["delta"] for event in deltas) == ARGUMENTS
        assert arguments["type"] == "response.function_call_arguments.done"
        assert (arguments["arguments"], arguments["item_id"]) == (ARGUMENTS, first["item"]["id"])
        assert done["item"] == events[-1]["response"]["output"][index]
        assert done["item"]["call_id"] == first["item"]["call_id"]
    kinds = [(event.get("output_index"), event["type"]) for event in events]
    assert kinds.index((0, "response.output_item.done")) < kinds.index((1, "response.output_item.added"))


def test_a_call_is_done_before_the_answer_ends(api: httpx.Client, fake: FakeEngine) -> None:
    """A client can run the function while the model goes on."""
    fake.script = says(CALL, "\n", GenerationFailedError("Broken"))
    kinds = [event["type"] for event in events_of(api, tools=[TOOL])]
    assert kinds[-2:] == ["response.output_item.done", "response.failed"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("text", "tools"), [("Hello wor", []), (CALL[:-30], [TOOL]), ("", [])])
def test_what_is_cut_is_incomplete(
    api: httpx.Client, fake: FakeEngine, text: str, tools: list[dict[str, object]], stream: bool
) -> None:
    fake.script, fake.reason = says(text), "length"
    if stream:
        last = events_of(api, tools=tools, max_output_tokens=4)[-1]
        assert last["type"] == "response.incomplete"
        body = last["response"]
    else:
        body = answered(api, tools=tools, max_output_tokens=4)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in body["output"]] == ["incomplete"]
    assert fake.asked[-1].max_tokens == body["max_output_tokens"] == 4


def test_an_error_in_mid_stream_is_a_failed_response_with_what_was_done(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says("Hel", GenerationFailedError("Broken"))
    last = events_of(api)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": "Broken", "param": None}
    assert last["response"]["output"] == []
    Response.model_validate(last["response"])
    wait_until(lambda: fake.running == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_anything_was_sent_has_its_own_status(
    api: httpx.Client, fake: FakeEngine, stream: bool
) -> None:
    fake.refusal = OverloadedError("queue_full", "Full", retry_after=3)
    response = api.post(PATH, json=ask(stream=stream))
    assert (response.status_code, response.json()["error"]["code"]) == (429, "queue_full")


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_come_with_the_text(api: httpx.Client, fake: FakeEngine, stream: bool) -> None:
    fake.script = says("é", "", "b")
    fields: dict[str, object] = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    if stream:
        events = events_of(api, **fields)
        deltas = [each for event in events if event["type"].endswith("text.delta") for each in event["logprobs"]]
        body = events[-1]["response"]
        assert deltas == body["output"][0]["content"][0]["logprobs"]
    else:
        body = answered(api, **fields)
    logprobs = body["output"][0]["content"][0]["logprobs"]
    assert [(token["token"], token["bytes"]) for token in logprobs] == [("é", [195, 169]), ("", []), ("b", [98])]
    assert logprobs[0]["top_logprobs"] == [{"token": "x0", "logprob": -1.0, "bytes": [120, 48]}]


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


def test_a_stream_that_fails_before_it_began_begins_first() -> None:
    """A comment that keeps it alive may have been sent, so that the error has no status of its own."""
    stream = ResponseStream(Header(id="resp_1", created=1, model=MODEL), ResponseOptions(False, False, {}))
    error = {"type": "rate_limit_error", "message": "Waited too long", "param": None, "code": "queue_timeout"}
    lines = stream.error({"error": error}).decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"].removeprefix("response.") for event in events] == ["created", "in_progress", "failed"]
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
