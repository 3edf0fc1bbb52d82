from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

LIMIT = 1000  # as in conftest.py


async def _chunks(total: int) -> AsyncIterator[bytes]:
    """A body without a Content-Length."""
    for start in range(0, total, 100):
        yield b"x" * min(100, total - start)


async def test_a_body_at_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    assert (await client.put("/raw", content=b"x" * LIMIT)).json() == {"bytes": LIMIT}
    assert (await client.put("/raw", content=_chunks(LIMIT))).json() == {"bytes": LIMIT}


@pytest.mark.parametrize("path", ["/raw", "/orders"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_over_the_limit_is_a_413(path: str, declared: bool, client: httpx.AsyncClient) -> None:
    content = b"x" * (LIMIT + 1) if declared else _chunks(LIMIT + 1)
    response = await client.request(
        "PUT" if path == "/raw" else "POST",
        path,
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 413
    assert response.headers["Connection"] == "close"
    assert response.json()["error"] == {
        "message": "The request body is over the limit of 1000 bytes",
        "type": "invalid_request_error",
        "param": None,
        "code": "body_too_large",
    }
