"""A response's body and its events have OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, says
from response_support import PATH, TOOL, answered, ask
from support import MODEL, wait_until

from model_service.answers import Header
from model_service.engine import GenerationFailedError, OverloadedError
from model_service.responses_form import ResponseOptions, ResponseStream
from model_service.schemas.response_answers import Response

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Pa}\\"ris"}}\n</tool_call>'
ARGUMENTS = '{"city": "Pa}\\"ris"}'


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


def test_a_stream_that_fails_before_it_began_begins_first() -> None:
    """A comment that keeps it alive may have been sent, so that the error has no status of its own."""
    stream = ResponseStream(Header(id="resp_1", created=1, model=MODEL), ResponseOptions(False, False, {}))
    error = {"type": "rate_limit_error", "message": "Waited too long", "param": None, "code": "queue_timeout"}
    lines = stream.error({"error": error}).decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"].removeprefix("response.") for event in events] == ["created", "in_progress", "failed"]
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
