"""The server as a real process: drain on SIGTERM, what a client sees of a broken stream, the health check."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service_kit import healthcheck

GRACE_SECONDS = 2.0


class Server:
    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5, trust_env=False)

    def ended(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=15)
        return self.process.returncode, output


def _start(port: int, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("drain_app.py")],
        env={**os.environ, "DRAIN_HOST": "127.0.0.1", "DRAIN_PORT": str(port), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(port: int) -> Iterator[Server]:
    process = _start(port, DRAIN_DRAIN_GRACE_SECONDS=str(GRACE_SECONDS))
    server = Server(port, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.process.communicate()[0]
        try:
            if server.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


class Stream(threading.Thread):
    """Reads a stream in the background; `first` is set with its first byte."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.text = ""
        self.error: Exception | None = None
        self.first = threading.Event()

    def run(self) -> None:
        try:
            with httpx.stream("GET", self.url, timeout=15, trust_env=False) as response:
                for text in response.iter_text():
                    self.text += text
                    self.first.set()
        except httpx.TransportError as error:
            self.error = error


def _open_stream(url: str) -> Stream:
    stream = Stream(url)
    stream.start()
    assert stream.first.wait(5)
    return stream


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_drains_streams_finish_and_the_exit_status_is_0(server: Server, signum: int) -> None:
    stream = _open_stream(f"{server.url}/events/20")  # 4 s, so well past the grace
    signalled = time.monotonic()
    server.process.send_signal(signum)

    while server.get("/health/ready").status_code == 200:
        assert time.monotonic() - signalled < 10, "ready long after the signal"
        time.sleep(0.02)
    assert server.get("/health/ready").json()["draining"] is True
    assert server.get("/health/live").status_code == 200
    assert server.get("/events/0").text == "data: [DONE]\n\n", "a new request within the grace is answered"

    time.sleep(max(0, signalled + GRACE_SECONDS + 0.5 - time.monotonic()))
    with pytest.raises(httpx.ConnectError):
        server.get("/health/live")
    assert stream.is_alive(), "the stream outlives the grace"

    stream.join(10)
    assert stream.error is None
    assert stream.text == "".join(f"data: {number}\n\n" for number in range(20)) + "data: [DONE]\n\n"
    status, output = server.ended()
    assert status == 0
    assert "lifespan ended" in output


def test_a_second_signal_neither_hurries_nor_kills(server: Server) -> None:
    stream = _open_stream(f"{server.url}/events/12")
    for _ in range(3):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    stream.join(10)
    assert stream.text.endswith("[DONE]\n\n")
    assert server.ended()[0] == 0


def test_a_stream_that_breaks_is_cut_not_ended(server: Server) -> None:
    stream = _open_stream(f"{server.url}/half")
    stream.join(5)
    assert stream.text == "data: 0\n\n"
    assert isinstance(stream.error, httpx.RemoteProtocolError), "the client must see that it is incomplete"
    assert server.get("/health/live").status_code == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_client_that_sends_all_before_it_reads_gets_its_413(server: Server, port: int, chunked: bool) -> None:
    body = iter([b"x" * (1 << 20)] * 8) if chunked else b"x" * (8 << 20)
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("PUT", "/raw", body=body, encode_chunked=chunked)
        response = connection.getresponse()
        assert (response.status, response.headers["Connection"]) == (413, "close")
        assert b"body_too_large" in response.read()
        connection.close()
        if chunked:
            body = iter([b"x" * (1 << 20)] * 8)


def test_a_client_that_asks_first_gets_its_413_without_sending(server: Server, port: int) -> None:
    head = b"PUT /raw HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_far_over_the_limit_is_cut(server: Server, port: int) -> None:
    head = b"PUT /raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            while sent < 200:
                connection.sendall(chunk)
                sent += 1
    assert sent < 60


def test_a_port_in_use_ends_the_process_with_a_status_that_is_not_0(server: Server, port: int) -> None:
    second = _start(port)
    output, _ = second.communicate(timeout=20)
    assert second.returncode != 0
    assert "address already in use" in output


def test_a_wrong_setting_ends_the_process_with_status_2(port: int) -> None:
    process = _start(port, DRAIN_LOG_LEVEL="loud")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert output.startswith("drain: setting DRAIN_LOG_LEVEL: ")
    assert output.count("\n") == 1


def test_the_health_check_reports_by_its_exit_status(server: Server, capsys: Any) -> None:
    assert healthcheck.main(f"{server.url}/health/ready") == 0
    assert '"ready":true' in capsys.readouterr().out
    assert healthcheck.main(f"{server.url}/nothing") == 1
    assert capsys.readouterr().out.startswith("404: ")
    server.process.kill()
    server.process.wait()
    assert healthcheck.main(f"{server.url}/health/ready") == 1
    assert "refused" in capsys.readouterr().out


def test_the_health_check_does_not_use_a_proxy(server: Server) -> None:
    command = [sys.executable, "-m", "service_kit.healthcheck", f"{server.url}/health/live"]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    assert subprocess.run(command, env=environment, timeout=20, check=False).returncode == 0
