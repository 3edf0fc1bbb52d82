"""The models that can be asked."""

from __future__ import annotations

from fastapi import APIRouter, Request

from model_service.routes.auth import Tenant
from model_service.schemas import ModelCard, ModelList
from service_kit.errors import ApiError

router = APIRouter(prefix="/v1", tags=["models"])


def check_model(card: ModelCard, model: str) -> None:
    """Raises the error that a client of OpenAI gets for a model it has no access to."""
    if model != card.id:
        message = f"The model {model[:100]!r} does not exist; this server has {card.id!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


@router.get("/models")
async def list_models(request: Request, _tenant: Tenant) -> ModelList:
    """All models, which is one."""
    return ModelList(data=[request.state.model_card])


@router.get("/models/{model:path}")
async def get_model(model: str, request: Request, _tenant: Tenant) -> ModelCard:
    """One model by its id."""
    card: ModelCard = request.state.model_card
    check_model(card, model)
    return card
