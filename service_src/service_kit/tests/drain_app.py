"""Run by test_server.py as a process of its own: streams one event every 0.2 s."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import StreamingResponse

from service_kit import server
from service_kit.app import create_app
from service_kit.settings import ServiceSettings, load, settings_config


class DrainSettings(ServiceSettings):
    model_config = settings_config("DRAIN_")


router = APIRouter()


@router.get("/events/{count}")
async def events(count: int) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        for number in range(count):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.2)
        yield "data: [DONE]\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@router.put("/raw")
async def raw(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@router.get("/half")
async def half() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        yield "data: 0\n\n"
        await asyncio.sleep(0.1)
        raise RuntimeError("broken in the middle")

    return StreamingResponse(stream(), media_type="text/event-stream")


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}
    print("lifespan ended", flush=True)


def main() -> None:
    settings = load(DrainSettings, "drain")
    app = create_app(
        service="drain",
        version="0",
        max_body_bytes=settings.max_body_bytes,
        routers=[router],
        lifespan=lifespan,
    )
    server.run(app, settings, "drain")


if __name__ == "__main__":
    main()
