"""The official client works against the platform unmodified, and meets OpenAI's errors."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import openai
import pytest


def ask(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_a_chat_completion_answers_and_counts_its_tokens(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ask("Say hello."), max_tokens=24)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_text_as_one_answer(client: openai.OpenAI, model: str) -> None:
    question = ask(f"Count to five. ({uuid.uuid4()})")
    options = {"model": model, "messages": question, "max_tokens": 32, "temperature": 0}
    whole = client.chat.completions.create(**options).choices[0].message.content
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


async def test_streams_run_side_by_side(base_url: str, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key="unused", max_retries=0) as client:
        started = [asyncio.Event() for _ in range(4)]

        async def stream(index: int) -> str:
            chunks = await client.chat.completions.create(
                model=model, messages=ask(f"Tell story number {index}."), max_tokens=100, stream=True
            )
            text = ""
            async for chunk in chunks:
                if not chunk.choices:
                    continue
                text += chunk.choices[0].delta.content or ""
                if text and not started[index].is_set():
                    started[index].set()
                    # Every stream waits here for the others' first token: a server that serves
                    # one request at a time never gets there.
                    await asyncio.gather(*(event.wait() for event in started))
            return text

        async with asyncio.timeout(120):
            texts = await asyncio.gather(*(stream(index) for index in range(4)))
    assert all(texts)


def test_a_deterministic_answer_comes_from_the_cache_the_second_time(http: httpx.Client, model: str) -> None:
    body = {
        "model": model,
        "messages": ask(f"Name a colour. ({uuid.uuid4()})"),
        "max_tokens": 8,
        "temperature": 0,
    }
    first = http.post("/v1/chat/completions", json=body)
    second = http.post("/v1/chat/completions", json=body)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.content == second.content


async def test_identical_requests_in_flight_together_are_computed_once(base_url: str, model: str) -> None:
    body = {"model": model, "messages": ask(f"Tell a story. ({uuid.uuid4()})"), "max_tokens": 64, "temperature": 0}
    async with httpx.AsyncClient(base_url=base_url, timeout=120, trust_env=False) as http:
        answers = await asyncio.gather(*(http.post("/v1/chat/completions", json=body) for _ in range(4)))
    assert sorted(answer.headers["X-Cache"] for answer in answers) == ["hit", "hit", "hit", "miss"]
    # Each computation gives its answer an ID.
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_an_answer_drawn_at_random_is_not_cached(http: httpx.Client, model: str) -> None:
    body = {"model": model, "messages": ask("Name a number."), "max_tokens": 4, "temperature": 1}
    answers = [http.post("/v1/chat/completions", json=body) for _ in range(2)]
    assert [answer.headers["X-Cache"] for answer in answers] == ["bypass", "bypass"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=ask("Hi"))
    assert caught.value.code == "model_not_found"


def test_a_prompt_longer_than_the_context_is_refused(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=ask("word " * 20_000))
    assert caught.value.code == "context_length_exceeded"


def test_an_unsupported_field_is_named(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=ask("Hi"), modalities=["audio"])
    assert caught.value.param == "modalities"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{broken", 400, "invalid_json"),
        (b"x" * (2 << 20), 413, "body_too_large"),
        (b"x" * ((2 << 20) + 1), 413, "body_too_large"),
    ],
    ids=["broken JSON", "a body over the service's limit", "a body over the gateway's limit"],
)
def test_garbage_gets_an_error_in_openai_form(http: httpx.Client, content: bytes, status: int, code: str) -> None:
    answer = http.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_garbage_beside_a_stream_does_not_harm_it(client: openai.OpenAI, http: httpx.Client, model: str) -> None:
    stream = client.chat.completions.create(model=model, messages=ask("Tell a story."), max_tokens=64, stream=True)
    for received, chunk in enumerate(stream):
        if received % 8 == 0:
            http.post("/v1/chat/completions", content=b"{broken", headers={"Content-Type": "application/json"})
        finished = chunk.choices[0].finish_reason if chunk.choices else None
        if finished:
            break
    assert finished in ("stop", "length")


def test_a_request_id_goes_through_and_comes_back(http: httpx.Client) -> None:
    assert http.get("/v1/models", headers={"X-Request-Id": "my-id.1"}).headers["X-Request-Id"] == "my-id.1"
