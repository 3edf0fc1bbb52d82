# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the soak's clients ask, and what has to come back. Each returns how it ended, or raises Unexpected."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

MODEL = "bench"
CLIENTS = 10
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BURST = 40
SYSTEM = "You are a helpful assistant who answers in one short sentence and never guesses. " * 8
QUESTIONS = ("What is a tree?", "Name a colour.", "Count to five.", "Who wrote Hamlet?", "Wie heißt du?", "数を数えて")
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "age": {"type": "integer", "minimum": 0, "maximum": 30}},
    "required": ["kind", "age"],
    "additionalProperties": False,
}
HOSTILE_GRAMMAR = "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1} | r{i + 1}\n" for i in range(60)) + 'r60 ::= "a"'
BAD: tuple[tuple[str, dict[str, Any], int], ...] = (
    (CHAT, {"messages": []}, 400),
    (CHAT, {"messages": "hello"}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "temperature": 9}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "nonsense": True}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "word " * 3000}]}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "logit_bias": {"99999999": 1}}, 400),
    (COMPLETIONS, {"prompt": []}, 400),
    (COMPLETIONS, {"prompt": [[1, -5]]}, 400),
    (COMPLETIONS, {"prompt": "x", "max_tokens": 0}, 400),
    (COMPLETIONS, {"prompt": "x", "grammar": "root ::= ["}, 400),
    (COMPLETIONS, {"prompt": "x", "grammar": HOSTILE_GRAMMAR}, 400),
    (COMPLETIONS, {"prompt": "x", "grammar": "root ::= " + "(" * 900 + '"a"' + ")" * 900}, 400),
    (COMPLETIONS, {"prompt": "x", "model": "other"}, 404),
)


class Unexpected(Exception):
    """An answer that isn't what this request has to get."""


def messages(chance: random.Random) -> list[dict[str, str]]:
    asked = [{"role": "user", "content": chance.choice(QUESTIONS)}]
    return [{"role": "system", "content": SYSTEM}, *asked] if chance.random() < 0.6 else asked


async def a_prompt(client: httpx.AsyncClient) -> str:
    """What the model says to always the same."""
    body = {"model": MODEL, "prompt": "One, two, three, four, five,", "max_tokens": 12, "temperature": 0}
    text: str = _checked(await client.post(COMPLETIONS, json=body))["choices"][0]["text"]
    return text


async def chat(client: httpx.AsyncClient, chance: random.Random) -> str:
    count = chance.choice([1, 16, 60])
    choices = chance.choice([1, 1, 1, 1, 2])
    body = {"model": MODEL, "messages": messages(chance), "max_tokens": count, "temperature": chance.choice([0, 1])}
    if choices > 1:
        body |= {"n": choices, "seed": chance.randrange(1000)}
    if chance.random() < 0.2:
        body |= {"logprobs": True, "top_logprobs": 3}
    if chance.random() < 0.2:
        body |= {"service_tier": "flex"}
    answer = await client.post(CHAT, json=body)
    if _is_overload(answer):
        return "overload"
    _check_usage(_checked(answer), count * choices)
    return "answered"


async def stream(client: httpx.AsyncClient, chance: random.Random) -> str:
    body = {"model": MODEL, "messages": messages(chance), "max_tokens": chance.choice([8, 50]), "stream": True}
    async with client.stream("POST", CHAT, json=body) as answer:
        if answer.status_code == 429:
            await answer.aread()
        if _is_overload(answer):
            return "overload"
        data = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
    chunks = [json.loads(each) for each in data if each != "[DONE]"]
    refused = [chunk["error"] for chunk in chunks if "error" in chunk]
    if refused and "try again later" in refused[0]["message"]:
        return "overload"
    if answer.status_code != 200 or data[-1:] != ["[DONE]"]:
        raise Unexpected(f"status {answer.status_code}, and the stream ends with {data[-1:]}")
    ends = [choice["finish_reason"] for chunk in chunks for choice in chunk.get("choices", ())]
    if refused or ends[-1:] not in (["stop"], ["length"]) or any(ends[:-1]):
        raise Unexpected(f"the stream has {refused} and ends for {ends[-1:]}")
    return "answered"


async def leave(client: httpx.AsyncClient, chance: random.Random) -> str:
    """Hangs up: before the answer has begun, or after some of it."""
    prompt = chance.choice(["One, two, three,", "word " * chance.randrange(50, 900)])
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 200, "stream": chance.random() < 0.7, "ignore_eos": True}

    async def ask() -> None:
        async with client.stream("POST", COMPLETIONS, json=body) as answer:
            lines = 0
            async for _ in answer.aiter_lines():
                lines += 1
                if lines > chance.randrange(1, 30):
                    return

    with suppress(TimeoutError):
        await asyncio.wait_for(ask(), chance.choice([0.01, 0.05, 0.2, 1, 3]))
    return "left"


async def long_prompt(client: httpx.AsyncClient, chance: random.Random) -> str:
    words = " ".join(f"{chance.randrange(100)}" for _ in range(330))
    body = {"model": MODEL, "prompt": words, "max_tokens": 6, "service_tier": chance.choice(["auto", "flex"])}
    answer = await client.post(COMPLETIONS, json=body)
    if _is_overload(answer):
        return "overload"
    _check_usage(_checked(answer), 6)
    return "answered"


async def structured(client: httpx.AsyncClient, chance: random.Random) -> str:
    wanted = {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": True}}
    body = {"model": MODEL, "messages": messages(chance), "response_format": wanted, "max_tokens": 100}
    answer = await client.post(CHAT, json=body)
    if _is_overload(answer):
        return "overload"
    choice = _checked(answer)["choices"][0]
    if choice["finish_reason"] == "length":
        return "answered"
    pet = json.loads(choice["message"]["content"])
    if pet.keys() != {"kind", "age"} or pet["kind"] not in ("cat", "dog") or not 0 <= pet["age"] <= 30:
        raise Unexpected(f"not what the schema says: {pet}")
    return "answered"


async def embedding(client: httpx.AsyncClient, chance: random.Random) -> str:
    inputs = [f"text {chance.randrange(1000)} " * chance.randrange(1, 40) for _ in range(chance.choice([1, 8]))]
    answer = await client.post("/v1/embeddings", json={"model": MODEL, "input": inputs})
    if _is_overload(answer):
        return "overload"
    vectors = [each["embedding"] for each in _checked(answer)["data"]]
    if len(vectors) != len(inputs) or any(abs(math.hypot(*vector) - 1) > 1e-3 for vector in vectors):
        raise Unexpected(f"{len(vectors)} vectors, not all of length 1")
    return "answered"


async def refused(client: httpx.AsyncClient, chance: random.Random) -> str:
    path, fields, status = chance.choice(BAD)
    answer = await client.post(path, json={"model": MODEL, **fields})
    if _is_overload(answer):
        return "overload"
    if answer.status_code != status or not answer.json()["error"]["message"]:
        raise Unexpected(f"{str(fields)[:80]} has status {answer.status_code}: {answer.text[:200]}")
    return "refused"


async def burst(client: httpx.AsyncClient, chance: random.Random) -> str:
    """Far more at once than slots and queue hold."""
    body = {"model": MODEL, "prompt": "One, two,", "max_tokens": 4, "temperature": 0}
    answers = await asyncio.gather(*(client.post(COMPLETIONS, json=body) for _ in range(BURST)))
    overloads = [answer for answer in answers if _is_overload(answer)]
    for answer in answers:
        if answer not in overloads:
            _check_usage(_checked(answer), 4)
    return "overload" if overloads else "answered"


def _is_overload(answer: httpx.Response) -> bool:
    if answer.status_code != 429:
        return False
    if not 1 <= int(answer.headers.get("retry-after", 0)) <= 60:
        raise Unexpected(f"Retry-After is {answer.headers.get('retry-after')}")
    return True


def _checked(answer: httpx.Response) -> Any:
    if answer.status_code != 200:
        raise Unexpected(f"status {answer.status_code}: {answer.text[:300]}")
    return answer.json()


def _check_usage(answer: Any, most: int) -> None:
    usage = answer["usage"]
    if not 1 <= usage["completion_tokens"] <= most or usage["prompt_tokens"] < 1:
        raise Unexpected(f"at most {most} tokens were asked for: {usage}")


Kind = Callable[[httpx.AsyncClient, random.Random], Awaitable[str]]
KINDS: tuple[tuple[Kind, float], ...] = (
    (chat, 6),
    (stream, 6),
    (leave, 6),
    (long_prompt, 2),
    (structured, 3),
    (embedding, 2),
    (refused, 4),
    (burst, 0.3),
)
