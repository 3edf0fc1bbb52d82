"""What a new container must pass before it gets requests, against answers that only look like one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support import MODEL, free_port

KEY = "key-one"
BUDGET = {"MODEL_MEMORY_BUDGET_MIB": "1000"}


class Stub(HTTPServer):
    """A service that answers each request with the same, and keeps what it was asked."""

    status, answer = 200, ""
    asked: dict[str, object]
    authorization: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        self.server.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.authorization = self.headers.get("Authorization")
        content = self.server.answer.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        cards = [{"id": MODEL, "status": "loaded"}, {"id": "other", "status": "unloaded"}]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": cards}).encode())

    def log_message(self, *_: object) -> None:
        """Requests are in `asked`."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def ready_check(port: int, model_path: Path | None, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_")}
    if model_path is not None:
        environment["MODEL_PATH"] = str(model_path)
    environment |= {"MODEL_NAME": MODEL, "MODEL_PORT": str(port), "MODEL_API_KEYS": KEY}
    environment |= settings
    command = [sys.executable, "-m", "model_service.ready_check"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_with_a_memory_budget_only_loaded_models_are_asked(stub: Stub, model_path: Path) -> None:
    stub.answer = usage(4)
    models = [{"name": name, "path": str(model_path)} for name in ("other", MODEL)]
    only = ready_check(stub.server_port, None, MODEL_MODELS=json.dumps(models), **BUDGET)
    assert only.returncode == 0, only.stdout + only.stderr
    assert stub.asked["model"] == MODEL


def usage(tokens: object) -> str:
    return json.dumps({"usage": {"completion_tokens": tokens}})


def test_a_few_tokens_pass(stub: Stub, model_path: Path) -> None:
    stub.answer = usage(4)
    done = ready_check(stub.server_port, model_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert stub.asked["model"] == MODEL
    assert stub.asked["max_tokens"] == 4
    assert stub.authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, usage(0), "no token was generated: 200"),
        (500, '{"error": {"message": "out of memory"}}', "no token was generated: 500"),
        (503, usage(4), "no token was generated: 503"),
        (200, "<html>", "no answer: "),
        (200, "{}", "no answer: "),
        (200, usage(None), "no answer: "),
    ],
    ids=["no tokens", "an error", "an error with tokens", "no JSON", "no usage", "no number"],
)
def test_what_only_looks_like_an_answer_does_not(
    stub: Stub, model_path: Path, status: int, answer: str, said: str
) -> None:
    stub.status, stub.answer = status, answer
    done = ready_check(stub.server_port, model_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{MODEL}: {said}")


def test_a_service_that_does_not_listen_does_not(model_path: Path) -> None:
    done = ready_check(free_port(), model_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{MODEL}: no answer: ")
