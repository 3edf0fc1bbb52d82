"""The models that can be asked."""

from __future__ import annotations

from fastapi import APIRouter, Request

from model_service.models import Models
from model_service.routes.auth import Tenant
from model_service.schemas import ModelCard, ModelList

router = APIRouter(prefix="/v1", tags=["models"])


def models_of(request: Request) -> Models:
    """All models of this process."""
    models: Models = request.state.models
    return models


@router.get("/models")
async def list_models(request: Request, _tenant: Tenant) -> ModelList:
    """All models."""
    return ModelList(data=models_of(request).cards)


@router.get("/models/{model:path}")
async def get_model(model: str, request: Request, _tenant: Tenant) -> ModelCard:
    """One model by its id."""
    return models_of(request).card(model)
