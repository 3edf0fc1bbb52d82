# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the load generator of bench-engine makes of the bytes it was sent: every figure rests on it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

CLIENT = Path(__file__).parents[3] / "benchmarks/engine/client.py"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_engine_client", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chunk(event: str, line_end: str = "\n") -> bytes:
    data = f"data: {event}{line_end}{line_end}".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def token(text: str | None, **others: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, **others}]})


def exchange(*pieces: tuple[float, bytes]) -> SimpleNamespace:
    return SimpleNamespace(label="", sent=10.0, pieces=list(pieces))


def test_a_token_has_the_time_of_the_piece_that_completed_its_event(client: ModuleType) -> None:
    first, second = chunk(token("a")), chunk(token("b"))
    pieces = ((11.0, HEAD), (12.0, first[:20]), (13.0, first[20:] + second), (14.0, chunk("[DONE]") + b"0\r\n\r\n"))
    answer = client.read(exchange(*pieces), 10.0)
    assert answer["tokens"] == [3.0, 3.0]
    assert answer["answered"] == 1.0
    assert answer["status"] == 200


def test_a_role_alone_and_a_comment_are_no_tokens(client: ModuleType) -> None:
    role, comment, end = chunk(token("")), b"f\r\n: keep-alive\n\n\r\n", chunk(token(None, finish_reason="length"))
    answer = client.read(exchange((11.0, HEAD + role + comment), (12.0, chunk(token("a"))), (13.0, end)), 10.0)
    assert answer["tokens"] == [2.0]
    assert answer["finish"] == "length"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tokens_are_counted_by_the_usage_where_there_is_one(client: ModuleType, line_end: str) -> None:
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    pieces = ((11.0, HEAD + chunk(token("a"), line_end)), (12.0, chunk(token("b"), line_end) + chunk(usage, line_end)))
    answer = client.read(exchange(*pieces), 10.0)
    assert (answer["prompt_tokens"], answer["completion_tokens"], len(answer["tokens"])) == (7, 3, 2)


def test_without_usage_each_event_with_text_is_a_token(client: ModuleType) -> None:
    answer = client.read(exchange((11.0, HEAD + chunk(token("a")) + chunk(token("b")))), 10.0)
    assert answer["completion_tokens"] == 2


def test_a_rejection_keeps_its_status_and_reason(client: ModuleType) -> None:
    answer = client.read(exchange((10.5, b'HTTP/1.1 429 Too Many Requests\r\n\r\n{"error":"full"}')), 10.0)
    assert (answer["status"], answer["answered"], answer["error"]) == (429, 0.5, '{"error":"full"}')


def test_no_answer_at_all_has_status_0(client: ModuleType) -> None:
    answer = client.read(exchange(), 10.0)
    assert (answer["status"], answer["answered"], answer["tokens"]) == (0, None, [])


def test_an_error_within_a_stream_is_kept(client: ModuleType) -> None:
    error = '{"error": {"code": "queue_timeout"}}'
    answer = client.read(exchange((11.0, HEAD + b"f\r\n: keep-alive\n\n\r\n"), (12.0, chunk(error))), 10.0)
    assert (answer["status"], answer["tokens"], answer["error"]) == (200, [], error)
