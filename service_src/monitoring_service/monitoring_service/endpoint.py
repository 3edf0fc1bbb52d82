"""What the page's example request needs to know: the address and a model's name."""

from __future__ import annotations

import httpx
from pydantic import BaseModel, HttpUrl, ValidationError

from monitoring_service.schemas import Endpoint


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


async def endpoint(client: httpx.AsyncClient, model_url: HttpUrl, public_url: HttpUrl | None) -> Endpoint:
    """The public address and the models that model-service has now; none when it does not answer."""
    url = None if public_url is None else str(public_url).rstrip("/")
    try:
        response = await client.get(f"{str(model_url).rstrip('/')}/v1/models")
        response.raise_for_status()
        models = _Models.model_validate_json(response.content)
    except (httpx.HTTPError, ValidationError):
        return Endpoint(url=url, models=[])
    return Endpoint(url=url, models=[model.id for model in models.data])
