"""Calls from one service to another."""

from __future__ import annotations

import httpx

from service_kit.logs import request_id_var
from service_kit.middleware import REQUEST_ID_HEADER


def client(base_url: str, *, timeout: float, connect_timeout: float = 1.0) -> httpx.AsyncClient:
    """An HTTP client that passes the current request's id on; timeouts in seconds.

    The environment's proxy variables are not used: services talk over their private network.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(timeout, connect=connect_timeout),
        trust_env=False,
        event_hooks={"request": [_add_request_id]},
    )


async def _add_request_id(request: httpx.Request) -> None:
    request_id = request_id_var.get()
    if request_id is not None:
        request.headers[REQUEST_ID_HEADER] = request_id
