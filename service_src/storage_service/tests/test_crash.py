"""A process killed at any moment: each name is whole afterwards, and nothing else is left."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Start = Callable[..., Any]
NAMES = ["a", "a/b", "dir/c", "dir/sub/d"]
ROUNDS = 10


class Writer(threading.Thread):
    """Changes one name again and again, and remembers what may stand under it."""

    def __init__(self, url: str, seed: int, state: bytes | None) -> None:
        super().__init__()
        self._url = url
        self._random = random.Random(seed)
        self.possible = {state}
        self.changes = 0

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while True:
                content = self._random.randbytes(self._random.randrange(2 << 20))
                state = None if self._random.random() < 0.15 else content
                self.possible.add(state)
                try:
                    if state is None:
                        assert client.delete(self._url).status_code in (204, 404)
                    else:
                        assert client.put(self._url, content=state).is_success
                except httpx.TransportError:
                    return
                self.possible = {state}
                self.changes += 1


def test_killed_at_random_moments_every_name_is_old_or_new_and_whole(start: Start, root: Path) -> None:
    states: dict[str, bytes | None] = dict.fromkeys(NAMES)
    changes = 0
    moments = random.Random(42)
    service = start(root)
    service.wait_ready()
    for number in range(ROUNDS):
        writers = {
            name: Writer(f"{service.url}/v1/files/{name}", number * 10 + index, states[name])
            for index, name in enumerate(NAMES)
        }
        for writer in writers.values():
            writer.start()
        time.sleep(moments.uniform(0.02, 0.5))
        service.kill()
        for writer in writers.values():
            writer.join()
            changes += writer.changes

        service = start(root)
        service.wait_ready()
        for name in NAMES:
            response = httpx.get(f"{service.url}/v1/files/{name}", trust_env=False)
            state = response.content if response.status_code == 200 else None
            assert response.status_code in (200, 404)
            assert state in writers[name].possible, f"round {number}: {name} is neither old nor new"
            if state is not None:
                assert response.headers["ETag"] == f'"{hashlib.sha256(state).hexdigest()}"'
            states[name] = state
        present = [name for name in NAMES if states[name] is not None]
        listed = httpx.get(f"{service.url}/v1/files", trust_env=False).json()["files"]
        assert [info["path"] for info in listed] == present
        assert os.listdir(root / "tmp") == []
        assert len(os.listdir(root / "blobs")) == len(list(root.glob("blobs/*/*"))) == len(present)
    assert changes > ROUNDS, "hardly anything was written: the test has seen nothing"


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_content_is_an_error_not_wrong_bytes(start: Start, root: Path, damage: str) -> None:
    service = start(root)
    service.wait_ready()
    url = f"{service.url}/v1/files/name"
    with httpx.Client(trust_env=False) as client:
        client.put(url, content=b"whole content")
        blob = next(root.glob("blobs/*/*"))
        if damage == "truncated":
            os.truncate(blob, 5)
        else:
            blob.unlink()
        response = client.get(url)
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "damaged_file"
        assert "delete it and upload it again" in response.json()["error"]["message"]
        assert client.put(url, content=b"whole content").status_code == 200
        assert client.get(url).content == b"whole content"
