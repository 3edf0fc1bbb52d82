"""Requests to the Responses API."""

from __future__ import annotations

from typing import Any

import httpx
from support import MODEL

from model_service.schemas.response_answers import Response

PATH = "/v1/responses"
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}


def ask(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "input": "Hi", **fields}


def answered(api: httpx.Client, **fields: object) -> dict[str, Any]:
    response = api.post(PATH, json=ask(**fields))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    Response.model_validate(body)
    return body
