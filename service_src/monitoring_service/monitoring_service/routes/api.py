"""The JSON API under /v1."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from monitoring_service import catalogue
from monitoring_service.cached import Cached
from monitoring_service.catalogue import ChartName
from monitoring_service.prometheus import PrometheusError
from monitoring_service.schemas import Endpoint, Overview, Series, Services
from service_kit.errors import ApiError, ErrorBody

MAX_MINUTES = 7 * 24 * 60

router = APIRouter(prefix="/v1", tags=["monitoring"])


@router.get("/services")
async def get_services(request: Request) -> Services:
    """The state of each service, seen now."""
    current: Cached[Services] = request.state.services
    return await current.get()


@router.get("/overview")
async def get_overview(request: Request) -> Overview:
    """The numbers of now; null is "no data"."""
    current: Cached[Overview] = request.state.overview
    return await current.get()


@router.get("/series", responses={503: {"model": ErrorBody}})
async def get_series(
    request: Request,
    name: Annotated[list[ChartName], Query(min_length=1, max_length=len(ChartName))],
    minutes: Annotated[int, Query(ge=1, le=MAX_MINUTES)] = 15,
) -> Series:
    """Charts by name over the last minutes. `name` may be given several times."""
    try:
        return await catalogue.series(request.state.prometheus, name, minutes)
    except PrometheusError as error:
        raise ApiError(503, str(error), code="prometheus_unreachable") from error


@router.get("/endpoint")
async def get_endpoint(request: Request) -> Endpoint:
    """Where clients send requests, and the models there."""
    current: Cached[Endpoint] = request.state.endpoint
    return await current.get()
