"""Embeddings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from model_service.embeddings import embeddings_answer
from model_service.engine import EngineError
from model_service.errors import to_api_error
from model_service.routes.answering import CLIENT_CLOSED_REQUEST, ClientGoneError, refuse_unsupported, unless_gone
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas.embeddings import EmbeddingsAnswer, EmbeddingsRequest

router = APIRouter(prefix="/v1", tags=["embeddings"])


@router.post("/embeddings", response_model=EmbeddingsAnswer)
async def create_embeddings(body: EmbeddingsRequest, request: Request, _tenant: Tenant) -> Response:
    """A vector for each of the inputs."""
    refuse_unsupported(body.unknown_fields)
    try:
        engine = await models_of(request).engine(body.model)
        content = await unless_gone(request, embeddings_answer(engine, body))
        return Response(content, media_type="application/json")
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except EngineError as error:
        raise to_api_error(error, "input") from error
