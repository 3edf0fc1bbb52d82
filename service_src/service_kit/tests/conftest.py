"""A small application with a route for each thing that the kit is to handle, and a client for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from service_kit.app import create_app
from service_kit.errors import ApiError

BODY_LIMIT = 1000
router = APIRouter()


class Order(BaseModel):
    count: int


@router.post("/orders")
async def order(order: Order) -> dict[str, int]:
    return {"count": order.count}


@router.put("/raw")
async def raw(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@router.get("/teapot")
async def teapot() -> None:
    raise ApiError(418, "short and stout", param="pot", code="teapot", headers={"Retry-After": "3"})


@router.get("/absent")
async def absent() -> None:
    raise HTTPException(404, "No such pot")


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("a secret detail")


@router.get("/half")
async def half() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first half"
        raise RuntimeError("the second half is missing")

    return StreamingResponse(chunks())


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}


@pytest.fixture
def checks() -> dict[str, Any]:
    """Readiness checks; a test fills it before it uses `client`."""
    return {}


@pytest.fixture
def app(checks: dict[str, Any]) -> FastAPI:
    return create_app(
        service="pots",
        version="1.2.3",
        max_body_bytes=BODY_LIMIT,
        routers=[router],
        lifespan=lifespan,
        checks=checks,
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://pots") as client:
        yield client
