"""The official client works unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal

import openai
import pydantic
import pytest
from support import MODEL, ServedModel

MESSAGES = [{"role": "user", "content": "Count to five."}]


@pytest.fixture
def client(served: ServedModel) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_a_stream_has_the_text_of_the_whole_answer(client: openai.OpenAI) -> None:
    options = {"model": MODEL, "messages": MESSAGES, "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options)
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    # The second one finds the first one's prompt computed.
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


async def test_asynchronous_streams_run_side_by_side(served: ServedModel) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:

        async def stream() -> int:
            chunks = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8, stream=True)
            return sum([1 async for chunk in chunks if chunk.choices and chunk.choices[0].delta.content])

        counts = await asyncio.gather(*(stream() for _ in range(8)))
    assert all(counts)


def test_errors_arrive_as_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 1000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, reasoning_effort="high")
    assert unsupported.value.param == "reasoning_effort"


def test_several_choices_with_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, n=3, max_tokens=4, logprobs=True, top_logprobs=2, seed=1, temperature=1.5
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        assert b"".join(bytes(token.bytes or []) for token in content).decode() == choice.message.content
        for token in content:
            best, second = token.top_logprobs
            assert 0 >= best.logprob >= second.logprob
            assert token.logprob <= best.logprob
    assert len({choice.message.content for choice in answer.choices}) > 1


def test_the_older_completions_whole_and_as_a_stream(client: openai.OpenAI) -> None:
    options = {"model": MODEL, "prompt": ["One, two, three,", "A, B, C,"], "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**options, logprobs=1)
    texts = ["", ""]
    for chunk in client.completions.create(**options, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert " four" in texts[0]
    assert [choice.text for choice in whole.choices] == texts
    assert whole.choices[0].logprobs is not None
    assert "".join(whole.choices[0].logprobs.tokens or []) == texts[0]


class Step(pydantic.BaseModel):
    explanation: Literal["add", "multiply"]
    value: int


class Solution(pydantic.BaseModel):
    steps: list[Step] = pydantic.Field(max_length=2)
    answer: Literal["yes", "no"]


def test_the_structured_output_helper_parses_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=Solution, max_tokens=200, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Solution)


def test_the_structured_output_helper_parses_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, response_format=Solution, max_tokens=200, temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Solution)
    assert {"chunk", "content.delta", "content.done"} <= kinds


class GetWeather(pydantic.BaseModel):
    city: Literal["Paris", "London"]
    days: int = pydantic.Field(ge=1, le=7)


WEATHER = openai.pydantic_function_tool(GetWeather, name="get_weather")


def test_the_tools_helper_parses_a_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=MESSAGES,
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,  # this model would not stop calling
        max_tokens=200,
        temperature=0,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    for call in choice.message.tool_calls or []:
        assert isinstance(call.function.parsed_arguments, GetWeather)
    assert choice.message.tool_calls


def test_the_tools_helper_parses_a_streamed_call_whose_result_goes_on(client: openai.OpenAI) -> None:
    options = {"model": MODEL, "tools": [WEATHER], "max_tokens": 200, "temperature": 0}
    choice = {"type": "function", "function": {"name": "get_weather"}}
    with client.chat.completions.stream(messages=MESSAGES, tool_choice=choice, **options) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, GetWeather)
    assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
    history = [*MESSAGES, message.model_dump(exclude_none=True, exclude={"parsed"}), result]
    assert client.chat.completions.create(messages=history, tool_choice="none", **options).choices[0].message.content


async def test_the_asynchronous_client_streams_a_structured_answer(served: ServedModel) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client,
        client.chat.completions.stream(
            model=MODEL, messages=MESSAGES, response_format=Solution, max_tokens=200, temperature=0
        ) as stream,
    ):
        final = await stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Solution)
