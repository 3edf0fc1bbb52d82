from __future__ import annotations

import logging
import re
from typing import Any

import httpx
import pytest


def _error(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return dict(body["error"])


async def test_an_unknown_path_is_a_404_that_names_it(client: httpx.AsyncClient) -> None:
    response = await client.get("/kettles")
    assert response.status_code == 404
    assert _error(response) == {
        "message": "There is nothing at /kettles",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


async def test_a_404_with_a_reason_keeps_it(client: httpx.AsyncClient) -> None:
    assert _error(await client.get("/absent"))["message"] == "No such pot"


async def test_a_wrong_method_is_a_405_that_says_which_are_right(client: httpx.AsyncClient) -> None:
    response = await client.get("/orders")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert _error(response)["message"] == "GET is not allowed at /orders"


async def test_a_wrong_field_is_a_400_that_names_it(client: httpx.AsyncClient) -> None:
    response = await client.post("/orders", json={"count": "many"})
    assert response.status_code == 400
    error = _error(response)
    assert (error["param"], error["code"]) == ("count", "invalid_value")
    assert error["message"].startswith("count: ")


async def test_broken_json_is_a_400_that_says_so(client: httpx.AsyncClient) -> None:
    response = await client.post("/orders", content='{"count": ', headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert _error(response)["code"] == "invalid_json"


async def test_a_missing_body_is_a_400(client: httpx.AsyncClient) -> None:
    response = await client.post("/orders")
    assert response.status_code == 400
    assert _error(response)["message"] == "request: Field required"


async def test_an_api_error_keeps_its_parts(client: httpx.AsyncClient) -> None:
    response = await client.get("/teapot")
    assert response.status_code == 418
    assert response.headers["Retry-After"] == "3"
    assert _error(response) == {
        "message": "short and stout",
        "type": "invalid_request_error",
        "param": "pot",
        "code": "teapot",
    }


async def test_an_unexpected_error_is_a_500_that_tells_the_log_but_not_the_client(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await client.get("/broken", headers={"X-Request-Id": "abc-2"})
    assert response.status_code == 500
    assert response.headers["X-Request-Id"] == "abc-2"
    error = _error(response)
    assert error["type"] == "server_error"
    assert "abc-2" in error["message"]
    assert "a secret detail" not in response.text
    assert "a secret detail" in caplog.text


async def test_openapi_describes_errors_in_the_common_form(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    responses = schema["paths"]["/orders"]["post"]["responses"]
    assert set(responses) == {"200", "4XX", "5XX"}
    assert "HTTPValidationError" not in schema["components"]["schemas"]


async def test_docs_link_to_the_schema_below_the_prefix_that_the_gateway_stripped(
    client: httpx.AsyncClient,
) -> None:
    headers = {"X-Forwarded-Prefix": "/api/pots"}
    assert "'/api/pots/openapi.json'" in (await client.get("/docs", headers=headers)).text
    assert (await client.get("/openapi.json", headers=headers)).json()["servers"] == [{"url": "/api/pots"}]
    assert "'/openapi.json'" in (await client.get("/docs")).text


async def test_an_unfit_forwarded_prefix_is_ignored(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs", headers={"X-Forwarded-Prefix": "/a'><script>"})
    assert "script>'" not in response.text
    assert "'/openapi.json'" in response.text


async def test_the_documentation_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    headers = {"X-Forwarded-Prefix": "/api/pots"}
    page = (await client.get("/docs", headers=headers)).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/api/pots/")
        answer = await client.get(source.removeprefix("/api/pots"), headers=headers)
        assert answer.status_code == 200, source
