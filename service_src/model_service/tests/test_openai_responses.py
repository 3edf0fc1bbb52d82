"""The official client's Responses API works unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import openai
import pydantic
import pytest
from support import MODEL, ServedModel

INPUT = "Count to five."


@pytest.fixture
def client(served: ServedModel) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


class Step(pydantic.BaseModel):
    explanation: Literal["add", "multiply"]
    value: int


class Solution(pydantic.BaseModel):
    steps: list[Step] = pydantic.Field(max_length=2)
    answer: Literal["yes", "no"]


class GetWeather(pydantic.BaseModel):
    city: Literal["Paris", "London"]
    days: int = pydantic.Field(ge=1, le=7)


WEATHER = openai.pydantic_responses_function_tool(GetWeather, name="get_weather")
NAMED = {"type": "function", "name": "get_weather"}


def test_a_stream_has_the_text_of_the_whole_response(client: openai.OpenAI) -> None:
    options = {"model": MODEL, "input": INPUT, "instructions": "Be brief.", "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**options)
    assert whole.output_text
    assert (whole.status, whole.error) == ("incomplete", None)
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 12
    events = list(client.responses.create(**options, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert (events[0].type, events[-1].type) == ("response.created", "response.incomplete")
    last = events[-1].response
    assert last.output_text == whole.output_text
    assert last.usage is not None
    # The second one finds the first one's prompt computed.
    assert last.usage.input_tokens_details.cached_tokens > 0
    assert last.usage.total_tokens == whole.usage.total_tokens


def test_the_chat_api_gives_the_same_text(client: openai.OpenAI) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": INPUT}]
    chat = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=12, temperature=0)
    response = client.responses.create(
        model=MODEL, input=INPUT, instructions="Be brief.", max_output_tokens=12, temperature=0
    )
    assert response.output_text == chat.choices[0].message.content


def test_the_helper_parses_a_structured_response(client: openai.OpenAI) -> None:
    response = client.responses.parse(
        model=MODEL, input=INPUT, text_format=Solution, max_output_tokens=200, temperature=0
    )
    assert response.status == "completed"
    assert isinstance(response.output_parsed, Solution)


def test_the_helper_parses_a_structured_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model=MODEL, input=INPUT, text_format=Solution, max_output_tokens=200, temperature=0
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Solution)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert deltas[-1].snapshot == final.output_text
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert done.parsed == final.output_parsed


def test_the_helper_parses_a_call_whose_result_goes_on(client: openai.OpenAI) -> None:
    options = {"model": MODEL, "tools": [WEATHER], "max_output_tokens": 200, "temperature": 0}
    response = client.responses.parse(input=INPUT, tool_choice="required", parallel_tool_calls=False, **options)
    assert response.status == "completed"
    (call,) = response.output
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, GetWeather)
    history = [
        {"role": "user", "content": INPUT},
        *(item.to_dict() for item in response.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"},
    ]
    text = client.responses.create(input=history, tool_choice="none", **{**options, "max_output_tokens": 8})
    assert text.output_text


def test_the_helper_parses_a_streamed_call(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model=MODEL, input=INPUT, tools=[WEATHER], tool_choice=NAMED, max_output_tokens=200, temperature=0
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, GetWeather)
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(deltas) > 1
    assert deltas[-1].snapshot == call.arguments
    assert json.loads(call.arguments) == call.parsed_arguments.model_dump()


def test_logprobs_are_of_the_texts_tokens(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model=MODEL,
        input=INPUT,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        max_output_tokens=4,
        temperature=0,
    )
    (message,) = response.output
    assert message.type == "message"
    logprobs = message.content[0].logprobs or []
    assert b"".join(bytes(token.bytes) for token in logprobs).decode() == response.output_text
    assert all(len(token.top_logprobs) == 2 for token in logprobs)


def test_errors_arrive_as_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-x", input=INPUT)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.responses.create(model=MODEL, input="word " * 1000)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(model=MODEL, input=INPUT, previous_response_id="resp_1")
    assert stored.value.param == "previous_response_id"


async def test_the_asynchronous_client_creates_streams_and_parses(served: ServedModel) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        whole = await client.responses.create(model=MODEL, input=INPUT, max_output_tokens=8, temperature=0)
        stream = await client.responses.create(
            model=MODEL, input=INPUT, max_output_tokens=8, temperature=0, stream=True
        )
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        assert "".join(deltas) == whole.output_text
        parsed = await client.responses.parse(
            model=MODEL, input=INPUT, text_format=Solution, max_output_tokens=200, temperature=0
        )
        assert isinstance(parsed.output_parsed, Solution)
        async with client.responses.stream(
            model=MODEL, input=INPUT, tools=[WEATHER], tool_choice=NAMED, max_output_tokens=200, temperature=0
        ) as calls:
            final = await calls.get_final_response()
    (call,) = final.output
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, GetWeather)
