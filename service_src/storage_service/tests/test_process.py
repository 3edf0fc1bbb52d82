"""The service as a process: connections that break, drain, two processes on one volume, wrong starts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

Start = Callable[..., Any]
MIB = 1 << 20


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_tidy(root: Path) -> bool:
    return not os.listdir(root / "tmp")


def put_head(name: str, *headers: str) -> bytes:
    lines = [f"PUT /v1/files/{name} HTTP/1.1", "Host: storage", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    return data


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(
    ("header", "chunk"),
    [("Content-Length: 8000000", bytes(2 * MIB)), ("Transfer-Encoding: chunked", b"100000\r\n" + bytes(MIB))],
)
def test_an_upload_that_breaks_off_leaves_nothing(
    start: Start, http: httpx.Client, root: Path, header: str, chunk: bytes, how: str
) -> None:
    service = start(root)
    service.wait_ready()
    http.put(f"{service.url}/v1/files/name", content=b"old")
    connection = service.connect()
    connection.sendall(put_head("name", header) + chunk)
    eventually(lambda: not is_tidy(root), "the upload never began")
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    eventually(lambda: is_tidy(root), "the temporary file stayed")
    assert http.get(f"{service.url}/v1/files/name").content == b"old"
    assert len(list(root.glob("blobs/*/*"))) == 1


def test_an_upload_that_stalls_is_given_up(start: Start, root: Path) -> None:
    service = start(root, upload_idle_seconds="0.3")
    service.wait_ready()
    with service.connect() as connection:
        connection.sendall(put_head("name", "Content-Length: 100") + b"ten bytes.")
        head = answer(connection)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert is_tidy(root)


def test_a_literal_traversal_is_refused(start: Start, root: Path) -> None:
    service = start(root)
    service.wait_ready()
    for path in ("../../../etc/passwd", "a/../../secret", "..", "//etc/passwd"):
        with service.connect() as connection:
            connection.sendall(f"GET /v1/files/{path} HTTP/1.1\r\nHost: storage\r\n\r\n".encode())
            assert answer(connection).startswith(b"HTTP/1.1 400 "), path


def test_a_body_that_would_be_refused_is_not_asked_for(start: Start, root: Path) -> None:
    service = start(root)
    service.wait_ready()
    head = put_head("name", "Content-Length: 1000000", "Expect: 100-continue", "If-Match: *")
    with service.connect() as connection:
        connection.sendall(head)
        assert answer(connection).startswith(b"HTTP/1.1 412 ")


@pytest.mark.parametrize("change", ["DELETE", "PUT"])
def test_a_download_goes_on_when_its_file_is_changed(start: Start, http: httpx.Client, root: Path, change: str) -> None:
    service = start(root)
    service.wait_ready()
    body = os.urandom(24 * MIB)  # more than all buffers between the two hold
    url = f"{service.url}/v1/files/name"
    http.put(url, content=body)
    with http.stream("GET", url) as response:
        parts = response.iter_bytes()
        got = [next(parts)]
        assert httpx.request(change, url, content=b"new", trust_env=False).is_success
        got.extend(parts)
    assert hashlib.sha256(b"".join(got)).digest() == hashlib.sha256(body).digest()
    assert not any(path.stat().st_size == len(body) for path in root.glob("blobs/*/*"))


def test_a_broken_download_closes_its_file(start: Start, http: httpx.Client, root: Path) -> None:
    service = start(root)
    service.wait_ready()
    http.put(f"{service.url}/v1/files/name", content=bytes(24 * MIB))
    handles = Path(f"/proc/{service.pid}/fd")

    def open_contents() -> int:
        found = 0
        for handle in handles.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found += "/blobs/" in os.readlink(handle)
        return found

    connection = service.connect()
    connection.sendall(b"GET /v1/files/name HTTP/1.1\r\nHost: storage\r\n\r\n")
    answer(connection)
    assert open_contents() == 1
    connection.close()
    eventually(lambda: open_contents() == 0, "the file stayed open")


def test_memory_does_not_grow_with_the_file(start: Start, http: httpx.Client, root: Path) -> None:
    service = start(root)
    service.wait_ready()

    def peak() -> int:
        status = Path(f"/proc/{service.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) << 10

    before = peak()
    digest = hashlib.sha256()
    piece = os.urandom(MIB)

    def body() -> Iterator[bytes]:
        for _ in range(128):
            digest.update(piece)
            yield piece

    url = f"{service.url}/v1/files/large"
    assert http.put(url, content=body()).json()["sha256"] == digest.hexdigest()
    received = hashlib.sha256()
    with http.stream("GET", url) as response:
        for part in response.iter_bytes():
            received.update(part)
    assert received.hexdigest() == digest.hexdigest()
    assert peak() - before < 32 * MIB


def test_sigterm_lets_an_upload_finish(start: Start, http: httpx.Client, root: Path) -> None:
    service = start(root)
    service.wait_ready()
    with service.connect() as connection:
        connection.sendall(put_head("name", "Content-Length: 20") + b"ten bytes.")
        eventually(lambda: not is_tidy(root), "the upload never began")
        service.terminate()
        time.sleep(0.3)
        connection.sendall(b"ten bytes.")
        assert answer(connection).startswith(b"HTTP/1.1 201 ")
    assert service.wait() == (0, "")
    later = start(root)
    later.wait_ready()
    assert http.get(f"{later.url}/v1/files/name").content == b"ten bytes." * 2


def test_a_starting_process_spares_the_uploads_of_a_live_one(start: Start, http: httpx.Client, root: Path) -> None:
    old = start(root)
    old.wait_ready()
    with old.connect() as connection:
        connection.sendall(put_head("name", "Content-Length: 20") + b"ten bytes.")
        eventually(lambda: not is_tidy(root), "the upload never began")
        (root / "tmp/of-a-dead-process").write_bytes(b"half")
        new = start(root)
        new.wait_ready()
        assert "of-a-dead-process" not in os.listdir(root / "tmp")
        connection.sendall(b"ten bytes.")
        assert answer(connection).startswith(b"HTTP/1.1 201 ")
    assert http.get(f"{new.url}/v1/files/name").content == b"ten bytes." * 2


def test_many_writers_and_readers_of_few_names_never_see_a_mixture(
    start: Start, http: httpx.Client, root: Path
) -> None:
    """Two processes, as during an update; a third starts, and so cleans up, in the midst of it."""
    services = [start(root), start(root)]
    for service in services:
        service.wait_ready()
    urls = [f"{service.url}/v1/files/{name}" for service in services for name in ("a", "a/b")]
    contents = [bytes([number]) * (1 + number * 20_000) for number in range(12)]
    digests = {f'"{hashlib.sha256(content).hexdigest()}"': content for content in contents}
    problems: list[object] = []
    stop = threading.Event()

    def write(seed: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            for turn in range(30):
                url = urls[(seed + turn) % len(urls)]
                if turn % 7 == seed % 7:
                    expected, response = {204, 404}, client.delete(url)
                else:
                    content = contents[(seed * 5 + turn) % len(contents)]
                    expected, response = {200, 201}, client.put(url, content=content)
                if response.status_code not in expected:
                    problems.append((response.request.method, response.status_code, response.text))

    def read() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not stop.is_set():
                for url in urls:
                    response = client.get(url)
                    if response.status_code == 200 and digests[response.headers["ETag"]] == response.content:
                        continue
                    if response.status_code != 404:
                        problems.append((response.status_code, response.headers, response.text[:200]))

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    late = start(root)
    late.wait_ready()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert is_tidy(root)
    files = http.get(f"{late.url}/v1/files").json()["files"]
    assert len(list(root.glob("blobs/*/*"))) == len(files)
    for info in files:
        content = http.get(f"{late.url}/v1/files/{info['path']}").content
        assert hashlib.sha256(content).hexdigest() == info["sha256"]


def test_a_root_that_is_no_directory_stops_the_start_with_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, stderr = start(tmp_path / "file").wait()
    assert status == 2
    assert stderr.startswith(f"storage-service: STORAGE_ROOT {tmp_path}/file: ")
    assert "a directory that user id" in stderr
    assert stderr.count("\n") == 1


def test_a_wrong_setting_stops_the_start_with_one_line(start: Start, root: Path) -> None:
    status, stderr = start(root, min_free_bytes="-1").wait()
    assert status == 2
    assert stderr.startswith("storage-service: setting STORAGE_MIN_FREE_BYTES: ")
    assert stderr.count("\n") == 1
    assert not root.exists()
