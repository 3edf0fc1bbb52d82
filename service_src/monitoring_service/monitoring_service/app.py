"""The web application: what lives as long as the process, and which routes use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypedDict

from fastapi import APIRouter, FastAPI

from monitoring_service import VERSION
from monitoring_service.cached import Cached
from monitoring_service.endpoint import endpoint
from monitoring_service.overview import overview
from monitoring_service.probe import probe, resolver
from monitoring_service.prometheus import Prometheus
from monitoring_service.routes import api, page
from monitoring_service.schemas import Endpoint, Overview, Services
from monitoring_service.services import services
from monitoring_service.settings import MonitoringSettings
from service_kit import http
from service_kit.app import create_app

SERVICE = "monitoring-service"
# The gateway hands /api/monitoring/… over without that prefix. The page uses it always, so that it
# works without a gateway too.
GATEWAY_PREFIX = "/api/monitoring"
MODELS_REFRESH_SECONDS = 15.0


class LifespanState(TypedDict):
    """What each request's ``request.state`` holds."""

    prometheus: Prometheus
    services: Cached[Services]
    overview: Cached[Overview]
    endpoint: Cached[Endpoint]


def build(settings: MonitoringSettings) -> FastAPI:
    """The service's application. It is ready without Prometheus: saying so is part of its job."""
    behind_gateway = APIRouter(prefix=GATEWAY_PREFIX, include_in_schema=False)
    behind_gateway.include_router(api.router)
    app = create_app(
        service=SERVICE,
        version=VERSION,
        max_body_bytes=settings.max_body_bytes,
        routers=[api.router, behind_gateway, page.router],
        lifespan=partial(_lifespan, settings),
    )
    app.mount("/static", page.Files(directory=page.STATIC))
    app.mount("/vendor", page.Files(directory=settings.chart_library_dir))
    return app


def _lifespan(settings: MonitoringSettings, _app: FastAPI) -> AbstractAsyncContextManager[LifespanState]:
    return _state(settings)


@asynccontextmanager
async def _state(settings: MonitoringSettings) -> AsyncIterator[LifespanState]:
    resolve = resolver(threads=4 * len(settings.targets))
    async with (
        http.client(str(settings.prometheus_url), timeout=settings.prometheus_timeout_seconds) as to_prometheus,
        http.client("", timeout=settings.probe_timeout_seconds) as to_services,
    ):
        prometheus = Prometheus(to_prometheus)
        ask = partial(probe, to_services, resolve, timeout=settings.probe_timeout_seconds)
        yield {
            "prometheus": prometheus,
            "services": Cached(lambda: services(settings.targets, ask, prometheus), settings.refresh_seconds),
            "overview": Cached(lambda: overview(prometheus), settings.refresh_seconds),
            "endpoint": Cached(
                lambda: endpoint(to_services, settings.model_url, settings.public_url), MODELS_REFRESH_SECONDS
            ),
        }
