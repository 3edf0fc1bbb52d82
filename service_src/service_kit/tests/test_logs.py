from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from service_kit import logs
from service_kit.http import client as service_client


class Lines:
    """What the process wrote to its log since `configure`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        logs.configure("pots", "info")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def access(self) -> list[dict[str, Any]]:
        return [line for line in self.read() if line["logger"] == "access"]


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], Lines]]:
    """To be called within the test: pytest sets its own log handlers up after the fixtures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: Lines(capsys)
    root.handlers[:], root.level = handlers, level


def test_a_line_is_an_object_with_what_extra_holds(configured: Callable[[], Lines]) -> None:
    lines = configured()
    logging.getLogger("kettle").warning("too %s", "hot", extra={"celsius": 120})
    (line,) = lines.read()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "pots",
        "logger": "kettle",
        "message": "too hot",
        "celsius": 120,
    }


def test_an_exception_stays_on_its_line(configured: Callable[[], Lines]) -> None:
    lines = configured()
    try:
        raise ValueError("no\nwater")
    except ValueError:
        logging.getLogger("kettle").exception("boiling failed")
    (line,) = lines.read()
    assert line["message"] == "boiling failed"
    assert "ValueError: no\nwater" in line["exception"]


def test_lines_below_the_level_are_not_written(configured: Callable[[], Lines]) -> None:
    lines = configured()
    logging.getLogger("kettle").debug("drop")
    assert lines.read() == []


async def test_an_access_line_carries_the_request_id_and_the_outcome(
    configured: Callable[[], Lines], client: httpx.AsyncClient
) -> None:
    lines = configured()
    await client.post("/orders", json={"count": 1}, headers={"X-Request-Id": "abc-1"})
    (line,) = lines.access()
    assert line["request_id"] == "abc-1"
    assert (line["method"], line["path"], line["status"]) == ("POST", "/orders", 200)
    assert line["duration_ms"] >= 0


async def test_health_checks_and_scrapes_write_no_access_line(
    configured: Callable[[], Lines], client: httpx.AsyncClient
) -> None:
    lines = configured()
    await client.get("/health/live")
    await client.get("/metrics")
    assert lines.access() == []


@pytest.mark.parametrize("given", ["", "spaced id", "x" * 129, 'quote"'])
async def test_an_unfit_request_id_is_replaced(given: str, client: httpx.AsyncClient) -> None:
    response = await client.get("/health/live", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given
    assert len(response.headers["X-Request-Id"]) == 32


async def test_a_call_to_another_service_passes_the_request_id_on(client: httpx.AsyncClient) -> None:
    async with service_client("http://pots", timeout=1) as outgoing:
        outgoing._transport = client._transport
        token = logs.request_id_var.set("follow-me")
        try:
            response = await outgoing.get("/health/live")
        finally:
            logs.request_id_var.reset(token)
    assert response.headers["X-Request-Id"] == "follow-me"
