"""A real model's structured output and tool calls: each parses, and is valid against its schema.

``MODEL_TEST_ANSWERS`` is how many answers each of the two tests asks for.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from support import ServedModel, ask

ANSWERS = int(os.environ.get("MODEL_TEST_ANSWERS", "24"))
CHAT = "/v1/chat/completions"

_WORD = {"type": "string", "maxLength": 16}
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {"name": _WORD, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {
            "kind": {"enum": ["cat", "dog", "fish"]},
            "tags": {"type": "array", "items": _WORD, "maxItems": 3},
            "weight": {"type": "number", "minimum": 0, "maximum": 100},
        },
        "required": ["kind", "tags"],
    },
    {"type": "array", "items": {"anyOf": [{"type": "boolean"}, {"type": "null"}, _WORD]}, "maxItems": 5},
    {
        "$defs": {"point": {"properties": {axis: {"type": "integer"} for axis in "xy"}, "required": ["x", "y"]}},
        "type": "object",
        "properties": {"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}},
        "required": ["from", "to"],
    },
    {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "day": {"type": "string", "format": "date"},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        },
        "required": ["id", "day", "code"],
    },
]
TOPICS = ["a cat", "the weather in Paris", "a point in space", "an invoice", 'a "quoted" word', "数字"]


@pytest.fixture(scope="module")
def served(model_path: Path) -> Iterator[ServedModel]:
    with ServedModel(MODEL_PATH=model_path, MODEL_CONTEXT=1024, MODEL_SLOTS=8, MODEL_QUEUE_LIMIT=64) as served:
        yield served


def answers(served: ServedModel, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices, several requests at a time."""
    with httpx.Client(base_url=served.url, timeout=300) as http, ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda body: http.post(CHAT, json=body), requests))
    for response in responses:
        assert response.status_code == 200, response.text
    return [response.json()["choices"][0] for response in responses]


def varied(index: int, **fields: object) -> dict[str, Any]:
    randomness = random.Random(index)
    temperature = randomness.choice([0, 0.8, 1.5])
    topic = randomness.choice(TOPICS)
    return ask(f"Write about {topic}.", max_tokens=400, temperature=temperature, seed=index, **fields)


def test_answers_are_valid_against_their_schema(served: ServedModel) -> None:
    schemas = [SCHEMAS[index % len(SCHEMAS)] for index in range(ANSWERS)]
    formats = [
        {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": each}} for each in schemas
    ]
    choices = answers(served, [varied(index, response_format=each) for index, each in enumerate(formats)])
    for schema, choice in zip(schemas, choices, strict=True):
        assert choice["finish_reason"] == "stop"
        validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
        validator.validate(json.loads(choice["message"]["content"]))


def test_tool_calls_are_of_a_tool_and_valid_against_its_parameters(served: ServedModel) -> None:
    objects = [schema for schema in SCHEMAS if schema["type"] == "object"]
    tools = [
        {"type": "function", "function": {"name": f"tool_{index}", "description": "Does it.", "parameters": schema}}
        for index, schema in enumerate(objects)
    ]
    by_name = {f"tool_{index}": schema for index, schema in enumerate(objects)}
    named = {"type": "function", "function": {"name": "tool_1"}}
    wanted = [["required", named, "auto"][index % 3] for index in range(ANSWERS)]
    choices = answers(
        served,
        [
            varied(index, tools=tools[:2], tool_choice=each, parallel_tool_calls=False)
            for index, each in enumerate(wanted)
        ],
    )
    for choice, want in zip(choices, wanted, strict=True):
        calls = choice["message"].get("tool_calls", [])
        if want != "auto":
            assert choice["finish_reason"] == "tool_calls"
            assert len(calls) == 1
        for call in calls:
            assert want != named or call["function"]["name"] == "tool_1"
            jsonschema.Draft202012Validator(by_name[call["function"]["name"]]).validate(
                json.loads(call["function"]["arguments"])
            )


def test_a_json_object_is_one(served: ServedModel) -> None:
    requests = [varied(index, response_format={"type": "json_object"}) for index in range(6)]
    for choice in answers(served, requests):
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)


def test_a_grammar_holds_for_the_whole_answer(served: ServedModel) -> None:
    grammar = 'root ::= ("yes" | "no") " (" [0-9]{2} ")"'
    for choice in answers(served, [varied(index, grammar=grammar) for index in range(6)]):
        word, _, number = choice["message"]["content"].partition(" (")
        assert word in ("yes", "no")
        assert number[:2].isdigit()
        assert number[2:] == ")"
