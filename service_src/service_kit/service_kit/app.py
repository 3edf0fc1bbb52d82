"""Builds a service's web application from its own routers and what the kit adds to all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from service_kit import errors, health, metrics
from service_kit.errors import ErrorBody
from service_kit.health import Check, Health
from service_kit.middleware import BodyLimit, ForwardedPrefix, RequestContext

# What every route's documentation says of its errors, in place of FastAPI's own form for a 422.
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is at fault"},
    "5XX": {"model": ErrorBody, "description": "The service is at fault"},
}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]


def create_app(
    *,
    service: str,
    version: str,
    max_body_bytes: int,
    routers: Sequence[APIRouter],
    lifespan: Lifespan,
    checks: Mapping[str, Check] | None = None,
) -> FastAPI:
    """The application of one service.

    ``lifespan`` owns what lives as long as the process; what it yields is each request's
    ``request.state``. ``checks`` decide readiness; each raises with the reason when it fails.
    """
    # The documentation page comes with its scripts: a server without internet shows it too.
    app = FastAPIOffline(redoc_url=None, title=service, version=version, lifespan=lifespan, responses=_ERRORS)
    app.state.health = Health(checks)
    for router in (*routers, health.router, metrics.router):
        app.include_router(router)
    errors.install(app)
    app.add_middleware(BodyLimit, limit=max_body_bytes)
    app.add_middleware(ForwardedPrefix)
    app.add_middleware(RequestContext)
    metrics.SERVICE.info({"service": service, "version": version})
    return app
